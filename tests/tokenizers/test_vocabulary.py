"""The symbol table: a fixed order, a faithful round trip, and no trust in files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import CheckpointError, SymbolError
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary

texts = st.text(min_size=1, max_size=60)


def table(text: str, unit: str = "char") -> Vocabulary:
    return Vocabulary(unit, np.unique(TOKENIZERS[unit].encode_text(text)))


def test_ids_are_boundary_unknown_and_the_characters_in_code_point_order():
    symbols = table("b\nzaé")
    assert (BOUNDARY, UNKNOWN) == (0, 1)
    assert symbols.size == 7
    assert symbols.encode_text("\nabzé").tolist() == [2, 3, 4, 5, 6]
    assert [chr(symbols.code(index)) for index in range(2, 7)] == ["\n", "a", "b", "z", "é"]
    for index in (0, 1, 7, -1):
        with pytest.raises(ValueError, match="those are 2 to 6"):
            symbols.code(index)


@given(texts, st.sampled_from(["char", "byte"]))
def test_every_text_of_known_characters_comes_back(text, unit):
    symbols = table(text, unit)
    ids = symbols.encode_text(text)
    assert ids.dtype == symbols.dtype and (ids >= 2).all()
    shown = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    if unit == "char":
        assert symbols.decode(ids) == shown
    assert Vocabulary.from_json(json.loads(json.dumps(symbols.to_json()))) == symbols


@given(texts, texts)
def test_encoding_is_a_look_up_of_each_character(known, text):
    symbols = table(known)
    slow = {int(code): 2 + rank for rank, code in enumerate(symbols.codes)}
    assert symbols.encode_text(text).tolist() == [slow.get(ord(letter), UNKNOWN) for letter in text]


def test_eight_bit_codes_are_looked_up_like_wide_ones():
    symbols = table("aé\U0010ffff")
    codes = np.arange(256)
    assert (symbols.encode(codes.astype(np.uint8)) == symbols.encode(codes.astype(np.uint32))).all()
    assert symbols.encode(np.array([0x10FFFE, 0x10FFFF], np.uint32)).tolist() == [1, 4]


def test_boundary_and_unknown_are_never_printed():
    assert table("ab").decode([0, 2, 1, 3, 0]) == "ab"
    assert table("ab").decode([]) == ""


@pytest.mark.parametrize(("count", "dtype"), [(254, "uint8"), (255, "uint16"), (65534, "uint16"), (65535, "uint32")])
def test_ids_have_the_smallest_type_that_holds_them(count, dtype):
    symbols = Vocabulary("char", np.arange(count))
    assert symbols.dtype == dtype
    assert symbols.encode(np.array([count - 1, count], np.uint32)).tolist() == [count + 1, UNKNOWN]


def test_a_table_cannot_be_changed():
    symbols = table("ab")
    with pytest.raises(ValueError, match="read-only"):
        symbols.codes[0] = 5
    with pytest.raises(AttributeError):
        symbols.unit = "byte"


def test_equal_tables_are_equal():
    assert table("ab") == table("ba") and hash(table("ab")) == hash(table("ba"))
    assert table("ab") != table("abc") and table("ab") != table("ab", "byte") and table("ab") != "ab"


def test_a_prompt_with_a_character_outside_the_table_is_refused_with_its_place():
    symbols = table("abc")
    assert symbols.encode_prompt("cab").tolist() == [4, 2, 3]
    with pytest.raises(SymbolError) as error:
        symbols.encode_prompt("ab€cxyx")
    message = str(error.value)
    assert "'€' (U+20AC) at index 2 (counted from 0) and 2 other characters" in message
    with pytest.raises(SymbolError, match=r"'x' \(U\+0078\) at index 0 \(counted from 0\) that"):
        symbols.encode_prompt("xxx")
    with pytest.raises(SymbolError, match="byte 0xC3 at index 1"):
        table("abc", "byte").encode_prompt("aé")


def test_a_table_is_saved_as_a_string_where_that_is_possible():
    assert table("bé\n").to_json() == {"unit": "char", "codes": "\nbé"}
    assert table("\ud800a").to_json() == {"unit": "char", "codes": [97, 0xD800]}
    assert table("é", "byte").to_json() == {"unit": "byte", "codes": [0xA9, 0xC3]}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "no unit"),
        ([], "no unit"),
        ({"codes": "ab"}, "no unit"),
        ({"unit": 3, "codes": "ab"}, "no unit"),
        ({"unit": "phoneme", "codes": "ab"}, "newer charlm"),
        ({"unit": "char"}, "no characters"),
        ({"unit": "char", "codes": ""}, "no characters"),
        ({"unit": "char", "codes": {}}, "no characters"),
        ({"unit": "char", "codes": "ba"}, "rising order"),
        ({"unit": "char", "codes": "aa"}, "rising order"),
        ({"unit": "char", "codes": [97.0]}, "not a number from 0 to 1114111"),
        ({"unit": "char", "codes": [True]}, "not a number"),
        ({"unit": "char", "codes": [-1]}, "not a number"),
        ({"unit": "char", "codes": [0x110000]}, "not a number"),
        ({"unit": "byte", "codes": [256]}, "not a number from 0 to 255"),
        ({"unit": "byte", "codes": ["a"]}, "not a number"),
    ],
)
def test_a_damaged_table_is_refused(value, found):
    with pytest.raises(CheckpointError, match=found):
        Vocabulary.from_json(value)
