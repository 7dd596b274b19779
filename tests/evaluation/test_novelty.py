"""How new a text is: shares and passages are those of a slow twin, and of texts whose answer is known."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from texts import text_of

import charlm
from charlm import memory
from charlm.config import ModelOptions
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import CorpusError, UsageError
from charlm.evaluation.novelty import SIZES, Findings, novelty
from charlm.model.checkpoint import Model


def corpus_of(folder: Path, text: str | bytes, **values: object) -> Corpus:
    (folder / "text.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    return prepare(folder / "text.txt", out=str(folder / "data"), force=True, **values)


def model_of(corpus: Corpus) -> Model:
    """A model that says it learned from this corpus; it will not be asked to compute."""
    return Model(ModelOptions(), corpus.vocabulary, {}, corpus.identity())


def held(corpus: Corpus, *texts: str) -> Findings:
    return novelty(model_of(corpus), texts, data=corpus.path.parent)


def slow_share(train: str, text: str, size: int, end: str | None = None) -> float | None:
    """The share of n-grams that are no part of the training text, those with a document's end in them left out."""
    grams = [text[at : at + size] for at in range(len(text) - size + 1)]
    grams = [gram for gram in grams if end is None or end not in gram]
    return sum(gram not in train for gram in grams) / len(grams) if grams else None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab\né", min_size=40, max_size=200), st.lists(st.text("ab\néx", max_size=60), min_size=1, max_size=3))
def test_against_a_twin(tmp_path: Path, text: str, samples: list[str]) -> None:
    corpus = corpus_of(tmp_path, text, valid_fraction=0.2, test_fraction=0)
    train = corpus.vocabulary.decode(corpus.split("train"))
    rest = corpus.vocabulary.decode(corpus.split("valid"))
    found = held(corpus, *samples)
    for sample, one in zip(samples, found.samples, strict=True):
        assert one.characters == len(sample)
        for size in SIZES:
            assert one.new[size] == pytest.approx(slow_share(train, sample, size)), size
        span = one.longest
        assert span.text == sample[span.at : span.at + span.length]
        assert not any(sample[at : at + span.length + 1] in train for at in range(len(sample) - span.length))
        assert train[span.offset or 0 :].startswith(span.text) and (span.offset is None) == (not span.length)
    beside = rest[: sum(map(len, samples))]
    assert found.beside is not None
    for size in SIZES:
        assert found.beside.new[size] == pytest.approx(slow_share(train, beside, size)), size
    places = {size: [max(len(sample) - size + 1, 0) for sample in samples] for size in SIZES}
    for size, many in places.items():
        shares = [(one.new[size] or 0) * count for one, count in zip(found.samples, many, strict=True)]
        assert found.together.new[size] == (pytest.approx(sum(shares) / sum(many)) if sum(many) else None)


def test_a_copy_has_nothing_new(small_corpus: Corpus) -> None:
    train = small_corpus.vocabulary.decode(small_corpus.split("train"))
    found = held(small_corpus, train[1000:1400])
    assert set(found.samples[0].new.values()) == {0.0}
    span = found.samples[0].longest
    assert (span.length, span.at, span.text) == (400, 0, train[1000:1400])
    assert train[span.offset :].startswith(span.text)
    assert found.train.endswith(":train") and found.other is not None and found.other.endswith(":valid")


def test_a_copy_in_the_middle_is_found_where_it_is(tmp_path: Path) -> None:
    letters = np.random.default_rng(0).choice(list("abcdefgh"), 3000)
    corpus = corpus_of(tmp_path, "".join(letters), valid_fraction=0, test_fraction=0.1)
    text = "".join(letters)
    found = held(corpus, "hahaha" * 20 + text[777:877] + "hahaha" * 20)
    span = found.samples[0].longest
    assert abs(span.at - 120) < 8 and 100 <= span.length < 116
    assert text[span.offset : span.offset + span.length] == span.text and abs(span.offset - 777) < 8
    assert found.other is not None and found.other.endswith(":test")  # there is no valid split


def test_passages_stay_within_a_document(tmp_path: Path) -> None:
    """Of files the ends are no characters of the offset; nothing is copied across one."""
    folder = tmp_path / "plays"
    folder.mkdir()
    (folder / "a.txt").write_text("abcdefgh" * 5)
    (folder / "b.txt").write_text("ijklmnop" * 5)
    (folder / "c.txt").write_text("qrstuvwx" * 30)
    corpus = prepare(folder, out=str(tmp_path / "data"), valid_fraction=0.1, test_fraction=0)
    found = held(corpus, "abcdefghijklmnop")
    span = found.samples[0].longest
    assert span.length == 8
    assert (span.at, span.text) in ((0, "abcdefgh"), (8, "ijklmnop"))
    whole = "".join(path.read_text() for path in sorted(folder.iterdir()))
    assert whole[span.offset : span.offset + 8] == span.text
    assert found.samples[0].new[2] == pytest.approx(1 / 15)


def test_lines_as_documents(tmp_path: Path) -> None:
    """An n-gram lies within one line, and a line's end counts in the offset."""
    lines = ["anna", "otto", "hannah", "bob", "eve"] * 20
    corpus = corpus_of(tmp_path, "\n".join(lines) + "\n", documents="line", valid_fraction=0.1, test_fraction=0)
    found = held(corpus, "annotto\nhannah\neva")
    one = found.samples[0]
    train = "\n".join(lines)
    assert one.new == {size: pytest.approx(slow_share(train, "annotto\nhannah\neva", size, "\n")) for size in SIZES}
    assert (one.longest.length, one.longest.text, one.longest.at) == (6, "hannah", 8)
    assert train[one.longest.offset :].startswith("hannah\n")


def test_bytes(tmp_path: Path) -> None:
    """Symbols are bytes: lengths, places and offsets count them, and a passage may end within a character."""
    corpus = corpus_of(tmp_path, "größe und maß " * 40 + "§", unit="byte", valid_fraction=0.1, test_fraction=0)
    found = held(corpus, "xx größe")
    assert (found.samples[0].characters, found.samples[0].longest.length) == (10, 8)
    span = found.samples[0].longest
    raw = ("größe und maß " * 40).encode()
    assert (span.at, span.text) == (2, " größe")
    assert raw[span.offset :].startswith(" größe".encode())


@pytest.mark.parametrize("text", ["", "x", "€€€"])
def test_samples_with_little_in_them(small_corpus: Corpus, text: str) -> None:
    found = held(small_corpus, text).samples[0]
    assert found.longest.length == 0 and found.longest.offset is None
    assert [found.new[size] for size in (2, 3, 4)] == [1.0 if len(text) >= size else None for size in (2, 3, 4)]


def test_without_another_split_there_is_nothing_beside(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, text_of(500), valid_fraction=0, test_fraction=0)
    found = charlm.novelty(model_of(corpus), "the sea", data=tmp_path / "data")
    assert found.beside is None and found.other is None and found.to_json(0)["beside"] is None


def test_what_is_missing_is_one_clear_line(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(small_corpus)
    with pytest.raises(
        CorpusError, match="--novelty needs the text that the model learned from: 'small' is not a prepared corpus"
    ):
        novelty(model, "the sea", data=tmp_path)
    with pytest.raises(UsageError, match="one text or more, got none"):
        novelty(model, [], data=tmp_path)
    other = Model(model.options, model.vocabulary, {}, {**model.corpus, "sha256": "0"})
    with pytest.raises(CorpusError, match="not the corpus .* leave out --novelty"):
        novelty(other, "the sea", data=small_corpus.path.parent)
    nameless = Model(model.options, model.vocabulary, {}, {"name": "../x"})
    with pytest.raises(CorpusError, match="names no corpus .* leave out --novelty"):
        novelty(nameless, "the sea", data=small_corpus.path.parent)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "available", lambda: 1000)
        with pytest.raises(UsageError, match="memory, .* leave out --novelty"):
            novelty(model, "the sea", data=small_corpus.path.parent)
    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    with pytest.raises(UsageError, match="pip install pydivsufsort"):
        novelty(model, "the sea", data=small_corpus.path.parent)
