"""A run stopped at any step goes on bit for bit, and nothing that looks at it on the way changes it."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import TINY, BySteps, assert_same_run, assert_same_weights, stop_after
from soaking import Soak

from charlm.data.corpus import Corpus
from charlm.errors import Interrupted
from charlm.training.events import Result
from charlm.training.resume import resume
from charlm.training.train import train

CELLS = ("rnn", "lstm", "gru")
OPTIMIZERS = ("sgd", "rmsprop", "adagrad", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine")
LENGTHS: tuple[dict[str, Any], ...] = ({"steps": 24}, {"epochs": 1.6}, {"time": 3.0})
ALL = [
    (cell, optimizer, schedule, length)
    for length in LENGTHS
    for schedule in SCHEDULES
    for optimizer in OPTIMIZERS
    for cell in CELLS
]


def watched(clock: BySteps) -> dict[str, Any]:
    return {"clock": clock, "started": 0.0, "report": clock.report}


def test_a_run_stopped_at_any_step_goes_on_bit_for_bit(small_corpus: Corpus, tmp_path: Path, soak: Soak) -> None:
    """Every cell, optimiser, schedule and kind of length, across epochs; `--time` has a clock that follows steps."""
    random = Random(4)
    stops, tried = soak.count(1, 6), soak.count(4, len(ALL))
    for number, (cell, optimizer, schedule, length) in enumerate(random.sample(ALL, tried)):
        values: dict[str, Any] = {
            **TINY, "batch_size": 16, "seq_len": 20, "cell": cell, "optimizer": optimizer, "schedule": schedule,
            "dropout": 0.2, "decay_after": 1, "eval_every": 5, "sample_every": 7, "cold_starts": 0.1, **length,
        }  # fmt: skip
        whole = train(small_corpus, root=tmp_path, run=f"whole-{number}", **watched(BySteps()), **values)
        assert whole.step > 20
        for step in random.sample(range(whole.step), stops):
            name = f"stopped-{number}-{step}"
            with pytest.raises(Interrupted):
                train(small_corpus, root=tmp_path, run=name, stop=stop_after(step), **watched(BySteps()), **values)
            parts = resume(name, root=tmp_path, corpus=small_corpus, **watched(BySteps()))
            assert parts.step == whole.step
            assert_same_run(whole.path, parts.path)
    soak.saw(
        "stopping at random steps, and `--resume`: every cell × optimiser × schedule × kind of length",
        f"{tried} of {len(ALL)} combinations, {stops} steps of each: the same weights, rows and samples, bit for bit",
    )


def test_whatever_looks_at_a_run_changes_nothing_in_it(small_corpus: Corpus, tmp_path: Path, soak: Soak) -> None:
    """Evaluations, samples, saves and reports, however often."""
    tried = soak.count(6, 300)

    def trained(name: str, cell: str, **every: int) -> Result:
        values = {**TINY, "steps": 14, "dropout": 0.3, "cell": cell, **every}
        return train(small_corpus, root=tmp_path, run=name, **values)

    never = {"eval_every": 0, "sample_every": 0, "save_every": 0, "report_every": 0}
    alone = {cell: trained(cell, cell, **never) for cell in CELLS}
    often = st.integers(0, 15)
    seen: list[str] = []

    @settings(max_examples=tried, deadline=None, database=None)
    @given(cell=st.sampled_from(CELLS), eval_every=often, sample_every=often, save_every=often, report_every=often)
    def holds(cell: str, **every: int) -> None:
        run = trained(f"looked-at-{len(seen)}", cell, **every)
        seen.append(run.path.name)
        assert_same_weights(alone[cell].path / "last.safetensors", run.path / "last.safetensors")

    holds()
    soak.saw(
        "random `--eval-every`, `--sample-every`, `--save-every` and `--report-every`",
        f"{len(seen)} runs with the last weights of one that is never looked at",
    )
