"""A run by the clock lands on it, whatever things cost."""

from pathlib import Path
from typing import Any

import pytest
from running import TINY, BySteps, assert_same_weights, rows, stop_after

from charlm.data.corpus import Corpus
from charlm.errors import Interrupted
from charlm.evaluation import scoring
from charlm.training import time_budget
from charlm.training.events import Event, Notice, Stepped
from charlm.training.resume import resume
from charlm.training.schedule import FINAL_RATE_SHARE
from charlm.training.train import train


class Ticking:
    """A clock on which every look takes a thousandth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.mark.cases(1)
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
    assert last["learning_rate"] == pytest.approx(0.008 * FINAL_RATE_SHARE, rel=0.1)


class Charging:
    """A clock that moves by what training steps and scored characters cost, and by nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float, character: float) -> None:
        self.now = 0.0
        self._step = step
        score = scoring.score

        def charged(*words: Any, **named: Any) -> Any:
            result = score(*words, **named)
            self.now += result.characters * character
            return result

        monkeypatch.setattr(scoring, "score", charged)

    def __call__(self) -> float:
        return self.now

    def report(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self.now += self._step


@pytest.mark.cases(2)
@pytest.mark.parametrize(("step", "character"), [(0.01, 0.001), (0.5, 0.0005), (0.002, 0.01), (0.3, 0.0)])
def test_a_run_by_the_clock_lands_whatever_steps_and_evaluations_cost(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, character: float
) -> None:
    """A valid split that would take longer than it may is read in part, which is said."""
    clock = Charging(monkeypatch, step, character)
    monkeypatch.setattr(time_budget, "ASSUMED_DISK_SPEED", 1e30)
    seen: list[Event] = []

    def report(event: Event) -> None:
        clock.report(event)
        seen.append(event)

    values = {**TINY, "time": 10.0, "eval_every": 1000}
    result = train(small_corpus, root=tmp_path, run="timed", clock=clock, started=0.0, report=report, **values)
    assert result.seconds == pytest.approx(10.0, rel=0.05)
    short = any(isinstance(event, Notice) and "no time" in event.text for event in seen)
    assert short == (result.valid_characters < len(small_corpus.split("valid")) - 1)


def test_a_time_that_is_over_at_once_still_takes_a_step(small_corpus: Corpus, tmp_path: Path) -> None:
    clock = Ticking()
    result = train(small_corpus, root=tmp_path, run="late", clock=clock, started=-50.0, time=1.0, **TINY)
    assert result.step == 1 and result.valid_nats is not None


def test_a_run_by_an_injected_clock_resumes_bit_for_bit(small_corpus: Corpus, tmp_path: Path) -> None:
    """With a clock that follows the steps, even the schedule by time is the same after a stop."""
    values = {**TINY, "time": 3.0}
    one, two, three = BySteps(), BySteps(), BySteps()
    whole = train(small_corpus, root=tmp_path, run="whole", clock=one, started=0.0, report=one.report, **values)
    with pytest.raises(Interrupted):
        more = {"clock": two, "started": 0.0, "report": two.report, "stop": stop_after(11)}
        train(small_corpus, root=tmp_path, run="parts", **more, **values)
    parts = resume(tmp_path / "parts", corpus=small_corpus, clock=three, started=0.0, report=three.report)
    assert whole.step == parts.step
    assert_same_weights(whole.path / "last.safetensors", parts.path / "last.safetensors")
