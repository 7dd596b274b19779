"""Compressors: the texts they are given, and what they make of them."""

import bz2
import gzip
import lzma

import numpy as np
import pytest

from charlm.evaluation import compressors
from charlm.evaluation.compressors import COMPRESSOR_NAMES, bits, text_bytes, window
from charlm.tokenizers.vocabulary import Vocabulary

WORDS = "wide grey sea, old ships; naïve cœur — 海\r\n".split(" ")


def table(text, unit="char"):
    codes = sorted(set(text.encode("utf-8"))) if unit == "byte" else sorted({*map(ord, text)})
    return Vocabulary(unit, np.array(codes, np.uint32))


def prose(size, seed):
    draws = np.random.default_rng(seed)
    return " ".join(draws.choice(WORDS, size))


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_a_text_comes_back_as_its_bytes(unit, monkeypatch):
    monkeypatch.setattr(compressors, "CHUNK_SYMBOLS", 7)
    text = prose(50, 1)
    symbols = table(text, unit)
    ids = np.concatenate(([0], symbols.encode_text(text), [0], symbols.encode_text("old"), [0]))
    assert b"".join(text_bytes(ids, symbols, False)) == (text + "old").encode("utf-8")
    assert b"".join(text_bytes(ids, symbols, True)) == (text + "\nold\n").encode("utf-8")


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_the_unknown_symbol_is_a_code_that_no_other_has(unit):
    symbols = table("\0\1\2abc", unit)
    ids = np.concatenate(([0], symbols.encode_text("aéb"), [0]))
    assert b"".join(text_bytes(ids, symbols, False)) == (b"a\3b" if unit == "char" else b"a\3\3b")


def test_what_utf_8_forbids_is_no_failure():
    symbols = Vocabulary("char", np.array([97, 0xD800], np.uint32))
    assert b"".join(text_bytes(np.array([0, 2, 3, 0]), symbols, False)) == b"a\xed\xa0\x80"
    whole = Vocabulary("byte", np.arange(256, dtype=np.uint32))
    assert b"".join(text_bytes(np.arange(258), whole, False))[1:] == bytes(range(256))


@pytest.mark.parametrize("name", COMPRESSOR_NAMES)
def test_bits_are_those_of_both_texts_less_those_of_the_first(name):
    one, two = prose(4000, 1).encode(), prose(400, 2).encode()
    make = {"gzip": lambda t: gzip.compress(t, 9), "bzip2": lambda t: bz2.compress(t, 9)}
    make["xz"] = lambda t: lzma.compress(t, preset=9 | lzma.PRESET_EXTREME)
    whole = make[name]
    cut = lambda t: iter([t[:100], b"", t[100:]])  # noqa: E731
    found = bits(name, lambda: cut(one), lambda: cut(two), len(one + two))
    assert found == 8 * (len(whole(one + two)) - len(whole(one)))


def test_only_what_looks_back_far_enough_profits_from_a_training_text():
    """Random bytes, then 100 kB others, then the first ones again."""
    again, between = (np.random.default_rng(seed).bytes(20_000 * (1 + 4 * seed)) for seed in (0, 1))
    found = {
        name: bits(name, lambda: iter([again, between]), lambda: iter([again]), 140_000) for name in COMPRESSOR_NAMES
    }
    assert found["xz"] < 0.1 * 8 * len(again)
    assert found["gzip"] > 0.99 * 8 * len(again)


def test_the_window_of_xz_is_over_everything_within_its_limits():
    assert [window(n) for n in (0, 5000, 12_116_579, 10**12)] == [4096, 5000, 12_116_579, 1536 << 20]
    edges = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": window(0)}])
    assert edges.flush()
