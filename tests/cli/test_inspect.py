"""`charlm inspect` as a user meets it: gradients, the error surface and learning."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from processes import command, forks
from texts import text_of

from charlm.cli import main as entry
from charlm.show import curves

pytestmark = forks
SMALL = ["--hidden", "6", "--batch-size", "4", "--seq-len", "16", "--threads", "1", "--report-every", "2"]
SHORT = ["--window", "5", "--positions", "4"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and two runs; the rnn has two layers."""
    folder = tmp_path_factory.mktemp("built")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("sea.txt").write_text(text_of(4000), encoding="utf-8")
        assert entry.run(["prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.1"]) == 0
        more = [*SMALL, "--steps", "8", "--eval-every", "4", "--sample-every", "4"]
        assert entry.run(["train", "--cell", "rnn", "--layers", "2", "--run", "plain", *more]) == 0
        assert entry.run(["train", "--run", "gated", *more]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def ok(built: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command line that must succeed, in that folder: stdout and stderr."""
    monkeypatch.chdir(built)

    def run(*words: str) -> tuple[str, str]:
        capfd.readouterr()
        code = entry.run(["inspect", *words])
        out, err = capfd.readouterr()
        assert code == 0, err
        return out, err

    return run


@pytest.fixture
def refused(built: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail with code 2 and one line, which is returned."""
    monkeypatch.chdir(built)

    def run(*words: str) -> str:
        capfd.readouterr()
        code = entry.run(["inspect", *words])
        out, err = capfd.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        assert (code, out, len(lines)) == (2, "", 1), (code, out, err)
        return lines[0]

    return run


def test_gradients_of_several_models_side_by_side(ok: Any) -> None:
    out, err = ok("gradients", "--model", "plain", "--model", "gated", "--scale-recurrent", "1.5", *SHORT)
    lines = out.splitlines()
    for name in ("plain", "plain, W_hh x 1.5", "gated", "gated, W_hh x 1.5"):
        assert name in lines and any(line.startswith(f"{name}: after 5 characters") for line in lines)
    assert "0 ∂c/∂c carousel" in out and "1 (β_W β_h)^k" in out and "says nothing of lstm" in out
    assert err.count("text: the test split") == 2


def test_the_json_of_gradients(ok: Any) -> None:
    out, _ = ok("gradients", "--model", "plain", "--model", "gated", "--scale-recurrent", "2", "--json", *SHORT)
    report = json.loads(out)
    assert [model["name"] for model in report["models"]] == [
        "plain", "plain, W_hh x 2", "gated", "gated, W_hh x 2",
    ]  # fmt: skip
    first, scaled, gated, _ = report["models"]
    assert first["model"] == "runs/plain/model.safetensors" and first["text"] == "data/sea:test"
    assert (first["positions"], first["window"], len(first["layers"])) == (4, 5, 2)
    for one, two in zip(first["layers"], scaled["layers"], strict=True):
        one, two = one["recurrent"][0], two["recurrent"][0]
        assert two["singular_value"] == pytest.approx(2 * one["singular_value"])
        assert two["spectral_radius"] == pytest.approx(2 * one["spectral_radius"])
    assert set(gated["layers"][0]["loss"]) == {"h", "c"} and gated["layers"][0]["bound"] is None
    assert len(first["layers"][1]["bound"]) == 6 and first["layers"][1]["left"]["h"]["median"][0] == 1
    assert [block["gate"] for block in gated["layers"][0]["recurrent"]] == ["i", "f", "g", "o"]


def test_gradients_of_a_text_of_ones_own_also_from_a_pipe(ok: Any, refused: Any) -> None:
    Path("other.txt").write_text("the sea is wide and old ships go home", encoding="utf-8")
    named = json.loads(ok("gradients", "other.txt", "--model", "gated", "--json", *SHORT)[0])

    def reading() -> None:
        os.dup2(os.open("other.txt", os.O_RDONLY), 0)
        sys.stdin = open(0, encoding="utf-8", closefd=False)

    words = ["inspect", "gradients", "-", "--json", *SHORT, "--model", "gated", "--model", "plain"]
    piped = json.loads(command(words, reading)[1])["models"]
    assert [model["text"] for model in piped] == ["-", "-"]
    assert piped[0]["layers"] == named["models"][0]["layers"]
    assert "--split" in refused("gradients", "other.txt", "--split", "valid", "--model", "gated", "--model", "plain")
    assert "at least 51 characters" in refused("gradients", "other.txt", "--window", "50")


def test_the_same_seed_gives_the_same_numbers_and_another_other_places(ok: Any) -> None:
    one, two, other = (ok("gradients", "--json", *SHORT, "--seed", seed)[0] for seed in ("1", "1", "2"))
    assert one == two != other


def test_files_are_written_where_asked_and_said(ok: Any, tmp_path: Path) -> None:
    for words in (["gradients", *SHORT], ["surface", "--points", "21"], ["learning", "plain", "gated"]):
        page, plot = tmp_path / f"{words[0]}.html", tmp_path / f"{words[0]}.svg"
        out, err = ok(*words, "--html", str(page), "--svg", str(plot))
        assert f"plot: {plot}" in err and f"report: {page}" in err and str(tmp_path) not in out
        ElementTree.parse(plot)
        text = page.read_text(encoding="utf-8")
        assert "data:image/svg+xml;base64," in text and "http:" not in text and "https:" not in text
        assert ok(*words, "--svg", str(plot))[0] == out
    assert "samples as it learned" in text and "step 4" in text


def test_wrong_names_and_places_are_refused_before_anything_is_computed(refused: Any) -> None:
    for words in (["gradients"], ["surface"], ["learning"]):
        assert "ends in .svg" in refused(*words, "--svg", "x.png")
        assert "ends in .html" in refused(*words, "--html", "x.svg")
        assert "there is no folder nowhere" in refused(*words, "--svg", "nowhere/x.svg")
        for option, name in (("--svg", "mine.svg"), ("--html", "mine.html")):
            Path(name).write_text("<svg/> of mine")
            assert f"and no earlier {Path(name).suffix} of charlm" in refused(*words, option, name)
            assert Path(name).read_text() == "<svg/> of mine"
    assert "did you mean plain" in refused("learning", "plan")
    assert "did you mean gated" in refused("gradients", "--model", "gates")
    assert "--w-low 6 must be below" in refused("surface", "--w-low", "6")
    assert "--x must be one of steps, characters, seconds" in refused("learning", "--x", "days")


def test_without_matplotlib_numbers_are_shown_and_plots_refused(
    refused: Any, ok: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for words in (["gradients", *SHORT], ["surface", "--points", "5"], ["learning"]):
        for name in ("--svg", "--html"):
            path = tmp_path / f"x{name.replace('--', '.')}"
            assert "pip install matplotlib" in refused(*words, name, str(path)) and not path.exists()
        assert ok(*words)[0]
    assert entry.run(["train", *SMALL, "--steps", "3", "--run", f"bare-{tmp_path.name}"]) == 0
    run = Path("runs") / f"bare-{tmp_path.name}"
    assert (run / "metrics.jsonl").exists() and not (run / "curve.svg").exists()


def test_surface_says_and_gives_the_numbers(ok: Any) -> None:
    report = json.loads(ok("surface", "--json", "--points", "41", "--steps", "60")[0])
    assert len(report["plain"]["w"]) == 61 and len(report["clipped"]["norm"]) == 61
    assert report["options"]["target"] == 0.7 and report["steepest"]["norm"] > 10
    shown, _ = ok("surface", "--points", "41", "--steps", "60")
    assert f"{report['steepest']['norm']:.4g}" in shown and f"{max(report['plain']['norm']):.4g}" in shown
    assert shown.splitlines()[0].startswith("network")


def test_learning_of_the_most_recent_run_and_of_several(ok: Any) -> None:
    out, err = ok("learning")
    assert err.startswith("run: runs/") and "nats per character" in out
    out, err = ok("learning", "plain", "runs/gated")
    assert err == "" and [line.split()[0] for line in out.splitlines()][::4] == ["plain", "gated", "over"]
    report = json.loads(ok("learning", "plain", "gated", "--x", "seconds", "--json")[0])
    assert report["x"] == "seconds" and [run["run"] for run in report["runs"]] == ["plain", "gated"]
    one = report["runs"][0]
    assert one["network"] == "rnn 2x6" and one["steps"] == 8 and one["valid_nats"]["best"] > 0
    assert max(one["curves"]["train_nats"]["x"]) <= one["seconds"]
    assert [sample["step"] for sample in one["samples"]] == [4, 8]
    twice = json.loads(ok("learning", "plain", "./runs/plain", "--json")[0])
    assert [run["run"] for run in twice["runs"]] == ["plain (runs/plain)"] * 2


def test_a_torn_log_is_read_with_a_notice(ok: Any, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "metrics.jsonl").write_text('{"step": 1, "train_nats": 2.0}\n{"step":')
    out, err = ok("learning", str(tmp_path / "t"))
    assert "1 row cannot be read" in err and "2.0000" in out and "valid  not measured" in out
    for x in ("seconds", "characters"):
        out, err = ok("learning", str(tmp_path / "t"), "--x", x)
        assert "train  not measured" in out and f"over {x}" in out


def test_names_of_strangers_give_a_terminal_no_orders(ok: Any, tmp_path: Path) -> None:
    run = tmp_path / "\x1b[2J[bold]x"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "train_nats": 2.0}\n')
    (run / "samples.txt").write_text("--- step 1 ---\n\x1b[2J<script>x</script>\n")
    out, err = ok("learning", str(run), "--html", str(tmp_path / "x.html"), "--svg", str(tmp_path / "x.svg"))
    assert "\x1b" not in out + err and "␛[2J[bold]x" in out
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<script" not in text and "\x1b" not in text and "&lt;script&gt;" in text


@pytest.mark.cases(1)
@pytest.mark.parametrize("words", [["gradients", *SHORT], ["learning"], ["surface", "--points", "5"]])
def test_colours_are_left_out_and_ascii_is_spoken(built: Path, words: list[str]) -> None:
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    started = [sys.executable, "-m", "charlm", "inspect", *words, "--quiet"]
    done = subprocess.run(started, cwd=built, env=environment, capture_output=True)
    assert done.returncode == 0 and done.stderr == b""
    assert b"\x1b" not in done.stdout and b"?" not in done.stdout and done.stdout.isascii()


def test_a_reader_that_leaves_is_no_failure(built: Path) -> None:
    started = [sys.executable, "-m", "charlm", "inspect", "learning", *["plain"] * 3000]
    with subprocess.Popen(started, cwd=built, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(timeout=60) == 0


def test_a_run_ends_with_its_curve(built: Path) -> None:
    for name in ("plain", "gated"):
        text = (built / "runs" / name / "curve.svg").read_text(encoding="utf-8")
        assert "clipped above 1" in text and f"{name}:" in text and "valid" in text
        ElementTree.fromstring(text)


def test_a_curve_that_cannot_be_drawn_fails_no_run(
    built: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(built)

    def broken(*anything: object) -> str:
        raise RuntimeError("no picture today")

    monkeypatch.setattr(curves, "plot", broken)
    capfd.readouterr()
    assert entry.run(["train", *SMALL, "--steps", "2", "--run", str(tmp_path / "run"), "--quiet"]) == 0
    assert capfd.readouterr() == (f"{tmp_path / 'run'}/model.safetensors\n", "")
    assert not (tmp_path / "run" / "curve.svg").exists()


def test_a_diverged_run_is_drawn_too(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(built)
    words = ["--cell", "rnn", "--activation", "linear", "--optimizer", "sgd", "--lr", "1000", "--clip-norm", "0"]
    run = tmp_path / "wild"
    assert entry.run(["train", *SMALL, *words, "--report-every", "1", "--steps", "900", "--run", str(run)]) == 3
    assert (run / "curve.svg").exists() == (run / "metrics.jsonl").exists()


def test_an_interrupted_run_is_drawn_and_the_result_is_there_before(built: Path, tmp_path: Path) -> None:
    run, rows = tmp_path / "stopped", tmp_path / "stopped" / "metrics.jsonl"
    ends: list[tuple[int, str, str]] = []

    def begin() -> None:
        os.chdir(built)
        (tmp_path / "process").write_text(str(os.getpid()))

    words = ["train", *SMALL, "--steps", "1000000", "--run", str(run)]
    thread = Thread(target=lambda: ends.append(command(words, begin)))
    thread.start()
    deadline = time.monotonic() + 60
    while not (rows.exists() and rows.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline and thread.is_alive()
        time.sleep(0.05)
    os.kill(int((tmp_path / "process").read_text()), signal.SIGINT)
    thread.join(60)
    ((code, _, err),) = ends
    assert code == 130 and "--resume" in err.splitlines()[-1]
    assert (run / "curve.svg").stat().st_mtime_ns > (run / "progress.safetensors").stat().st_mtime_ns


def test_the_carousel_and_the_bound_agree_with_what_is_printed(ok: Any) -> None:
    """The table has the medians of the JSON, at the powers of two."""
    words = ("gradients", "--model", "gated", *SHORT)
    layer = json.loads(ok(*words, "--json")[0])["models"][0]["layers"][0]
    (shown,) = [line for line in ok(*words)[0].splitlines() if "carousel" in line and line.strip().startswith("0 ")]
    numbers = [float(word) for word in shown.split()[3:8]]
    expected = [layer["carousel"]["c"]["median"][k] for k in (0, 1, 2, 4, 5)]
    assert all(math.isclose(a, b, rel_tol=6e-3) for a, b in zip(numbers, expected, strict=True))
