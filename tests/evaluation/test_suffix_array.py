"""Longest matches are those of a slow twin that tries every place, on texts at random and on the worst ones."""

import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm import memory
from charlm.errors import UsageError
from charlm.evaluation import suffix_array
from charlm.evaluation.suffix_array import Matches, bytes_per_symbol, check_library, check_memory, longest_matches
from charlm.tokenizers.vocabulary import BOUNDARY


def slow(text: np.ndarray, query: np.ndarray) -> list[int]:
    """The same by trying every place of the text."""

    def shared(start: int, at: int) -> int:
        length = 0
        while (
            start + length < len(text)
            and at + length < len(query)
            and text[start + length] == query[at + length] != BOUNDARY
        ):
            length += 1
        return length

    return [max((shared(start, at) for start in range(len(text))), default=0) for at in range(len(query))]


def check(text: np.ndarray, query: np.ndarray) -> Matches:
    found = longest_matches(text, query)
    assert found.lengths.tolist() == slow(text, query)
    for at, (length, place) in enumerate(zip(found.lengths, found.places, strict=True)):
        assert (place < 0) == (length == 0)
        assert np.array_equal(text[place : place + length], query[at : at + length]) or length == 0
    return found


@given(
    st.sampled_from(["uint8", "uint16", "uint32"]),
    st.integers(1, 300),
    st.lists(st.integers(0, 2**20), max_size=60),
    st.lists(st.integers(0, 2**20), max_size=30),
    st.sampled_from([2, 3, 300, 70_000]),
)
def test_against_a_twin(dtype: str, most: int, text: list[int], query: list[int], size: int) -> None:
    size = min(size, most + 1, np.iinfo(dtype).max)
    check(*(np.array([value % size for value in ids], dtype) for ids in (text, query)))


def fibonacci(length: int) -> str:
    one, two = "a", "ab"
    while len(two) < length:
        one, two = two, two + one
    return two[:length]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a" * 90, "a" * 50),
        ("a" * 30, "a" * 90),
        (fibonacci(120), fibonacci(80)[::-1]),
        (fibonacci(90), fibonacci(90)),
        ("abcde" * 12, "abcde" * 12),
        ("ab\0ab\0b", "\0ab\0ab"),
        ("", "abc"),
        ("abc", ""),
        ("abc", "def"),
    ],
)
def test_texts_that_are_hard_to_sort(dtype: str, text: str, query: str) -> None:
    check(*(np.array([ord(letter) for letter in word], dtype) for word in (text, query)))


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_numbers_beyond_a_byte(dtype: str) -> None:
    high = np.iinfo(dtype).max
    text = np.array([1, 256, high, 257, 1, 256, high - 1, 2], dtype)
    check(text, np.array([256, high, 257, 1, 256, high - 1, 65_535, 2], dtype))


def test_a_long_copy_takes_no_longer_than_another_text() -> None:
    """Were each place compared from its beginning, 200,000 of them would take 20 thousand million steps."""
    text = np.random.default_rng(0).integers(1, 5, 200_000).astype(np.uint8)
    began = time.perf_counter()
    found = longest_matches(text, text)
    assert time.perf_counter() - began < 20
    assert found.lengths.tolist() == list(range(len(text), 0, -1))
    assert found.places.tolist() == list(range(len(text)))


def test_the_order_is_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suffix_array, "BLOCK_SYMBOLS", 7)
    random = np.random.default_rng(1)
    for dtype in ("uint8", "uint16"):
        check(random.integers(0, 3, 100).astype(dtype), random.integers(0, 3, 40).astype(dtype))


def test_memory_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_per_symbol(np.dtype("uint8"), 10**6) == 5
    assert bytes_per_symbol(np.dtype("uint16"), 10**6) == 10
    assert bytes_per_symbol(np.dtype("uint8"), 3 * 10**9) == 9
    monkeypatch.setattr(memory, "available", lambda: 400_000_000)
    check_memory(np.dtype("uint8"), 70_000_000, 10_000, "leave it out")
    with pytest.raises(UsageError, match=r"needs about 0\.5 GB .* 0\.4 GB are available; leave it out"):
        check_memory(np.dtype("uint8"), 100_000_000, 10_000, "leave it out")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_library()
    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    with pytest.raises(UsageError, match="pip install pydivsufsort"):
        check_library()
