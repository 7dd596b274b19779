"""Fingerprints of windows of a text, and which of them another text has too.

A window is 64 bytes of ids. One text is looked at whole: each of its windows, at every symbol, is kept. The other one
runs past in blocks, and of it only the windows that begin at a multiple of 32 bytes are looked up: any passage of 95
bytes contains one of them.

A fingerprint is a multilinear hash of the window's eight words modulo 2^64, of which the upper bits count (Lemire &
Kaser 2014). Equal windows have equal ones; whether equal ones are of equal windows is left to `charlm.data.leaks`.
"""

from collections.abc import Iterable

import numpy as np

WINDOW, STRIDE = 64, 32
"""Bytes of a window, and from one window that is looked up to the next."""

HASH_CHUNK = 1 << 16
"""Symbols whose windows are computed together."""

MAX_CANDIDATES = 4
"""Look-ups in which one fingerprint is answered."""

MAX_PAIRS = 1 << 18
"""Answers in all; only a text that repeats itself all the time would have more."""

FACTORS = tuple(np.uint64(factor) for factor in (
    0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB,
))  # fmt: skip
"""Odd random numbers: of a word, and of the first half of two, four and eight words."""


class Index:
    """The fingerprints of a text, sorted, each with its place in the lower bits.

    Args:
        ids: (M,) the text.
        stretches: begin and end of what of it is looked at; windows lie within one.
    """

    def __init__(self, ids: np.ndarray, stretches: Iterable[tuple[int, int]]) -> None:
        self._place = np.uint64((1 << max(len(ids) - 1, 1).bit_length()) - 1)
        self._window = WINDOW // ids.itemsize
        found, count = np.empty(len(ids), np.uint64), 0
        for begin, end in stretches:
            for at in range(begin, end, HASH_CHUNK):
                prints = _of_windows(ids[at : min(at + HASH_CHUNK + self._window - 1, end)])
                prints = prints & ~self._place | np.arange(at, at + len(prints), dtype=np.uint64)
                found[count : count + len(prints)] = prints
                count += len(prints)
        found[:count].sort()
        # Of equal windows within a few symbols, in a text that repeats itself there, one is enough.
        few, kept = found[:count] // np.uint64(STRIDE), np.ones(count, bool)
        kept[1:] = few[1:] != few[:-1]
        self._sorted = found[:count][kept]
        self._tries = np.zeros(len(self._sorted), np.uint8)
        self._filter = _Filter(self._sorted)
        self._left = MAX_PAIRS

    def __len__(self) -> int:
        """How many windows are still looked for."""
        return len(self._sorted)

    def look_up(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows of `ids` (T,), each `STRIDE` bytes, that have the fingerprint of one that is looked for.

        Of windows of `ids` with equal fingerprints the first one answers for all.

        Returns:
            Two arrays (P,): the place in `ids`, and one in the text.
        """
        prints = _of_blocks(ids)
        blocks = self._filter.perhaps(prints)
        wanted = prints[blocks] & ~self._place
        low = np.searchsorted(self._sorted, wanted)
        there = self._sorted[np.minimum(low, len(self._sorted) - 1)] & ~self._place == wanted
        low, first = np.unique(low[there & (low < len(self._sorted))], return_index=True)
        blocks = blocks[there][first]
        fresh = self._tries[low] < MAX_CANDIDATES
        low, blocks = low[fresh], blocks[fresh]
        self._tries[low] += 1
        many = np.searchsorted(self._sorted, self._sorted[low] | self._place, side="right") - low
        before = np.cumsum(many) - many
        blocks = np.repeat(blocks, many)
        blocks = blocks[: self._left]
        places = self._sorted[np.arange(len(blocks)) + np.repeat(low - before, many)[: len(blocks)]] & self._place
        self._left -= len(blocks)
        return blocks * (STRIDE // ids.itemsize), places.astype(np.int64)

    def forget(self, known: np.ndarray) -> None:
        """Look no more for windows that lie in what is known (M,), nor for those that were answered often enough."""
        open_before = np.concatenate(([0], np.cumsum(~known, dtype=np.int32)))
        kept = self._tries < MAX_CANDIDATES
        for at in range(0, len(kept), HASH_CHUNK):
            places = (self._sorted[at : at + HASH_CHUNK] & self._place).astype(np.int64)
            kept[at : at + HASH_CHUNK] &= open_before[places + self._window] != open_before[places]
        self._sorted, self._tries = self._sorted[kept], self._tries[kept]
        self._filter = _Filter(self._sorted)


class _Filter:
    """Says of most fingerprints that they are not there (Bloom 1970, its bits for one number in one word)."""

    def __init__(self, prints: np.ndarray) -> None:
        bits = max(len(prints).bit_length() - 2, 8)
        self._word = np.uint64(64 - bits)
        self._bits = [np.uint64(64 - bits - 6 * n) for n in (1, 2)]
        self._words = np.zeros(1 << bits, np.uint64)
        for at in range(0, len(prints), HASH_CHUNK):
            piece = prints[at : at + HASH_CHUNK]
            np.bitwise_or.at(self._words, piece >> self._word, self._mask(piece))

    def perhaps(self, prints: np.ndarray) -> np.ndarray:
        """The numbers (P,) of those that may be there."""
        mask = self._mask(prints)
        return np.flatnonzero(self._words[prints >> self._word] & mask == mask)

    def _mask(self, prints: np.ndarray) -> np.ndarray:
        one, two = (np.uint64(1) << (prints >> bit & np.uint64(63)) for bit in self._bits)
        return one | two


def _of_windows(ids: np.ndarray) -> np.ndarray:
    """Fingerprints of the windows that begin at each symbol of `ids` (T,), as many as lie within."""
    size = ids.itemsize
    count = max((ids.nbytes - 8) // size + 1, 0)
    words = np.ndarray(count, "<u8", np.ascontiguousarray(ids).data, strides=(size,))
    prints = words * FACTORS[0]
    for factor, bytes in zip(FACTORS[1:], (8, 16, 32), strict=True):
        on = bytes // size
        prints = prints[:-on] * factor + prints[on:]
    return prints


def _of_blocks(ids: np.ndarray) -> np.ndarray:
    """Fingerprints of the windows that begin at each `STRIDE` bytes of `ids` (T,), as many as lie within."""
    whole = ids.nbytes // STRIDE * STRIDE
    prints = ids.view(np.uint8)[:whole].view("<u8") * FACTORS[0]
    for factor in FACTORS[1:3]:
        prints = prints[::2] * factor + prints[1::2]
    return prints[:-1] * FACTORS[3] + prints[1:]
