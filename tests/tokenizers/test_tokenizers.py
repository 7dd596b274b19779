"""Units: streamed decoding equals decoding at once, and bad bytes are named by their place."""

import codecs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import CorpusError
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.decoding import text_encoding

CHAR, BYTE = TOKENIZERS["char"], TOKENIZERS["byte"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in chunks cut at the given places, empty chunks included."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]


def joined(unit, chunks, encoding="utf-8"):
    arrays = list(unit.codes(chunks, encoding=encoding, where="x"))
    assert all(array.size for array in arrays)
    return np.concatenate([np.zeros(0, np.uint32), *arrays]).tolist()


@given(texts, st.lists(st.integers(0, 1000), max_size=8), st.sampled_from(["utf-8", "utf-16", "utf-32-be", "gb18030"]))
def test_chars_streamed_in_any_chunks_are_the_chars_of_the_whole(text, places, encoding):
    text = text.removeprefix("\ufeff")
    assert joined(CHAR, cut(text.encode(encoding), places), encoding) == [ord(letter) for letter in text]


@pytest.mark.parametrize("letters", ["ab\n", "aé\r\n", "aé€中\uffff", "aé中🎉", "\U0010ffff"])
@given(st.integers(0, 2**32), st.integers(1, 300), st.lists(st.integers(0, 2000), max_size=4))
def test_long_texts_of_narrow_and_wide_characters_have_the_same_codes_and_bytes(letters, seed, size, places):
    text = "".join(np.random.default_rng(seed).choice(list(letters), size))
    arrays = list(CHAR.codes(cut(text.encode(), places), encoding="utf-8", where="x"))
    assert np.concatenate(arrays).tolist() == [ord(letter) for letter in text]
    assert sum(map(CHAR.text_bytes, arrays)) == len(text.encode())
    assert b"".join(map(CHAR.utf8, arrays)).decode() == text


def test_a_text_takes_no_more_room_than_its_widest_character_needs():
    narrow, wide = CHAR.encode_text("a€" * 100), CHAR.encode_text("a🎉" * 100)
    assert narrow.dtype == np.uint16 and wide.dtype == np.uint32


@given(st.binary(max_size=60), st.lists(st.integers(0, 1000), max_size=8))
def test_bytes_streamed_in_any_chunks_are_the_bytes_of_the_whole(data, places):
    assert joined(BYTE, cut(data, places)) == list(data)


@given(texts, st.lists(st.integers(0, 1000), max_size=8), st.sampled_from([CHAR, BYTE]))
def test_codes_printed_in_any_pieces_are_the_text(text, places, unit):
    codes = unit.encode_text(text)
    printer = unit.decoder()
    edges = [0, *sorted(place % (codes.size + 1) for place in places), codes.size]
    pieces = [printer.feed(codes[start:stop]) for start, stop in zip(edges, edges[1:], strict=False)]
    assert "".join(pieces) + printer.flush() == text
    assert unit.text_bytes(codes) == len(text.encode())


@given(st.binary(max_size=40))
def test_bytes_that_are_not_utf8_are_printed_as_the_replacement_character(data):
    printer = BYTE.decoder()
    pieces = [printer.feed([byte]) for byte in data]
    assert "".join(pieces) + printer.flush() == data.decode("utf-8", "replace")


def test_an_incomplete_sequence_is_held_back_until_it_is_complete():
    printer = BYTE.decoder()
    assert [printer.feed([byte]) for byte in "é€".encode()] == ["", "é", "", "", "€"]
    assert printer.feed([0xE2, 0x82]) + printer.flush() == "\ufffd"


def test_lone_surrogates_can_be_coded_and_are_printed_as_the_replacement_character():
    codes = CHAR.encode_text("a\ud800b")
    assert codes.tolist() == [97, 0xD800, 98]
    assert CHAR.decoder().feed(codes) == "a\ufffdb"
    assert CHAR.pack(codes) == [97, 0xD800, 98]
    assert BYTE.encode_text("\udce9").tolist() == [0xE9]
    assert BYTE.encode_text("\ud800").tolist() == [0xED, 0xA0, 0x80]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("data", "encoding", "offset", "line"),
    [
        (b"ab\ncd\nx\xe9y\nz", "utf-8", 7, 3),
        (b"\xff", "utf-8", 0, 1),
        ("é\né\n".encode() + b"\xc3", "utf-8", 6, 3),
        ("é\n€".encode() + b"\xe2\x28", "utf-8", 6, 2),
        ("a\nb\n".encode("utf-16-le") + b"\x00\xdc\x41\x00", "utf-16-le", 8, 3),
        ("a\nb\n".encode("utf-16") + b"\x41", "utf-16", 10, 3),
        ("あ\nい".encode("shift_jis") + b"\xfd", "shift_jis", 5, 2),
        (b"a\nb\x80", "ascii", 3, 2),
    ],
)
def test_undecodable_bytes_are_named_by_offset_and_line_whatever_the_chunks(data, encoding, offset, line, size):
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(CorpusError) as error:
        list(CHAR.codes(chunks, encoding=encoding, where="book.txt"))
    message = str(error.value)
    assert message.startswith("book.txt is not ")
    assert f"at offset {offset} (counted from 0), line {line}:" in message
    assert "--encoding" in message and "--unit byte" in message and "\n" not in message


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le"])
def test_a_leading_byte_order_mark_is_removed_once_and_reported(encoding, size):
    data = "\ufeffa\ufeffb".encode("utf-8" if encoding == "utf-8-sig" else encoding)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    marks = []
    codes = np.concatenate(list(CHAR.codes(chunks, encoding=encoding, where="x", on_mark=lambda: marks.append(1))))
    assert codes.tolist() == [97, 0xFEFF, 98] and marks == [1]


def test_bytes_keep_a_byte_order_mark():
    assert joined(BYTE, [codecs.BOM_UTF8 + b"a"]) == [0xEF, 0xBB, 0xBF, 97]


@pytest.mark.parametrize("name", ["klingon", "hex", "rot13", "", "a\0b"])
def test_an_encoding_that_is_none_is_refused_with_advice(name):
    with pytest.raises(CorpusError, match="is not a text encoding that Python knows; try utf-8"):
        text_encoding(name)


@pytest.mark.parametrize(("name", "codec"), [("UTF8", "utf-8"), ("utf-8-sig", "utf-8"), ("latin-1", "iso8859-1")])
def test_the_names_of_an_encoding_mean_one_codec(name, codec):
    assert text_encoding(name) == codec
    text_encoding("utf-16"), text_encoding("utf-32")


def test_codes_are_described_for_messages():
    assert CHAR.describe(0xE9) == "'é' (U+00E9)"
    assert CHAR.describe(10) == r"'\n' (U+000A)"
    assert BYTE.describe(0xE9) == "byte 0xE9"
