"""How often each symbol of a text occurs, and which of them a table gets.

A table is given the most frequent symbols, of equally frequent ones those with the lower codes (words: the earlier
ones in code-point order, capitals before small letters). What is left out: the table (`charlm.text.symbols`).
"""

from abc import ABC, abstractmethod
from collections import Counter

import numpy as np

MANY = 1 << 16
"""Codes from which counting them in pairs is worth its table of 65,536."""


class Tally(ABC):
    """Counts of symbols, by their codes."""

    @abstractmethod
    def add(self, codes: np.ndarray) -> None:
        """Count some symbols (T,)."""

    @abstractmethod
    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct codes (K,) in rising order, and how often each occurs."""

    @abstractmethod
    def times(self, code: object) -> int:
        """How often one symbol occurs."""

    def chosen(self, least: int, most: int | None) -> np.ndarray:
        """The codes of a table, in rising order.

        Args:
            least: times that each occurs at least.
            most: how many there are at most, the most frequent ones; None for all.
        """
        codes, times = self.counted()
        frequent = np.flatnonzero(times >= least)
        if most is not None and len(frequent) > most:
            # Stable: of equally frequent ones those that come first are first.
            frequent = np.sort(frequent[np.argsort(-times[frequent], kind="stable")[:most]])
        return codes[frequent]


def of_numbers() -> Tally:
    """New counts of codes that are numbers."""
    return _Codes()


def of_words() -> Tally:
    """New counts of words."""
    return _Words()


class _Codes(Tally):
    """Counts of codes that are numbers, in an array that grows with the highest."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def add(self, codes: np.ndarray) -> None:
        highest = int(codes.max(initial=0))
        if highest >= self._counts.size:
            self._counts = np.concatenate((self._counts, np.zeros(highest + 1 - self._counts.size, np.int64)))
        if codes.size >= MANY:
            codes = self._add_pairs(codes)
        if highest <= 4 * codes.size + 256:
            found = np.bincount(codes)
            self._counts[: found.size] += found
        else:
            # A short chunk with a high code: a histogram would be mostly empty.
            values, times = np.unique(codes, return_counts=True)
            self._counts[values] += times

    def _add_pairs(self, codes: np.ndarray) -> np.ndarray:
        """Count codes below 256 two at a time, where most are: half the time. Returns those that are left."""
        left = codes[np.flatnonzero(codes > 0xFF)] if codes.dtype != np.uint8 else codes[:0]
        if 2 * left.size > codes.size:
            return codes
        low = codes.astype(np.uint8)  # which takes the higher ones for others
        even = low.size // 2 * 2
        pairs = np.bincount(low[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
        last, wrong = (np.bincount(some, minlength=256) for some in (low[even:], left.astype(np.uint8)))
        self._counts[:256] += pairs.sum(0) + pairs.sum(1) + last - wrong
        return left

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        codes = np.flatnonzero(self._counts)
        return codes, self._counts[codes]

    def times(self, code: object) -> int:
        return int(self._counts[code]) if isinstance(code, int) and code < self._counts.size else 0


class _Words(Tally):
    """Counts of codes that are the words themselves; memory grows with the distinct ones."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, codes: np.ndarray) -> None:
        self._counts.update(codes.tolist())

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        words = sorted(self._counts)
        return np.array(words, object), np.array([self._counts[word] for word in words], np.int64)

    def times(self, code: object) -> int:
        return self._counts[code] if isinstance(code, str) else 0
