"""Gradients through time agree with finite differences, and with models whose gradients are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from texts import text_of

from charlm.cells._plugin import forget, plugin
from charlm.errors import CharlmError, UsageError
from charlm.inspect import gradients as module
from charlm.inspect.gradients import Spread, gradients, own_norms
from charlm.inspect.spectrum import blocks, bound, scaled, slope
from charlm.inspect.unrolled import Unrolled
from charlm.model.stepper import Stepper
from charlm.tokenizers.vocabulary import BOUNDARY

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("rnn", "sigmoid"), ("rnn", "linear"), ("lstm", "tanh"), ("gru", "tanh")]

LEAKY = '''
from charlm.cells import Cell, split


class Leaky(Cell):
    """A state of two parts, the second a slow memory of what the first was."""

    name = "leaky"
    gates = ("a",)
    state = ("h", "m")

    def step(self, xp, p, x, below, state):
        h, m = state
        a = xp.tanh(x + (h + m) @ p["weight_hh"].T + p["bias_hh"])
        if below is not None:
            a = a + 0.1 * below[1]
        return (a, 0.75 * m + 0.25 * a), {"a": a}


CELL = Leaky
'''


@pytest.fixture
def leaky(tmp_path):
    path = tmp_path / "leaky.py"
    path.write_text(LEAKY)
    yield plugin(path)
    forget()


def double(model):
    return replace(model, weights={name: weight.astype(np.float64) for name, weight in model.weights.items()})


def ids_of(model, characters, seed=1):
    return np.concatenate(([0], model.vocabulary.encode_text(text_of(characters, seed=seed))))


def loss_after(model, ids, place, nudge=None):
    """L_t by the stepper in float64, one place, from the beginning of the text.

    `nudge` is the layer, part, position and vector that is added to the state there.
    """
    stepper = Stepper(model)
    states = stepper.start()
    for position in range(place + 1):

        def edit(layer, state, position=position):
            if nudge is None or (layer, position) != (nudge[0], nudge[2]):
                return state
            return tuple(part + nudge[3] if number == nudge[1] else part for number, part in enumerate(state))

        logits, states = stepper.step(ids[[position]], states, edit=edit)
    shifted = logits[0] - logits[0].max()
    return np.log(np.exp(shifted).sum()) - shifted[ids[place + 1]]


def differences(model, ids, place, layer, part, k, size=1e-5):
    """∂L_t/∂s_(t-k) (H,) by central differences."""
    found = []
    for unit in np.eye(model.options.hidden) * size:
        above, under = (loss_after(model, ids, place, (layer, part, place - k, sign * unit)) for sign in (1.0, -1.0))
        found.append((above - under) / (2 * size))
    return np.array(found)


def check_against_differences(model):
    ids = ids_of(model, 12)
    found = gradients(model, ids, window=8, positions=1, seed=3)
    (place,) = found.places
    names = Unrolled(model).cell.state
    for layer, measured in enumerate(found.layers):
        for part, name in enumerate(names):
            for k in (0, 1, 2, 5, 8):
                expected = np.linalg.norm(differences(model, ids, place, layer, part, k))
                assert measured.loss[name].median[k] == pytest.approx(expected, rel=1e-6, abs=1e-10), (layer, name, k)


@pytest.mark.parametrize(("cell", "activation"), CELLS)
@pytest.mark.parametrize("entering", ["one-hot", "embedding"])
def test_the_losses_gradient_is_that_of_finite_differences(make_model, cell, activation, entering):
    check_against_differences(
        double(make_model(cell=cell, activation=activation, layers=2, hidden=4, input=entering, embedding=3))
    )


def test_so_it_is_for_a_cell_from_a_plugin(make_model, leaky):
    check_against_differences(double(make_model(cell=leaky, layers=2, hidden=4)))


def jacobian(cell, p, inputs, below, passed, part, first, held):
    """∂s_T/∂s_first (H, H) of one layer by central differences; `held` keeps the other parts as they were."""

    def end(nudge):
        state = tuple(array + nudge if number == part else array for number, array in enumerate(passed[first]))
        for t in range(first + 1, len(inputs)):
            if held:
                state = (*passed[t - 1][:part], state[part], *passed[t - 1][part + 1 :])
            state, _ = cell.step(np, p, inputs[t], None if below is None else below[t], state)
        return state[part][0]

    size = 1e-5
    return np.array([(end(unit) - end(-unit)) / (2 * size) for unit in size * np.eye(passed[0][part].shape[1])]).T


def check_own_jacobians(model):
    network = Unrolled(model)
    ids = ids_of(model, 8)
    trail = network.follow(ids[:-1, None], network.start(1))
    numbers = {"layers": [{name: w.numpy() for name, w in p.items()} for p in network.layers]}
    for layer in range(2):
        inputs = [read[layer].detach() for read in trail.inputs]
        passed, below = (
            [tuple(part.detach() for part in after[number]) for after in trail.states] for number in (layer, layer - 1)
        )
        for part in range(len(network.cell.state)):
            for direct in (False, True):
                rows = [
                    own_norms(
                        network.cell, network.layers[layer], inputs, below if layer else None, passed, part,
                        torch.eye(4, dtype=torch.float64)[[unit]], direct=direct,
                    ).numpy()[:, 0]
                    for unit in range(4)
                ]  # fmt: skip
                for first in (0, 3, 7):
                    expected = jacobian(
                        network.cell, numbers["layers"][layer], [x.numpy() for x in inputs],
                        [tuple(p.numpy() for p in state) for state in below] if layer else None,
                        [tuple(p.numpy() for p in state) for state in passed], part, first, direct,
                    )  # fmt: skip
                    found = [row[first] for row in rows]
                    np.testing.assert_allclose(found, np.linalg.norm(expected, axis=1), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_jacobians_of_a_layer_are_those_of_finite_differences(make_model, cell):
    check_own_jacobians(double(make_model(cell=cell, layers=2, hidden=4)))


def test_so_they_are_for_a_cell_from_a_plugin(make_model, leaky):
    check_own_jacobians(double(make_model(cell=leaky, layers=2, hidden=4)))
    found = gradients(make_model(cell=leaky, hidden=5), ids_of(make_model(), 60), window=6, positions=5)
    assert set(found.layers[0].own) == {"h", "m"} and set(found.layers[0].carousel) == {"m"}
    assert found.layers[0].bound is None and found.layers[0].slope is None


def with_recurrent(model, weight, layer=0):
    return replace(double(model), weights={**double(model).weights, f"layers.{layer}.weight_hh": weight})


def orthogonal(size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25])
def test_a_linear_network_of_a_scaled_rotation_passes_exactly_the_powers(make_model, factor):
    model = with_recurrent(make_model(cell="rnn", activation="linear"), factor * orthogonal(7))
    found = gradients(model, ids_of(model, 300), window=20, positions=30).layers[0]
    powers = factor ** np.arange(21.0)
    for spread in (found.left["h"], found.own["h"]):
        for values in (spread.low, spread.median, spread.high):
            np.testing.assert_allclose(values, powers, rtol=1e-9)
    np.testing.assert_allclose(found.bound, powers, rtol=1e-9)
    (block,) = found.recurrent
    assert block.singular == pytest.approx(factor) and block.radius == pytest.approx(factor)
    assert found.carousel == {}


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "linear"])
def test_no_gradient_of_a_simple_network_is_above_the_bound(make_model, activation):
    model = make_model(cell="rnn", activation=activation, layers=2, scale=0.3)
    for layer in gradients(model, ids_of(model, 400), window=12, positions=50).layers:
        assert (layer.own["h"].high <= layer.bound * (1 + 1e-9)).all()
    assert (layer.left["h"].high <= layer.bound * (1 + 1e-9)).all(), "of the highest layer the loss obeys it too"


def test_a_tanh_network_forgets_and_a_linear_one_of_the_same_weights_does_not(make_model):
    """Where no weight shrinks a gradient, the slopes of tanh alone make it vanish."""
    ids = ids_of(make_model(), 300)
    tanh, linear = (
        gradients(with_recurrent(make_model(cell="rnn", activation=kind), orthogonal(7)), ids, window=40).layers[0]
        for kind in ("tanh", "linear")
    )
    assert tanh.recurrent == linear.recurrent and tanh.recurrent[0].singular == pytest.approx(1)
    assert tanh.left["h"].high[40] < 1e-4 and linear.left["h"].low[40] == pytest.approx(1)


def test_weights_scaled_up_explode_in_a_relu_network_with_an_eigenvalue_above_one(make_model):
    model = with_recurrent(make_model(cell="rnn", activation="relu"), np.eye(7))
    ids = ids_of(model, 300)
    scale = scaled(model, 1.5)
    assert blocks(scale, 0)[0].radius == pytest.approx(1.5)
    before, after = (gradients(of, ids, window=30, seed=1).layers[0].own["h"] for of in (model, scale))
    assert (before.high <= 1 + 1e-12).all()
    assert after.high[30] > 1e3 and after.high[30] <= 1.5**30 * (1 + 1e-9)
    assert scale.weights["readout.weight"] is model.weights["readout.weight"]


def test_gradients_grow_without_an_eigenvalue_where_slopes_differ(make_model):
    """diag(f') W with f' = (1, 0) has the eigenvalue 2, though W has none but 0: the state is (1, 0) for ever."""
    model = double(make_model(cell="rnn", activation="relu", hidden=2, scale=0.0))
    model.weights["layers.0.weight_hh"][:] = [[2, -2], [2, -2]]
    model.weights["layers.0.bias_ih"][:] = [-1, -10]
    model.weights["layers.0.weight_ih"][0, BOUNDARY] = 2
    found = gradients(model, ids_of(model, 60), window=20, positions=10).layers[0].own["h"]
    (block,) = blocks(model, 0)
    assert block.radius < 1e-6 and block.singular == pytest.approx(4)
    np.testing.assert_allclose(found.median, 2.0 ** np.arange(21) * found.median[0])


def test_an_open_forget_gate_passes_everything_and_a_half_open_one_the_powers(make_model):
    model = double(make_model(cell="lstm"))
    ids = ids_of(model, 300)
    for bias, factor in ((1000.0, 1.0), (0.0, 0.5)):
        weights = {name: weight.copy() for name, weight in model.weights.items()}
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weights[f"layers.0.{name}"][7:14] = 0
        weights["layers.0.bias_ih"][7:14] = bias
        carousel = gradients(replace(model, weights=weights), ids, window=40, positions=20).layers[0].carousel["c"]
        for values in (carousel.low, carousel.median, carousel.high):
            np.testing.assert_allclose(values, factor ** np.arange(41.0), rtol=1e-12)


def test_the_carousel_of_an_lstm_is_the_product_of_its_forget_gates(make_model):
    model = double(make_model(cell="lstm"))
    ids = ids_of(model, 12)
    found = gradients(model, ids, window=8, positions=1, seed=2)
    stepper, gates = Stepper(model), []
    states = stepper.start()
    for symbol in ids[: found.places[0] + 1]:
        _, states = stepper.step(np.array([symbol]), states, trace=lambda layer, state, named: gates.append(named["f"]))
    for k in (0, 1, 5, 8):
        product = np.prod(gates[len(gates) - k :], axis=0) if k else np.ones((1, 7))
        assert found.layers[0].carousel["c"].median[k] == pytest.approx(np.sqrt((product**2).mean()), rel=1e-9)


def test_the_norm_of_a_jacobian_is_the_mean_square_over_directions(make_model, monkeypatch):
    """With the directions +-1 averaged over many seeds, ‖J‖_F / √H of one place."""
    model = double(make_model(cell="gru", hidden=4))
    ids = ids_of(model, 6)
    found = [gradients(model, ids, window=5, positions=1, seed=seed).layers[0].own["h"].median[3] for seed in range(60)]
    network = Unrolled(model)
    trail = network.follow(ids[:-1, None], network.start(1))
    rows = [
        own_norms(
            network.cell, network.layers[0], [read[0].detach() for read in trail.inputs], None,
            [tuple(part.detach() for part in after[0]) for after in trail.states], 0,
            torch.eye(4, dtype=torch.float64)[[unit]],
        ).numpy()[-4, 0]
        for unit in range(4)
    ]  # fmt: skip
    assert np.mean(np.square(found)) == pytest.approx(np.mean(np.square(rows)), rel=0.15)


def test_how_many_places_are_followed_side_by_side_changes_nothing(make_model, monkeypatch):
    model = make_model(cell="lstm", layers=2)
    ids = ids_of(model, 500)
    whole = gradients(model, ids, window=5, positions=20)
    monkeypatch.setattr(module, "BATCH_BYTES", 3 * module._bytes(model, 5))
    told = []
    parts = gradients(model, ids, window=5, positions=20, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (3, 20) and told[-1] == (20, 20) and len(told) == 7
    for one, other in zip(whole.layers, parts.layers, strict=True):
        np.testing.assert_allclose(one.loss["c"].median, other.loss["c"].median, rtol=1e-9)
        np.testing.assert_allclose(one.carousel["c"].high, other.carousel["c"].high, rtol=1e-9)


def test_places_have_the_window_before_them_and_are_drawn_once(make_model):
    model = make_model(cell="rnn")
    ids = ids_of(model, 40)
    found = gradients(model, ids, window=10, positions=1000)
    assert found.places.tolist() == list(range(10, 40))
    again = gradients(model, ids, window=10, positions=7, seed=5)
    assert len(set(again.places.tolist())) == 7
    assert again.to_json() == gradients(model, ids, window=10, positions=7, seed=5).to_json()
    assert len(gradients(model, ids, window=39).places) == 1
    with pytest.raises(UsageError, match="at least 41 characters, and this one has 40"):
        gradients(model, ids, window=40)


def test_a_state_that_grows_beyond_all_numbers_is_an_error(make_model):
    model = scaled(make_model(cell="rnn", activation="linear", scale=1.0), 1000.0)
    with pytest.raises(CharlmError, match="beyond all numbers"):
        gradients(model, ids_of(model, 500), positions=3)


def test_a_place_without_a_gradient_is_left_out_of_what_is_left(make_model):
    """A readout that is certain of every symbol it sees gives the loss a gradient of exactly 0."""
    model = double(make_model(cell="rnn"))
    weights = {**model.weights, "readout.weight": 0 * model.weights["readout.weight"]}
    layer = gradients(replace(model, weights=weights), ids_of(model, 60), window=3, positions=4).layers[0]
    assert (layer.loss["h"].high == 0).all() and np.isnan(layer.left["h"].median).all()
    assert layer.to_json()["left"]["h"]["median"] == [None] * 4


def test_numbers_too_small_to_be_squared_are_no_zeros(make_model):
    model = with_recurrent(make_model(cell="rnn", activation="linear"), 1e-40 * np.eye(7))
    left = gradients(model, ids_of(model, 60), window=5, positions=3).layers[0].left["h"].median
    np.testing.assert_allclose(left, 10.0 ** (-40 * np.arange(6)), rtol=1e-6)


def test_quantiles_are_those_of_the_places(make_model):
    spread = Spread.over(np.arange(11.0)[None] * np.ones((2, 1)))
    assert (spread.low[0], spread.median[1], spread.high[0]) == (1, 5, 9)


def test_what_the_weights_say_alone(make_model):
    model = make_model(cell="lstm", layers=2)
    for layer in (0, 1):
        whole = model.weights[f"layers.{layer}.weight_hh"]
        for number, block in enumerate(blocks(model, layer)):
            part = whole[7 * number : 7 * number + 7].astype(np.float64)
            assert block.gate == "ifgo"[number]
            assert block.singular == pytest.approx(np.sqrt(np.linalg.eigvalsh(part @ part.T)[-1]))
            assert block.radius == pytest.approx(max(abs(np.linalg.eigvals(part)))) and block.radius <= block.singular
    assert slope(model) is None and slope(make_model(cell="gru")) is None
    assert [slope(make_model(cell="rnn", activation=kind)) for kind in ("tanh", "sigmoid")] == [1.0, 0.25]
    assert bound(1e200, 1.0, 2).tolist() == [1.0, 1e200, np.inf]
