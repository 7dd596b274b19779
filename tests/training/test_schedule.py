"""The rate rises, holds or falls as the option's help says, as a function of the share that is done."""

from math import cos, pi

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.config import TrainOptions
from charlm.training.schedule import FINAL_RATE_SHARE, RunLength, learning_rate


def options(**values):
    return TrainOptions(**{"lr": 0.1, "warmup": 0, **values})


def test_warm_up_rises_linearly_and_reaches_the_full_rate_on_its_last_step():
    chosen = options(schedule="constant", warmup=4)
    assert [learning_rate(chosen, step, 0.0, 0.0) for step in range(6)] == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    )


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert learning_rate(options(schedule="constant"), 0, 0.0, 0.0) == 0.1
    assert learning_rate(options(schedule="cosine"), 0, 0.0, 0.0) == pytest.approx(0.1)


def test_constant_rate_depends_on_neither_epoch_nor_share():
    assert {
        learning_rate(options(schedule="constant"), 7, epoch, share) for epoch in (0, 30.5) for share in (0, 0.5, 1)
    } == {0.1}


def test_cosine_falls_along_half_a_cosine_and_lands_on_its_floor():
    chosen = options(schedule="cosine")
    assert learning_rate(chosen, 9, 3.0, 1.0) == pytest.approx(0.1 * FINAL_RATE_SHARE, rel=1e-12)
    assert learning_rate(chosen, 9, 3.0, 0.5) == pytest.approx(0.1 * (1 + FINAL_RATE_SHARE) / 2, rel=1e-12)
    assert learning_rate(chosen, 9, 3.0, 1 / 3) == pytest.approx(
        0.1 * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * (1 + cos(pi / 3)) / 2), rel=1e-12
    )


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_cosine_never_rises_and_stays_above_zero(one, other):
    early, late = sorted((one, other))
    before, after = (learning_rate(options(schedule="cosine"), 5, 0.0, share) for share in (early, late))
    assert 0 < 0.1 * FINAL_RATE_SHARE * 0.999 <= after <= before <= 0.1


def test_step_schedule_decays_at_the_start_of_every_epoch_from_decay_after_on():
    chosen = options(schedule="step", decay=0.5, decay_after=10)
    expected = {0: 1, 9: 1, 9.999: 1, 10: 0.5, 10.999: 0.5, 11: 0.25, 12.5: 0.125}
    for epoch, factor in expected.items():
        assert learning_rate(chosen, 99, epoch, 0.9) == pytest.approx(0.1 * factor, rel=1e-12), epoch


@pytest.mark.parametrize(("every", "changes"), [(5, [4, 9, 14]), (2.5, [4, 6.5, 9, 11.5, 14]), (100, [4])])
def test_step_schedule_may_leave_epochs_between_two_decays(every, changes):
    chosen = options(schedule="step", decay=0.5, decay_after=4, decay_every=every)
    rates = [learning_rate(chosen, step, step / 10, 0.0) for step in range(160)]
    assert [step / 10 for step in range(1, 160) if rates[step] != rates[step - 1]] == changes
    assert rates[-1] == pytest.approx(0.1 * 0.5 ** len(changes), rel=1e-12)


@pytest.mark.parametrize("windows", [3, 7, 10, 49])
def test_step_schedule_changes_on_the_very_step_that_begins_an_epoch(windows):
    """The epoch that the loop hands over is step / windows, a float."""
    chosen = options(schedule="step", decay=0.5, decay_after=2)
    rates = [learning_rate(chosen, step, step / windows, 0.0) for step in range(5 * windows)]
    changes = [step for step in range(1, len(rates)) if rates[step] != rates[step - 1]]
    assert changes == [2 * windows, 3 * windows, 4 * windows]


def test_decay_that_lasts_for_thousands_of_epochs_ends_at_zero_and_not_in_an_error():
    for every in (1, 0.001):
        chosen = options(schedule="step", decay=0.5, decay_after=0, decay_every=every)
        assert learning_rate(chosen, 10**9, 1e6, 1.0) == 0.0


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_warm_up_multiplies_whatever_the_schedule_says(schedule):
    risen = learning_rate(options(schedule=schedule), 1, 11.0, 0.3)
    assert learning_rate(options(schedule=schedule, warmup=8), 1, 11.0, 0.3) == pytest.approx(risen * 2 / 8, rel=1e-12)


def test_share_of_a_run_of_steps_follows_the_steps_alone():
    length = RunLength(steps=40)
    assert [length.fraction_done(step, 1e9) for step in (0, 10, 40, 50)] == [0, 0.25, 1, 1]


def test_share_of_a_timed_run_follows_the_clock_alone():
    length = RunLength(steps=None, seconds=60.0)
    assert [length.fraction_done(10**9, seconds) for seconds in (0, 15, 60, 61)] == [0, 0.25, 1, 1]


def test_run_without_length_is_over_at_once():
    assert (
        RunLength(steps=0).fraction_done(0, 0.0)
        == RunLength(steps=None).fraction_done(0, 0.0)
        == RunLength(None, 0.0).fraction_done(0, 0.0)
        == 1.0
    )


@pytest.mark.parametrize(
    ("one", "other", "longer"),
    [
        (RunLength(3), RunLength(2), True),
        (RunLength(2), RunLength(2), False),
        (RunLength(None, 3.0), RunLength(None, 2.0), True),
        (RunLength(None, 2.0), RunLength(None, 2.0), False),
        (RunLength(None, 1.0), RunLength(9), True),
        (RunLength(1), RunLength(None, 9.0), True),
    ],
)
def test_which_of_two_lengths_is_the_longer(one: RunLength, other: RunLength, longer: bool) -> None:
    assert one.outlasts(other) == longer
