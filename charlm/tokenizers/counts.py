"""How often each symbol of a text occurs, and which of them the vocabulary gets.

A vocabulary gets the most frequent symbols, of equally frequent ones those with the lower codes (words: the earlier
ones in code-point order, capitals before small letters). What is left out: the ids (`charlm.tokenizers.vocabulary`).
"""

from abc import ABC, abstractmethod
from collections import Counter

import numpy as np

MIN_PAIRED_CODES = 1 << 16
"""The fewest codes that are counted in pairs: half the time, but a table of 65,536 counts."""

MAX_BUFFERED_CODES = 1 << 20
"""Codes that are collected and counted together."""


class SymbolCounts(ABC):
    """Counts of symbols, by their codes."""

    @abstractmethod
    def add(self, codes: np.ndarray) -> None:
        """Count the symbols (T,)."""

    @abstractmethod
    def symbols_and_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct codes (K,) in rising order, and how often each occurs."""

    @abstractmethod
    def count(self, code: object) -> int:
        """How often one symbol occurs."""

    def select(self, min_count: int, max_symbols: int | None) -> np.ndarray:
        """The codes of a vocabulary, in rising order.

        Args:
            min_count: the fewest occurrences of a symbol.
            max_symbols: the most symbols, of which the most frequent ones are chosen; None for all.
        """
        codes, counts = self.symbols_and_counts()
        frequent = np.flatnonzero(counts >= min_count)
        if max_symbols is not None and len(frequent) > max_symbols:
            # A stable sort keeps equally frequent symbols in rising order.
            frequent = np.sort(frequent[np.argsort(-counts[frequent], kind="stable")[:max_symbols]])
        return codes[frequent]


def code_counts() -> SymbolCounts:
    """New counts of codes that are numbers."""
    return _CodeCounts()


def word_counts() -> SymbolCounts:
    """New counts of words."""
    return _WordCounts()


class _CodeCounts(SymbolCounts):
    """Counts of codes that are numbers. Those below 256 are collected, and counted two at a time."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)
        self._buffer: np.ndarray = np.empty(MAX_BUFFERED_CODES, np.uint8)
        self._filled = 0

    def add(self, codes: np.ndarray) -> None:
        if codes.dtype != np.uint8:
            codes = self._add_high(codes)
        for first in range(0, codes.size, MAX_BUFFERED_CODES):
            low = codes[first : first + MAX_BUFFERED_CODES]
            if self._filled + low.size > MAX_BUFFERED_CODES:
                self._count_buffered()
            self._buffer[self._filled : self._filled + low.size] = low  # higher ones modulo 256
            self._filled += low.size

    def _add_high(self, codes: np.ndarray) -> np.ndarray:
        """Count codes from 256 on; returns what is to be counted modulo 256, the higher ones left out or subtracted."""
        high = codes[np.flatnonzero(codes > 0xFF)]
        if not high.size:
            return codes
        highest = int(high.max())
        if highest >= self._counts.size:
            self._counts = np.concatenate((self._counts, np.zeros(highest + 1 - self._counts.size, np.int64)))
        if highest <= 4 * high.size + 256:
            high_counts = np.bincount(high)
            self._counts[: high_counts.size] += high_counts
        else:
            # For a few high codes a histogram would be mostly empty.
            values, counts = np.unique(high, return_counts=True)
            self._counts[values] += counts
        if 2 * high.size > codes.size:
            return codes[codes <= 0xFF]
        self._counts[:256] -= np.bincount(high.astype(np.uint8), minlength=256)  # as they will be counted modulo 256
        return codes

    def _count_buffered(self) -> None:
        low, self._filled = self._buffer[: self._filled], 0
        if low.size >= MIN_PAIRED_CODES:
            even = low.size // 2 * 2
            pairs = np.bincount(low[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
            self._counts[:256] += pairs.sum(0) + pairs.sum(1)
            low = low[even:]
        self._counts[:256] += np.bincount(low, minlength=256)

    def symbols_and_counts(self) -> tuple[np.ndarray, np.ndarray]:
        self._count_buffered()
        codes = np.flatnonzero(self._counts)
        return codes, self._counts[codes]

    def count(self, code: object) -> int:
        self._count_buffered()
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
