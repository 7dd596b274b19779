"""The hidden Markov source: the filter and the bounds against sums over all paths, and the estimate between them."""

from itertools import product
from math import log2

import numpy as np
import pytest

from charlm.synthetic import hidden_markov
from charlm.synthetic._random import PROBABILITY_ONE
from charlm.synthetic.hidden_markov import HiddenMarkov

SMALL = HiddenMarkov(4, states=3, alphabet=2, stay=0.5)


def by_paths(source: HiddenMarkov, first: np.ndarray, text: tuple[int, ...]) -> float:
    """The probability of a text: the sum over all paths of the hidden state."""
    writes, goes = np.array(source.emissions) / PROBABILITY_ONE, np.array(source.transitions) / PROBABILITY_ONE
    total = 0.0
    for path in product(range(source.states), repeat=len(text)):
        p = first[path[0]]
        for at, (state, letter) in enumerate(zip(path, text, strict=True)):
            p *= writes[state, letter] * (goes[path[at - 1], state] if at else 1)
        total += p
    return total


def last_bits(source: HiddenMarkov, first: np.ndarray, length: int) -> float:
    """H(X_n | X_1 … X_(n-1)): the entropy of n letters less that of n - 1."""
    whole = [
        -sum(p * log2(p) for p in (by_paths(source, first, text) for text in product(range(2), repeat=n))) if n else 0
        for n in (length, length - 1)
    ]
    return whole[0] - whole[1]


def test_rows_sum_to_one_and_a_state_stays_as_often_as_it_is_told():
    for stay in (0.0, 0.5, 0.9, 0.99):
        source = HiddenMarkov(1, states=6, alphabet=5, stay=stay)
        for place, row in enumerate(source.transitions):
            assert sum(row) == PROBABILITY_ONE and min(row) > 0 and row[place] >= stay * PROBABILITY_ONE * (1 - 1e-8)
        assert all(sum(row) == PROBABILITY_ONE and min(row) > 0 for row in source.emissions)
        np.testing.assert_allclose(
            source.stationary @ (np.array(source.transitions) / PROBABILITY_ONE), source.stationary, atol=1e-12
        )


def test_the_filter_gives_every_text_the_sum_over_all_paths():
    even = np.full(3, 1 / 3)
    for text in product(range(2), repeat=5):
        found = np.exp(-SMALL.expect(bytes(b"ab"[letter] for letter in text)).nats.sum())
        assert found == pytest.approx(by_paths(SMALL, even, text), abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_the_bounds_are_those_conditional_entropies(length):
    low, high = SMALL.bounds(length)
    assert high == pytest.approx(last_bits(SMALL, SMALL.stationary, length), abs=1e-10)
    knowing = [last_bits(SMALL, start, length) for start in np.eye(3)]
    assert low == pytest.approx(SMALL.stationary @ knowing, abs=1e-10)


def test_longer_texts_bring_the_bounds_together_around_the_estimate():
    found = [SMALL.bounds(length) for length in (1, 2, 4, 8, 12)]
    lows, highs = zip(*found, strict=True)
    assert list(lows) == sorted(lows) and list(highs) == sorted(highs, reverse=True)
    assert highs[-1] - lows[-1] < 2e-4
    entropy = SMALL.entropy()
    assert entropy.error < 0.001 and entropy.bounds == SMALL.bounds()
    assert lows[-1] - 4 * entropy.error < entropy.bits < highs[-1] + 4 * entropy.error


def test_the_error_is_that_of_estimates_from_other_numbers(monkeypatch):
    monkeypatch.setattr(hidden_markov, "ENTROPY_TEXTS", 64)
    source = HiddenMarkov(2, states=4, alphabet=4, stay=0.8)
    found = []
    for start in range(40):
        monkeypatch.setattr(hidden_markov, "stream", lambda seed, which, start=start: 1000 * which + start)
        # The law was drawn before the numbers were changed, and stays.
        assert source._matrices is not None and source.stationary is not None
        estimates = source._estimates()
        found.append((estimates.mean(), estimates.std(ddof=1) / 8))
    means, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(means.std(ddof=1), rel=0.5)


def test_one_state_has_the_entropy_of_its_row():
    source = HiddenMarkov(0, states=1, alphabet=5)
    row = np.array(source.emissions[0]) / PROBABILITY_ONE
    entropy = source.entropy()
    assert entropy.bits == pytest.approx(-(row * np.log2(row)).sum(), abs=1e-6) and entropy.error == 0
    assert entropy.bounds == pytest.approx((entropy.bits, entropy.bits), abs=1e-6)
