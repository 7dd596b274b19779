"""Counting: the same counts however the text is cut and whichever way each piece is counted."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.text import tally

ALPHABETS = {
    "bytes": (np.uint8, [0, 10, 65, 66, 254, 255]),
    "mostly below 256": (np.uint32, [10, 65, 66, 97, 98, 99, 100, 101, 255, 256, 0x10FFFF]),
    "as many above": (np.uint32, [0, 255, 256, 511]),
    "all above": (np.uint32, [0x2603, 0x4E00]),
}


@pytest.mark.parametrize("name", ALPHABETS)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 300), max_size=5), many=st.integers(0, 200))
def test_pieces_are_counted_as_one_by_one(name: str, seed: int, cuts: list[int], many: int) -> None:
    dtype, letters = ALPHABETS[name]
    codes = np.random.default_rng(seed).choice(np.array(letters, dtype), 301)
    counts = tally.of_numbers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "MANY", many)
        for piece in np.split(codes, sorted(cuts)):
            counts.add(piece)
    wanted = Counter(codes.tolist())
    found, times = counts.counted()
    assert dict(zip(found.tolist(), times.tolist(), strict=True)) == wanted
    assert all(counts.times(code) == wanted[code] for code in [*letters, 7, 0x10FFFE])


def test_long_pieces_are_counted_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    pairs = tally._Codes._add_pairs
    monkeypatch.setattr(tally._Codes, "_add_pairs", lambda self, codes: seen.append(codes.size) or pairs(self, codes))
    counts = tally.of_numbers()
    counts.add(np.full(tally.MANY - 1, 65, np.uint8))
    counts.add(np.full(tally.MANY + 1, 65, np.uint32))
    assert seen == [tally.MANY + 1] and counts.times(65) == 2 * tally.MANY
