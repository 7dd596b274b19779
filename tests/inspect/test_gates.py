"""Shares of gates at their ends, after a slow loop and after gates that are made to stay there."""

import numpy as np
import pytest
from texts import text_of

from charlm import cells
from charlm.config import PLUGIN_CELLS
from charlm.errors import CharlmError
from charlm.inspect.gates import always, gates
from charlm.model.stepper import Stepper


def ids_of(model, characters, seed=1):
    return np.concatenate(([0], model.vocabulary.encode_text(text_of(characters, seed=seed))))


@pytest.mark.parametrize(("cell", "names"), [("lstm", "ifo"), ("gru", "rz"), ("rnn", "")])
def test_gates_are_those_of_a_slow_loop(make_model, cell, names):
    model = make_model(cell=cell, layers=2, scale=1.5)
    ids = ids_of(model, 900)
    seen = {}

    def trace(layer, state, values):
        for name, array in {**values, "h": state[0]}.items():
            seen.setdefault((layer, name), []).append(array[0])

    stepper = Stepper(model)
    states = stepper.start()
    for symbol in ids[:-1]:
        _, states = stepper.step(np.array([symbol]), states, trace=trace)
    found, outputs = gates(model, ids)
    assert [(gate.layer, gate.name) for gate in found] == [(layer, name) for layer in range(2) for name in names]
    for gate in found:
        values = np.stack(seen[gate.layer, gate.name])
        assert gate.mean == pytest.approx(values.mean(), abs=1e-5)
        np.testing.assert_allclose(gate.below, (values < 0.1).mean(0), atol=1 / 900)
        np.testing.assert_allclose(gate.above, (values > 0.9).mean(0), atol=1 / 900)
    for layer, output in enumerate(outputs):
        sizes = np.abs(np.stack(seen[layer, "h"]))
        assert output.layer == layer and output.mean == pytest.approx(sizes.mean(), abs=1e-5)
        np.testing.assert_allclose(output.above, (sizes > 0.9).mean(0), atol=1 / 900)
        assert not output.zero.any()


def test_gates_that_are_always_shut_or_open_are_counted(make_model):
    model = make_model(cell="lstm", scale=0.1)
    model.weights["layers.0.bias_ih"][:2] = -20  # two input gates
    model.weights["layers.0.bias_ih"][7:10] = 20  # three forget gates
    found, _ = gates(model, ids_of(model, 300))
    by_name = {gate.name: gate for gate in found}
    assert (always(by_name["i"].below), always(by_name["i"].above)) == (2, 0)
    assert (always(by_name["f"].below), always(by_name["f"].above)) == (0, 3)
    assert always(by_name["o"].below) == always(by_name["o"].above) == 0
    assert always(np.array([0.9, 0.89, 1.0])) == 2


def test_dead_and_saturated_outputs_of_an_rnn(make_model):
    model = make_model(cell="rnn", activation="relu", scale=0.1)
    model.weights["layers.0.bias_ih"][[2, 5]] = -50
    none, (output,) = gates(model, ids_of(model, 300))
    assert not none and np.flatnonzero(output.zero == 1).tolist() == [2, 5]
    model = make_model(cell="rnn", scale=0.1)
    model.weights["layers.0.bias_ih"][[1, 3, 4]] = [9, -9, 9]
    none, (output,) = gates(model, ids_of(model, 300))
    assert not none and always(output.above) == 3 and (output.zero == 0).all()


def test_gates_of_a_cell_from_outside_are_those_between_0_and_1(make_model, monkeypatch):
    class Half(cells.Cell):
        name, gates = "half", ("open", "new")

        def step(self, xp, p, x, below, state):
            a, n = cells.split(x + state[0] @ p["weight_hh"].T + p["bias_hh"], 2)
            a, n = cells.sigmoid(xp, a), xp.tanh(n)
            return (a * n + (1 - a) * state[0],), {"open": a, "new": n}

    monkeypatch.setitem(PLUGIN_CELLS, "half", Half)
    model = make_model(cell="half", layers=2)
    found, outputs = gates(model, ids_of(model, 300))
    assert [(gate.layer, gate.name) for gate in found] == [(0, "open"), (1, "open")] and len(outputs) == 2


def test_a_state_without_bounds_is_an_error(make_model):
    model = make_model(cell="rnn", activation="linear", scale=30.0)
    with pytest.raises(CharlmError, match="its gates say nothing"):
        gates(model, ids_of(model, 500))
