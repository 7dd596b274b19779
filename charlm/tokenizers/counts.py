"""How often each symbol of a text occurs, and which of them a table gets.

A table is given the most frequent symbols, of equally frequent ones those with the lower codes (words: the earlier
ones in code-point order, capitals before small letters). What is left out: the table (`charlm.tokenizers.vocabulary`).
"""

from abc import ABC, abstractmethod
from collections import Counter

import numpy as np

PAIRED_COUNT_MIN = 1 << 16
"""Codes from which counting them in pairs, in half the time, is worth its table of 65,536."""

MAX_WAITING_CODES = 1 << 20
"""Codes that wait to be counted together."""


class SymbolCounts(ABC):
    """Counts of symbols, by their codes."""

    @abstractmethod
    def add(self, codes: np.ndarray) -> None:
        """Count some symbols (T,)."""

    @abstractmethod
    def symbols_and_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct codes (K,) in rising order, and how often each occurs."""

    @abstractmethod
    def count(self, code: object) -> int:
        """How often one symbol occurs."""

    def select(self, least: int, most: int | None) -> np.ndarray:
        """The codes of a table, in rising order.

        Args:
            least: times that each occurs at least.
            most: how many there are at most, the most frequent ones; None for all.
        """
        codes, times = self.symbols_and_counts()
        frequent = np.flatnonzero(times >= least)
        if most is not None and len(frequent) > most:
            # Stable: of equally frequent ones those that come first are first.
            frequent = np.sort(frequent[np.argsort(-times[frequent], kind="stable")[:most]])
        return codes[frequent]


def code_counts() -> SymbolCounts:
    """New counts of codes that are numbers."""
    return _CodeCounts()


def word_counts() -> SymbolCounts:
    """New counts of words."""
    return _WordCounts()


class _CodeCounts(SymbolCounts):
    """Counts of codes that are numbers. Those below 256 wait until they are many, and are counted two at a time."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)
        self._waiting: np.ndarray = np.empty(MAX_WAITING_CODES, np.uint8)
        self._filled = 0

    def add(self, codes: np.ndarray) -> None:
        if codes.dtype != np.uint8:
            codes = self._add_high(codes)
        for at in range(0, codes.size, MAX_WAITING_CODES):
            low = codes[at : at + MAX_WAITING_CODES]
            if self._filled + low.size > MAX_WAITING_CODES:
                self._count_waiting()
            self._waiting[self._filled : self._filled + low.size] = low  # which takes higher ones modulo 256
            self._filled += low.size

    def _add_high(self, codes: np.ndarray) -> np.ndarray:
        """Count codes from 256 on; what is to be counted of the others, where higher ones may stand between them."""
        high = codes[np.flatnonzero(codes > 0xFF)]
        if not high.size:
            return codes
        highest = int(high.max())
        if highest >= self._counts.size:
            self._counts = np.concatenate((self._counts, np.zeros(highest + 1 - self._counts.size, np.int64)))
        if highest <= 4 * high.size + 256:
            found = np.bincount(high)
            self._counts[: found.size] += found
        else:
            # A few high codes: a histogram would be mostly empty.
            values, times = np.unique(high, return_counts=True)
            self._counts[values] += times
        if 2 * high.size > codes.size:
            return codes[codes <= 0xFF]
        self._counts[:256] -= np.bincount(high.astype(np.uint8), minlength=256)  # what they will be taken for
        return codes

    def _count_waiting(self) -> None:
        low, self._filled = self._waiting[: self._filled], 0
        if low.size >= PAIRED_COUNT_MIN:
            even = low.size // 2 * 2
            pairs = np.bincount(low[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
            self._counts[:256] += pairs.sum(0) + pairs.sum(1)
            low = low[even:]
        self._counts[:256] += np.bincount(low, minlength=256)

    def symbols_and_counts(self) -> tuple[np.ndarray, np.ndarray]:
        self._count_waiting()
        codes = np.flatnonzero(self._counts)
        return codes, self._counts[codes]

    def count(self, code: object) -> int:
        self._count_waiting()
        return int(self._counts[code]) if isinstance(code, int) and code < self._counts.size else 0


class _WordCounts(SymbolCounts):
    """Counts of codes that are the words themselves; memory grows with the distinct ones."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, codes: np.ndarray) -> None:
        self._counts.update(codes.tolist())

    def symbols_and_counts(self) -> tuple[np.ndarray, np.ndarray]:
        words = sorted(self._counts)
        return np.array(words, object), np.array([self._counts[word] for word in words], np.int64)

    def count(self, code: object) -> int:
        return self._counts[code] if isinstance(code, str) else 0
