"""What splits share with the training text is what a slow twin finds, and nothing that is not there."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import fingerprints, leaks
from charlm.data.leaks import MAX_SEGMENTS, MIN_OVERLAP, SEGMENT_SYMBOLS, Overlap, find_overlaps


def slow(train: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Symbols in passages of MIN_OVERLAP or more, and the longest, by every place of the training text."""
    size = train.itemsize
    whole, covered, longest = train.tobytes(), np.zeros(len(other), bool), 0
    at = 0
    while at + MIN_OVERLAP <= len(other):
        length = MIN_OVERLAP
        while at + length <= len(other) and _stands(whole, other[at : at + length].tobytes(), size):
            length += 1
        if length > MIN_OVERLAP:
            covered[at : at + length - 1] = True
            longest = max(longest, length - 1)
        at += 1
    return int(covered.sum()), longest


def _stands(whole: bytes, part: bytes, size: int) -> bool:
    at = whole.find(part)
    while at >= 0 and at % size:
        at = whole.find(part, at + 1)
    return at >= 0


def check(train: np.ndarray, other: np.ndarray, found: Overlap) -> None:
    """What is said of the longest passage is true of both texts."""
    passage = other[found.at : found.at + found.longest]
    assert len(passage) == found.longest
    assert np.array_equal(passage, train[found.train : found.train + found.longest])
    assert found.longest == 0 or found.longest >= MIN_OVERLAP


@given(
    st.sampled_from(["uint8", "uint16", "uint32"]),
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 700), st.integers(90, 260)), max_size=4),
)
def test_every_copy_is_found_wherever_it_begins(dtype: str, seed: int, copies: list[tuple[int, int, int]]) -> None:
    random = np.random.default_rng(seed)
    train, one, two = (random.integers(0, 200, size).astype(dtype) for size in (2500, 1000, 150))
    for source, target, length in copies:
        one[target : target + length] = train[source : source + length][: 1000 - target]
    first, second = find_overlaps(train, [one, two])
    assert (first.symbols, first.longest) == slow(train, one)
    assert first.of == 1000
    check(train, one, first)
    assert second == Overlap(0, 150, 0, 0, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("length", [99, 100, 101, 5000])
def test_a_copy_of_the_whole_split(dtype: str, length: int) -> None:
    random = np.random.default_rng(length)
    train = random.integers(0, 90, 9000).astype(dtype)
    for start in (0, 1, 4000 - 17, 4000):
        (found,) = find_overlaps(train, [train[start : start + length].copy()])
        assert found == (
            Overlap(length, length, length, 0, start) if length >= MIN_OVERLAP else Overlap(0, length, 0, 0, 0)
        )


def test_texts_that_repeat_themselves() -> None:
    """Found may fall short here, and is never wrong."""
    for period in (1, 2, 3, 31, 32, 33, 50):
        text = np.tile(np.random.default_rng(period).integers(0, 250, period).astype(np.uint8), 9000 // period)
        (found,) = find_overlaps(text[:6000], [text[6000:]])
        check(text[:6000], text[6000:], found)
        assert found.symbols > 0.9 * len(text[6000:])


def test_a_header_that_is_everywhere_does_not_hide_a_long_copy() -> None:
    random = np.random.default_rng(3)
    header = random.integers(0, 90, 120).astype(np.uint8)
    documents = [np.concatenate((header, random.integers(0, 90, 500).astype(np.uint8))) for _ in range(200)]
    train = np.concatenate(documents)
    (found,) = find_overlaps(
        train, [np.concatenate((documents[150], header, random.integers(0, 90, 80).astype(np.uint8)))]
    )
    assert (found.symbols, found.longest, found.at, found.train) == (740, 740, 0, 150 * 620)


def test_no_copy_across_two_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "SEGMENT_SYMBOLS", 200)
    monkeypatch.setattr(leaks, "MAX_SEGMENTS", 5)
    train = np.random.default_rng(4).integers(0, 250, 5000).astype(np.uint8)
    other = train[:3000].copy()
    (found,) = find_overlaps(train, [other])
    check(train, other, found)
    assert (found.symbols, found.of, found.longest) == (1000, 1000, 3000)


def test_chunks_of_the_training_text_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "CHUNK_BYTES", 256)
    train = np.random.default_rng(5).integers(0, 60_000, 4000).astype(np.uint16)
    for start in range(0, 600, 37):
        (found,) = find_overlaps(train, [train[start : start + 1100].copy()])
        assert found == Overlap(1100, 1100, 1100, 0, start)


def test_equal_fingerprints_are_not_yet_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "FACTORS", (np.uint64(0),) * 4)
    random = np.random.default_rng(6)
    train, other = (random.integers(0, 250, 3000).astype(np.uint8) for _ in range(2))
    (found,) = find_overlaps(train, [other])
    assert found == Overlap(0, 3000, 0, 0, 0)


@pytest.mark.parametrize("size", [1, 7, 8, 63, 64, 65])
def test_short_texts(size: int) -> None:
    ids = np.arange(size, dtype=np.uint8)
    assert find_overlaps(ids, [ids, ids[:1]]) == [Overlap(0, size, 0, 0, 0), Overlap(0, 1, 0, 0, 0)]


@pytest.mark.cases(1)
@pytest.mark.parametrize("period", [1, 33, 44, 700_001, 9_000_000])
def test_memory_and_time_are_bounded(period: int) -> None:
    """Of a large split only stretches are looked at, however often it stands in the training text."""
    train = np.resize(np.random.default_rng(period).integers(0, 60, period).astype(np.uint8), 9_000_000)
    other = train[:2_000_000].copy()
    tracemalloc.start()
    try:
        began = time.process_time()
        found = find_overlaps(train, [other, other])
        took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6 and took < 10
    assert found[0].of == SEGMENT_SYMBOLS * MAX_SEGMENTS
    assert found[0].symbols > 0.9 * found[0].of
