"""n-grams: how surprised counting alone is by a text, order after order.

The method is interpolation by Witten & Bell, "The zero-frequency problem", 1991 (method C), in the recursive form
of Chen & Goodman, "An empirical study of smoothing techniques for language modeling", 1998. After a history h that
was followed n(h) times, by t(h) different symbols, and with h' for h without its first symbol,

    p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) + t(h))

where p(c | h') alone counts if h was never followed by anything, and below the empty history lies 1 / V. So every
symbol has a probability above zero, and those of all V add up to one. Histories reach across the ends of documents
and, at the beginning of a text, back to its first boundary, as what a network reads does.
What is left out: which texts, and up to which order (`charlm.use.baselines`).

Shapes: N symbols of the training text, M of the text that is scored; each has one boundary more, before them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.text.pages import Pages

BYTES_LEARNED, BYTES_SCORED = 45, 60
"""What the largest arrays of `surprises` come to, in bytes per symbol of each text."""

BLOCK = 1 << 20
"""Symbols that are copied at a time from a text that is mapped."""


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
    counts = np.bincount(_copy(train, 1, len(train)), minlength=vocabulary)
    seen = np.count_nonzero(counts)
    p = (counts[_copy(text, 1, len(text))] + seen / vocabulary) / (counts.sum() + seen)
    yield -np.log(p)
    # The number of the string of k - 1 symbols that ends at each place; of the text, -1 for one that was never seen.
    learned, read = (_copy(ids, 0, len(ids), np.int32) for ids in (train, text))
    strings, order = vocabulary, 2
    while True:
        table, learned = _count(learned, train, order, strings, vocabulary)
        p, read = _refine(p, read, text, table, vocabulary)
        strings, order = len(table.codes), order + 1
        yield -np.log(p)


@dataclass(frozen=True)
class _Table:
    """What follows the strings of one length.

    Attributes:
        codes: (K,) history x V + symbol of each string with its symbol, in rising order.
        counts: (K,) how often.
        followed: (histories,) n(h).
        kinds: (histories,) t(h).
    """

    codes: np.ndarray
    counts: np.ndarray
    followed: np.ndarray
    kinds: np.ndarray


def _count(
    learned: np.ndarray, train: np.ndarray, order: int, strings: int, vocabulary: int
) -> tuple[_Table, np.ndarray]:
    """The strings of `order` symbols, counted and numbered in rising order; and the numbers by the place they end.

    `learned` has the numbers of those that are one symbol shorter, by the place they end, from the first that there is.
    """
    codes = _codes(learned[:-1], train, order - 1, vocabulary)
    if not codes.size:
        none = np.zeros(0, np.int64)
        return _Table(none, none, np.zeros(strings, np.int64), np.zeros(strings, np.int64)), learned[:0]
    codes, by_code = _sorted(codes, strings * vocabulary)
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    counts = np.diff(first, append=codes.size)
    numbers = np.empty(codes.size, np.int32)
    numbers[by_code] = np.repeat(np.arange(first.size, dtype=np.int32), counts)
    codes = codes[first]
    history = codes // vocabulary
    followed = np.bincount(history, weights=counts, minlength=strings)
    return _Table(codes, counts, followed, np.bincount(history, minlength=strings)), numbers


def _sorted(codes: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (K,) below a limit in rising order, and where each stood. Uses up what it is given."""
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


def _refine(
    p: np.ndarray, read: np.ndarray, text: np.ndarray, table: _Table, vocabulary: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (M,) with one symbol more of history, and the numbers (M + 1,) of the strings that end there."""
    history = read[:-1]
    codes = _codes(history, text, 1, vocabulary)
    place = np.minimum(np.searchsorted(table.codes, codes), max(len(table.codes) - 1, 0))
    known = history >= 0
    found = known & (table.codes[place] == codes) if table.codes.size else np.zeros_like(known)
    kinds = np.where(known, table.kinds[history], 0)
    whole = np.where(known, table.followed[history], 0) + kinds
    counts = np.where(found, table.counts[place], 0) if table.codes.size else 0
    p = np.where(whole > 0, (counts + kinds * p) / np.maximum(whole, 1), p)
    numbers = np.full(len(read), -1, np.int32)
    numbers[1:][found] = place[found]
    return p, numbers


def _codes(history: np.ndarray, ids: np.ndarray, first: int, vocabulary: int) -> np.ndarray:
    """history x V + symbol, for the symbols from place `first` on."""
    codes = history.astype(np.int64)
    codes *= vocabulary
    codes += _copy(ids, first, first + len(history), np.int32)
    return codes


def _copy(ids: np.ndarray, first: int, stop: int, dtype: type = np.int64) -> np.ndarray:
    """A stretch of a text in memory, a block at a time, so that no page of the file stays with the process."""
    found, pages = np.empty(stop - first, dtype), Pages(ids)
    for at in range(first, stop, BLOCK):
        block = ids[at : min(at + BLOCK, stop)]
        found[at - first : at - first + block.size] = block
        pages.read(block.size)
    return found
