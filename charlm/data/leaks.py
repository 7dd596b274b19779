"""Passages that a split shares with the training text, found in one pass over it and in bounded memory.

Windows of 64 bytes that both texts have are looked up, the texts are compared there and to both sides, and touching
matches are merged. Any passage of `MIN_OVERLAP` symbols contains a window that is looked up, and every reported
passage occurs in both texts. The result may fall short in two ways: of windows that the training text repeats only some
positions are compared, and of large splits only evenly spread segments are searched.

What is left out: how equal windows are found (`charlm.data.fingerprints`).

Shapes: M symbols of the sample, S segments, P matches.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from charlm.data.fingerprints import STRIDE_BYTES, WINDOW_BYTES, Index
from charlm.data.memmap import PageReleaser

MIN_OVERLAP = 100
"""Symbols of the shortest passage that is reported."""

MAX_EXTENSION = 64
"""Symbols by which a match is followed to each side; the next window of the training text begins earlier."""

SEGMENT_SYMBOLS = 1 << 16
"""Symbols of a sampled segment, and symbols that are compared together."""

MAX_SEGMENTS = 10
"""Segments that are sampled from one split."""

CHUNK_BYTES = 1 << 20
"""Bytes of the training text that are read at a time."""

FORGET_RATIO = 32
"""Known passages leave the index when the pairs compared since are more than a 32nd of its windows."""

MAX_COMPARED_PAIRS = 1 << 12
"""Pairs that are compared together."""


@dataclass(frozen=True)
class Overlap:
    """What a split shares with the training text.

    Attributes:
        symbols: of the split that are in passages of `MIN_OVERLAP` or more that the training text has too.
        of: symbols that were searched.
        longest: symbols of the longest such passage, 0 if there is none.
        at: its position in the split, in symbols from 0.
        train: its position in the training text, in symbols from 0.
    """

    symbols: int
    of: int
    longest: int
    at: int
    train: int

    def to_json(self) -> dict[str, int]:
        """The keys of `shared` in corpus.json."""
        return asdict(self)


class _Matches(NamedTuple):
    """Passages of the sample that the training text has too.

    Attributes:
        begins, ends: (P,) positions in the sample.
        shifts: (P,) from a position in the sample to the one in the training text.
    """

    begins: np.ndarray
    ends: np.ndarray
    shifts: np.ndarray

    @classmethod
    def merge(cls, matches: Iterable["_Matches"]) -> "_Matches":
        """Join matches of equal shift that touch."""
        none = np.zeros(0, np.int64)
        begins, ends, shifts = map(np.concatenate, zip((none, none, none), *matches, strict=True))
        if not len(begins):
            return cls(begins, ends, shifts)
        order = np.lexsort((begins, shifts))
        begins, ends, shifts = begins[order], ends[order], shifts[order]
        apart = np.cumsum(np.diff(shifts, prepend=shifts[0]) != 0) * (int(ends.max()) + 2)
        reached = np.maximum.accumulate(ends + apart)
        first = np.flatnonzero(np.concatenate(([True], (begins + apart)[1:] > reached[:-1])))
        return cls(begins[first], np.maximum.reduceat(ends, first), shifts[first])

    def select(self, mask: np.ndarray) -> "_Matches":
        """A copy of the matches for which `mask` (P,) is true."""
        return _Matches(self.begins[mask], self.ends[mask], self.shifts[mask])

    def long_ones(self) -> "_Matches":
        """Those that are reported."""
        return self.select(self.ends - self.begins >= MIN_OVERLAP)

    def cover(self, size: int) -> np.ndarray:
        """Which of the first `size` symbols of the sample are within a match: (size,) bool."""
        change = np.zeros(size + 1, np.int32)
        np.add.at(change, self.begins, 1)
        np.add.at(change, self.ends, -1)
        return np.cumsum(change)[:-1] > 0


@dataclass(frozen=True)
class _Sample:
    """The searched segments of all splits, one after the other, with a gap of one symbol after each.

    Attributes:
        ids: (M,) of all segments.
        begins, ends: (S,) positions of the segments in `ids`.
        splits: (S,) index of the split of each segment.
        offsets: (S,) position of each segment in its split.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    splits: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, others: Sequence[np.ndarray]) -> "_Sample":
        """Take all of a small split, and segments that are spread evenly over a large one."""
        segments = [(split, *segment) for split, ids in enumerate(others) for segment in _segments(len(ids))]
        splits, offsets, sizes = (np.array(column, np.int64) for column in zip(*segments, strict=True))
        begins = np.cumsum(sizes + 1) - sizes - 1
        joined = np.zeros(int((sizes + 1).sum()), others[0].dtype)
        for begin, (split, offset, size) in zip(begins, segments, strict=True):
            joined[begin : begin + size] = others[split][offset : offset + size]
        return cls(joined, begins, begins + sizes, splits, offsets)

    def segment_at(self, positions: np.ndarray) -> np.ndarray:
        """The segments (P,) of positions (P,) in `ids`."""
        return np.searchsorted(self.begins, positions, side="right") - 1


def _segments(symbols: int) -> Iterator[tuple[int, int]]:
    """Offsets and sizes of what is searched of a split of so many symbols."""
    if symbols <= SEGMENT_SYMBOLS * MAX_SEGMENTS:
        yield 0, symbols
        return
    for index in range(MAX_SEGMENTS):
        yield (symbols - SEGMENT_SYMBOLS) * index // (MAX_SEGMENTS - 1), SEGMENT_SYMBOLS


def find_overlaps(train: np.ndarray, others: Sequence[np.ndarray]) -> list[Overlap]:
    """Find what each of `others` shares with `train`; all are ids of one vocabulary, without a leading boundary.

    Mapped files are read through, and their pages released. Besides, it takes less than 100 MB for texts of any size.
    Document ends count as symbols.
    """
    sample = _Sample.of(others)
    matches = _find_matches(train, sample).long_ones()
    splits = sample.splits[sample.segment_at(matches.begins)]
    return [_overlap(sample, split, ids, train, matches.select(splits == split)) for split, ids in enumerate(others)]


def _find_matches(train: np.ndarray, sample: _Sample) -> _Matches:
    """Compare the sample with the training text at all positions that the index returns."""
    index = Index.of(sample.ids, zip(sample.begins.tolist(), sample.ends.tolist(), strict=True))
    pages = PageReleaser(train)
    chunk_symbols = CHUNK_BYTES // train.itemsize
    matches: list[_Matches] = []
    compared = 0
    for start in range(0, len(train), chunk_symbols):
        if not len(index):
            break
        first = max(start - MAX_EXTENSION, 0)
        nearby = np.array(train[first : start + chunk_symbols + WINDOW_BYTES + MAX_EXTENSION])
        pages.advance(chunk_symbols)
        chunk = nearby[start - first :][: chunk_symbols + STRIDE_BYTES // train.itemsize]
        offsets, positions = index.look_up(chunk)
        for row in range(0, len(offsets), MAX_COMPARED_PAIRS):
            pairs = slice(row, row + MAX_COMPARED_PAIRS)
            matches.append(_compare(sample, nearby, first, len(train), positions[pairs], start + offsets[pairs]))
        compared += len(offsets)
        if compared * FORGET_RATIO > len(index):
            matches, compared = [_Matches.merge(matches)], 0
            index = index.without(matches[0].long_ones().cover(len(sample.ids)))
    return _Matches.merge(matches)


def _compare(
    sample: _Sample,
    nearby: np.ndarray,
    first: int,
    train_symbols: int,
    positions: np.ndarray,
    train_positions: np.ndarray,
) -> _Matches:
    """The matches at those pairs of positions (P,) whose windows are equal.

    Args:
        nearby: the training text from symbol `first`, as far as it is needed.
    """
    window = WINDOW_BYTES // nearby.itemsize
    sampled, trained = (
        sliding_window_view(np.pad(ids, MAX_EXTENSION), window + 2 * MAX_EXTENSION)[at]
        for ids, at in ((sample.ids, positions), (nearby, train_positions - first))
    )
    equal = sampled == trained
    same_window = equal[:, MAX_EXTENSION : MAX_EXTENSION + window].all(axis=1)
    segment = sample.segment_at(positions)
    left = np.minimum.reduce(
        (_leading_true(equal[:, MAX_EXTENSION - 1 :: -1]), positions - sample.begins[segment], train_positions)
    )
    right = np.minimum.reduce(
        (
            _leading_true(equal[:, MAX_EXTENSION + window :]),
            sample.ends[segment] - positions - window,
            train_symbols - train_positions - window,
        )
    )
    matches = _Matches(positions - left, positions + window + right, train_positions - positions)
    return matches.select(same_window)


def _leading_true(equal: np.ndarray) -> np.ndarray:
    """The number of true values (P,) at the beginning of each row (P, N)."""
    return np.where(equal.all(axis=1), equal.shape[1], equal.argmin(axis=1))


def _overlap(sample: _Sample, split: int, ids: np.ndarray, train: np.ndarray, matches: _Matches) -> Overlap:
    """Describe the matches of one split; its longest match is followed beyond its segment."""
    searched = int((sample.ends - sample.begins)[sample.splits == split].sum())
    begins, ends, shifts = matches
    if not len(begins):
        return Overlap(0, searched, 0, 0, 0)
    longest = int((ends - begins).argmax())
    segment = sample.segment_at(begins[longest])
    to_split = sample.offsets[segment] - sample.begins[segment]
    first, last = int(begins[longest] + to_split), int(ends[longest] + to_split)
    shift = int(shifts[longest] - to_split)
    left = _common_prefix(ids[:first][::-1], train[: first + shift][::-1])
    right = _common_prefix(ids[last:], train[last + shift :])
    begins[longest] = max(begins[longest] - left, sample.begins[segment])
    ends[longest] = min(ends[longest] + right, sample.ends[segment])
    covered = int(matches.cover(len(sample.ids)).sum())
    return Overlap(covered, searched, last + right - first + left, first - left, first - left + shift)


def _common_prefix(one: np.ndarray, two: np.ndarray) -> int:
    """The number of symbols that two texts share at their beginning."""
    size, pages = min(len(one), len(two)), (PageReleaser(one), PageReleaser(two))
    for first in range(0, size, SEGMENT_SYMBOLS):
        chunk = slice(first, min(first + SEGMENT_SYMBOLS, size))
        differ = np.flatnonzero(one[chunk] != two[chunk])
        if differ.size:
            return first + int(differ[0])
        for mapped in pages:
            mapped.advance(SEGMENT_SYMBOLS)
    return size
