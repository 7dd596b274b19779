"""A run that was stopped, killed or finished goes on as if it never had been, bit for bit."""

from itertools import count
from pathlib import Path
from shlex import split
from typing import Any

import numpy as np
import pytest
from running import TINY, assert_same_run, assert_same_weights, interrupted, rows, stop_after

from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import CharlmError, CheckpointError, CorpusError, Interrupted, RunError, UsageError
from charlm.evaluation.evaluate import evaluate
from charlm.model import checkpoint
from charlm.model.checkpoint import read_tensors
from charlm.sampling.sample import stream
from charlm.training import run_folder, trainer
from charlm.training.events import Evaluated, Event
from charlm.training.resume import resume
from charlm.training.run_folder import shell_quoted
from charlm.training.runs import find_model
from charlm.training.train import train

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("rnn", "sigmoid"), ("rnn", "linear"), ("lstm", "tanh"), ("gru", "tanh")]
OPTIMIZERS = ["sgd", "rmsprop", "adagrad", "adam", "adamw"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("entering", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_every_combination_trains_resumes_evaluates_and_samples(
    small_corpus: Corpus, tmp_path: Path, cell: str, layers: int, entering: str, optimizer: str
) -> None:
    values = {
        **TINY,
        "cell": cell,
        "layers": layers,
        "input": entering,
        "optimizer": optimizer,
        "steps": 6,
        "dropout": 0.2,
    }
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    parts = resume(interrupted(small_corpus, tmp_path, "parts", 3, **values), corpus=small_corpus)
    assert_same_run(whole.path, parts.path)

    model = checkpoint.load(parts.model)
    found = evaluate(model, data=small_corpus.path.parent)
    assert found.score.characters == len(small_corpus.split("test")) - 1
    assert found.score.bits_per_char < np.log2(model.vocabulary.size) + 1
    text = "".join(stream(model, length=20, seed=1))
    assert len(text) == 20 and set(text) <= set(small_corpus.vocabulary.decode(range(2, model.vocabulary.size)))


@pytest.mark.cases(2)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_resumed_is_never_stopped_bit_for_bit_across_epochs(
    small_corpus: Corpus, tmp_path: Path, cell: str, activation: str, schedule: str
) -> None:
    values = {
        **TINY, "cell": cell, "activation": activation, "layers": 2, "dropout": 0.3, "weight_drop": 0.2,
        "schedule": schedule,
        "decay_after": 1, "epochs": 2.5, "batch_size": 16, "seq_len": 20, "eval_every": 7, "sample_every": 9,
        "report_every": 4, "save_every": 5, "cold_starts": 0.2,
    }  # fmt: skip
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    assert whole.step == 38
    path = interrupted(small_corpus, tmp_path, "parts", 13, **values)
    with pytest.raises(Interrupted):
        resume(path, corpus=small_corpus, stop=stop_after(9))
    assert_same_run(whole.path, resume(path, corpus=small_corpus).path)


def test_an_interrupted_run_leaves_a_model_and_says_how_to_go_on(small_corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="--resume") as caught:
        train(small_corpus, root=tmp_path, run="early", stop=stop_after(1), steps=10, **TINY)
    assert caught.value.exit_code == 130
    assert_same_weights(tmp_path / "early" / "model.safetensors", tmp_path / "early" / "last.safetensors")


def test_stopping_during_the_last_evaluation_saves_and_resuming_does_it_again(
    small_corpus: Corpus, tmp_path: Path
) -> None:
    values = {**TINY, "steps": 3, "eval_every": 0}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    with pytest.raises(Interrupted, match="--resume"):
        train(small_corpus, root=tmp_path, run="parts", stop=stop_after(3), **values)
    assert_same_run(whole.path, resume(tmp_path / "parts", corpus=small_corpus).path)


def test_a_run_can_be_resumed_from_before_its_first_step(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "steps": 4}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)

    class Killed(BaseException):
        """As a SIGKILL."""

    def killed() -> bool:
        raise Killed

    with pytest.raises(Killed):
        train(small_corpus, root=tmp_path, run="parts", stop=killed, **values)
    assert_same_run(whole.path, resume(tmp_path / "parts", corpus=small_corpus).path)


def test_a_finished_run_has_its_models_whatever_moment_it_was_killed_at(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**TINY, "steps": 4, "eval_every": 0}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)

    class Killed(BaseException):
        """As a SIGKILL."""

    for number in range(2, 9):
        writes = count()
        real = checkpoint.write_atomically

        def dying(path: Path, content: bytes, writes: Any = writes, number: int = number, real: Any = real) -> None:
            if next(writes) >= number:
                raise Killed
            real(path, content)

        name = f"killed-{number}"
        try:
            with monkeypatch.context() as patch:
                patch.setattr(checkpoint, "write_atomically", dying)
                train(small_corpus, root=tmp_path, run=name, **values)
        except Killed:
            try:
                resume(tmp_path / name, corpus=small_corpus)
            except RunError as error:
                assert "finished" in str(error)
        assert_same_run(whole.path, tmp_path / name)


def test_damaged_progress_is_refused_in_one_line(small_corpus: Corpus, tmp_path: Path) -> None:
    path = interrupted(small_corpus, tmp_path, "parts", 2, steps=6, **TINY)
    file = path / "progress.safetensors"
    arrays, words = read_tensors(file, "")
    for name, value in (
        ("step", "two"),
        ("seconds", None),
        ("best_nats", []),
        ("metrics_bytes", 1.5),
        ("row_nats", 10**400),
        ("finished", 3),
    ):
        checkpoint.write_tensors(file, arrays, {**words, "progress": {**words["progress"], name: value}})
        with pytest.raises(CheckpointError, match=name):
            resume(path, corpus=small_corpus)
    checkpoint.write_tensors(file, {k: v for k, v in arrays.items() if not k.startswith("optimizer")}, words)
    with pytest.raises(CheckpointError, match="lacks moments"):
        resume(path, corpus=small_corpus)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        resume(path, corpus=small_corpus)
    assert (path / "metrics.jsonl").read_text().count("\n") == 1


def test_a_run_that_the_clock_ended_goes_on_when_made_a_little_longer(small_corpus: Corpus, tmp_path: Path) -> None:
    ticks = count()
    values: dict[str, Any] = {"corpus": small_corpus, "clock": lambda: next(ticks) / 100}
    done = train(root=tmp_path, run="r", time=3.0, **TINY, **values)
    for seconds in (3.0, 2.9):
        with pytest.raises(RunError, match="finished"):
            resume(done.path, time=seconds, **values)
    longer = resume(done.path, time=3.2, **values)
    assert longer.step > done.step
    more = resume(done.path, steps=longer.step + 1, **values)
    assert more.step == longer.step + 1


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("runs/one", "runs/one"),
        ("one", "./one"),
        ("runs/my run", "'runs/my run'"),
        ("it's", "'./it'\"'\"'s'"),
        ("/a/b", "/a/b"),
    ],
)
def test_a_run_as_a_word_of_a_command_line_is_found_again(path: str, word: str) -> None:
    assert shell_quoted(Path(path)) == word
    (read,) = split(word)
    assert run_folder._run_path(read, Path("runs")) == Path(path)


def test_names_that_cannot_be_resumed_are_not_suggested(small_corpus: Corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="one", steps=1, **TINY)
    with pytest.raises(RunError, match="go on with it: --resume one, or choose another --run"):
        train(small_corpus, root=tmp_path, run="one", steps=1, **TINY)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    (tmp_path / "plain").write_text("x")
    for name in ("other", "plain"):
        with pytest.raises(RunError, match="exists, and no run that can go on is in it; choose another --run"):
            train(small_corpus, root=tmp_path, run=name, steps=1, **TINY)
    (done.path / "progress.safetensors").unlink()
    with pytest.raises(RunError, match="there are: none"):
        resume("one", corpus=small_corpus, root=tmp_path)
    assert find_model("one", tmp_path) == done.model
    with pytest.raises(CheckpointError, match="did you mean one"):
        find_model("ones", tmp_path)
    done.model.unlink()
    for word in ("one", done.path):
        with pytest.raises(CheckpointError, match="no best model yet; its last weights are .*last.safetensors"):
            find_model(word, tmp_path)
    (done.path / "last.safetensors").unlink()
    with pytest.raises(CheckpointError, match="there are: none"):
        find_model("one", tmp_path)


def test_the_progress_of_a_run_is_told_from_a_model(small_corpus: Corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="one", steps=1, **TINY)
    with pytest.raises(CheckpointError, match="is the progress of a run and no model"):
        checkpoint.load(done.path / "progress.safetensors")


def test_a_finished_run_says_so_and_goes_on_when_made_longer(small_corpus: Corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="short", steps=6, **TINY)
    with pytest.raises(RunError, match="finished") as caught:
        resume(done.path, corpus=small_corpus)
    assert caught.value.exit_code == 2
    more = resume(done.path, corpus=small_corpus, steps=12)
    assert more.step == 12
    assert [row["step"] for row in rows(done.path)] == sorted({row["step"] for row in rows(done.path)})


def test_going_on_compares_new_evaluations_with_the_best_on_the_same_stretch(
    small_corpus: Corpus, tmp_path: Path
) -> None:
    """A finished run judged by the whole split; going on, its best must be judged by the stretch again."""
    values = {**TINY, "eval_chars": 40, "eval_every": 4}
    done = train(small_corpus, root=tmp_path, run="short", steps=8, **values)
    seen: list[Event] = []
    resume(done.path, corpus=small_corpus, steps=60, report=seen.append)
    stretch = [event for event in seen if isinstance(event, Evaluated) and event.characters == 40]
    assert stretch and any(event.best for event in stretch)


@pytest.mark.parametrize(
    ("change", "problem"), [({"hidden": 9}, "--hidden"), ({"lr": 0.1}, "--lr"), ({"cell": "gru"}, "--cell")]
)
def test_resuming_refuses_what_would_make_another_run(
    small_corpus: Corpus, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = interrupted(small_corpus, tmp_path, "parts", 2, steps=6, **TINY)
    with pytest.raises(UsageError, match=problem):
        resume(path, corpus=small_corpus, **change)


def test_resuming_refuses_another_text(small_corpus: Corpus, tmp_path: Path) -> None:
    path = interrupted(small_corpus, tmp_path, "parts", 2, steps=6, **TINY)
    other = tmp_path / "small.txt"
    other.write_text("another text than before " * 300)
    changed = prepare(other, out=str(tmp_path / "data"))
    with pytest.raises(CorpusError, match="not the corpus"):
        resume(path, corpus=changed)


def test_a_kill_between_the_progress_and_the_best_model_is_mended(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**TINY, "steps": 12, "eval_every": 4}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)

    class Killed(BaseException):
        """As a SIGKILL: nothing runs after it."""

    def killed(self: trainer.Trainer) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save_best", killed)
        with pytest.raises(Killed):
            train(small_corpus, root=tmp_path, run="parts", **values)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "torn')
    assert_same_run(whole.path, resume(tmp_path / "parts", corpus=small_corpus).path)


def test_a_full_disk_is_one_error_and_leaves_whole_files(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted(small_corpus, tmp_path, "parts", 4, steps=20, **TINY)
    before = {file.name: file.read_bytes() for file in path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charlm.files.os.fsync", full)
    with pytest.raises(CharlmError, match="No space left") as caught:
        resume(path, corpus=small_corpus)
    assert caught.value.exit_code == 1
    assert {name: (path / name).read_bytes() for name in before if name.endswith("safetensors")} == {
        name: content for name, content in before.items() if name.endswith("safetensors")
    }
    assert {file.name for file in path.iterdir()} == set(before)
