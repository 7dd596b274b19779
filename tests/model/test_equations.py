"""Every cell is the equations of docs/checkpoint.md, and its gradients are what finite differences say.

`by_hand` has the equations once more, most of them in another form; here they are held against the network on every
way through a window, and against the stepper.
"""

import by_hand
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from charlm import cells
from charlm.model import parameters, recurrence
from charlm.model.network import Network
from charlm.model.stepper import Stepper

pytestmark = pytest.mark.every_case
KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
CPU = torch.device("cpu")
PATHS = {"scan": cells.LinearCell, "whole": cells.WindowCell}


def ids_of(model, characters=30, seed=3):
    return np.random.default_rng(seed).integers(0, model.vocabulary.size, characters).tolist()


def wanted_of(model, ids):
    return by_hand.logits(model.options.values(), model.weights, ids)


def network_of(model, path="plain"):
    network = Network(model.options, model.vocabulary.size).load_weights(model.weights).double()
    network.backend = path
    return network


def logits_of(model, ids, path="plain"):
    network = network_of(model, path)
    with torch.no_grad():
        return network(torch.tensor(ids)[:, None], network.initial_state(1))[0][:, 0].numpy()


def test_every_cell_is_there_once_more() -> None:
    assert set(by_hand.LAYERS) == set(cells.names())


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_network_is_the_equations_of_the_page(make_model, kind, input):
    for layers in (1, 3):
        model = make_model(*kind, layers=layers, input=input)
        ids = ids_of(model)
        wanted = wanted_of(model, ids)
        for path in ("plain", *(path for path, of in PATHS.items() if isinstance(cells.make(*kind), of))):
            np.testing.assert_allclose(logits_of(model, ids, path), wanted, rtol=0, atol=1e-10)
        stepper, found = Stepper(model), []
        states = stepper.start()
        for symbol in ids:
            row, states = stepper.step(np.array([symbol]), states)
            found.append(row[0])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("context", [1, 2, 5, 40])
@pytest.mark.parametrize("path", ["plain", "whole"])
def test_a_window_of_any_width(make_model, context, path):
    model = make_model("window-mlp", layers=2, context=context)
    ids = ids_of(model)
    np.testing.assert_allclose(logits_of(model, ids, path), wanted_of(model, ids), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_gradients_are_those_of_finite_differences(kind):
    """Of one layer over four characters, by the way that is chosen for it and by the plain one."""
    cell = cells.make(*kind, context=3)
    random = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

    p = {name: normal(*shape) for name, shape in cell.shapes(2, 2).items() if name not in ("weight_ih", "bias_ih")}
    x = normal(4, 1, 2 * len(cell.gates))
    state = [normal(1, 2) for _ in cell.state]
    below = None if cell.at(0) is cell else tuple(normal(4, 1, 2).detach() for _ in cell.state)
    for path in {"plain", recurrence.choose_backend(cell, CPU, "float32", 1000)}:

        def run(x, *rest, path=path):
            named = dict(zip(p, rest, strict=False))
            h, last, _ = recurrence.run_layer(path, cell, named, x, below, rest[len(p) :])
            return (h, *last)

        assert gradcheck(run, [x, *p.values(), *state])


@pytest.mark.parametrize("name", cells.names())
def test_number_of_parameters_is_the_one_of_the_page(make_options, name):
    """Worked out from docs/interface.md: two layers of 6 units on 10 symbols."""
    recurrent = {gates: gates * 6 * (10 + 6 + 2) + gates * 6 * (6 + 6 + 2) for gates in (1, 3, 4)}
    simple = {blocks: blocks * 6 * (10 + 1) + blocks * 6 * (6 + 1) for blocks in (1, 2, 3, 8)}
    wanted = {
        "rnn": recurrent[1], "preactivation-rnn": recurrent[1], "memory": recurrent[1], "gru": recurrent[3],
        "lstm": recurrent[4], "peephole-lstm": recurrent[4] + 2 * 3 * 6,
        "depth-gated-lstm": recurrent[4] + 6 * (6 + 3),
        "sum": simple[1], "min-gru": simple[2], "min-lstm": simple[3], "window-mlp": simple[8],
    }  # fmt: skip
    options = make_options(name, layers=2, hidden=6)
    assert parameters.count(options, 10) == wanted[name] + 10 * 7


def test_six_words_of_ten_thousand_make_twelve_million_weights(make_options):
    shapes = parameters.shapes(make_options("window-mlp", hidden=200, context=6), 10_000)
    assert np.prod(shapes["layers.0.weight_ih"]) == 12_000_000
