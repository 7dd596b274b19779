"""n-grams: how surprised counting alone is by a text, order after order.

The method is interpolated Kneser-Ney with three discounts: Kneser & Ney, "Improved backing-off for m-gram language
modeling", 1995, as modified by Chen & Goodman, "An empirical study of smoothing techniques for language modeling",
1998, section 3. With a history h, and h' for h without its first symbol,

    p(c | h) = (n(hc) - d(n(hc)) + Σ_x d(n(hx)) p(c | h')) / Σ_x n(hx)

where p(c | h') alone counts if h was never followed by anything, and below the empty history lies 1 / V. n counts how
often a string stands in the training text; in p(c | h'), and all below it, by how many different symbols it is preceded
there. d is D1, D2 or D3 for a string with n of 1, 2 or more, and 0 for 0. So every symbol has a probability above zero,
and those of all V add up to one. Histories reach across the ends of documents and, at the beginning of a text, back
to its first boundary, as what a network reads does.
What is left out: which texts, and up to which order (`charlm.evaluation.baselines`).

Shapes: N symbols of the training text, M of the text that is scored, each with one boundary more before them;
K strings of one length.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.data.memmap import PageReleaser

BYTES_LEARNED, BYTES_SCORED = 70, 80
"""What the largest arrays of `surprises` come to, in bytes per symbol of each text."""

BLOCK_SYMBOLS = 1 << 20
"""Symbols that are copied at a time from a text that is mapped."""

DISCOUNT = 0.5
"""Taken where the counts of a text do not say how much."""


def needed(train: np.ndarray, text: np.ndarray) -> int:
    """Bytes of memory that `surprises` of these texts takes."""
    return BYTES_LEARNED * len(train) + BYTES_SCORED * len(text)


def surprises(train: np.ndarray, text: np.ndarray, vocabulary: int) -> Iterator[np.ndarray]:
    """The surprise of each symbol of a text, by n-grams of order 1, 2, 3, … without end.

    Order k looks at the k - 1 symbols before. Each order needs the one before it, and is computed when asked for.

    Args:
        train: (N + 1,) symbols that are counted, the first one as a history only.
        text: (M + 1,) symbols, the first one as a history only.
        vocabulary: V, above every symbol.

    Yields:
        (M,) nats.
    """
    # The number of the string of k symbols that ends at each place; of the text, -1 for one that was never seen.
    learned, read = (_copy(ids, 0, np.int32) for ids in (train, text))
    lower: np.ndarray = np.full(len(text) - 1, 1 / vocabulary)
    counts = np.bincount(learned[1:], minlength=vocabulary)
    level = _Level(np.zeros(vocabulary, np.int64), 1, read[1:], np.zeros(len(text) - 1, np.int32))
    order = 1
    while True:
        yield -np.log(level.probabilities(counts, lower))
        codes = _codes(learned[:-1], train, order, vocabulary)
        codes, counts, longer, ends = _number(codes, level.strings * vocabulary)
        preceded = np.bincount(learned[1:][ends], minlength=level.strings)
        lower = level.probabilities(preceded, lower)
        contexts = _codes(read[:-1], text, 1, vocabulary)
        entries = _find(contexts, codes)
        level, learned, order = _Level(codes // vocabulary, level.strings, entries, read[:-1]), longer, order + 1
        read = np.concatenate((np.full(1, -1, np.int32), entries))


@dataclass(frozen=True)
class _Level:
    """The strings of one length in the training text, and those of them that the scored text has.

    Attributes:
        history: (K,) the number of each string without its last symbol.
        histories: how many such numbers there are.
        read: (M,) the number of the string that ends with each symbol; -1 for one that was never seen.
        before: (M,) that of its history.
    """

    history: np.ndarray
    histories: int
    read: np.ndarray
    before: np.ndarray

    @property
    def strings(self) -> int:
        """K."""
        return len(self.history)

    def probabilities(self, counts: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Of each symbol (M,), from the counts (K,) and the probabilities (M,) with a symbol less of history."""
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        rows = max(self.histories, 1)
        totals = np.bincount(self.history, weights=counts, minlength=rows)
        saved = np.bincount(self.history, weights=discounts, minlength=rows)
        p = saved[self.before] * lower
        seen = self.read >= 0
        p[seen] += (counts - discounts)[self.read[seen]]
        totals = np.where(self.before >= 0, totals[self.before], 0)
        return np.where(totals > 0, p / np.maximum(totals, 1), lower)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """(4,) what is taken off a count of 0, 1, 2, and 3 or more: Chen & Goodman 1998, equation 26."""
    n = np.bincount(np.minimum(counts, 5), minlength=5)[:5]
    if not n[1:].all():
        return np.array([0, DISCOUNT, DISCOUNT, DISCOUNT])
    y = n[1] / (n[1] + 2 * n[2])
    discounts = np.array([0, *(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))])
    # A text that is not like others could ask for less than nothing.
    return np.where(discounts > 0, discounts, np.array([0, DISCOUNT, DISCOUNT, DISCOUNT]))


def _number(codes: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The different ones (K,) among codes (T,) below a limit, in rising order; how often each is there (K,); the
    number of each code (T,); and one of the places where each is (K,)."""
    codes, by_code = _sorted(codes, limit)
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    counts = np.diff(first, append=codes.size)
    numbers = np.empty(codes.size, np.int32)
    numbers[by_code] = np.repeat(np.arange(first.size, dtype=np.int32), counts)
    return codes[first], counts, numbers, by_code[first]


def _sorted(codes: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (T,) below a limit in rising order, and where each stood. Uses up what it is given."""
    shift = len(codes).bit_length()
    if limit << shift > np.iinfo(codes.dtype).max:
        by_code = np.argsort(codes, kind="stable")
        return codes[by_code], by_code
    # A code and its place in one number: sorting those is several times as fast as sorting places by codes.
    codes <<= shift
    codes |= np.arange(len(codes))
    codes.sort()
    by_code = codes & ((1 << shift) - 1)
    codes >>= shift
    return codes, by_code


def _find(targets: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Where among codes (K,) in rising order each of those wanted (M,) is; -1 where it is not."""
    index = np.searchsorted(codes, targets)
    known = index < len(codes)
    known[known] = codes[index[known]] == targets[known]
    return np.where(known, index, -1).astype(np.int32)


def _codes(history: np.ndarray, ids: np.ndarray, first: int, vocabulary: int) -> np.ndarray:
    """history x V + symbol, for the symbols from place `first` on; below zero where the history is."""
    codes = history.astype(np.int64)
    codes *= vocabulary
    codes += _copy(ids, first, np.int32)
    return codes


def _copy(ids: np.ndarray, first: int, dtype: type) -> np.ndarray:
    """A text from a place on in memory, a block at a time, so that no page of its file stays with the process."""
    copy: np.ndarray = np.empty(max(len(ids) - first, 0), dtype)
    pages = PageReleaser(ids)
    for at in range(first, len(ids), BLOCK_SYMBOLS):
        block = ids[at : at + BLOCK_SYMBOLS]
        copy[at - first : at - first + block.size] = block
        pages.advance(block.size)
    return copy
