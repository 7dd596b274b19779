"""Counting: the same counts however the text is cut and whichever way each piece is counted."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.tokenizers import counts as module

ALPHABETS = {
    "bytes": (np.uint8, [0, 10, 65, 66, 254, 255]),
    "mostly below 256": (np.uint32, [10, 65, 66, 97, 98, 99, 100, 101, 255, 256, 0x10FFFF]),
    "mostly below 256, in two bytes": (np.uint16, [10, 65, 66, 97, 98, 99, 100, 101, 255, 256, 0xFFFF]),
    "as many above": (np.uint32, [0, 255, 256, 511]),
    "all above": (np.uint32, [0x2603, 0x4E00]),
}


@pytest.mark.parametrize("name", ALPHABETS)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 300), max_size=5),
    many=st.integers(0, 200),
    room=st.integers(1, 400),
)
def test_pieces_are_counted_as_one_by_one(name: str, seed: int, cuts: list[int], many: int, room: int) -> None:
    dtype, letters = ALPHABETS[name]
    codes = np.random.default_rng(seed).choice(np.array(letters, dtype), 301)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_PAIRED_CODES", many)
        patch.setattr(module, "MAX_BUFFERED_CODES", room)
        counts = module.code_counts()
        for piece in np.split(codes, sorted(cuts)):
            counts.add(piece)
        found, times = counts.symbols_and_counts()
    wanted = Counter(codes.tolist())
    assert dict(zip(found.tolist(), times.tolist(), strict=True)) == wanted
    assert all(counts.count(code) == wanted[code] for code in [*letters, 7, 0x10FFFE])


def test_counting_goes_on_after_it_was_asked_for() -> None:
    counts = module.code_counts()
    for number in (1, 2, 3):
        counts.add(np.full(module.MIN_PAIRED_CODES // 2, 65, np.uint8))
        counts.add(np.array([65, 0x2603], np.uint32))
        assert counts.count(65) == number * (module.MIN_PAIRED_CODES // 2 + 1) and counts.count(0x2603) == number


def test_many_are_counted_in_pairs_and_few_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, count = [], np.bincount

    def counted(codes: np.ndarray, minlength: int = 0) -> np.ndarray:
        tables.append(minlength)
        return count(codes, minlength=minlength)

    monkeypatch.setattr(np, "bincount", counted)
    for size, in_pairs in ((module.MIN_PAIRED_CODES - 1, False), (module.MIN_PAIRED_CODES + 1, True)):
        counts = module.code_counts()
        counts.add(np.full(size, 65, np.uint8))
        assert counts.count(65) == size and (1 << 16 in tables) == in_pairs
