"""Fingerprints of the windows of a text, and which of them another text has too.

A window is 64 bytes of ids. Of one text all windows are kept, one at every symbol. The other text is read in blocks,
and only its windows that begin at a multiple of 32 bytes are looked up: any passage of 95 bytes contains one of them.

A fingerprint is a multilinear hash of the window's eight words modulo 2^64, of which the upper bits count (Lemire &
Kaser 2014). Equal windows have equal fingerprints. The converse is checked by `charlm.data.leaks`.

Shapes: T symbols of a text, K windows of the index, P pairs of windows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

WINDOW_BYTES = 64
"""Bytes of a window."""

STRIDE_BYTES = 32
"""Bytes from one window that is looked up to the next."""

CHUNK_SYMBOLS = 1 << 16
"""Symbols whose fingerprints are computed together."""

MAX_LOOK_UPS = 4
"""Budget of one fingerprint: look-ups that are answered."""

MAX_PAIRS = 1 << 18
"""Budget of a search: pairs that all look-ups return together; only a highly repetitive text has more."""

FACTORS = tuple(np.uint64(factor) for factor in (
    0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB,
))  # fmt: skip
"""Odd random numbers: of a word, and of the first half of two, four and eight words."""


@dataclass
class Index:
    """The windows of a text, sorted by their fingerprint and then by their position.

    Attributes:
        window: symbols of a window.
        hash_mask: the bits of a fingerprint that are compared.
        hashes: (K,) uint64 fingerprints in rising order.
        positions: (K,) int64 first symbols of the windows.
        look_ups: (K,) uint8 answered look-ups, counted at the first window of each fingerprint.
        pairs_left: pairs that further look-ups may return.
    """

    window: int
    hash_mask: np.uint64
    hashes: np.ndarray
    positions: np.ndarray
    look_ups: np.ndarray
    pairs_left: int = MAX_PAIRS

    def __post_init__(self) -> None:
        self._filter = _BloomFilter(self.hashes)

    @classmethod
    def of(cls, ids: np.ndarray, segments: Iterable[tuple[int, int]]) -> "Index":
        """Index the windows of `ids` (T,) that are within a segment, each given by its begin and end."""
        window = WINDOW_BYTES // ids.itemsize
        position_mask = np.uint64((1 << max(len(ids) - 1, 1).bit_length()) - 1)
        packed = [np.empty(0, np.uint64)]  # hash and position in one number, which sorts ten times as fast as a pair
        for begin, end in segments:
            for start in range(begin, end, CHUNK_SYMBOLS):
                hashes = _hash_windows(ids[start : min(start + CHUNK_SYMBOLS + window - 1, end)])
                positions = np.arange(start, start + len(hashes), dtype=np.uint64)
                packed.append(hashes & ~position_mask | positions)
        pairs = np.concatenate(packed)
        pairs.sort()
        # One of the equal windows within a few symbols is enough, if a text repeats itself there.
        group, first = pairs // np.uint64(STRIDE_BYTES), np.ones(len(pairs), bool)
        first[1:] = group[1:] != group[:-1]
        pairs = pairs[first]
        hashes, positions = pairs & ~position_mask, (pairs & position_mask).astype(np.int64)
        return cls(window, ~position_mask, hashes, positions, np.zeros(len(pairs), np.uint8))

    def __len__(self) -> int:
        """The number of windows that are searched for."""
        return len(self.hashes)

    def look_up(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the windows of another text that have the fingerprint of an indexed one, within both budgets.

        Args:
            ids: (T,) the text. Of its windows with equal fingerprints only the first one is used.

        Returns:
            Two arrays (P,): the position in `ids`, and the position in the indexed text.
        """
        blocks, entries = self._find(_hash_blocks(ids) & self.hash_mask)
        fresh = self.look_ups[entries] < MAX_LOOK_UPS
        blocks, entries = blocks[fresh], entries[fresh]
        self.look_ups[entries] += 1
        counts = np.searchsorted(self.hashes, self.hashes[entries], side="right") - entries
        pairs = np.repeat(np.arange(len(entries)), counts)[: self.pairs_left]
        self.pairs_left -= len(pairs)
        nth = np.arange(len(pairs)) - (np.cumsum(counts) - counts)[pairs]
        return blocks[pairs] * (STRIDE_BYTES // ids.itemsize), self.positions[entries[pairs] + nth]

    def _find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first place of each known fingerprint, in `hashes` and in the index."""
        blocks = self._filter.candidates(hashes)
        entries = np.searchsorted(self.hashes, hashes[blocks])
        known = self.hashes[np.minimum(entries, len(self) - 1)] == hashes[blocks]
        entries, first = np.unique(entries[known], return_index=True)
        return blocks[known][first], entries

    def without(self, known: np.ndarray) -> "Index":
        """The index without the windows whose symbols are all `known` (T,), and without those looked up too often."""
        unknown_before = np.concatenate(([0], np.cumsum(~known, dtype=np.int32)))
        unknown = unknown_before[self.positions + self.window] - unknown_before[self.positions]
        keep = (self.look_ups < MAX_LOOK_UPS) & (unknown > 0)
        hashes, positions, look_ups = (column[keep] for column in (self.hashes, self.positions, self.look_ups))
        return replace(self, hashes=hashes, positions=positions, look_ups=look_ups)


class _BloomFilter:
    """Tells of most numbers that they are not in a set (Bloom 1970; the bits of a number are in one word)."""

    def __init__(self, hashes: np.ndarray) -> None:
        bits = max(len(hashes).bit_length() - 2, 8)
        self._word_shift = np.uint64(64 - bits)
        self._bit_shifts = [np.uint64(64 - bits - 6 * n) for n in (1, 2)]
        self._words = np.zeros(1 << bits, np.uint64)
        for first in range(0, len(hashes), CHUNK_SYMBOLS):
            chunk = hashes[first : first + CHUNK_SYMBOLS]
            np.bitwise_or.at(self._words, chunk >> self._word_shift, self._mask(chunk))

    def candidates(self, hashes: np.ndarray) -> np.ndarray:
        """The indices (P,) of those that may be in the set."""
        mask = self._mask(hashes)
        return np.flatnonzero(self._words[hashes >> self._word_shift] & mask == mask)

    def _mask(self, hashes: np.ndarray) -> np.ndarray:
        one, two = (np.uint64(1) << (hashes >> shift & np.uint64(63)) for shift in self._bit_shifts)
        return one | two


def _hash_windows(ids: np.ndarray) -> np.ndarray:
    """Fingerprints of the windows of `ids` (T,) that begin at each symbol."""
    size = ids.itemsize
    count = max((ids.nbytes - 8) // size + 1, 0)
    words = np.ndarray(count, "<u8", np.ascontiguousarray(ids).data, strides=(size,))
    hashes = words * FACTORS[0]
    for factor, half_bytes in zip(FACTORS[1:], (8, 16, 32), strict=True):
        half = half_bytes // size
        hashes = hashes[:-half] * factor + hashes[half:]
    return hashes


def _hash_blocks(ids: np.ndarray) -> np.ndarray:
    """Fingerprints of the windows of `ids` (T,) that begin at each multiple of `STRIDE_BYTES`."""
    usable = ids.nbytes // STRIDE_BYTES * STRIDE_BYTES
    hashes = ids.view(np.uint8)[:usable].view("<u8") * FACTORS[0]
    for factor in FACTORS[1:3]:
        hashes = hashes[::2] * factor + hashes[1::2]
    return hashes[:-1] * FACTORS[3] + hashes[1:]
