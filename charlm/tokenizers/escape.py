"""The escape code: how a symbol outside the vocabulary is written, and how many bits that takes.

A model gives a probability to the unknown symbol, not to the symbol in its place. To restore a text, that symbol has
to be written too, and a score that is comparable between models with different symbols has to include its bits:

    a character or byte    uniform among all that there are
    a word                 letter by letter, and an end; the probability of a letter is its share of the letters of the
                           vocabulary's own words, which are in the model file

What is left out: the coder (`charlm.compression.arithmetic_coding`).
"""

from abc import ABC, abstractmethod
from collections import Counter
from functools import cached_property
from math import log2

import numpy as np

from charlm.tokenizers.decoding import code_points

CODE_POINTS = 0x110000
END, OTHER = 0, 1
"""Ranks before those of letters: the end of a word; a letter that no word of the vocabulary has."""

NO_NUMBERS: np.ndarray = np.zeros(0, np.int32)


class EscapeCode(ABC):
    """A code for symbols outside one vocabulary.

    Attributes:
        limit: the plain numbers of the code are below it, and equally probable.
        shares: (A,) the probability of each letter; empty if there are plain numbers only.
    """

    limit: int
    shares: np.ndarray

    @abstractmethod
    def bits(self, codes: np.ndarray) -> float:
        """The bits of the symbols (U,)."""

    @abstractmethod
    def write(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode symbols (U,) as letters (S,) and plain numbers (P,), int32."""

    @abstractmethod
    def ends(self, letters: np.ndarray) -> int:
        """The number of symbols that the letters (S,) complete."""

    @abstractmethod
    def plain(self, letters: np.ndarray, symbols: int) -> int:
        """The number of plain numbers that belong to the letters (S,) of so many symbols."""

    @abstractmethod
    def read(self, letters: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """Decode the symbols (U,)."""


def code_point_escape(limit: int) -> EscapeCode:
    """The code for symbols whose codes are numbers below a limit."""
    return _CodePointEscape(limit)


def word_escape(words: np.ndarray) -> EscapeCode:
    """The code for words outside a vocabulary of `words` (V - 2,)."""
    return _WordEscape(words)


class _CodePointEscape(EscapeCode):
    """Symbols as their codes, without letters."""

    def __init__(self, limit: int) -> None:
        self.limit, self.shares = limit, np.zeros(0)

    def bits(self, codes: np.ndarray) -> float:
        return len(codes) * log2(self.limit)

    def write(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return NO_NUMBERS, codes.astype(np.int32)

    def ends(self, letters: np.ndarray) -> int:
        return 0

    def plain(self, letters: np.ndarray, symbols: int) -> int:
        return symbols

    def read(self, letters: np.ndarray, plain: np.ndarray) -> np.ndarray:
        return plain


class _WordEscape(EscapeCode):
    """Words by their letters.

    A letter's share is that of its occurrences in the vocabulary, each word counted once and ending with `END`.
    `OTHER` counts once, and is followed by a plain number, the code point.
    """

    def __init__(self, words: np.ndarray) -> None:
        counts = Counter("".join(words.tolist()))
        self._letters = np.array(sorted(map(ord, counts)), np.int64)
        occurrences = [len(words), 1, *(counts[chr(code)] for code in self._letters.tolist())]
        self.limit, self.shares = CODE_POINTS, np.array(occurrences) / sum(occurrences)

    @cached_property
    def _costs(self) -> np.ndarray:
        costs: np.ndarray = -np.log2(self.shares)
        costs[OTHER] += log2(self.limit)
        return costs

    def bits(self, codes: np.ndarray) -> float:
        ranks, _ = self._ranks(codes)
        return float(self._costs[ranks].sum() + len(codes) * self._costs[END])

    def write(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ranks, points = self._ranks(codes)
        ends = np.cumsum([len(word) for word in codes.tolist()], dtype=np.int64)
        return np.insert(ranks, ends, END).astype(np.int32), points[ranks == OTHER].astype(np.int32)

    def ends(self, letters: np.ndarray) -> int:
        return int(np.count_nonzero(letters == END))

    def plain(self, letters: np.ndarray, symbols: int) -> int:
        return int(np.count_nonzero(letters == OTHER))

    def read(self, letters: np.ndarray, plain: np.ndarray) -> np.ndarray:
        points = np.concatenate(([0, 0], self._letters))[letters]
        points[letters == OTHER] = plain
        stops = np.flatnonzero(letters == END).tolist()
        starts = [0, *(stop + 1 for stop in stops)]
        words = ["".join(map(chr, points[start:stop].tolist())) for start, stop in zip(starts, stops, strict=False)]
        return np.array(words, object)

    def _ranks(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index in `shares` of each letter of the words, and its code point."""
        points = code_points("".join(codes.tolist()))
        indices = np.minimum(np.searchsorted(self._letters, points), len(self._letters) - 1)
        return np.where(self._letters[indices] == points, indices + 2, OTHER), points
