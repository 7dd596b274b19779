"""Passages that a split shares with the training text, found in one pass over it and in bounded memory.

Windows of 64 bytes that both have are looked for, the texts themselves are compared there and to both sides, and what
touches is joined. Any passage of `LEAST` symbols contains a window that is looked for, and nothing is reported that
does not stand in both texts. What is found may fall short in two ways: of windows that the training text repeats only
some places are compared, and of large splits only evenly spread stretches are looked at.

What is left out: how equal windows are found (`charlm.data.fingerprints`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from charlm.data.fingerprints import STRIDE, WINDOW, Index
from charlm.data.memmap import PageReleaser

MIN_OVERLAP = 100
"""Symbols of the shortest passage that is reported."""

REACH = 64
"""Symbols by which a match is followed to each side; the next window of the training text begins earlier."""

SAMPLED_SYMBOLS, SAMPLED_STRETCHES = 1 << 16, 10
"""Symbols that are looked at together, and the most such stretches of one split."""

CHUNK_SYMBOLS = 1 << 20
"""Bytes of the training text that are read at a time."""

MAX_REPEATS = 32
"""What is known is left out of the search when the pairs compared since are more than a 32nd of the open windows."""

MAX_COMPARED_ROWS = 1 << 12
"""Pairs that are compared together."""


@dataclass(frozen=True)
class Overlap:
    """What a split shares with the training text.

    Attributes:
        symbols: of the split that lie in passages of `LEAST` or more that the training text has too.
        of: symbols that were looked at.
        longest: symbols of the longest such passage, 0 where there is none.
        at: its place in the split, in symbols from 0.
        train: its place in the training text, in symbols from 0.
    """

    symbols: int
    of: int
    longest: int
    at: int
    train: int

    def to_json(self) -> dict[str, int]:
        """The keys of `shared` in corpus.json."""
        return asdict(self)


@dataclass(frozen=True)
class _Sampled:
    """What is looked at: stretches of all splits, one after the other, with a gap of one symbol behind each.

    Attributes:
        ids: (M,) all of it.
        begins, ends: (S,) of each stretch, in `ids`.
        splits, places: (S,) which split each is from, and where it begins there.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    splits: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, others: Sequence[np.ndarray]) -> "_Sampled":
        """All of a split, or stretches that are spread evenly over a large one."""
        chosen = [(split, *stretch) for split, ids in enumerate(others) for stretch in _stretches(len(ids))]
        sizes = np.array([size for _, _, size in chosen], np.int64)
        begins = np.cumsum(sizes + 1) - sizes - 1
        joined = np.zeros(int((sizes + 1).sum()), others[0].dtype)
        for begin, (split, place, size) in zip(begins, chosen, strict=True):
            joined[begin : begin + size] = others[split][place : place + size]
        splits, places = (np.array([stretch[n] for stretch in chosen], np.int64) for n in range(2))
        return cls(joined, begins, begins + sizes, splits, places)

    def stretch(self, places: np.ndarray) -> np.ndarray:
        """Which stretch each place (P,) lies in."""
        return np.searchsorted(self.begins, places, side="right") - 1


def find_overlaps(train: np.ndarray, others: Sequence[np.ndarray]) -> list[Overlap]:
    """What each of `others` shares with `train`, all of them ids of one table without a boundary in front.

    Mapped files are read through, and their pages given back; beside that it takes less than 100 MB, whatever they
    hold. Document ends count as symbols.
    """
    looked = _Sampled.of(others)
    begins, ends, shifts = _matches(train, looked)
    splits = looked.splits[looked.stretch(begins)]
    leaks = []
    for index, ids in enumerate(others):
        chosen = (ends - begins >= MIN_OVERLAP) & (splits == index)
        leaks.append(_leak(looked, index, ids, train, begins[chosen], ends[chosen], shifts[chosen]))
    return leaks


def _stretches(symbols: int) -> Iterator[tuple[int, int]]:
    """Place and size of what is looked at in a split of so many symbols."""
    if symbols <= SAMPLED_SYMBOLS * SAMPLED_STRETCHES:
        yield 0, symbols
        return
    for index in range(SAMPLED_STRETCHES):
        yield (symbols - SAMPLED_SYMBOLS) * index // (SAMPLED_STRETCHES - 1), SAMPLED_SYMBOLS


def _leak(
    looked: _Sampled,
    split: int,
    ids: np.ndarray,
    train: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    shifts: np.ndarray,
) -> Overlap:
    mine = looked.splits == split
    of = int((looked.ends - looked.begins)[mine].sum())
    if not len(begins):
        return Overlap(0, of, 0, 0, 0)
    chosen = int((ends - begins).argmax())
    stretch = looked.stretch(begins[chosen])
    first, last = (int(side[chosen] - looked.begins[stretch] + looked.places[stretch]) for side in (begins, ends))
    shift = int(begins[chosen] + shifts[chosen]) - first
    left = _agree(ids[:first][::-1], train[: first + shift][::-1])
    right = _agree(ids[last:], train[last + shift :])
    begins[chosen] = max(begins[chosen] - left, looked.begins[stretch])
    ends[chosen] = min(ends[chosen] + right, looked.ends[stretch])
    covered, until, _ = _joined(begins, ends, np.zeros_like(shifts))
    longest = last + right - first + left
    return Overlap(int((until - covered).sum()), of, longest, first - left, first - left + shift)


def _agree(one: np.ndarray, two: np.ndarray) -> int:
    """How many symbols two texts share from their beginning on."""
    size, pages = min(len(one), len(two)), (PageReleaser(one), PageReleaser(two))
    for at in range(0, size, SAMPLED_SYMBOLS):
        differ = np.flatnonzero(one[at : min(at + SAMPLED_SYMBOLS, size)] != two[at : min(at + SAMPLED_SYMBOLS, size)])
        if differ.size:
            return at + int(differ[0])
        for mapped in pages:
            mapped.advance(SAMPLED_SYMBOLS)
    return size


def _joined(begins: np.ndarray, ends: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Intervals (P,) whose shifts are equal and that touch become one."""
    if not len(begins):
        return begins, ends, shifts
    order = np.lexsort((begins, shifts))
    begins, ends, shifts = begins[order], ends[order], shifts[order]
    apart = np.cumsum(np.diff(shifts, prepend=shifts[0]) != 0) * (int(ends.max()) + 2)
    reached = np.maximum.accumulate(ends + apart)
    first = np.flatnonzero(np.concatenate(([True], (begins + apart)[1:] > reached[:-1])))
    return begins[first], np.maximum.reduceat(ends, first), shifts[first]


def _matches(train: np.ndarray, looked: _Sampled) -> tuple[np.ndarray, ...]:
    """Where the texts agree: begins and ends (P,) in what is looked at, and how far on the training text has it."""
    index, pages = (
        Index(looked.ids, zip(looked.begins.tolist(), looked.ends.tolist(), strict=True)),
        PageReleaser(train),
    )
    chunk = CHUNK_SYMBOLS // train.itemsize
    found: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64),) * 3]
    pairs = 0
    for at in range(0, len(train), chunk):
        if not len(index):
            break
        first, last = max(at - REACH, 0), at + chunk + WINDOW + REACH
        near = np.array(train[first:last])
        pages.advance(chunk)
        others, places = index.look_up(near[at - first : at - first + chunk + STRIDE // train.itemsize])
        for row in range(0, len(others), MAX_COMPARED_ROWS):
            pair = slice(row, row + MAX_COMPARED_ROWS)
            found.append(_compared(looked, near, first, len(train), places[pair], at + others[pair]))
        pairs += len(others)
        if pairs * MAX_REPEATS > len(index):
            found, pairs = [_joined(*map(np.concatenate, zip(*found, strict=True)))], 0
            index.forget(_known(len(looked.ids), *found[0]))
    return _joined(*map(np.concatenate, zip(*found, strict=True)))


def _known(size: int, begins: np.ndarray, ends: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Which symbols (M,) lie in a passage that is long enough."""
    long = ends - begins >= MIN_OVERLAP
    change = np.zeros(size + 1, np.int32)
    np.add.at(change, begins[long], 1)
    np.add.at(change, ends[long], -1)
    return np.cumsum(change)[:-1] > 0


def _compared(
    looked: _Sampled, near: np.ndarray, first: int, size: int, places: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Of pairs of places (P,) those whose windows are equal, followed to both sides; `near` begins at `first`."""
    window = WINDOW // near.itemsize
    here, there = (
        sliding_window_view(np.pad(ids, REACH), window + 2 * REACH)[at]
        for ids, at in ((looked.ids, places), (near, others - first))
    )
    equal = here == there
    whole = equal[:, REACH : REACH + window].all(axis=1)
    left, right = _run(equal[:, REACH - 1 :: -1]), _run(equal[:, REACH + window :])
    stretch = looked.stretch(places)
    left = np.minimum.reduce((left, places - looked.begins[stretch], others))
    right = np.minimum.reduce((right, looked.ends[stretch] - places - window, size - others - window))
    return (places - left)[whole], (places + window + right)[whole], (others - places)[whole]


def _run(equal: np.ndarray) -> np.ndarray:
    """How many are true (P,) at the beginning of each row (P, N)."""
    return np.where(equal.all(axis=1), equal.shape[1], equal.argmin(axis=1))
