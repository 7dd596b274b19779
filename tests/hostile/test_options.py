"""Options that make no sense, alone or together, and sizes that fit into no machine: one line, exit code 2, at once."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from site_of_faults import catalogue_of, site, stay_here, text
from soaking import Soak

from charlm import memory, synthetic
from charlm.cli import commands
from charlm.compression.compress import compress
from charlm.config import COMMANDS
from charlm.corpora.download import download
from charlm.data.corpus import Corpus
from charlm.errors import CharlmError, UsageError
from charlm.evaluation.evaluate import score_text
from charlm.evaluation.score_lines import score_lines
from charlm.model.checkpoint import load
from charlm.sampling.sample import stream
from charlm.spec import MAX_INTEGER, Spec, flag
from charlm.training.train import train

NUMERIC = {"integer", "number", "count", "duration"}
OPTIONS = [
    (command, name, spec) for command, group in COMMANDS.items() for name, spec in group.specs().items()
    if spec.kind in NUMERIC
]  # fmt: skip
"""Every numeric option of every command."""

SMALL: dict[str, Any] = {"hidden": 4, "batch_size": 2, "seq_len": 8, "steps": 2}

FIRST = {
    "prepare": ["sea.txt", "--name", "q"],
    "train": ["sea"],
    "eval": ["sea.txt"],
    "inspect surprise": ["sea.txt"],
    "inspect cells": ["sea.txt", "--unit", "0:1"],
    "inspect gradients": ["sea.txt", "--window", "5", "--positions", "3"],
    "inspect surface": ["--points", "3", "--steps", "2", "--length", "5"],
    "inspect find": ["sea.txt"],
    "inspect ablate": ["sea.txt", "--unit", "0:1"],
    "inspect gates": ["sea.txt"],
    "score": ["sea.txt"],
    "compress": ["sea.txt"],
    "corpora get": ["nothing-of-this-name"],
    "compare": ["runs/one", "runs/one", "--text", "sea.txt"],
}
"""What makes a command line of a command complete, where it needs more than an option."""


def senseless(spec: Spec) -> list[str]:
    """Words that no option of this kind takes, and those just outside of its range."""
    arguments = ["nan", "inf", "-inf", "1e30", str(10**30), "1" + "0" * 5000, "-1e30", "", " ", "x", "0x10", "1,5"]
    arguments += [f"{limit:g}" for limit in (spec.above, spec.below) if limit is not None]
    if spec.low is None or spec.low >= 0:
        arguments += ["-1", "-1e-9"]
    if spec.low is not None and spec.low > 0:
        arguments.append("0")
    if spec.high is not None:
        arguments.append(repr(math.nextafter(spec.high, math.inf) if spec.kind == "number" else int(spec.high) + 1))
    if spec.kind in ("integer", "count"):
        arguments += ["0.5", "1.0000001"]
    if spec.kind in ("count", "duration"):
        arguments += ["1e30k" if spec.kind == "count" else "1e30d", "k", "m", "-1m"]
    return arguments


def extreme(spec: Spec) -> list[Any]:
    """The least and the most that an option takes."""
    whole = spec.kind in ("integer", "count")
    least = spec.low if spec.low is not None else 5e-324 if spec.above is not None else -MAX_INTEGER
    most = (
        spec.high if spec.high is not None else math.nextafter(spec.below, 0) if spec.below is not None else MAX_INTEGER
    )
    return [int(least), int(most)] if whole else [float(least), float(most)]


@pytest.mark.parametrize(("command", "name", "spec"), OPTIONS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_value_without_sense_is_refused_with_one_line(
    house: Path, refused: Callable[..., str], command: str, name: str, spec: Spec
) -> None:
    for word in senseless(spec):
        began = time.perf_counter()
        line = refused(*command.split(), *FIRST.get(command, []), f"{flag(name)}={word}")
        assert flag(name) in line and len(line) < 1000, word
        assert time.perf_counter() - began < 5, word


def applied(command: str, values: dict[str, Any], corpus: Corpus, model: Path, root: Path) -> None:
    """The smallest piece of work that the options of a command have an influence on."""
    if command == "train":
        asked = iter(range(10**9))
        train(corpus, root=root, stop=lambda: next(asked) >= 2, **{**SMALL, **values})
    elif command == "eval":
        score_text(load(model), "the sea", **values)
    elif command == "score":
        list(score_lines(load(model), ["the sea", ""], **values))
    elif command == "compress":
        compress(load(model), b"the sea", **values)
    elif command == "sample":
        pieces = stream(load(model), **values)
        for _ in range(3):
            next(pieces, "")
    elif command == "corpora get":
        with site(text(b"the sea")) as server:
            Path("near.toml").write_text(catalogue_of(server.address("/sea.txt")), encoding="utf-8")
            download("sea", catalogue="near.toml", out=str(root), **values)
    elif command == "compare" or command.startswith("inspect"):
        words = [f"{flag(name)}={value}" for name, value in values.items()]
        commands.app([*command.split(), *FIRST.get(command, []), *words], standalone_mode=False)
    else:
        from charlm.data.prepare import prepare

        takers = [name for option in values for name in synthetic.takers(option)]
        values = {"size": 300, **values} if takers else values
        prepare(takers[-1] if takers else "sea.txt", out=str(root), name="q", force=True, **values)


@pytest.mark.parametrize(("command", "name", "spec"), OPTIONS, ids=lambda part: part if isinstance(part, str) else "")
def test_the_least_and_the_most_that_is_allowed_works_or_is_refused(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, spec: Spec
) -> None:
    stay_here(monkeypatch)
    corpus, model = Corpus.load("data/sea"), Path("runs/one/model.safetensors")
    for value in extreme(spec):
        assert spec.read(name, value) == value
        values = {name: value}
        if name in ("time", "epochs"):
            values["steps"] = None
        try:
            applied(command, values, corpus, model, tmp_path / "made")
        except CharlmError as error:  # such as a batch that the text is too short for, or a divergence
            assert "\n" not in str(error) and len(str(error)) < 700


HUGE = [
    (["train", "--hidden", "65536", "--layers", "64"], ["memory", "available", "--hidden"]),
    (["train", "--hidden", "65536", "--layers", "64", "--dry-run"], ["memory", "available", "--hidden"]),
    (["train", "--cell", "rnn", "--hidden", "65536", "--layers", "64", "--input", "embedding"], ["memory", "TB"]),
    (["train", "--embedding", "65536", "--input", "embedding", "--hidden", "65536"], ["memory", "--embedding"]),
    (["train", "--batch-size", "100000000"], ["--batch-size", "at most"]),
    (["train", "--seq-len", "100000000"], ["--seq-len", "at most"]),
    (["sample", "--num", "100000", "--length", "1G"], ["memory", "--num"]),
    (["sample", "--num", "100000", "--length", str(2**53)], ["memory", "--num"]),
    (["sample", "--num", "100001"], ["--num", "at most"]),
    (["eval", "sea.txt", "--batch-size", "65537"], ["--batch-size", "at most"]),
    (["eval", "sea.txt", "--threads", "4096"], ["--threads", "processors"]),
    (["prepare", "markov", "--size", str(2**53)], ["--size", "GB are free"]),
]


@pytest.mark.parametrize(("words", "wanted"), HUGE, ids=lambda part: " ".join(part)[:60])
def test_sizes_that_fit_nowhere_are_refused_before_anything_is_taken(
    house: Path, refused: Callable[..., str], words: list[str], wanted: list[str]
) -> None:
    began = time.perf_counter()
    line = refused(*words)
    assert all(part in line for part in wanted), line
    assert time.perf_counter() - began < 10
    assert sorted(path.name for path in Path("runs").iterdir()) == ["one"]


def test_scoring_many_segments_counts_its_memory(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("runs/one/model.safetensors")
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    assert score_text(model, "the sea" * 400, batch_size=1).score.characters > 2000
    for exact in (False, True):  # which scores by segments too, to say how far off that is
        with pytest.raises(UsageError, match="memory, and 0.0 GB are available; choose a smaller --batch-size"):
            score_text(model, "the sea" * 40000, batch_size=65536, exact=exact)


def test_memory_is_what_the_system_and_the_container_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, limit = tmp_path / "meminfo", tmp_path / "max"
    monkeypatch.setattr(memory, "MEMINFO", info)
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (limit,))
    installed = memory.available()
    assert installed is None or installed > 10**8
    info.write_text("MemTotal: 900 kB\nMemAvailable: 500 kB\nSwapFree: 100 kB\n")
    assert memory.available() == 600 * 1024
    limit.write_text("max\n")
    assert memory.available() == 600 * 1024
    limit.write_text("1000\n")
    assert memory.available() == 1000
    memory.check(1000, "it", "take less")
    with pytest.raises(UsageError, match=r"it needs about 1.0 TB of memory, and 0.0 GB are available; take less"):
        memory.check(10**12, "it", "take less")


CONTRADICTIONS = [
    (["train", "--steps", "5", "--epochs", "2"], "--epochs and --steps"),
    (["train", "--steps", "5", "--time", "5s"], "--time"),
    (["train", "--epochs", "5", "--time", "5s"], "--time"),
    (["train", "--resume", "one", "--init-from", "one"], "--init-from"),
    (["train", "--resume", "one", "--run", "two"], "--run"),
    (["train", "--resume", "one", "--dry-run"], "--dry-run"),
    (["train", "--resume", "one", "--hidden", "9", "--steps", "9"], "--hidden cannot change"),
    (["train", "--init-from", "one", "--dry-run"], "--init-from"),
    (["train", "--init-from", "one", "--hidden", "9"], "--hidden 9 does not fit"),
    (["train", "--cell", "lstm", "--activation", "relu"], "--activation"),
    (["train", "--device", "cpu", "--precision", "tf32"], "--precision"),
    (["train", "--patience", "3", "--eval-every", "0"], "--patience"),
    (["train", "--run", "one"], "exists"),
    (["prepare", "sea.txt", "--valid-fraction", ".6", "--test-fraction", ".6"], "--test-fraction"),
    (["prepare", "sea.txt", "--size", "100"], "--size"),
    (["prepare", "sea.txt", "--seed", "1"], "--seed"),
    (["prepare", "-", "-"], "standard input"),
    (["eval", "sea.txt", "--split", "train"], "--split"),
    (["eval", "--bits", "--json"], "--bits and --json"),
    (["eval", "sea.txt", "--exact", "--nats", "--perplexity"], "--perplexity and --nats"),
    (["sample", "--prompt", "a", "--prompt-file", "b"], "--prompt-file"),
    (["sample", "--stop", ""], "--stop"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "wanted"), CONTRADICTIONS, ids=lambda part: " ".join(part) if part[0] != "-" else "")
def test_options_that_contradict_each_other_are_refused(
    house: Path, refused: Callable[..., str], words: list[str], wanted: str
) -> None:
    assert wanted in refused(*words)


def test_a_prompt_of_a_million_characters_is_read(
    house: Path, charlm: Callable[..., tuple[int, str, str]], soak: Soak
) -> None:
    size = soak.count(50_000, 1_000_000)
    text = Path("sea.txt").read_text(encoding="utf-8")
    prompt = (text * (size // len(text) + 1))[:size]
    Path("prompt.txt").write_text(prompt, encoding="utf-8")
    took = []
    for given in (["--prompt", prompt], ["--prompt-file", "prompt.txt"]):
        began = time.perf_counter()
        code, out, err = charlm("sample", *given, "--length", "5", "--seed", "1", "--quiet")
        took.append(time.perf_counter() - began)
        assert (code, err) == (0, "") and out.startswith(prompt) and len(out) == size + 5
    assert max(took) < 120
    soak.saw("a prompt of a million characters", f"read, and gone on from, in {max(took):.1f} s by a tiny model")


def test_error_lines_are_short_whatever_was_typed(house: Path, refused: Callable[..., str]) -> None:
    for words in (["train", "x" * 10**6], ["eval", "--model", "\x1b[2J" * 10**5], ["train", "--" + "y" * 10**6]):
        line = refused(*words)
        assert len(line) < 2100 and "\x1b" not in line
