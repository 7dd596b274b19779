"""The second-order source: its rows, and its entropy by other ways."""

import math

import numpy as np
import pytest

from charlm.synthetic._random import PROBABILITY_ONE
from charlm.synthetic.markov import CONTEXTS, LETTERS, Markov


@pytest.mark.parametrize("seed", range(10))
def test_transition_rows_are_positive_and_sum_to_one_exactly(seed):
    weights = Markov(seed).weights
    assert len(weights) == CONTEXTS
    assert all(sum(row) == PROBABILITY_ONE and min(row) > 0 for row in weights)
    assert 1.5 < Markov(seed).entropy().bits < 2.3


@pytest.mark.parametrize("seed", [0, 7])
def test_the_entropy_is_that_of_the_chain_run_to_its_limit(seed):
    letters = len(LETTERS)
    p = np.array(Markov(seed).weights) / PROBABILITY_ONE
    pi = np.full(CONTEXTS, 1 / CONTEXTS)
    for _ in range(2000):
        after = np.zeros(CONTEXTS)
        for context in range(CONTEXTS):
            for letter in range(letters):
                after[(context * letters + letter) % CONTEXTS] += pi[context] * p[context, letter]
        if np.abs(after - pi).max() < 1e-17:
            break
        pi = after
    brute = -sum(pi[c] * p[c, k] * math.log2(p[c, k]) for c in range(CONTEXTS) for k in range(letters))
    assert Markov(seed).entropy().bits == pytest.approx(brute, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_entropy_is_that_of_the_text_that_is_drawn(seed):
    letters = np.frombuffer(b"".join(Markov(seed).blocks(1_000_000)), np.uint8) - LETTERS[0]
    triples = np.bincount(letters[:-2] * np.int64(64) + letters[1:-1] * np.int64(8) + letters[2:], minlength=512)
    counts = triples.reshape(64, 8).astype(float)
    conditional = counts / counts.sum(axis=1, keepdims=True)
    empirical = -(counts * np.log2(np.maximum(conditional, 1e-300))).sum() / counts.sum()
    assert empirical == pytest.approx(Markov(seed).entropy().bits, abs=0.01)
