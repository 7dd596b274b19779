"""A text read from the right is its documents turned round, symbol for symbol, wherever the text is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm import memory
from charlm.data import direction
from charlm.data.batches import Batches
from charlm.errors import UsageError
from charlm.tokenizers import TOKENIZERS

texts = st.lists(st.integers(0, 3), max_size=30).map(lambda symbols: np.array([0, *symbols], np.uint8))


def documents_turned(ids):
    """The symbols that are predicted, written out document by document: each turned round, and then its boundary."""
    documents, found = [[]], []
    for symbol in ids[1:].tolist():
        if symbol == 0:
            documents.append([])
        else:
            documents[-1].append(symbol)
    if len(ids) > 1 and ids[-1] == 0:
        documents.pop()
        for document in reversed(documents):
            found += [*reversed(document), 0]
        return found
    for document in reversed(documents):  # the boundary of the first one lies outside of the text
        found += [*reversed(document), 0]
    return found[:-1]


@given(texts)
def test_a_text_from_the_right_is_its_documents_from_their_ends(ids):
    turned = direction.reading(ids, "backward")
    assert turned[0] == 0 and turned[1:].tolist() == documents_turned(ids)
    assert sorted(turned[1:]) == sorted(ids[1:])
    assert direction.reading(ids, "forward") is ids


@given(texts)
def test_every_place_is_met_once_and_has_its_symbol(ids):
    turned, symbols = direction.reading(ids, "backward"), len(ids) - 1
    found = direction.positions(ids, np.arange(symbols))
    assert sorted(found.tolist()) == list(range(symbols))
    assert (ids[1:][found] == turned[1:]).all()
    assert (direction.from_left(ids, turned[1:], "backward") == ids[1:]).all()
    assert direction.from_left(ids, turned, "forward") is turned


def test_a_large_text_is_not_copied(tmp_path):
    (tmp_path / "ids").write_bytes(bytes([0, *range(1, 100), 0]))
    ids = np.memmap(tmp_path / "ids", np.uint8, "r")
    for whole in (
        direction.reading(ids, "backward"),
        direction.training(ids, "backward"),
        direction.training(ids[:-1], "backward"),
    ):
        assert np.shares_memory(whole, ids)
    assert direction.training(ids, "forward") is ids


def test_a_copy_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(direction, "MIN_CHECKED_BYTES", 100)
    monkeypatch.setattr(memory, "available", lambda: 150)
    ids = np.array([0, *[1] * 199], np.uint8)
    with pytest.raises(UsageError, match="cut inside a document, needs about .* choose another split"):
        direction.reading(ids, "backward")
    assert direction.reading(np.append(ids, np.uint8(0)), "backward").size == 201
    assert direction.reading(ids[:120], "backward").size == 120
    assert direction.training(ids, "backward").size == direction.reading(ids, "forward").size == 200


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_lanes_of_a_view_are_those_of_a_copy(dtype):
    ids = np.random.default_rng(3).integers(0, 200, 101).astype(dtype)
    view, copy = (Batches(order, 4, 7) for order in (ids[::-1], ids[::-1].copy()))
    for step in range(view.batches_per_epoch):
        for one, other in zip(view.batch_at(step), copy.batch_at(step), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["char", "word"])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_symbols_printed_from_the_right_are_the_text_turned_round(name, text):
    unit = TOKENIZERS[name]
    printer = unit.reversed_decoder()
    pieces = [printer.feed([code]) for code in unit.encode_text(text)[::-1].tolist()]
    assert ("".join(pieces) + printer.flush())[::-1] == text


@given(st.binary(max_size=40) | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_printed_from_the_right_are_what_the_whole_is_decoded_to(data):
    printer = TOKENIZERS["byte"].reversed_decoder()
    pieces = [printer.feed([byte]) for byte in reversed(data)]
    assert ("".join(pieces) + printer.flush())[::-1] == data.decode("utf-8", "replace")


def test_a_byte_waits_for_its_character_and_not_longer():
    printer = TOKENIZERS["byte"].reversed_decoder()
    assert [printer.feed([byte]) for byte in reversed("é€".encode())] == ["", "", "€", "", "é"]
    assert [printer.feed([0x80]) for _ in range(5)] == ["", "", "", "\ufffd", "\ufffd"]
