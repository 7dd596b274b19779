"""What is kept of a text is what a slow twin finds, one symbol at a time."""

import numpy as np
import pytest
from texts import text_of

from charlm import memory
from charlm.errors import CharlmError, UsageError
from charlm.inspect.record import record
from charlm.model.stepper import Stepper
from charlm.model.units import HiddenUnit, check_part, parse_unit

CELLS = ("rnn", "lstm", "gru")


def ids_of(model, characters):
    return np.concatenate(([0], model.vocabulary.encode_text(text_of(characters)))).astype(model.vocabulary.dtype)


def slowly(model, ids):
    """Probabilities (N + 1, V) in the place of each character and behind the last, and all states after each."""
    stepper = Stepper(model)
    states, rows, kept = stepper.start(), [], []
    for symbol in ids:
        logits, states = stepper.step(np.array([symbol]), states)
        shares = np.exp(logits[0].astype(np.float64) - logits[0].max())
        rows.append(shares / shares.sum())
        kept.append([[part[0] for part in state] for state in states])
    return np.array(rows), kept[1:]


@pytest.mark.parametrize("cell", CELLS)
def test_everything_that_is_kept(make_model, cell):
    model = make_model(cell=cell, layers=2)
    ids = ids_of(model, 1300)  # more than a block
    seen = record(model, ids, top=4, units=[HiddenUnit(1, 6), HiddenUnit(0, 0)])
    shares, states = slowly(model, ids)
    assert seen.ids.tolist() == ids[1:].tolist()
    np.testing.assert_allclose(seen.bits, -np.log2(shares[np.arange(1300), ids[1:]]), atol=1e-4)
    np.testing.assert_allclose(seen.probabilities, -np.sort(-shares, 1)[:, :4], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(shares, seen.top.astype(int), 1), seen.probabilities, atol=1e-5)
    np.testing.assert_allclose(seen.values[:, 0], [state[1][0][6] for state in states], atol=1e-5)
    np.testing.assert_allclose(seen.values[:, 1], [state[0][0][0] for state in states], atol=1e-5)


def test_c_is_kept_as_its_tanh(make_model):
    model = make_model(cell="lstm")
    ids = ids_of(model, 90)
    seen = record(model, ids, units=[HiddenUnit(0, 3)], parts=["c"])
    np.testing.assert_allclose(seen.values[:, 0], [np.tanh(s[0][1][3]) for s in slowly(model, ids)[1]], atol=1e-5)
    assert seen.top.shape == (91, 0)


def test_the_list_of_likely_symbols_is_no_longer_than_the_table_and_in_order(make_model):
    model = make_model(letters="a")
    ids = np.array([0, 2, 2, 1, 0], np.uint8)
    seen = record(model, ids, top=50)
    assert seen.top.shape == (5, 3) and np.sort(seen.top, 1).tolist() == [[0, 1, 2]] * 5
    np.testing.assert_allclose(seen.probabilities.sum(1), 1, atol=1e-5)
    for weights in model.weights.values():
        weights[:] = 0
    assert record(model, ids, top=3).top.tolist() == [[0, 1, 2]] * 5


def test_a_state_without_bound_is_one_error(make_model):
    model = make_model(cell="rnn", activation="linear", scale=3.0)
    with np.errstate(all="ignore"), pytest.raises(CharlmError, match="not finite"):
        record(model, ids_of(model, 3000))


def test_what_does_not_fit_is_refused_before_it_is_taken(make_model, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    model = make_model()
    with pytest.raises(UsageError, match="choose a smaller --chars"):
        record(model, ids_of(model, 1000), top=5)


def test_progress_ends_at_the_end(make_model):
    told = []
    model = make_model()
    record(model, ids_of(model, 1500), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1501, 1501) and len(told) > 1


@pytest.mark.parametrize(
    "word", ["0-17", "0", "", ":", "0:", ":3", "-1:0", "0:-1", "a:b", "0:1:2", " 0:1", "0:1\n", "0:" + "9" * 30]
)
def test_a_word_that_is_no_unit(make_model, word):
    with pytest.raises(UsageError, match="give LAYER:UNIT"):
        parse_unit(word, make_model())


def test_a_unit_that_there_is_not(make_model):
    model = make_model(layers=2)
    assert parse_unit("1:6", model) == HiddenUnit(1, 6) and str(HiddenUnit(1, 6)) == "1:6"
    for word in ("2:0", "1:7"):
        with pytest.raises(UsageError, match="a layer from 0 to 1 and a unit from 0 to 6$"):
            parse_unit(word, model)


def test_a_part_that_the_cell_has_not(make_model):
    assert check_part("c", make_model(cell="lstm")) == "c"
    with pytest.raises(UsageError, match="the cell gru has no such part; it has h$"):
        check_part("c", make_model(cell="gru"))
