"""Classes and contexts, on texts and models whose answer is known."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from texts import text_of

from charlm.evaluation.texts import EvalText
from charlm.inspect import context
from charlm.inspect.context import by_context
from charlm.inspect.passage import beginning
from charlm.inspect.record import record
from charlm.inspect.surprise import CLASSES, by_class, classify, summarize
from charlm.model.stepper import Stepper
from charlm.tokenizers.vocabulary import Vocabulary


def table(letters):
    return Vocabulary("char", np.array(sorted({*map(ord, letters)}), np.uint32))


def test_every_class():
    text = "aB3 +\nx\t.é\u0301Ǆǅ中٣\x07\u200b\u00a0"
    symbols = table(text)
    ids = np.concatenate((symbols.encode_text(text), [1, 0], symbols.encode_text("\na"), [0, 0]))
    found = [CLASSES[kind] for kind in classify(symbols, ids)]
    start, end = "line starts", "ends of documents"
    first = [start, "capitals", "digits", "spaces", "punctuation", "spaces", start, "spaces", "punctuation", "letters"]
    second = ["others", "capitals", "capitals", "letters", "digits", "others", "others", "spaces", "others", end]
    assert found == [*first, *second, start, start, end, end]
    assert unicodedata.category("ǅ") == "Lt"


def test_of_bytes_those_of_ascii_alone_are_characters():
    symbols = Vocabulary("byte", np.arange(256, dtype=np.uint32))
    ids = symbols.encode_text("xaé \n\xa0")
    found = [CLASSES[kind] for kind in classify(symbols, ids)]
    assert found == ["line starts", "letters", "others", "others", "spaces", "spaces", "line starts", "others"]


def test_a_table_without_line_ends():
    symbols = table("ab")
    assert [CLASSES[kind] for kind in classify(symbols, np.array([2, 3, 0, 2]))] == [
        "line starts", "letters", "ends of documents", "line starts"
    ]  # fmt: skip


def test_shares_add_up():
    symbols = table(text_of(3000))
    ids = symbols.encode_text(text_of(3000))
    bits = np.random.default_rng(1).exponential(2, 3000)
    rows = by_class(symbols, ids, bits)
    assert sum(row.characters for row in rows) == 3000
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert sum(row.share_of_bits for row in rows) == pytest.approx(1)
    assert sum(row.share * row.bits_per_char for row in rows) == pytest.approx(bits.mean())
    kinds = classify(symbols, ids)
    for row in rows:
        assert row.bits_per_char == pytest.approx(bits[kinds == CLASSES.index(row.name)].mean())
    assert [row.share_of_bits for row in by_class(symbols, ids, np.zeros(3000))] == [0.0] * len(rows)


def by_hand(model, ids, nats, start, distance):
    """Nats after `distance` characters of a stretch that begins at `start`, and with everything before read."""
    stepper = Stepper(model)
    states = stepper.start()
    before = [] if model.corpus.get("documents") else [0]
    for symbol in (*before, *ids[start : start + distance]):
        logits, states = stepper.step(np.array([symbol]), states)
    shares = np.exp(logits[0] - logits[0].max())
    return -np.log(shares[ids[start + distance]] / shares.sum()), nats[start + distance - 1]


@pytest.mark.parametrize("documents", [0, 3])
def test_a_row_is_what_reading_from_a_reset_by_hand_gives(make_model, documents):
    model = make_model(cell="lstm", layers=2, scale=0.8)
    model.corpus["documents"] = documents
    ids = np.concatenate(([0], model.vocabulary.encode_text(text_of(60))))
    nats = record(model, ids).nats
    rows = by_context(model, ids, nats)
    assert [(row.least, row.most) for row in rows] == [(1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63)][: len(rows)]
    starts = np.arange(1, 60)  # as many as there are characters to begin at
    for row in rows:
        if row.least > 1 and len(starts) > context.MIN_SEGMENTS:
            starts = starts[::2]
        starts = starts[starts + row.most <= 60]
        pairs = np.array([[by_hand(model, ids, nats, at, d) for d in range(row.least, row.most + 1)] for at in starts])
        assert row.characters == pairs.shape[0] * pairs.shape[1]
        bits = pairs.mean(1) / np.log(2)
        assert row.reset_bits_per_char == pytest.approx(bits[:, 0].mean(), abs=1e-4)
        assert row.carried_bits_per_char == pytest.approx(bits[:, 1].mean(), abs=1e-4)
        assert row.worth == pytest.approx(row.reset_bits_per_char - row.carried_bits_per_char, abs=1e-6)
        if len(starts) >= context.SURE:
            error = (bits[:, 0] - bits[:, 1]).std(ddof=1) / len(starts) ** 0.5
            assert row.standard_error == pytest.approx(error, abs=1e-4)
        else:
            assert row.standard_error is None


def test_a_network_that_remembers_nothing_gains_nothing_from_context(make_model):
    model = make_model(cell="rnn")
    model.weights["layers.0.weight_hh"][:] = 0
    ids = np.concatenate(([0], model.vocabulary.encode_text(text_of(3000))))
    rows = by_context(model, ids, record(model, ids).nats)
    assert len(rows) == 10
    assert all(abs(row.worth) < 1e-5 for row in rows)


def test_a_network_that_remembers_two_characters_gains_from_exactly_those(make_model):
    """A delay line: the second layer of units sees what the first saw a step before."""
    model = make_model(cell="rnn", activation="linear", hidden=40, scale=0.0)
    size = model.vocabulary.size
    random = np.random.default_rng(3)
    into, through = model.weights["layers.0.weight_ih"], model.weights["layers.0.weight_hh"]
    half = 20
    into[:half, :] = random.standard_normal((half, size)) * 0.5
    through[half:, :half] = np.eye(half)
    model.weights["readout.weight"][:] = random.standard_normal((size, 40))
    ids = np.concatenate(([0], model.vocabulary.encode_text(text_of(4000))))
    rows = by_context(model, ids, record(model, ids).nats)
    assert abs(rows[0].worth) > 5 * rows[0].standard_error
    assert all(abs(row.worth) < 1e-4 for row in rows[1:])


@pytest.mark.parametrize(("characters", "rows"), [(1, 0), (2, 1), (4, 2), (15, 3), (16, 4)])
def test_short_texts_have_few_rows(make_model, characters, rows):
    model = make_model()
    ids = np.concatenate(([0], model.vocabulary.encode_text(text_of(characters))))
    assert len(by_context(model, ids, record(model, ids).nats)) == rows


def test_many_symbols_mean_fewer_stretches(make_model, monkeypatch):
    model = make_model()
    ids = np.concatenate(([0], model.vocabulary.encode_text(text_of(2000))))
    monkeypatch.setattr(context, "SEGMENT_BYTES", 100 * 4 * (3 * model.vocabulary.size + 12 * 7))
    assert by_context(model, ids, record(model, ids).nats)[0].characters == 100


def test_the_summary_counts(make_model):
    model = make_model()
    ids = np.concatenate(([0], model.vocabulary.encode_text("the sea?"), [0], model.vocabulary.encode_text("go"), [0]))
    seen = record(model, ids)
    found = summarize(model, EvalText("a text", ids, 0), seen).to_json()
    assert (found["characters"], found["documents"], found["unknown"]) == (12, 2, 1)
    assert found["bits_per_char"] == pytest.approx(float(seen.bits.mean()))


def test_the_beginning_of_a_text(make_model):
    model, said = make_model(), []
    ids = np.concatenate(([0], model.vocabulary.encode_text("the sea"), [0]))
    whole = EvalText("t", ids, 8)
    assert beginning(model, whole, 8, said.append).ids.tolist() == ids.tolist() and not said
    first = beginning(model, whole, 3, said.append)
    assert (first.ids.tolist(), first.bytes) == (ids[:4].tolist(), 3)
    assert said == ["reading the first 3 of 8 characters; --chars takes more"]
    assert Path("t").name == first.name
