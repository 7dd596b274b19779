"""Bytes as symbols and back, whatever the encoding and the table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.compression.lossless_text import LOSSLESS_ENCODING, LosslessText
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary

ENCODINGS = [
    "utf-8",
    "utf-16",
    "utf-16-le",
    "latin-1",
    "cp1252",
    "shift_jis",
    "gb18030",
    "utf-7",
    "iso2022_jp",
    "ascii",
]


def table(letters: str, unit: str = "char") -> Vocabulary:
    return Vocabulary(unit, np.array(sorted({ord(letter) for letter in letters}), np.uint32))


@given(data=st.binary(max_size=60) | st.text(max_size=40).map(str.encode), encoding=st.sampled_from(ENCODINGS))
def test_what_is_spelled_comes_back(data: bytes, encoding: str) -> None:
    alphabet = LosslessText(table("\n\ra é漢"), encoding, line_documents=False)
    spelled = alphabet.encode(data)
    if encoding in (LOSSLESS_ENCODING, "latin-1", "ascii", "utf-16-le"):
        assert spelled is not None or encoding == "utf-16-le"
    if spelled is not None:
        assert alphabet.decode(*spelled) == data


def test_text_of_the_table_needs_no_codes_beside() -> None:
    for encoding in ("utf-8", "utf-16-le", "latin-1", "cp1252"):
        ids, raw = LosslessText(table("aé\n"), encoding, line_documents=False).encode("aéa\n".encode(encoding))
        assert ids.tolist() == [3, 4, 3, 2] and raw.tolist() == []


def test_line_ends_are_boundaries_where_lines_are_documents() -> None:
    ids, raw = LosslessText(table("ab"), LOSSLESS_ENCODING, line_documents=True).encode(b"a\n\r\nb")
    assert ids.tolist() == [2, BOUNDARY, UNKNOWN, BOUNDARY, 3] and raw.tolist() == [13]
    ids, raw = LosslessText(table("ab", "byte"), LOSSLESS_ENCODING, line_documents=True).encode(b"a\n\xff")
    assert ids.tolist() == [2, BOUNDARY, UNKNOWN] and raw.tolist() == [255]


@pytest.mark.parametrize("encoding", ["rot13", "zlib_codec", "no-such", "a\0b"])
def test_an_encoding_that_is_none_is_not_used(encoding: str) -> None:
    assert LosslessText(table("a"), encoding, line_documents=False).encode(b"a") is None


def test_symbols_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError):
        LosslessText(table("a\ud800"), LOSSLESS_ENCODING, line_documents=False).decode(
            np.array([3]), np.zeros(0, np.int32)
        )
