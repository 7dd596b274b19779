"""Letters by a hidden state (Baum & Petrie 1966; Blackwell 1957 on their entropy).

A state that nobody sees goes over to another one now and then, and each writes some letters more often than others.
A perfect model keeps the probability of each state, which everything that was written bears on, however far back: it
is the forward filter. The entropy rate has no closed form. It is estimated, with a standard error, and two bounds
hold it (Cover & Thomas, "Elements of information theory", 1991, theorem 4.4.1):

    H(X_n | X_1 … X_(n-1), S_1)  <=  H  <=  H(X_n | X_1 … X_(n-1))        in the stationary process

Shapes: S states, L letters, R texts that are read side by side.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log, sqrt
from typing import ClassVar

import numpy as np

from charlm.synthetic._random import PROBABILITY_ONE, endless, running, splitmix64, stream, to_one, uneven_rows
from charlm.synthetic._source import Entropy, Expected, Source, stationary

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
ENTROPY_TEXTS = 4096
"""R: texts that the entropy is estimated from."""

ENTROPY_STEPS = 200
"""Characters of each that count for the estimate, after those that bring the filter up."""

FORGOTTEN = 1e-6
"""The share of the texts that has not changed its state even once when the counting begins."""

MIN_ENTROPY_STEPS = 50
"""Characters before the counting begins, at least."""

ENUMERATED = 1 << 18
"""Numbers in the largest array of the enumeration that the bounds are made of."""


@dataclass(frozen=True)
class HiddenMarkov(Source):
    """Letters of a hidden chain; its probabilities are drawn once, by the seed.

    The first state is drawn evenly.

    Args:
        seed: of the probabilities and of the draws.
        states: S.
        alphabet: L.
        stay: the least probability that a state goes on for another character.
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
    def writes(self) -> list[tuple[int, ...]]:
        """For each state the weights (L,) of the letters."""
        return uneven_rows(stream(self.seed, 2), self.states, self.alphabet)

    @cached_property
    def goes(self) -> list[tuple[int, ...]]:
        """For each state the weights (S,) of the one after it: to stay, and beyond that an uneven row."""
        stays = int(self.stay * PROBABILITY_ONE)
        rows = []
        for state, row in enumerate(uneven_rows(stream(self.seed, 0), self.states, self.states)):
            moved = [max(1, weight * (PROBABILITY_ONE - stays) // PROBABILITY_ONE) for weight in row]
            moved[state] += stays
            rows.append(to_one(moved))
        return rows

    def draw(self) -> Iterator[bytes]:
        """For each letter one random number: its upper half chooses the letter, its lower half the next state."""
        writes, goes = [running(row) for row in self.writes], [running(row) for row in self.goes]
        state, letters = int(splitmix64(stream(self.seed, 3), 0, 1)[0]) % self.states, self.letters
        for numbers in endless(stream(self.seed, 1)):
            drawn = bytearray()
            for number in numbers.tolist():
                drawn.append(letters[bisect_right(writes[state], number >> 32)])
                state = bisect_right(goes[state], number & (PROBABILITY_ONE - 1))
            yield bytes(drawn)

    def expect(self, text: bytes) -> Expected:
        """The forward filter: p(X_t | X_1 … X_(t-1)) = Σ_s p(S_t = s | X_1 … X_(t-1)) p(X_t | s)."""
        writes, goes = self._matrices
        probabilities, came = np.empty((len(text), self.alphabet)), np.empty(len(text), np.int64)
        belief = np.full(self.states, 1 / self.states)
        for at, character in enumerate(text):
            letter = self._places.get(character)
            if letter is None:
                raise self._refusal(text, at)
            probabilities[at], came[at] = belief @ writes, letter
            belief = (belief * writes[:, letter] / probabilities[at, letter]) @ goes
        return Expected(probabilities, came, np.zeros(len(text), np.int64))

    @cached_property
    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """(S, L) and (S, S), the probabilities of letters and of states to come."""
        return np.array(self.writes) / PROBABILITY_ONE, np.array(self.goes) / PROBABILITY_ONE

    @cached_property
    def stationary(self) -> np.ndarray:
        """(S,) how often each state is met in the long run."""
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
        """(R,) mean bits of each text, begun in the stationary process and counted once its beginning is forgotten."""
        writes, goes = self._matrices
        before = max(MIN_ENTROPY_STEPS, ceil(log(FORGOTTEN) / log(self.stay)) if self.stay else 0)
        letters_by, states_by = np.cumsum(writes, 1), np.cumsum(goes, 1)
        random = _uniform(stream(self.seed, 4))
        state = _drawn(np.cumsum(self.stationary)[None, :], next(random))
        belief = np.tile(self.stationary, (ENTROPY_TEXTS, 1))
        sums = np.zeros(ENTROPY_TEXTS)
        for step in range(before + ENTROPY_STEPS):
            expected = belief @ writes
            if step >= before:
                sums += bits(expected)
            letter = _drawn(letters_by[state], next(random))
            belief = (belief * writes.T[letter] / np.take_along_axis(expected, letter[:, None], 1)) @ goes
            state = _drawn(states_by[state], next(random))
        return sums / ENTROPY_STEPS

    def bounds(self, length: int | None = None) -> tuple[float, float]:
        """H(X_n | X_1 … X_(n-1), S_1) and H(X_n | X_1 … X_(n-1)) in bits, exactly, by going through all texts.

        Args:
            length: n, at least 1; None for the largest that `ENUMERATED` allows.
        """
        if length is None:
            length = max(1, int(log(ENUMERATED / self.states) / log(self.alphabet) + 1e-9))
        starts = np.eye(self.states)
        knowing = sum(share * self._last(start, length) for share, start in zip(self.stationary, starts, strict=True))
        return float(knowing), self._last(self.stationary, length)

    def _last(self, start: np.ndarray, length: int) -> float:
        """H(X_n | X_1 … X_(n-1)) where the first state has the probabilities `start` (S,)."""
        writes, goes = self._matrices
        ahead = start[None, :]  # (texts, S): p(x_1 … x_t, S_(t+1))
        for _ in range(length - 1):
            ahead = ((ahead[:, None, :] * writes.T) @ goes).reshape(-1, self.states)
        share = ahead.sum(1)
        return float((share * bits((ahead @ writes) / share[:, None])).sum())


def bits(probabilities: np.ndarray) -> np.ndarray:
    """(…,) the entropy of each row of (…, L), which has no zeros."""
    return -(probabilities * np.log2(probabilities)).sum(-1)


def _uniform(start: int) -> Iterator[np.ndarray]:
    """(R,) numbers from 0 to below 1, again and again."""
    first = 0
    while True:
        yield (splitmix64(start, first, ENTROPY_TEXTS) >> np.uint64(11)) * 2.0**-53
        first += ENTROPY_TEXTS


def _drawn(sums: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(R,) a place in each row of running sums (R or 1, K), whose last is 1 but for rounding."""
    return (sums[:, :-1] <= number[:, None]).sum(1)


SOURCE = HiddenMarkov
