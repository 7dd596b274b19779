"""A run: trains, resumes bit for bit, keeps the best, lands on its time, and is disturbed by nothing."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.errors import CharlmError, CheckpointError, CorpusError, DivergedError, Interrupted, RunError, UsageError
from charlm.learn import landing, loop
from charlm.learn.reports import Evaluated, Event, Noted, Result, Sampled, Stepped
from charlm.learn.schedule import FLOOR
from charlm.learn.train import plan, resume, train
from charlm.model import checkpoint
from charlm.model.checkpoint import read_tensors
from charlm.model.network import Network
from charlm.text.corpus import Corpus
from charlm.text.prepare import prepare
from charlm.text.symbols import BOUNDARY
from charlm.use.evaluate import evaluate
from charlm.use.sample import stream

TINY: dict[str, Any] = {
    "hidden": 8,
    "batch_size": 4,
    "seq_len": 16,
    "report_every": 2,
    "eval_every": 3,
    "sample_every": 0,
}
ROUGH = {"optimizer": "sgd", "schedule": "constant"}
CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("rnn", "sigmoid"), ("rnn", "linear"), ("lstm", "tanh"), ("gru", "tanh")]
OPTIMIZERS = ["sgd", "rmsprop", "adagrad", "adam", "adamw"]
WALL_CLOCK = {"seconds", "chars_per_second"}


def stop_after(steps: int) -> Callable[[], bool]:
    """Asked once before every step: true once `steps` of them were let through."""
    asked = count()
    return lambda: next(asked) >= steps


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = checkpoint.load(one).weights, checkpoint.load(other).weights
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name


def assert_same_run(one: Path, other: Path) -> None:
    """Everything a run leaves is equal, but for what a clock measured."""
    assert_same_weights(one / "last.safetensors", other / "last.safetensors")
    assert_same_weights(one / "model.safetensors", other / "model.safetensors")
    first, second = (read_tensors(path / "progress.safetensors", "")[0] for path in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name
    assert rows(one) == rows(other)
    if (one / "samples.txt").exists() or (other / "samples.txt").exists():
        assert (one / "samples.txt").read_text() == (other / "samples.txt").read_text()


def rows(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in WALL_CLOCK} for row in found]


def interrupted(corpus: Corpus, root: Path, name: str, after: int, **values: Any) -> Path:
    with pytest.raises(Interrupted):
        train(corpus, root=root, run=name, stop=stop_after(after), **values)
    return root / name


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
    assert found.score.bits_per_char < np.log2(model.symbols.size) + 1
    text = "".join(stream(model, length=20, seed=1))
    assert len(text) == 20 and set(text) <= set(small_corpus.symbols.decode(range(2, model.symbols.size)))


@pytest.mark.parametrize(("cell", "activation"), CELLS)
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_resumed_is_never_stopped_bit_for_bit_across_epochs(
    small_corpus: Corpus, tmp_path: Path, cell: str, activation: str, schedule: str
) -> None:
    values = {
        **TINY, "cell": cell, "activation": activation, "layers": 2, "dropout": 0.3, "schedule": schedule,
        "decay_after": 1, "epochs": 2.5, "batch_size": 16, "seq_len": 20, "eval_every": 7, "sample_every": 9,
        "report_every": 4, "save_every": 5, "cold_starts": 0.2,
    }  # fmt: skip
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    assert whole.step == 38
    path = interrupted(small_corpus, tmp_path, "parts", 13, **values)
    with pytest.raises(Interrupted):
        resume(path, corpus=small_corpus, stop=stop_after(9))
    assert_same_run(whole.path, resume(path, corpus=small_corpus).path)


def test_windows_begin_cold_as_often_as_asked(
    small_text: Path, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the zero state; after a boundary where no document ends within the train split."""
    lines = prepare(small_text, out=str(tmp_path / "data"), documents="line")
    for corpus, first in ((small_corpus, BOUNDARY), (lines, None)):
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        forward = Network.forward

        def spy(
            self: Network, ids: torch.Tensor, states: Any, drop: Any = None, seen: Any = seen, forward: Any = forward
        ) -> Any:
            if self.training:
                seen.append((ids.clone(), states[0][0].clone()))
            return forward(self, ids, states, drop)

        with monkeypatch.context() as patch:
            patch.setattr(Network, "forward", spy)
            train(corpus, root=tmp_path, steps=20, cold_starts=0.3, **{**TINY, "eval_every": 0})
        steps = seen[1:20]
        cold = torch.stack([(state == 0).all(1) for _, state in steps])
        assert 0.1 < cold.double().mean() < 0.5
        begins = torch.stack([ids[0] for ids, _ in steps])[cold]
        assert bool((begins == BOUNDARY).all()) == (first == BOUNDARY)


def test_evaluating_sampling_and_saving_change_nothing(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "steps": 24, "dropout": 0.3}
    often = {"eval_every": 1, "sample_every": 2, "save_every": 1, "report_every": 1}
    never = {"eval_every": 0, "sample_every": 0, "save_every": 0, "report_every": 0}
    first = train(small_corpus, root=tmp_path, run="often", **{**values, **often})
    second = train(small_corpus, root=tmp_path, run="never", **{**values, **never})
    assert_same_weights(first.path / "last.safetensors", second.path / "last.safetensors")


def test_the_model_is_the_best_of_all_evaluations(small_corpus: Corpus, tmp_path: Path) -> None:
    """With a rate that ruins what was learned, the last model is worse than an earlier one."""
    values = {
        **TINY,
        "steps": 120,
        "optimizer": "sgd",
        "lr": 30.0,
        "schedule": "constant",
        "eval_every": 5,
        "warmup": 100,
    }
    result = train(small_corpus, root=tmp_path, run="rough", **values)
    found = [row["valid_nats"] for row in rows(result.path) if "valid_nats" in row]
    assert result.valid_nats == min(found) < found[-1]
    again = evaluate(checkpoint.load(result.model), split="valid", data=small_corpus.path.parent)
    assert again.score.nats_per_char == pytest.approx(min(found), abs=1e-6)
    assert checkpoint.read_header(result.model).training["step"] == result.best_step < 120


def test_the_whole_valid_split_decides_between_best_and_last(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "steps": 40, "eval_every": 5, "eval_chars": 50}
    result = train(small_corpus, root=tmp_path, run="stretch", **values)
    assert result.valid_characters == len(small_corpus.split("valid")) - 1
    judged = {
        name: evaluate(
            checkpoint.load(result.path / name), split="valid", data=small_corpus.path.parent
        ).score.nats_per_char
        for name in ("model.safetensors", "last.safetensors")
    }
    assert judged["model.safetensors"] == pytest.approx(result.valid_nats, abs=1e-6)
    assert judged["model.safetensors"] <= judged["last.safetensors"] + 1e-9


def test_patience_stops_after_so_many_worse_evaluations(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {
        **TINY,
        "steps": 500,
        "optimizer": "sgd",
        "lr": 300.0,
        "schedule": "constant",
        "eval_every": 2,
        "patience": 3,
    }
    result = train(small_corpus, root=tmp_path, run="rough", **values)
    assert result.stopped == "patience" and result.step < 500
    found = [row["valid_nats"] for row in rows(result.path) if "valid_nats" in row]
    assert found.index(min(found)) <= len(found) - 4
    with pytest.raises(RunError, match="patience"):
        resume(result.path, corpus=small_corpus)


def test_learning_beats_the_alphabet_on_text_that_can_be_learned(small_corpus: Corpus, tmp_path: Path) -> None:
    result = train(small_corpus, root=tmp_path, cell="gru", hidden=48, batch_size=8, seq_len=32, epochs=12, lr=0.01)
    assert result.valid_nats is not None and result.valid_nats < 1.2


class Ticking:
    """A clock on which every look takes a thousandth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.mark.parametrize("budget", [1.0, 2.0])
def test_a_run_by_the_clock_lands_on_it_and_its_rate_with_it(
    small_corpus: Corpus, tmp_path: Path, budget: float
) -> None:
    clock = Ticking()
    values = {**TINY, "time": budget, "warmup": 0}
    result = train(small_corpus, root=tmp_path, run="timed", clock=clock, started=0.0, **values)
    assert result.seconds == pytest.approx(budget, rel=0.05)
    assert clock.now == pytest.approx(budget, rel=0.05)
    last = rows(result.path)[-1]
    assert last["learning_rate"] == pytest.approx(0.005 * FLOOR, rel=0.1)


class Charging:
    """A clock that moves by what training steps and scored characters cost, and by nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float, character: float) -> None:
        self.now = 0.0
        self._step = step
        score = loop.score

        def charged(*words: Any, **named: Any) -> Any:
            result = score(*words, **named)
            self.now += result.characters * character
            return result

        monkeypatch.setattr(loop, "score", charged)

    def __call__(self) -> float:
        return self.now

    def report(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self.now += self._step


@pytest.mark.parametrize(("step", "character"), [(0.01, 0.001), (0.5, 0.0005), (0.002, 0.01), (0.3, 0.0)])
def test_a_run_by_the_clock_lands_whatever_steps_and_evaluations_cost(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, character: float
) -> None:
    """A valid split that would take longer than it may is read in part, which is said."""
    clock = Charging(monkeypatch, step, character)
    monkeypatch.setattr(landing, "WRITING_SPEED", 1e30)
    seen: list[Event] = []

    def report(event: Event) -> None:
        clock.report(event)
        seen.append(event)

    values = {**TINY, "time": 20.0, "eval_every": 1000}
    result = train(small_corpus, root=tmp_path, run="timed", clock=clock, started=0.0, report=report, **values)
    assert result.seconds == pytest.approx(20.0, rel=0.05)
    short = any(isinstance(event, Noted) and "no time" in event.text for event in seen)
    assert short == (result.valid_characters < len(small_corpus.split("valid")) - 1)


def test_a_time_that_is_over_at_once_still_takes_a_step(small_corpus: Corpus, tmp_path: Path) -> None:
    clock = Ticking()
    result = train(small_corpus, root=tmp_path, run="late", clock=clock, started=-50.0, time=1.0, **TINY)
    assert result.step == 1 and result.valid_nats is not None


def test_a_run_by_an_injected_clock_resumes_bit_for_bit(small_corpus: Corpus, tmp_path: Path) -> None:
    """With a clock that follows the steps, even the schedule by time is the same after a stop."""

    class BySteps:
        seconds = 0.0

        def __call__(self) -> float:
            return self.seconds

        def report(self, event: Event) -> None:
            if isinstance(event, Stepped):
                self.seconds += 0.1

    values = {**TINY, "time": 3.0}
    one, two, three = BySteps(), BySteps(), BySteps()
    whole = train(small_corpus, root=tmp_path, run="whole", clock=one, started=0.0, report=one.report, **values)
    with pytest.raises(Interrupted):
        more = {"clock": two, "started": 0.0, "report": two.report, "stop": stop_after(11)}
        train(small_corpus, root=tmp_path, run="parts", **more, **values)
    parts = resume(tmp_path / "parts", corpus=small_corpus, clock=three, started=0.0, report=three.report)
    assert whole.step == parts.step
    assert_same_weights(whole.path / "last.safetensors", parts.path / "last.safetensors")


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


def test_patience_needs_evaluations(small_corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--eval-every 0"):
        train(small_corpus, root=tmp_path, patience=2, **{**TINY, "eval_every": 0})


def test_damaged_progress_is_refused_in_one_line(small_corpus: Corpus, tmp_path: Path) -> None:
    path = interrupted(small_corpus, tmp_path, "parts", 2, steps=6, **TINY)
    file = path / "progress.safetensors"
    arrays, words = read_tensors(file, "")
    for name, value in (("step", "two"), ("seconds", None), ("best_nats", []), ("metrics_bytes", 1.5), ("finished", 3)):
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


def test_a_model_of_bytes_is_no_start_for_one_of_characters(small_text: Path, tmp_path: Path) -> None:
    made = [prepare(small_text, out=str(tmp_path / unit), unit=unit) for unit in ("byte", "char")]
    done = train(made[0], root=tmp_path, run="bytes", steps=1, **TINY)
    with pytest.raises(UsageError, match="--unit byte"):
        train(made[1], root=tmp_path, init_from=done.model, steps=1, batch_size=4, seq_len=16)


def test_divergence_is_never_applied_and_the_best_is_kept(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {
        **TINY, "cell": "rnn", "activation": "linear", "optimizer": "sgd", "lr": 500.0, "clip_norm": 0.0,
        "steps": 400, "eval_every": 1, "save_every": 1, "schedule": "constant", "warmup": 2000, "dropout": 0.0,
    }  # fmt: skip
    with pytest.raises(DivergedError, match=r"--lr .* --clip-norm 1") as caught:
        train(small_corpus, root=tmp_path, run="wild", **values)
    assert caught.value.exit_code == 3
    for name in ("model.safetensors", "last.safetensors"):
        weights = checkpoint.load(tmp_path / "wild" / name).weights
        assert all(np.isfinite(weight).all() for weight in weights.values())
    best = min(row["valid_nats"] for row in rows(tmp_path / "wild") if np.isfinite(row.get("valid_nats", np.nan)))
    assert checkpoint.read_header(tmp_path / "wild" / "model.safetensors").training["valid_nats"] == best


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


def test_runs_are_numbered_and_never_overwritten(small_corpus: Corpus, tmp_path: Path) -> None:
    names = [train(small_corpus, root=tmp_path, steps=1, **TINY).path.name for _ in range(3)]
    assert names == ["small-lstm-1x8", "small-lstm-1x8-2", "small-lstm-1x8-3"]
    with pytest.raises(RunError, match="--resume"):
        train(small_corpus, root=tmp_path, run="small-lstm-1x8", steps=1, **TINY)


def test_a_kill_between_the_progress_and_the_best_model_is_mended(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**TINY, "steps": 12, "eval_every": 4}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)

    class Killed(BaseException):
        """As a SIGKILL: nothing runs after it."""

    def killed(self: loop.Trainer) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_save_best", killed)
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


def test_starting_from_a_model_matches_symbols_by_character(small_corpus: Corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="old", steps=4, **TINY)
    text = tmp_path / "new.txt"
    text.write_text("Zwei and some of the old letters, zwei: " * 60)
    corpus = prepare(text, out=str(tmp_path / "data"), valid_fraction=0.1, test_fraction=0)
    seen: list[Event] = []
    begun = train(
        corpus,
        root=tmp_path,
        run="new",
        init_from=done.model,
        steps=1,
        lr=1e-12,
        report=seen.append,
        batch_size=4,
        seq_len=16,
    )
    old, new = checkpoint.load(done.model), checkpoint.load(begun.model)
    shared = set(old.symbols.codes.tolist()) & set(new.symbols.codes.tolist())
    assert len(shared) > 5
    for code in shared:
        there, here = (int(symbols.encode(np.array([code]))[0]) for symbols in (old.symbols, new.symbols))
        assert np.allclose(old.weights["readout.weight"][there], new.weights["readout.weight"][here], atol=1e-6)
        column_there, column_here = (
            old.weights["layers.0.weight_ih"][:, there],
            new.weights["layers.0.weight_ih"][:, here],
        )
        assert np.allclose(column_there, column_here, atol=1e-6)
    assert np.allclose(old.weights["layers.0.weight_hh"], new.weights["layers.0.weight_hh"], atol=1e-6)
    told = next(event.text for event in seen if isinstance(event, Noted) and "matched" in event.text)
    assert "'Z' (U+005A)" in told
    with pytest.raises(UsageError, match="--hidden"):
        train(corpus, root=tmp_path, init_from=done.model, hidden=9, steps=1)


def test_a_corpus_without_a_valid_split_keeps_the_latest(small_text: Path, tmp_path: Path) -> None:
    corpus = prepare(small_text, out=str(tmp_path / "data"), valid_fraction=0, test_fraction=0)
    seen: list[Event] = []
    done = train(corpus, root=tmp_path, run="all", steps=5, report=seen.append, **TINY)
    assert done.valid_nats is None
    assert any(isinstance(event, Noted) and "no valid split" in event.text for event in seen)
    assert_same_weights(done.model, done.path / "last.safetensors")


def test_a_plan_says_what_a_run_does_and_writes_nothing(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned, milliseconds = plan(small_corpus, epochs=3, **TINY)
    assert list(tmp_path.iterdir()) == []
    done = train(small_corpus, root=tmp_path, run="real", epochs=3, **TINY)
    header = checkpoint.read_header(done.model)
    assert (planned.steps, planned.parameters) == (done.step, header.parameters)
    assert planned.used + planned.left_over == len(small_corpus.split("train")) - 1
    assert planned.steps == 3 * planned.windows and milliseconds > 0


def test_reports_come_when_asked_and_the_last_step_always(small_corpus: Corpus, tmp_path: Path) -> None:
    seen: list[Event] = []
    values = {**TINY, "report_every": 4, "eval_every": 0, "sample_every": 5}
    done = train(small_corpus, root=tmp_path, run="told", steps=10, report=seen.append, **values)
    assert [row["step"] for row in rows(done.path)] == [4, 8, 10]
    assert [event.step for event in seen if isinstance(event, Stepped) and event.due] == [4, 8]
    assert [event.step for event in seen if isinstance(event, Sampled)] == [5, 10]
    assert isinstance(seen[-1], Result)
    mean = rows(done.path)[0]["train_nats"]
    steps = [event.nats for event in seen if isinstance(event, Stepped)]
    assert mean == pytest.approx(np.mean(steps[:4]), rel=1e-6)


def test_the_saved_configuration_makes_the_same_run(small_corpus: Corpus, tmp_path: Path) -> None:
    from charlm.config import TrainOptions, read_config

    done = train(small_corpus, root=tmp_path, run="first", steps=5, **TINY)
    values = read_config(done.path / "config.toml", "train", TrainOptions)
    again = train(small_corpus, root=tmp_path, run="second", **values)
    assert_same_run(done.path, again.path)
    assert done.model.read_bytes() == again.model.read_bytes()


def test_another_seed_is_another_run(small_corpus: Corpus, tmp_path: Path) -> None:
    one, other = (train(small_corpus, root=tmp_path, steps=2, seed=seed, **TINY) for seed in (1, 2))
    weights = (checkpoint.load(run.model).weights["readout.weight"] for run in (one, other))
    assert not np.array_equal(*weights)


def test_bfloat16_trains_on_the_cpu_and_tf32_is_refused_there(small_corpus: Corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="half", steps=6, precision="bfloat16", device="cpu", **TINY)
    assert done.valid_nats is not None and np.isfinite(done.valid_nats)
    with pytest.raises(UsageError, match="tf32"):
        train(small_corpus, root=tmp_path, run="tf32", steps=1, precision="tf32", device="cpu", **TINY)


def test_a_text_too_short_names_what_fits_and_automatic_sizes_shrink(tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("so little to learn from, and yet " * 6)
    corpus = prepare(text, out=str(tmp_path / "data"), valid_fraction=0.2, test_fraction=0)
    with pytest.raises(CorpusError, match="--seq-len"):
        train(corpus, root=tmp_path, batch_size=64, seq_len=64, steps=1, hidden=4)
    seen: list[Event] = []
    done = train(corpus, root=tmp_path, steps=2, hidden=4, report=seen.append)
    assert done.step == 2
    assert any(isinstance(event, Noted) and "short" in event.text for event in seen)
