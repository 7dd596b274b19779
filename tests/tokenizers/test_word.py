"""Words: cutting loses nothing, hangs on no chunk, and the table is what a counter says it is."""

import json
import unicodedata
from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.config import PrepareOptions
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.data.sources import Document, Source
from charlm.data.symbol_stream import encode_source
from charlm.errors import CheckpointError, CorpusError, SymbolError, UsageError
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.escape import END, OTHER
from charlm.tokenizers.escape import word_escape as spelled_by
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary
from charlm.tokenizers.word import UNSPACED_SCRIPTS, is_token, split_stream, split_words

WORD = TOKENIZERS["word"]
ALL = {"valid_fraction": 0, "test_fraction": 0}
letters = st.sampled_from("ab_Zé9 ' ’\n\t.,-漢ไ\u0301\u00a0\U0001d400\ud800")
texts = st.text(letters, max_size=80) | st.text(max_size=40)


def words_of(*words: str) -> Vocabulary:
    return Vocabulary("word", np.array(sorted(words), object))


def slowly(text: str) -> list[str]:
    """The rule, letter by letter."""

    def is_letter(index):
        if index >= len(text) or ord(text[index]) > 0xFFFF:
            return False
        if any(first <= ord(text[index]) <= last for first, last in UNSPACED_SCRIPTS):
            return False
        return text[index] == "_" or unicodedata.ucd_3_2_0.category(text[index])[0] in "LMN"

    pieces, at = [], 0
    while at < len(text):
        stop = at + (text[at] in " '’" and is_letter(at + 1))
        if is_letter(stop):
            first = stop
            while is_letter(stop) and stop - first < 40:
                stop += 1
        elif text[at] == " ":
            while stop < len(text) and text[stop] == " " and stop - at < 40 and not is_letter(stop + 1):
                stop += 1
            stop = max(stop, at + 1)
        else:
            stop = at + 1
        pieces.append(text[at:stop])
        at = stop
    return pieces


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("don't say 'no'", ["don", "'t", " say", " ", "'no", "'"]),
        ("    return x_1\n", ["   ", " return", " x_1", "\n"]),
        ("a  \n\n", ["a", "  ", "\n", "\n"]),
        ("  -  ", ["  ", "-", "  "]),
        ("漢字 abc", ["漢", "字", " abc"]),
        ("cafe\u0301s 한국어", ["cafe\u0301s", " 한국어"]),
        ("x" * 95, ["x" * 40, "x" * 40, "x" * 15]),
        (" " * 85 + "x", [" " * 40, " " * 40, " " * 4, " x"]),
        ("", []),
    ],
)
def test_where_texts_are_cut(text, pieces):
    assert split_words(text) == pieces


@given(texts)
def test_the_rule_is_the_one_that_is_stated(text):
    assert split_words(text) == slowly(text)


@given(texts, st.lists(st.integers(0, 80), max_size=8))
def test_pieces_are_the_same_in_any_chunks_and_join_to_the_text(text, places):
    places = sorted(min(place, len(text)) for place in places)
    chunks = [text[first:last] for first, last in zip([0, *places], [*places, len(text)], strict=True)]
    lists = list(split_stream(chunks))
    pieces = [piece for part in lists for piece in part]
    assert all(lists) and pieces == split_words(text) and "".join(pieces) == text
    assert all(is_token(piece) for piece in pieces)


@given(texts.filter(bool))
def test_a_text_of_known_words_comes_back(text):
    symbols = Vocabulary("word", np.unique(WORD.encode_text(text)))
    ids = symbols.encode_text(text)
    assert (ids >= 2).all() and ids.dtype == symbols.dtype
    assert symbols.decode(ids) == "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)
    again = Vocabulary.from_json(json.loads(json.dumps(symbols.to_json())))
    assert again == symbols and hash(again) == hash(symbols)
    assert symbols.sizes[ids].sum() == WORD.characters(WORD.encode_text(text)) == len(text)
    assert WORD.text_bytes(WORD.encode_text(text)) == len(text.encode("utf-8", "surrogatepass"))


def source_of(*texts: str, cut: int = 7, encoding: str = "utf-8") -> Source:
    made = []
    for index, data in enumerate(text.encode(encoding) for text in texts):
        chunks = [data[at : at + cut] for at in range(0, len(data), cut)]
        made.append(Document(f"text-{index}", lambda chunks=chunks: iter(chunks)))
    return Source("text", ["text"], lambda: iter(made))


@given(
    st.lists(st.text(st.sampled_from("abc  '\n.é漢"), max_size=60), min_size=1, max_size=3),
    st.integers(1, 9),
    st.sampled_from(["file", "line"]),
    st.integers(3, 12),
    st.integers(1, 2),
    st.sampled_from(["utf-8", "utf-16-le", "gb18030"]),
)
def test_a_corpus_is_that_of_a_slow_twin(tmp_path_factory, documents, chunk, what, size, least, encoding):
    wanted = documents if what == "file" else [line for text in documents for line in text.split("\n")]
    wanted = [split_words(text) for text in wanted if text]
    counts = Counter(piece for pieces in wanted for piece in pieces)
    kept = sorted((piece for piece in counts if counts[piece] >= least), key=lambda piece: (-counts[piece], piece))
    kept = sorted(kept[: size - 2])
    options = {"unit": "word", "documents": what, "words": size, "min_count": least, "encoding": encoding}
    source = source_of(*documents, cut=chunk, encoding=encoding)
    folder = str(tmp_path_factory.mktemp("data"))
    if counts.total() < 2 or not kept:
        with pytest.raises(CorpusError):
            prepare(source, out=folder, **options, **ALL)
        return
    corpus = prepare(source, out=folder, **options, **ALL)
    assert corpus.vocabulary.codes.tolist() == kept and corpus.vocabulary.unit == "word"
    rank = {piece: 2 + index for index, piece in enumerate(kept)}
    ids = [one for pieces in wanted for one in (*(rank.get(piece, UNKNOWN) for piece in pieces), BOUNDARY)]
    assert corpus.split("train").tolist() == [BOUNDARY, *ids]
    outside = [piece for pieces in wanted for piece in pieces if piece not in rank]
    split = corpus.info["splits"]["train"]
    assert split["characters"] == corpus.characters == sum(len("".join(pieces)) for pieces in wanted)
    assert split["bytes"] == sum(len("".join(pieces).encode()) for pieces in wanted) + (what == "line") * len(wanted)
    assert (split["symbols"], split["unknown"], split["documents"]) == (len(ids), len(outside), len(wanted))
    assert split["spelling"] == pytest.approx(spelled(kept, outside)) and corpus.distinct == len(counts)
    encoded = encode_source(source, corpus.vocabulary, corpus.options)
    assert encoded.ids.tolist() == [BOUNDARY, *ids]
    assert (encoded.characters, encoded.unknown) == (split["characters"], len(outside))
    assert encoded.escape_bits == pytest.approx(split["spelling"])
    assert Corpus.load(corpus.path).vocabulary == corpus.vocabulary


def spelled(table: list[str], outside: list[str]) -> float:
    """The bits of the escape code, letter by letter."""
    counts = Counter("".join(table))
    total = len(table) + 1 + counts.total()
    bits = 0.0
    for word in outside:
        for letter in word:
            bits -= log2(counts[letter] / total) if letter in counts else log2(1 / total) - log2(0x110000)
        bits -= log2(len(table) / total)
    return bits


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(st.lists(texts.filter(is_token), min_size=1, max_size=6, unique=True), st.lists(texts.filter(bool), max_size=6))
def test_what_is_spelled_can_be_read_again_and_takes_what_is_said(table, outside):
    spelling = spelled_by(np.array(table, object))
    codes = np.array(outside, object)
    written, plain = spelling.write(codes)
    assert spelling.shares.sum() == pytest.approx(1) and (spelling.shares > 0).all()
    assert spelling.ends(written) == len(outside) and spelling.plain(written, len(outside)) == len(plain)
    assert spelling.read(written, plain).tolist() == outside
    by_hand = -np.log2(spelling.shares[written]).sum() + len(plain) * log2(0x110000)
    assert spelling.bits(codes) == pytest.approx(by_hand) == pytest.approx(spelled(table, outside))
    assert (END, OTHER) == (0, 1)


def test_a_tie_goes_to_the_word_that_comes_first(tmp_path):
    corpus = prepare(source_of("b b a a B B c"), out=str(tmp_path), unit="word", words=4, **ALL)
    assert corpus.vocabulary.codes.tolist() == [" a", " b"] or corpus.vocabulary.codes.tolist() == [" B", " a"]
    assert corpus.vocabulary.codes.tolist() == [" B", " a"]


def test_how_much_is_unknown_is_said(tmp_path):
    told: list[str] = []
    prepare(source_of("a b c d e f g h"), out=str(tmp_path), unit="word", words=5, report=told.append, **ALL)
    assert any("the 3 most frequent of 8 words" in line and "5 of 8 in the text (62.50%)" in line for line in told)
    told.clear()
    prepare(source_of("a a b"), out=str(tmp_path), name="b", unit="word", report=told.append, **ALL)
    assert any("words seen once" in line and "' b'" in line for line in told)


def test_the_size_of_a_table_of_words_is_of_words_only(tmp_path):
    with pytest.raises(UsageError, match="--words 10 .* add --unit word"):
        prepare(source_of("abc"), out=str(tmp_path), words=10, **ALL)
    corpus = prepare(source_of("a b c"), out=str(tmp_path), unit="word", **ALL)
    assert corpus.options.words == 10_000
    with pytest.raises(CorpusError, match=r"--words \(10000, now 20\)"):
        prepare(source_of("a b c"), out=str(tmp_path), unit="word", words=20, **ALL)


def test_a_table_that_no_model_file_could_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("charlm.data.statistics.MAX_VOCABULARY_BYTES", 100)
    with pytest.raises(CorpusError, match="fewer --words"):
        prepare(source_of(" ".join("abcdefghijklmnop")), out=str(tmp_path), unit="word", **ALL)


def test_a_prompt_names_the_words_that_are_unknown():
    symbols = words_of("the", " king", ".")
    assert symbols.encode_prompt("the king.").tolist() == [4, 2, 3]
    with pytest.raises(SymbolError) as error:
        symbols.encode_prompt("the queen king and\x1b")
    assert "' queen' at index 1" in str(error.value) and "2 other words ('\\x1b', ' and')" in str(error.value)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ("ab", "no words"),
        ([], "no words"),
        ([1, 2], "no word"),
        (["a", 2], "no word"),
        (["b", "a"], "rising order"),
        (["a", "a"], "rising order"),
        (["a b"], "no word"),
        ([""], "no word"),
        (["x" * 41], "no word"),
        ([["a"]], "no word"),
        ({"a": 1}, "no words"),
    ],
)
def test_a_bad_dictionary_is_refused_in_one_line(codes, found):
    with pytest.raises(CheckpointError, match=found) as error:
        Vocabulary.from_json({"unit": "word", "codes": codes})
    assert "\n" not in str(error.value)


def test_other_corpora_are_what_they_were():
    assert "words" not in PrepareOptions().values()
