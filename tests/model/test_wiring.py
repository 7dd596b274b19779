"""Every wiring is its equations, on every path and in every arithmetic, with every cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stepping import walk
from torch.nn import functional as F
from wirings import CASES, WIRINGS, label, slow_wired

from charlm import cells
from charlm.compression.container import model_digest
from charlm.compression.exact_arithmetic import exact_stepper
from charlm.inspect.unrolled import Unrolled
from charlm.model import bptt, checkpoint, parameters, wiring
from charlm.model.network import NO_DROPOUT, DropoutMasks, Network
from charlm.model.stepper import Stepper
from charlm.model.units import clamp
from charlm.model.wiring import is_plain_stack, split_weights
from charlm.sampling.single_stream import SINGLE_STREAM_CELLS, SingleStream

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
FUSED = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
NAMES = cells.names()
every_case = pytest.mark.parametrize("case", CASES, ids=label)


def some_ids(steps=6, batch=3, seed=2):
    return np.random.default_rng(seed).integers(0, 10, (steps, batch))


def exact(model):
    """The stepper in float64."""
    weights = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
    return Stepper(model, weights=split_weights(model.options, weights))


def paths(kind):
    return ["plain", *(["bptt"] if kind[0] in bptt.BPTT_FUNCTIONS else []), *(["fused"] if kind in FUSED else [])]


def everything(network, ids, drops=NO_DROPOUT):
    """Logits, last states and the gradient of every weight of a loss that reads the states too."""
    logits, last = network(ids, network.initial_state(ids.shape[1]), drops)
    loss = F.cross_entropy(logits[:-1].flatten(0, 1), ids[1:].flatten())
    loss = loss + sum(0.1 * part.square().sum() for layer in last for part in layer)
    gradients = torch.autograd.grad(loss, list(network.named_weights().values()))
    found = {"logits": logits} | {f"last {n} {k}": part for n, layer in enumerate(last) for k, part in enumerate(layer)}
    return found | {f"d {name}": part for name, part in zip(network.named_weights(), gradients, strict=True)}


@every_case
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_every_way_to_compute_is_the_loop_in_plain_words(make_model, make_network, kind, case):
    model = make_model(*kind, layers=3, scale=0.3, **case)
    ids = some_ids()
    wanted, last = slow_wired(model, ids)
    with torch.no_grad():
        for path in paths(kind):
            network = make_network(model, path, torch.float64)
            found, states = network(torch.from_numpy(ids), network.initial_state(3))
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-10, atol=1e-10)
            for layer, other in zip(states, last, strict=True):
                for part, same in zip(layer, other, strict=True):
                    np.testing.assert_allclose(part.numpy(), same, rtol=1e-10, atol=1e-10)
        unrolled = Unrolled(model)
        trail = unrolled.follow(ids, unrolled.start(3))
    np.testing.assert_allclose(walk(exact(model), ids)[0], wanted, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(trail.logits.numpy(), wanted[-1], rtol=1e-10, atol=1e-10)


@every_case
@pytest.mark.parametrize("name", NAMES)
def test_in_float32_stepping_is_the_loop_up_to_rounding(make_model, name, case):
    model = make_model(name, layers=3, scale=0.3, **case)
    ids = some_ids()
    wanted, _ = slow_wired(model, ids)
    for device in (None, "cpu"):
        found, _ = walk(Stepper(model, device), ids)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@every_case
@pytest.mark.parametrize("name", NAMES)
def test_portable_arithmetic_is_the_loop_and_a_stream_does_not_notice_the_others(make_model, name, case):
    model = make_model(name, layers=3, scale=0.3, **case)
    ids = some_ids(8, 5)
    stepper = exact_stepper(model)
    together, _ = walk(stepper, ids)
    np.testing.assert_allclose(together, slow_wired(model, ids)[0], rtol=0, atol=1e-5)
    for stream in range(5):
        alone, _ = walk(stepper, ids[:, stream : stream + 1])
        assert np.array_equal(alone[:, 0], together[:, stream])


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-300, 1e30, 0.0])
def test_portable_mean_hangs_on_no_order(scale):
    from charlm.compression.exact_arithmetic import _Functions

    x = np.random.default_rng(0).normal(size=(3, 65536)) * scale
    mean = _Functions("lstm").mean(x, axis=-1, keepdims=True)
    assert mean.shape == (3, 1)
    np.testing.assert_allclose(mean, x.mean(-1, keepdims=True), rtol=1e-6, atol=max(1e-11 * scale, 2.0**-136))
    for order in (np.s_[::-1], np.random.default_rng(1).permutation(65536)):
        assert np.array_equal(_Functions("lstm").mean(x[:, order], axis=-1, keepdims=True), mean)


@every_case
@pytest.mark.parametrize("kind", FUSED, ids="-".join)
def test_all_paths_agree_in_every_gradient_and_drop_at_the_same_places(make_model, make_network, kind, case):
    model = make_model(*kind, layers=3, scale=0.3, **case)
    ids = torch.from_numpy(some_ids())

    def drop(layer, x):
        return x * (torch.arange(x.numel()).view(x.shape) % (4 - layer) > 0) * 1.5

    def drop_symbols(layer, ones):
        return ones * (torch.arange(len(ones))[:, None] % 3 > 0) * 1.5

    wanted = everything(make_network(model, "plain", torch.float64), ids, DropoutMasks(drop, drop, drop_symbols))
    bare = everything(make_network(model, "plain", torch.float64), ids)
    assert all(torch.isfinite(part).all() for part in wanted.values())
    assert (wanted["logits"] - bare["logits"]).abs().max() > 1e-3
    for path in paths(kind):
        found = everything(make_network(model, path, torch.float64), ids, DropoutMasks(drop, drop, drop_symbols))
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10, msg=f"{path}: {name}")


@every_case
@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_gradients_are_finite_differences_of_the_loop_in_plain_words(make_model, make_network, name, case):
    """Along a random direction of each weight; a table that serves twice has the sum of both uses."""
    model = make_model(name, layers=3, scale=0.3, **case)
    ids, random = some_ids(), np.random.default_rng(7)

    def loss(weights):
        logits, _ = slow_wired(replace(model, weights=weights), ids)
        rows = logits[:-1].reshape(-1, 10)
        return float(np.mean(np.log(np.exp(rows).sum(1)) - rows[np.arange(len(rows)), ids[1:].reshape(-1)]))

    network = make_network(model, paths((name, "tanh"))[-1], torch.float64)
    logits, _ = network(torch.from_numpy(ids), network.initial_state(3))
    F.cross_entropy(logits[:-1].flatten(0, 1), torch.from_numpy(ids)[1:].flatten()).backward()
    step = 1e-5
    for key, weight in network.named_weights().items():
        direction = random.standard_normal(weight.shape)
        moved = [
            {**model.weights, key: model.weights[key].astype(np.float64) + sign * step * direction} for sign in (1, -1)
        ]
        slope = (loss(moved[0]) - loss(moved[1])) / (2 * step)
        assert float((weight.grad.numpy() * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-9), key


@every_case
@pytest.mark.parametrize("kind", FUSED, ids="-".join)
def test_whole_window_equals_its_chunks_with_the_state_carried(make_model, make_network, kind, case):
    model = make_model(*kind, layers=3, scale=0.3, **case)
    ids = torch.from_numpy(some_ids(9))
    for path in paths(kind):
        network = make_network(model, path, torch.float64)
        with torch.no_grad():
            whole, _ = network(ids, network.initial_state(3))
            states, found = network.initial_state(3), []
            for chunk in ids.split([1, 5, 3]):
                logits, states = network(chunk, states)
                found.append(logits)
        torch.testing.assert_close(torch.cat(found), whole, rtol=0, atol=1e-12)


@every_case
@pytest.mark.parametrize("path", ["plain", "bptt", "fused"])
def test_a_dropped_symbol_enters_nowhere_and_is_read_out_all_the_same(make_model, make_network, path, case):
    model = make_model("lstm", layers=3, scale=0.3, **case)
    ids, kept = some_ids(), np.array([0, 2, 0, 2, 2, 0, 2, 2, 0, 2.0])
    network = make_network(model, path, torch.float64)
    with torch.no_grad():
        drops = DropoutMasks(symbols=lambda layer, x: x * torch.from_numpy(kept)[:, None])
        found, _ = network(torch.from_numpy(ids), network.initial_state(3), drops)
    np.testing.assert_allclose(found.numpy(), slow_wired(model, ids, symbols=kept)[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("name", SINGLE_STREAM_CELLS)
def test_what_a_symbol_brings_in_lies_in_one_piece(make_model, name, input):
    model = make_model(name, layers=2, input=input, skip=True)
    weights = split_weights(model.options, model.weights)
    tables = [wiring.input_table(weights), wiring.skip_table(weights, 1)]
    tables += [SINGLE_STREAM_CELLS[name](model.options.activation).arrange(table, -1) for table in tables]
    assert all(table[3].flags.c_contiguous for table in tables)
    tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    assert wiring.input_table(tensors)[3].is_contiguous() and wiring.skip_table(tensors, 1)[3].is_contiguous()


@every_case
def test_a_unit_that_is_held_is_held_for_everything_that_reads_it(make_model, case):
    model = make_model("lstm", layers=3, scale=0.3, **case)
    ids = some_ids()

    def hold(layer, state):
        h = state[0].copy()
        h[:, 2] = 0.7 if layer == 1 else h[:, 2]
        return (h, *state[1:])

    found, _ = walk(exact(model), ids, edit=clamp(model, {"1:2": 0.7}))
    np.testing.assert_allclose(found, slow_wired(model, ids, edit=hold)[0], rtol=1e-10, atol=1e-10)
    assert np.abs(found - slow_wired(model, ids)[0]).max() > 1e-3


def test_a_layer_that_says_nothing_is_passed_by(make_model):
    """Residual layers whose h is always 0, and highways that are shut, leave the network of the first layer."""
    ids = some_ids()
    for between in ("residual", "highway"):
        model = make_model("rnn", layers=3, between=between)
        for name, weight in model.weights.items():
            if name.startswith(("layers.1.", "layers.2.")) and between == "residual":
                weight[:] = 0
            if name.startswith("highway") and name.endswith("bias"):
                weight[:] = -80
        first = make_model("rnn", layers=1)
        first.weights.update({name: model.weights[name] for name in first.weights})
        np.testing.assert_allclose(walk(exact(model), ids)[0], walk(exact(first), ids)[0], rtol=0, atol=1e-12)


def test_normalised_outputs_have_the_mean_and_deviation_that_are_asked_for():
    h = np.random.default_rng(0).normal(3, 5, (4, 2, 1000))
    gain, bias = np.full(1000, 2.0), np.full(1000, -1.0)
    found = wiring.layer_norm(np, h, gain, bias)
    np.testing.assert_allclose(found.mean(-1), -1, atol=1e-9)
    np.testing.assert_allclose(found.std(-1), 2, rtol=1e-6)
    same = F.layer_norm(torch.from_numpy(h), (1000,), *map(torch.from_numpy, (gain, bias)), wiring.EPSILON)
    np.testing.assert_allclose(found, same.numpy(), rtol=1e-10, atol=1e-10)


def test_one_layer_is_a_stack_whatever_lies_between():
    assert is_plain_stack(parameters_of(layers=1, skip=True, between="highway"))
    assert is_plain_stack(parameters_of(layers=2, tied=True, input="embedding", embedding=7))
    for more in ({"skip": True}, {"between": "residual"}, {"between": "highway"}, {"layer_norm": True}):
        assert not is_plain_stack(parameters_of(layers=2, **more))
    assert not is_plain_stack(parameters_of(layers=1, layer_norm=True))


def parameters_of(**values):
    from charlm.config import ModelOptions

    return ModelOptions(**{"hidden": 7, "embedding": 5, "dropout": 0.0, **values})


def test_one_layer_with_skip_or_between_is_the_plain_network(make_model):
    ids = some_ids()
    plain = make_model("lstm")
    for more in ({"skip": True}, {"between": "residual"}, {"between": "highway"}):
        model = make_model("lstm", **more)
        assert model.weights.keys() == plain.weights.keys()
        np.testing.assert_array_equal(walk(Stepper(model), ids)[0], walk(Stepper(plain), ids)[0])


def test_a_tied_stack_has_the_lean_step(make_model):
    model = make_model("gru", layers=2, tied=True, input="embedding", embedding=7, scale=0.3)
    ids = some_ids(20, 1)
    lean = SingleStream(model, np.float64)
    found = [lean.read(symbol).copy() for symbol in ids[:, 0]]
    np.testing.assert_allclose(found, slow_wired(model, ids)[0][:, 0], rtol=1e-10, atol=1e-10)


def test_number_of_parameters_of_known_wirings():
    """Worked out by hand for V = 10, 3 layers of 4 lstm units, 2 numbers in an embedding."""
    size = {"cell": "lstm", "layers": 3, "hidden": 4, "embedding": 2, "input": "embedding"}

    def count(**more):
        return parameters.count(parameters_of(**{**size, **more}), 10)

    plain = count()
    assert plain == 10 * 2 + 16 * (2 + 4 + 2) + 2 * 16 * (4 + 4 + 2) + 10 * 5
    assert count(skip=True) == plain + 2 * 16 * 2 + 10 * 8
    assert count(between="residual") == plain
    assert count(between="highway") == plain + 2 * (16 + 4)
    assert count(layer_norm=True) == plain + 3 * 8
    assert count(tied=True, embedding=4) == plain + 10 * 2 + 16 * 2 - 10 * 4
    assert count(tied=True, skip=True, embedding=12) == 10 * 13 + 16 * (12 + 6) + 2 * 16 * (4 + 12 + 6)


def test_first_weights_of_a_wiring():
    options = parameters_of(layers=3, between="highway", layer_norm=True, tied=True, input="embedding", embedding=7)
    plain = Network(parameters_of(layers=3, input="embedding", embedding=7), 10, seed=3).arrays()
    first = Network(options, 10, seed=3).arrays()
    assert "readout.weight" not in first
    assert np.abs(first["embedding.weight"]).max() <= 7**-0.5 < np.abs(plain["embedding.weight"]).max()
    for name, weight in first.items():
        if name.startswith("norm"):
            assert (weight == (1 if name.endswith("weight") else 0)).all()
        if name.startswith("highway"):
            assert (weight == -1).all() if name.endswith("bias") else 0 < np.abs(weight).max() <= 7**-0.5


def test_a_wiring_does_not_change_what_else_starts():
    """Skip alone changes shapes; all others leave every weight of the plain network where it was."""
    plain = Network(parameters_of(layers=3), 10, seed=3).arrays()
    found = Network(parameters_of(layers=3, between="highway", layer_norm=True), 10, seed=3).arrays()
    assert all(np.array_equal(found[name], weight) for name, weight in plain.items())


@every_case
def test_a_model_of_every_wiring_comes_back_from_its_file(make_model, tmp_path, case):
    model = make_model("gru", layers=3, **case)
    checkpoint.save(tmp_path / "model.safetensors", model)
    back = checkpoint.load(tmp_path / "model.safetensors")
    assert back.options == model.options
    assert back.weights.keys() == model.weights.keys() and ("readout.weight" in back.weights) != ("tied" in case)
    np.testing.assert_array_equal(walk(Stepper(back), some_ids())[0], walk(Stepper(model), some_ids())[0])
    assert model_digest(back) == model_digest(model)


def test_networks_of_the_same_tensors_are_told_apart(make_model):
    plain, residual = make_model("gru", layers=3), make_model("gru", layers=3, between="residual")
    assert all(np.array_equal(weight, residual.weights[name]) for name, weight in plain.weights.items())
    assert model_digest(plain) != model_digest(residual)
    assert np.abs(walk(Stepper(plain), some_ids())[0] - walk(Stepper(residual), some_ids())[0]).max() > 0.01


def test_wirings_name_what_they_are():
    assert parameters_of().wiring() == {}
    for case in WIRINGS:
        found = parameters_of(layers=3, input="embedding", **case).wiring()
        assert found == {name: value for name, value in case.items() if name != "embedding"}
