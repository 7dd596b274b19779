"""The speed of a run counts what was waited for, whenever that was."""

import pytest

from charlm.training.time_budget import Throughput


def test_steps_that_are_done_at_once_are_counted_one_by_one() -> None:
    timing = Throughput(0.0)
    for _ in range(10):
        timing.launched(100, 0.5)
        timing.count()
    assert (timing.steps, timing.characters, timing.training) == (10, 1000, 5.0)
    assert timing.speed() == pytest.approx(200)


def test_steps_that_are_read_together_have_the_speed_of_all_they_took() -> None:
    """Asking took 5 ms a step, and the wait for sixteen of them the rest of 20 ms each."""
    timing = Throughput(0.0)
    for _ in range(5):
        for _ in range(16):
            timing.launched(1000, 0.005)
        assert timing.steps % 16 == 0, "not done before they were waited for"
        timing.synced(16 * 0.015)
    assert (timing.steps, timing.characters) == (80, 80_000)
    assert timing.training == pytest.approx(80 * 0.020)
    assert timing.speed() == pytest.approx(1000 / 0.020)


def test_recent_speed_follows_a_change() -> None:
    timing = Throughput(0.0)
    for seconds in [1.0] * 100 + [0.1] * 200:
        timing.launched(10, seconds)
        timing.count()
    assert 90 < timing.speed() <= 100


def test_waiting_for_nothing_counts_nothing() -> None:
    timing = Throughput(0.0)
    timing.count()
    assert timing.steps == 0 and timing.speed() == 0
