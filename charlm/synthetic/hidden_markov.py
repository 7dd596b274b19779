"""Letters by a hidden state (Baum & Petrie 1966; Blackwell 1957 on their entropy).

A hidden state changes now and then, and each state writes some letters more often than others. A perfect model keeps
the probability of each state, which depends on all letters before, however far back: it is the forward filter.
The entropy rate has no closed form. It is estimated, with a standard error, and lies between two bounds (Cover &
Thomas, "Elements of information theory", 1991, theorem 4.4.1):

    H(X_n | X_1 … X_(n-1), S_1)  <=  H  <=  H(X_n | X_1 … X_(n-1))        in the stationary process

Shapes: S states, L letters, R texts that are read together.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log, sqrt
from typing import ClassVar

import numpy as np

from charlm.synthetic._random import PROBABILITY_ONE, endless, normalise, running, splitmix64, stream, uneven_rows
from charlm.synthetic._source import Entropy, Expected, Source, stationary

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
ENTROPY_TEXTS = 4096
"""R: texts that the entropy is estimated from."""

ENTROPY_STEPS = 200
"""Characters of each text in the estimate, after the warm-up of the filter."""

FORGOTTEN_SHARE = 1e-6
"""Share of the texts that have not changed their state during the warm-up."""

MIN_WARM_UP_STEPS = 50
"""Characters of the shortest warm-up."""

MAX_ENUMERATED = 1 << 18
"""Numbers in the largest array of the enumeration for the bounds."""


@dataclass(frozen=True)
class HiddenMarkov(Source):
    """Letters of a hidden chain; its probabilities are drawn once, by the seed.

    The first state is drawn evenly.

    Args:
        seed: of the probabilities and of the draws.
        states: S.
        alphabet: L.
        stay: the least probability that a state remains for another character.
    """

    seed: int = 0
    states: int = 8
    alphabet: int = 8
    stay: float = 0.9

    name: ClassVar[str] = "hidden-markov"
    situations: ClassVar[tuple[str, ...]] = ("letter",)
    memory: ClassVar[tuple[str, ...]] = ("letter",)
    lines: ClassVar[bool] = False

    @property
    def letters(self) -> bytes:
        """The first letters of the Latin alphabet."""
        return ALPHABET[: self.alphabet]

    @cached_property
    def emissions(self) -> list[tuple[int, ...]]:
        """For each state the weights (L,) of the letters."""
        return uneven_rows(stream(self.seed, 2), self.states, self.alphabet)

    @cached_property
    def transitions(self) -> list[tuple[int, ...]]:
        """For each state the weights (S,) of the one after it: to stay, and beyond that an uneven row."""
        stays = int(self.stay * PROBABILITY_ONE)
        rows = []
        for state, row in enumerate(uneven_rows(stream(self.seed, 0), self.states, self.states)):
            moved = [max(1, weight * (PROBABILITY_ONE - stays) // PROBABILITY_ONE) for weight in row]
            moved[state] += stays
            rows.append(normalise(moved))
        return rows

    def draw(self) -> Iterator[bytes]:
        """For each letter one random number: its upper half chooses the letter, its lower half the next state."""
        emissions, transitions = [running(row) for row in self.emissions], [running(row) for row in self.transitions]
        state, letters = int(splitmix64(stream(self.seed, 3), 0, 1)[0]) % self.states, self.letters
        for numbers in endless(stream(self.seed, 1)):
            drawn = bytearray()
            for number in numbers.tolist():
                drawn.append(letters[bisect_right(emissions[state], number >> 32)])
                state = bisect_right(transitions[state], number & (PROBABILITY_ONE - 1))
            yield bytes(drawn)

    def expect(self, text: bytes) -> Expected:
        """The forward filter: p(X_t | X_1 … X_(t-1)) = Σ_s p(S_t = s | X_1 … X_(t-1)) p(X_t | s)."""
        emissions, transitions = self._matrices
        probabilities, letters = np.empty((len(text), self.alphabet)), np.empty(len(text), np.int64)
        belief = np.full(self.states, 1 / self.states)
        for at, character in enumerate(text):
            letter = self._places.get(character)
            if letter is None:
                raise self._refusal(text, at)
            probabilities[at], letters[at] = belief @ emissions, letter
            belief = (belief * emissions[:, letter] / probabilities[at, letter]) @ transitions
        return Expected(probabilities, letters, np.zeros(len(text), np.int64))

    @cached_property
    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """(S, L) emission and (S, S) transition probabilities."""
        return np.array(self.emissions) / PROBABILITY_ONE, np.array(self.transitions) / PROBABILITY_ONE

    @cached_property
    def stationary(self) -> np.ndarray:
        """(S,) the stationary probability of each state."""
        return stationary(self._matrices[1])

    def entropy(self) -> Entropy:
        """The mean entropy of what the filter expects, over `ENTROPY_STEPS` characters of each of `ENTROPY_TEXTS`
        texts.

        They are drawn by the seed's own numbers, so that the estimate is the same each time; it is rounded to six
        digits after the point. The error is that of the mean of as many independent texts.
        """
        estimates = self._estimates()
        error = float(estimates.std(ddof=1)) / sqrt(len(estimates))
        return Entropy(round(float(estimates.mean()), 6), round(error, 6), self.bounds())

    def _estimates(self) -> np.ndarray:
        """(R,) mean bits per character of each text, counted once its beginning is forgotten."""
        emissions, transitions = self._matrices
        warm_up = max(MIN_WARM_UP_STEPS, ceil(log(FORGOTTEN_SHARE) / log(self.stay)) if self.stay else 0)
        letter_sums, state_sums = np.cumsum(emissions, 1), np.cumsum(transitions, 1)
        random = _uniform(stream(self.seed, 4))
        state = _drawn(np.cumsum(self.stationary)[None, :], next(random))
        belief = np.tile(self.stationary, (ENTROPY_TEXTS, 1))
        sums = np.zeros(ENTROPY_TEXTS)
        for step in range(warm_up + ENTROPY_STEPS):
            expected = belief @ emissions
            if step >= warm_up:
                sums += bits(expected)
            letter = _drawn(letter_sums[state], next(random))
            belief = (belief * emissions.T[letter] / np.take_along_axis(expected, letter[:, None], 1)) @ transitions
            state = _drawn(state_sums[state], next(random))
        return sums / ENTROPY_STEPS

    def bounds(self, length: int | None = None) -> tuple[float, float]:
        """H(X_n | X_1 … X_(n-1), S_1) and H(X_n | X_1 … X_(n-1)) in bits, exactly, by enumerating all texts.

        Args:
            length: n, at least 1; None for the largest that `MAX_ENUMERATED` allows.
        """
        if length is None:
            length = max(1, int(log(MAX_ENUMERATED / self.states) / log(self.alphabet) + 1e-9))
        starts = np.eye(self.states)
        knowing = sum(share * self._last(start, length) for share, start in zip(self.stationary, starts, strict=True))
        return float(knowing), self._last(self.stationary, length)

    def _last(self, start: np.ndarray, length: int) -> float:
        """H(X_n | X_1 … X_(n-1)) if the first state has the probabilities `start` (S,)."""
        emissions, transitions = self._matrices
        joint = start[None, :]  # (texts, S): p(x_1 … x_t, S_(t+1))
        for _ in range(length - 1):
            joint = ((joint[:, None, :] * emissions.T) @ transitions).reshape(-1, self.states)
        share = joint.sum(1)
        return float((share * bits((joint @ emissions) / share[:, None])).sum())


def bits(probabilities: np.ndarray) -> np.ndarray:
    """(…,) the entropy of each row of (…, L), which has no zeros."""
    return -(probabilities * np.log2(probabilities)).sum(-1)


def _uniform(start: int) -> Iterator[np.ndarray]:
    """Endless arrays (R,) of numbers from 0 to below 1."""
    first = 0
    while True:
        yield (splitmix64(start, first, ENTROPY_TEXTS) >> np.uint64(11)) * 2.0**-53
        first += ENTROPY_TEXTS


def _drawn(sums: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(R,) an index in each row of running sums (R or 1, K), whose last is 1 except for rounding."""
    return (sums[:, :-1] <= number[:, None]).sum(1)


SOURCE = HiddenMarkov
