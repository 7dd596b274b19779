"""Intervals cover what they should as often as they say, and only because they are made of blocks."""

import numpy as np
import pytest

from charlm.evaluation import bootstrap
from charlm.evaluation.bootstrap import (
    BLOCK_PIECES,
    MAX_BLOCKS,
    MIN_BLOCK_CHARACTERS,
    MIN_BLOCKS,
    block_starts,
    interval,
)

TRIALS = 400


def independent(draws, size):
    return draws.exponential(2, size)


def persistent(draws, size, stays=0.98):
    """Losses of mean 2 that each keep the one before with a probability: autocorrelation 0.98 per character."""
    fresh = draws.random(size) > stays
    fresh[0] = True
    return draws.exponential(2, size)[np.maximum.accumulate(np.where(fresh, np.arange(size), 0))]


def lengths(starts, characters):
    return np.diff(starts, append=characters)


def covered(make, size, starts):
    draws, hits = np.random.default_rng(5), 0
    for trial in range(TRIALS):
        losses = make(draws, size)
        found = interval(np.add.reduceat(losses, starts), lengths(starts, size), seed=trial)
        hits += found.low <= 2 <= found.high
    return hits / TRIALS


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_DRAWS", 1500)


@pytest.mark.parametrize(("make", "size"), [(independent, 700), (independent, 20_000), (persistent, 20_000)])
def test_95_of_100_intervals_cover_the_mean(few_draws, make, size):
    """Of 400 intervals, 380 should; two deviations of that count are 9, and few blocks cost one or two in a hundred."""
    assert 0.92 <= covered(make, size, block_starts(size)) <= 0.98


def test_without_blocks_a_text_whose_losses_cling_together_is_taken_for_surer_than_it_is(few_draws, monkeypatch):
    """A bootstrap of single characters: the same but for blocks of one."""
    size = 1000
    monkeypatch.setattr(bootstrap, "BLOCK_PIECES", 1)
    singles = np.arange(size)
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_DRAWS", 200)
    assert covered(independent, size, singles) > 0.9
    assert covered(persistent, size, singles) < 0.4


def test_blocks_are_those_of_the_definition(monkeypatch):
    """Each draw is a mean over blocks of 32 consecutive pieces in a circle, weighted by their lengths."""
    characters = 3001
    starts = block_starts(characters)
    losses = np.random.default_rng(1).normal(2, 1, characters)
    sums, sizes = np.add.reduceat(losses, starts), lengths(starts, characters)
    whole, drawn = len(sums), np.random.default_rng(7).integers(len(sums), size=(bootstrap.BOOTSTRAP_DRAWS, MAX_BLOCKS))
    means = []
    for row in drawn:
        pieces = (row[:, None] + np.arange(BLOCK_PIECES)) % whole
        means.append(sums[pieces].sum() / sizes[pieces].sum())
    found = interval(sums, sizes, seed=7)
    below = (np.mean(np.array(means) < found.low), np.mean(np.array(means) > found.high))
    assert below == pytest.approx((below[0], below[0]), abs=0.001)
    # Student's t with 31 degrees of freedom has its quantile at 2.0395; times sqrt(32 / 31) that is 2.0722.
    assert below[0] == pytest.approx(0.01912, abs=0.0005)
    assert found == interval(sums, sizes, seed=7) != interval(sums, sizes, seed=8)


@pytest.mark.parametrize("characters", [MIN_BLOCKS * MIN_BLOCK_CHARACTERS, 1000, 2047, 2048, 55_770, 10**12 + 7])
def test_pieces_share_a_text_evenly(characters):
    starts = block_starts(characters)
    assert starts[0] == 0 and len(starts) % BLOCK_PIECES == 0
    assert MIN_BLOCKS <= len(starts) // BLOCK_PIECES <= MAX_BLOCKS
    sizes = lengths(starts, characters)
    assert sizes.sum() == characters and sizes.max() - sizes.min() <= 1 <= sizes.min()


@pytest.mark.parametrize("characters", [1, 63, MIN_BLOCKS * MIN_BLOCK_CHARACTERS - 1])
def test_a_short_text_has_no_interval(characters):
    starts = block_starts(characters)
    assert not starts.size
    assert interval(np.zeros(0), lengths(starts, characters)[:0]) is None


def test_a_loss_that_never_changes_is_sure():
    starts = block_starts(5000)
    sizes = lengths(starts, 5000)
    found = interval(2.5 * sizes, sizes)
    assert (found.low, found.high) == pytest.approx((2.5, 2.5))
