"""A run learns, keeps the best, reports what was asked for, and is disturbed by nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import TINY, assert_same_run, assert_same_weights, rows

from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import CorpusError, DivergedError, RunError, UsageError
from charlm.evaluation.evaluate import evaluate
from charlm.model import checkpoint
from charlm.model.network import Network
from charlm.tokenizers.vocabulary import BOUNDARY
from charlm.training.events import Event, Notice, Result, Sampled, Stepped
from charlm.training.resume import resume
from charlm.training.train import plan, train
from charlm.training.trainer import Trainer


def test_windows_begin_cold_as_often_as_asked(
    small_text: Path, small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the zero state; after a boundary where no document ends within the train split."""
    lines = prepare(small_text, out=str(tmp_path / "data"), documents="line")
    for corpus, first in ((small_corpus, BOUNDARY), (lines, None)):
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        forward = Network.forward

        def spy(
            self: Network, ids: torch.Tensor, states: Any, *more: Any, seen: Any = seen, forward: Any = forward
        ) -> Any:
            if self.training:
                seen.append((ids.clone(), states[0][0].clone()))
            return forward(self, ids, states, *more)

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
    for changes in ({}, {"steps": 500}, {"steps": 400}, {"patience": 2}):
        with pytest.raises(RunError, match="finished .patience.* a larger --patience"):
            resume(result.path, corpus=small_corpus, **changes)
    longer = resume(result.path, corpus=small_corpus, steps=600)
    assert longer.stopped == "patience" and longer.step == result.step + 6
    larger = resume(result.path, corpus=small_corpus, patience=5)
    assert larger.stopped == "patience" and larger.step == longer.step + 4
    short = resume(result.path, corpus=small_corpus, patience=0, steps=larger.step + 1)
    assert short.stopped == "finished" and short.step == larger.step + 1
    with pytest.raises(RunError, match="--epochs, --steps or --time$"):
        resume(result.path, corpus=small_corpus, patience=7)


def test_learning_beats_the_alphabet_on_text_that_can_be_learned(small_corpus: Corpus, tmp_path: Path) -> None:
    result = train(small_corpus, root=tmp_path, cell="gru", hidden=48, batch_size=8, seq_len=32, epochs=12, lr=0.01)
    assert result.valid_nats is not None and result.valid_nats < 1.2


def test_patience_needs_evaluations(small_corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--eval-every 0"):
        train(small_corpus, root=tmp_path, patience=2, **{**TINY, "eval_every": 0})


def test_a_model_of_bytes_is_no_start_for_one_of_characters(small_text: Path, tmp_path: Path) -> None:
    made = [prepare(small_text, out=str(tmp_path / unit), unit=unit) for unit in ("byte", "char")]
    done = train(made[0], root=tmp_path, run="bytes", steps=1, **TINY)
    with pytest.raises(UsageError, match="--unit byte"):
        train(made[1], root=tmp_path, init_from=done.model, steps=1, batch_size=4, seq_len=16)


def test_dropped_weights_change_what_is_learned_but_not_how_a_model_is_scored(
    small_corpus: Corpus, tmp_path: Path
) -> None:
    values = {**TINY, "steps": 6, "dropout": 0.0}
    plain = train(small_corpus, root=tmp_path, run="plain", **values)
    dropped = train(small_corpus, root=tmp_path, run="dropped", weight_drop=0.5, **values)
    name = "layers.0.weight_hh"
    assert not np.array_equal(checkpoint.load(plain.model).weights[name], checkpoint.load(dropped.model).weights[name])
    scores = [
        evaluate(checkpoint.load(dropped.model), data=small_corpus.path.parent, split="valid").score for _ in range(2)
    ]
    assert scores[0] == scores[1] and scores[0].nats_per_char == pytest.approx(dropped.valid_nats, abs=1e-9)


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


def test_runs_are_numbered_and_never_overwritten(small_corpus: Corpus, tmp_path: Path) -> None:
    names = [train(small_corpus, root=tmp_path, steps=1, **TINY).path.name for _ in range(3)]
    assert names == ["small-lstm-1x8", "small-lstm-1x8-2", "small-lstm-1x8-3"]
    with pytest.raises(RunError, match="--resume"):
        train(small_corpus, root=tmp_path, run="small-lstm-1x8", steps=1, **TINY)


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
    shared = set(old.vocabulary.codes.tolist()) & set(new.vocabulary.codes.tolist())
    assert len(shared) > 5
    for code in shared:
        there, here = (int(symbols.encode(np.array([code]))[0]) for symbols in (old.vocabulary, new.vocabulary))
        assert np.allclose(old.weights["readout.weight"][there], new.weights["readout.weight"][here], atol=1e-6)
        column_there, column_here = (
            old.weights["layers.0.weight_ih"][:, there],
            new.weights["layers.0.weight_ih"][:, here],
        )
        assert np.allclose(column_there, column_here, atol=1e-6)
    assert np.allclose(old.weights["layers.0.weight_hh"], new.weights["layers.0.weight_hh"], atol=1e-6)
    told = next(event.text for event in seen if isinstance(event, Notice) and "matched" in event.text)
    assert "'Z' (U+005A)" in told
    with pytest.raises(UsageError, match="--hidden"):
        train(corpus, root=tmp_path, init_from=done.model, hidden=9, steps=1)


def test_a_corpus_without_a_valid_split_keeps_the_latest(small_text: Path, tmp_path: Path) -> None:
    corpus = prepare(small_text, out=str(tmp_path / "data"), valid_fraction=0, test_fraction=0)
    seen: list[Event] = []
    done = train(corpus, root=tmp_path, run="all", steps=5, report=seen.append, **TINY)
    assert done.valid_nats is None
    assert any(isinstance(event, Notice) and "no valid split" in event.text for event in seen)
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
    assert planned.used + planned.dropped == len(small_corpus.split("train")) - 1
    assert planned.steps == 3 * planned.batches_per_epoch and milliseconds > 0


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
    assert any(isinstance(event, Notice) and "short" in event.text for event in seen)


def test_a_model_that_is_worse_than_guessing_is_warned_of(small_corpus: Corpus, tmp_path: Path) -> None:
    notices: list[str] = []

    def report(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    values = {**TINY, "steps": 6, "optimizer": "sgd", "clip_norm": 1.0, "warmup": 0, "schedule": "constant"}
    worse = train(small_corpus, root=tmp_path, run="worse", report=report, lr=300.0, **values)
    assert worse.valid_nats is not None and worse.valid_nats > np.log(small_corpus.vocabulary.size)
    (warning,) = [line for line in notices if line.startswith("warning: ")]
    assert "worse than guessing" in warning and "--lr 1e+02" in warning
    notices.clear()
    train(small_corpus, root=tmp_path, run="better", report=report, **{**TINY, "steps": 60})
    assert not any("worse than guessing" in line for line in notices)


def test_timing_slow_steps_ends(small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of steps that take a minute by the clock, one warms up and one is timed."""
    taken: list[int] = []
    train_batch = Trainer.train_batch

    def slow(self: Trainer, fraction_done: float) -> None:
        taken.append(1)
        train_batch(self, fraction_done)
        now[0] += 60.0

    now = [0.0]
    monkeypatch.setattr(Trainer, "train_batch", slow)
    monkeypatch.setattr("charlm.training.train.time.perf_counter", lambda: now[0])
    _, milliseconds = plan(small_corpus, measure=5, hidden=4, layers=1, batch_size=4, seq_len=8)
    assert len(taken) == 2 and milliseconds == 60_000
