"""`charlm score` as a filter: what comes back, at once, in order, in bounded memory, from a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pytest
from soaking import Soak

from charlm.cli import main as entry
from charlm.model import checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pipes and resource")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_text_model) -> Path:
    folder = tmp_path_factory.mktemp("place")
    for seed, name in enumerate(("one", "two")):
        (folder / "runs" / name).mkdir(parents=True)
        checkpoint.save(folder / "runs" / name / "model.safetensors", make_text_model("lstm", hidden=16, seed=seed))
    return folder


def start(place: Path, *words: str, **streams: object) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([sys.executable, "-m", "charlm", "score", *words], cwd=place, **pipes)  # type: ignore[call-overload]


def filtered(place: Path, data: bytes, *words: str) -> tuple[int, bytes, bytes]:
    process = start(place, *words)
    out, err = process.communicate(data, timeout=60)
    return process.returncode, out, err


def test_what_comes_back(place: Path) -> None:
    data = b"the sea\n\na\ttab \x1b[31m\r\nh\xff\nlast"
    code, out, err = filtered(place, data, "--model", "one", "--end", "newline")
    assert code == 0 and err.count(b"\n") == 1 and b"line 4" in err
    rows = [line.split(b"\t", 2) for line in out.split(b"\n")]
    assert [row[2] for row in rows[:-1]] == data.split(b"\n") and rows[-1] == [b""]
    assert [int(row[1]) for row in rows[:-1]] == [8, 1, 12, 3, 5]
    code, out, _ = filtered(place, data, "--model", "one", "--json", "--per-char")
    found = [json.loads(line) for line in out.splitlines()]
    for row, keys in zip(rows, found, strict=False):
        assert float(row[0]) == pytest.approx(keys["bits"], abs=1e-4)
        assert sum(keys["per_char"]) == pytest.approx(keys["bits"], abs=1e-4)
        assert len(keys["per_char"]) == keys["characters"] == int(row[1])
    assert [keys["line"] for keys in found] == ["the sea", "", "a\ttab \x1b[31m", "h\ufffd", "last"]
    code, out, _ = filtered(place, data, "--model", "one", "--per-char")
    first = out.split(b"\n")[0].split(b"\t")
    assert [float(bits) for bits in first[2].split()] == pytest.approx(found[0]["per_char"], abs=1e-4)


def test_several_models(place: Path) -> None:
    code, out, _ = filtered(place, b"the sea\nabc\n", "--model", "one", "--model", "two")
    rows = [line.split("\t") for line in out.decode().splitlines()]
    _, out, _ = filtered(place, b"the sea\nabc\n", "--model", "one", "--model", "two", "--json")
    for row, found in zip(rows, map(json.loads, out.splitlines()), strict=True):
        assert row[0] == found["likeliest"] and row[2] == found["line"]
        assert float(row[1]) == pytest.approx(found["posterior"], abs=1e-6)
        assert sum(model["posterior"] for model in found["models"].values()) == pytest.approx(1, abs=2e-6)
        assert found["models"]["one"]["bits"] != found["models"]["two"]["bits"]


@pytest.mark.parametrize("cloze", [[], ["--cloze"]])
def test_a_terminal_gets_no_orders_from_a_line(place: Path, cloze: list[str]) -> None:
    ours, theirs = pytest.importorskip("pty").openpty()
    with start(place, "--model", "one", "--quiet", *cloze, stdout=theirs) as process:
        os.close(theirs)
        process.communicate(b"a\x1b[31mb\xff\n", timeout=60)
        shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert shown.split("\t")[1:] == ["0" if cloze else "9", "a␛[31mb\ufffd\r\n"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "one", "--model", "one"], "given twice"),
        (["--model", "one", "--model", "two", "--per-char"], "--json"),
        (["--encoding", "utf-16"], "iconv"),
        (["--encoding", "nonsense"], "nonsense"),
        (["nowhere.txt"], "nowhere.txt"),
        (["--model", "three"], "three"),
    ],
)
def test_refusals(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    monkeypatch.chdir(place)
    assert entry.run(["score", *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and part in err.splitlines()[-1] and err.splitlines()[-1].startswith("error:")


@pytest.fixture
def talking(place: Path) -> Iterator[tuple[Callable[[bytes], None], Callable[[], bytes], subprocess.Popen[bytes]]]:
    """A filter that is left open: write to it, and take its next line."""
    with start(place, "--model", "one", stderr=subprocess.DEVNULL) as process:
        given, found = process.stdin, process.stdout
        assert given is not None and found is not None
        answers: Queue[bytes] = Queue()

        def write(data: bytes) -> None:
            given.write(data)
            given.flush()

        listener = Thread(target=lambda: [answers.put(line) for line in found], daemon=True)
        listener.start()
        yield write, lambda: answers.get(timeout=30), process
        process.kill()
        listener.join()


def test_a_line_is_answered_while_the_pipe_stays_open(talking, soak: Soak) -> None:
    write, answer, process = talking
    write(b"first\n")
    assert answer().endswith(b"\tfirst\n")
    slowest = 0.0
    for number in range(soak.count(10, 1000)):
        line = b"line %d\n" % number
        began = time.perf_counter()
        write(line[:3])
        write(line[3:])
        assert answer().endswith(line)
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 1
    write(b"unended")
    process.stdin.close()
    assert answer().endswith(b"\tunended\n")
    assert process.wait(timeout=30) == 0
    soak.saw("charlm score, a line at a time into an open pipe", f"slowest answer {1000 * slowest:.1f} ms")


def test_short_lines_are_not_held_back_by_a_long_one_behind_them(talking) -> None:
    write, answer, _ = talking
    write(b"ready\n")
    answer()
    began = time.perf_counter()
    write(b"short\n" + b"x" * 100_000 + b"\n")
    assert answer().endswith(b"\tshort\n")
    short = time.perf_counter() - began
    assert answer().endswith(b"x\n")
    assert short < (time.perf_counter() - began) / 2


def with_loading(seconds: float) -> list[str]:
    """The filter where torch is taken to load in so many seconds; says on stderr whether it was."""
    program = (
        "import sys; from charlm.cli.main import run; from charlm.evaluation import score_lines;"
        "score_lines.TORCH_LOAD_SECONDS = float(sys.argv[1]);"
        "code = run(['score', '--model', 'one']); print('torch' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    return [sys.executable, "-c", program, str(seconds)]


@pytest.mark.parametrize(("loading", "loaded"), [(1e-9, b"True"), (1e9, b"False")])
def test_torch_is_loaded_where_lines_have_queued_for_as_long_as_that_takes(place, tmp_path, loading, loaded) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"some words of a line\n" * 20_000)
    with lines.open("rb") as file:  # not a pipe, whose writer may be late, so that none would queue
        done = subprocess.run(with_loading(loading), cwd=place, stdin=file, capture_output=True)
    assert done.stderr.splitlines()[-1] == loaded and done.stdout.count(b"\n") == 20_000


def test_a_reader_that_leaves_ends_it_quietly(place: Path) -> None:
    with subprocess.Popen(["yes", "a line"], stdout=subprocess.PIPE) as endless:
        with start(place, "--model", "one", stdin=endless.stdout) as process:
            assert endless.stdout is not None and process.stdout is not None and process.stderr is not None
            endless.stdout.close()
            assert process.stdout.readline().endswith(b"\ta line\n")
            process.stdout.close()
            assert process.wait(timeout=60) == 0
            assert b"error" not in process.stderr.read()
        endless.kill()


def peak(place: Path, write: Callable[[Any], object]) -> int:
    """Bytes of memory that the filter had at most, as `write` fed it; torch is not loaded."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(with_loading(1e9), cwd=place, **streams) as process:  # type: ignore[call-overload]
        write(process.stdin)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_memory_does_not_grow_with_the_number_of_lines(place: Path, soak: Soak) -> None:
    random = np.random.default_rng(1)
    block = b"".join(bytes(random.integers(97, 123, random.integers(0, 40)).tolist()) + b"\n" for _ in range(5000))
    few, many = 4, soak.count(16, 400)
    peaks = [peak(place, lambda file, n=n: [file.write(block) for _ in range(n)]) for n in (few, many)]
    assert peaks[1] - peaks[0] < 20e6
    soak.saw(
        f"charlm score, {5000 * few:,} and {5000 * many:,} lines",
        f"at most {peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB",
    )


def test_memory_grows_by_little_more_than_a_long_line(place: Path, soak: Soak) -> None:
    size = soak.count(150_000, 20_000_000)
    base = peak(place, lambda file: file.write(b"short\n"))
    long = peak(place, lambda file: [file.write(b"x" * 50_000) for _ in range(size // 50_000)])
    assert long - base < 4 * size + 30e6
    soak.saw(f"charlm score, a line of {size:,} bytes", f"{(long - base) / 1e6:.0f} MB more than a short one")
