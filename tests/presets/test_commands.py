"""Presets on the command line: what wins, what is shown, and what is said on which stream."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from texts import text_of

from charlm.cli import main as entry
from charlm.config import TrainOptions, preset_names
from charlm.model import checkpoint
from charlm.spec import flag
from charlm.training import presets

pytestmark = pytest.mark.every_case
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "presets.md").read_text(encoding="utf-8")
SMALL = ["--hidden", "4", "--batch-size", "2", "--seq-len", "8", "--threads", "1"]

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines in a folder with a prepared text: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("charlm.training.trainer.UNTIMED_SECONDS", 0.0)
    Path("sea.txt").write_text(text_of(3000), encoding="utf-8")
    assert entry.run(["prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.1"]) == 0

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = entry.run(list(words))
        return (code, *capfd.readouterr())

    return run


def ok(done: tuple[int, str, str]) -> str:
    assert done[0] == 0, done
    return done[1]


def refused(done: tuple[int, str, str]) -> str:
    code, out, err = done
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out, len(lines)) == (2, "", 1), done
    return lines[0]


def merged(shell: Shell, *words: str) -> dict[str, object]:
    """The configuration that a dry run shows."""
    out = ok(shell("train", *words, "--dry-run"))
    return tomllib.loads(out[out.index("[train]") :])["train"]


def test_flags_win_over_a_file_which_wins_over_the_preset_which_wins_over_defaults(shell: Shell) -> None:
    Path("my.toml").write_text("[train]\nlayers = 1\nlr = 0.5\nhidden = 9\n")
    named = merged(shell, "--preset", "char-rnn", "--config", "my.toml", "--hidden", "5", *SMALL[2:])
    assert (named["hidden"], named["layers"], named["lr"]) == (5, 1, 0.5)
    assert (named["optimizer"], named["init_scale"], named["epochs"], named["patience"]) == ("rmsprop", 0.08, 50.0, 0)
    Path("own.toml").write_text('[train]\npreset = "char-rnn"\nlayers = 1\nlr = 0.5\nhidden = 9\n')
    assert merged(shell, "--config", "own.toml", "--hidden", "5", *SMALL[2:]) == named
    Path("scale.toml").write_text("[train]\ninit-scale = 0.5\n")
    assert merged(shell, "--preset", "char-rnn", "--config", "scale.toml", *SMALL)["init_scale"] == 0.5
    assert merged(shell, "--preset", "char-rnn", "--init-scale", "0.25", *SMALL)["init_scale"] == 0.25
    assert "--init-scale 0.08" in refused(shell("train", "--preset", "char-rnn", "--init", "glorot", *SMALL))
    other = merged(shell, "--config", "own.toml", "--preset", "torch-rnn", *SMALL)
    assert (other["preset"], other["optimizer"], other["lr"], other["layers"]) == ("torch-rnn", "adam", 0.5, 1)


def test_a_length_from_a_file_or_a_flag_replaces_the_presets(shell: Shell) -> None:
    Path("my.toml").write_text("steps = 11\n")
    options = merged(shell, "--preset", "char-rnn", "--config", "my.toml", *SMALL)
    assert options["steps"] == 11 and options["epochs"] == TrainOptions.default("epochs")
    options = merged(shell, "--preset", "pytorch-tutorial-rnn", "--config", "my.toml", "--epochs", "3", *SMALL)
    assert options["epochs"] == 3 and "steps" not in options


def test_a_run_of_a_preset_is_told_everywhere_and_repeated_by_its_own_file(shell: Shell) -> None:
    words = ["--preset", "torch-rnn", "--embedding", "3", *SMALL, "--steps", "4", "--eval-every", "2"]
    assert "preset: torch-rnn" in shell("train", *words, "--run", "one")[2]
    table = ok(shell("info", "one"))
    assert re.search(r"^preset +torch-rnn, but for layers", table, re.M) is None
    assert re.search(r"^preset +torch-rnn, but for hidden, embedding, batch_size, seq_len, epochs$", table, re.M)
    assert json.loads(ok(shell("info", "one", "--json")))["preset"]["name"] == "torch-rnn"
    ok(shell("train", "--config", "runs/one/config.toml", "--run", "two"))
    first, second = (tomllib.loads(Path(f"runs/{run}/config.toml").read_text()) for run in ("one", "two"))
    assert first == second
    ok(shell("train", "--resume", "two", "--steps", "6"))
    assert {json.loads(line)["preset"] for line in Path("runs/two/metrics.jsonl").read_text().splitlines()} == {
        "torch-rnn"
    }
    ok(shell("inspect", "learning", "one", "two", "--json"))


def test_a_preset_of_nothing_changed_says_no_more_than_its_name(shell: Shell, tmp_path: Path) -> None:
    """As a file may say it; and one of another charlm, or with a name that gives a terminal orders."""
    ok(shell("train", "--preset", "torch-rnn", "--embedding", "3", *SMALL, "--steps", "2", "--run", "one"))
    model = checkpoint.load(Path("runs/one/model.safetensors"))

    def shown(**options: object) -> str:
        training = {**model.training, "options": options}
        checkpoint.save(tmp_path / "m.safetensors", checkpoint.Model(model.options, model.vocabulary, model.weights,
                                                                     model.corpus, training))  # fmt: skip
        return ok(shell("info", "m.safetensors"))

    own = {"layers": 2, "hidden": 4, "embedding": 3}
    settings = {**presets.load("torch-rnn").train, **own}
    assert "preset      torch-rnn, but for hidden, embedding\n" in shown(preset="torch-rnn", **settings)
    assert "preset      of-2031, which this charlm does not know\n" in shown(preset="of-2031")
    assert "\x1b" not in shown(preset="\x1b[31mred") and "␛[31mred" in shown(preset="\x1b[31mred")
    assert "preset" not in shown(preset=5) and "preset" not in shown(preset=None)


def test_what_the_corpus_lacks_is_said_on_stderr_and_stdout_has_the_result_only(shell: Shell) -> None:
    code, out, err = shell("train", "--preset", "char-rnn", *SMALL, "--steps", "2", "--run", "one")
    assert (code, out) == (0, "runs/one/model.safetensors\n")
    assert "the preset char-rnn is for a corpus prepared with --valid-fraction 0.05 --test-fraction 0" in err
    code, out, err = shell("train", "--preset", "char-rnn", *SMALL, "--dry-run")
    assert code == 0 and "is for a corpus prepared with" in err and "is for a corpus" not in out
    assert "is for a corpus" not in shell("train", "--preset", "torch-rnn", *SMALL, "--dry-run")[2]


def test_unknown_presets_are_refused_in_one_line(shell: Shell) -> None:
    for words in (["train"], ["train", "--dry-run"], ["train", "--help"]):
        assert "did you mean char-rnn?" in refused(shell(*words, "--preset", "charrnn"))
    assert "did you mean keras-lstm128?" in refused(shell("presets", "keras-lstm"))
    assert "awd-lstm, char-rnn" in refused(shell("presets", "zzz"))
    Path("my.toml").write_text("preset = 3\n")
    assert "--preset must be one of" in refused(shell("train", "--config", "my.toml"))


@pytest.mark.parametrize("words", [["--preset", "char-rnn", "--help"], ["--help", "--preset=char-rnn"]])
def test_help_with_a_preset_shows_what_becomes_of_each_option(shell: Shell, words: list[str]) -> None:
    said = " ".join(re.sub("[│|]", " ", ok(shell("train", *words))).split())
    for name, value in presets.load("char-rnn").train.items():
        value = f"{value:g}" if isinstance(value, int | float) else value
        assert f"With char-rnn: {value}." in said[said.index(flag(name) + " ") :], name
    assert said.count("With char-rnn: ") == len(presets.load("char-rnn").train)
    usual = ok(shell("train", "--help"))
    assert "With char-rnn" not in usual and all(name in usual for name in preset_names())


def test_the_command_lists_every_preset_with_its_source(shell: Shell) -> None:
    out = ok(shell("presets"))
    rows = [json.loads(line) for line in ok(shell("presets", "--json")).splitlines()]
    heads, sources = out.splitlines()[::2], out.splitlines()[1::2]
    assert [row["name"] for row in rows] == list(preset_names()) == [head.split()[0] for head in heads]
    for row, head, source in zip(rows, heads, sources, strict=True):
        assert head.endswith(row["about"]) and source.strip() == row["source"]
        assert [row] == [json.loads(ok(shell("presets", row["name"], "--json")))]


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_as_a_file_is_taken_by_both_commands_and_makes_the_same_run(shell: Shell, name: str) -> None:
    Path("mine.toml").write_text(ok(shell("presets", name)), encoding="utf-8")
    ok(shell("prepare", "sea.txt", "--config", "mine.toml", "--name", "as-asked"))
    words = ["as-asked", "--embedding", "3", *SMALL]
    code, _, err = shell("train", *words, "--preset", name, "--dry-run")
    assert code == 0 and "is for a corpus" not in err
    by_name, by_file = merged(shell, *words, "--preset", name), merged(shell, *words, "--config", "mine.toml")
    assert by_name.pop("preset") == name and by_name == by_file


@pytest.mark.parametrize("name", preset_names())
def test_the_page_of_presets_says_what_the_files_say(name: str) -> None:
    preset = presets.load(name)
    part = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert preset.about in part and f"Source: {preset.source}\n" in part
    assert re.findall("^- (.*)$", part, re.M) == list(preset.differs)
    block = tomllib.loads(re.findall("```toml\n(.*?)```", part, re.S)[0])
    assert block == {key: table for key, table in (("prepare", preset.prepare), ("train", preset.train)) if table}
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| [{name}]"))
    for key in ("cell", "layers", "hidden", "optimizer", "lr", "batch_size", "seq_len", "init"):
        value = preset.train[key]
        assert (f"{value:g}" if isinstance(value, int | float) else value) in row, key
