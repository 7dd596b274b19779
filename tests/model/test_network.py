"""The network is its equations, starts where its papers say, and keeps nothing between two calls."""

from math import sqrt

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from charlm import cells
from charlm.model import parameters
from charlm.model.network import DropoutMasks, Network

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def some_ids(vocabulary, steps=9, batch=4, seed=2):
    return torch.randint(vocabulary, (steps, batch), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_table_look_up_equals_explicit_products_one_character_at_a_time(
    make_model, make_network, slow_logits, kind, layers, input
):
    model = make_model(*kind, layers=layers, input=input)
    network = make_network(model, "plain", torch.float64)
    ids = some_ids(network.vocab_size)
    logits, last = network(ids, network.initial_state(4))
    slow, slow_last = slow_logits(model, ids.numpy())
    np.testing.assert_allclose(logits.detach().numpy(), slow, rtol=0, atol=1e-12)
    for layer, wanted in zip(last, slow_last, strict=True):
        for part, other in zip(layer, wanted, strict=True):
            np.testing.assert_allclose(part.detach().numpy(), other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("path", ["plain", "bptt", "fused"])
@pytest.mark.parametrize("name", TORCH)
def test_weights_mean_in_torch_what_they_mean_here(make_model, make_network, name, path, input):
    """An embedding, a recurrent module of two layers and a linear one, given our tensors by name."""
    model = make_model(name, layers=2, input=input)
    network = make_network(model, path, torch.float64)
    options, vocabulary = model.options, model.vocabulary.size
    recurrent = TORCH[name](parameters.input_size(options, vocabulary), options.hidden, num_layers=2).double()
    ours = network.named_weights()
    with torch.no_grad():
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            for layer in (0, 1):
                getattr(recurrent, f"{key}_l{layer}").copy_(ours[f"layers.{layer}.{key}"])
    ids = some_ids(vocabulary)
    x = F.one_hot(ids, vocabulary).double() if input == "one-hot" else F.embedding(ids, ours["embedding.weight"])
    wanted = F.linear(recurrent(x)[0], ours["readout.weight"], ours["readout.bias"])
    logits, _ = network(ids, network.initial_state(4))
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
def test_gradient_through_the_table_equals_the_one_through_explicit_products(make_model, make_network, input):
    """A symbol that comes twice gets the sum of both places; one that never comes gets nothing."""
    network = make_network(make_model("rnn", input=input), "plain", torch.float64)
    name = "embedding.weight" if input == "embedding" else "layers.0.weight_ih"
    ids = torch.tensor([[3], [5], [3]])
    got = torch.autograd.grad(network(ids, network.initial_state(1))[0].square().sum(), network.weight(name))[0]

    w = network.named_weights()
    p = {key: w[f"layers.0.{key}"] for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    (state,), loss = network.initial_state(1), 0.0
    for x in F.one_hot(ids, network.vocab_size).double():
        x = x @ w["embedding.weight"] if input == "embedding" else x
        state, _ = network.cell.step(torch, p, x @ p["weight_ih"].T + p["bias_ih"], None, state)
        loss = loss + (state[0] @ w["readout.weight"].T + w["readout.bias"]).square().sum()
    torch.testing.assert_close(got, torch.autograd.grad(loss, network.weight(name))[0], rtol=1e-12, atol=1e-12)
    rows = got if input == "embedding" else got.T
    assert {index for index, row in enumerate(rows) if row.abs().max() > 0} == {3, 5}


@pytest.mark.parametrize("path", ["plain", "bptt", "fused"])
def test_looking_at_a_network_changes_no_training_number(make_model, make_network, path):
    """Weights, gradient, random numbers and carried state are the same whether it was evaluated in between or not."""

    def gradient_of_second_window(evaluate):
        network = make_network(make_model("lstm", layers=2), path)
        ids = some_ids(network.vocab_size, 12)
        logits, states = network(ids[:6], network.initial_state(4))
        logits.square().sum().backward()
        states = [tuple(part.detach() for part in layer) for layer in states]
        before = network.arrays()
        if evaluate:
            with torch.inference_mode():
                network(some_ids(network.vocab_size, 20, 3), network.initial_state(3))
        network(ids[6:], states)[0].square().sum().backward()
        after = network.arrays()
        assert all((before[name] == after[name]).all() for name in before)
        return [p.grad.clone() for p in network.parameters()], torch.get_rng_state()

    torch.manual_seed(0)
    quiet, generator = gradient_of_second_window(False)
    torch.manual_seed(0)
    looked_at, same_generator = gradient_of_second_window(True)
    assert torch.equal(generator, same_generator)
    assert all(torch.equal(one, other) for one, other in zip(quiet, looked_at, strict=True))


def test_making_a_network_takes_no_number_from_torch_s_generator(make_options):
    before = torch.get_rng_state()
    Network(make_options("lstm", input="embedding"), 10, seed=3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("name", cells.names())
def test_names_and_shapes_are_those_of_the_file_format(make_options, name, input):
    options = make_options(name, layers=2, input=input, hidden=6, embedding=4)
    vocabulary, gates = 9, len(cells.make(name).gates)
    expected = {"embedding.weight": (9, 4)} if input == "embedding" else {}
    for layer, below in ((0, 4 if input == "embedding" else 9), (1, 6)):
        expected |= {
            f"layers.{layer}.weight_ih": (6 * gates, below),
            f"layers.{layer}.weight_hh": (6 * gates, 6),
            f"layers.{layer}.bias_ih": (6 * gates,),
            f"layers.{layer}.bias_hh": (6 * gates,),
        }
    expected |= {"readout.weight": (9, 6), "readout.bias": (9,)}
    network = Network(options, vocabulary)
    found = {key: tuple(weight.shape) for key, weight in network.named_weights().items()}
    if name in TORCH:
        assert list(found.items()) == list(expected.items())
    assert found == parameters.shapes(options, vocabulary)
    assert {key: array.shape for key, array in network.arrays().items()} == found
    assert parameters.count(options, vocabulary) == sum(w.numel() for w in network.parameters())


def test_number_of_parameters_of_known_networks(make_options):
    """G H (in + H + 2) a layer, V E for the embedding, V (H + 1) for the readout, worked out by hand."""
    one_hot = make_options("lstm", layers=1, hidden=512)
    assert parameters.count(one_hot, 67) == 4 * 512 * (67 + 512 + 2) + 67 * 513 == 1_224_259
    embedded = make_options("gru", layers=2, input="embedding", hidden=8, embedding=3)
    assert parameters.count(embedded, 10) == 10 * 3 + 24 * (3 + 8 + 2) + 24 * (8 + 8 + 2) + 10 * 9 == 864


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_arrays_are_a_copy_that_another_network_can_take(make_options, kind):
    options = make_options(*kind, layers=2, input="embedding")
    one, other = Network(options, 10, seed=1), Network(options, 10, seed=2)
    given = one.arrays()
    kept = {name: array.copy() for name, array in given.items()}
    other.load_weights(given)
    assert all((other.arrays()[name] == array).all() for name, array in kept.items())
    ids = some_ids(10)
    assert torch.equal(one(ids, one.initial_state(4))[0], other(ids, other.initial_state(4))[0])
    for array in given.values():
        array += 1
    for network in (one, other):
        assert all((network.arrays()[name] == array).all() for name, array in kept.items())


def test_first_weights_follow_from_the_seed_alone(make_options):
    options = make_options("lstm", layers=2, input="embedding")
    one, same, other = (Network(options, 10, seed=seed).arrays() for seed in (4, 4, 5))
    assert all((one[name] == same[name]).all() for name in one)
    assert {name for name in one if (one[name] == other[name]).all()} == {name for name in one if "bias" in name}


@pytest.mark.parametrize("name", cells.names())
def test_recurrent_blocks_start_orthogonal(make_options, name):
    network = Network(make_options(name, layers=2, hidden=16), 10)
    for layer in (0, 1):
        for block in network.weight(f"layers.{layer}.weight_hh").detach().split(16) if network.cell.recurrent else ():
            torch.testing.assert_close(block @ block.T, torch.eye(16), rtol=0, atol=1e-5)


def test_biases_start_at_zero_but_the_forget_gate_s_at_one(make_options):
    for name in cells.names():
        weights = Network(make_options(name, layers=2, hidden=3), 10).arrays()
        for layer in (0, 1):
            bias, cell = weights[f"layers.{layer}.bias_ih"], cells.make(name).at(layer)
            for gate, block in zip(cell.gates, np.split(bias, len(bias) // 3), strict=True):
                assert (block == (1 if gate == "f" else 0)).all(), (name, gate)
            assert not cell.recurrent or not weights[f"layers.{layer}.bias_hh"].any()
        assert not weights["readout.bias"].any()


def test_other_weights_start_uniform_within_one_over_the_root_of_hidden(make_options):
    network = Network(make_options("gru", layers=2, hidden=64, input="embedding", embedding=50), 200)
    for name in ("layers.0.weight_ih", "layers.1.weight_ih", "readout.weight"):
        weight = network.weight(name).detach()
        assert weight.abs().max() <= 1 / sqrt(64)
        assert abs(weight.std() * sqrt(64) * sqrt(3) - 1) < 0.05 and abs(weight.mean()) < 0.005
    embedding = network.weight("embedding.weight").detach()
    assert abs(embedding.std() - 1) < 0.05 and abs(embedding.mean()) < 0.05


def test_first_state_is_zero(make_model, make_network):
    for name in cells.names():
        network = make_network(make_model(name, layers=3))
        states = network.initial_state(2)
        assert [len(layer) for layer in states] == [len(network.cell.state)] * 3
        assert all(part.shape == (2, 7) and not part.any() for layer in states for part in layer)


def test_lanes_do_not_hear_each_other(make_model, make_network):
    network = make_network(make_model("lstm", layers=2), "plain", torch.float64)
    ids = some_ids(network.vocab_size)
    together, _ = network(ids, network.initial_state(4))
    for lane in range(4):
        alone, _ = network(ids[:, lane : lane + 1], network.initial_state(1))
        torch.testing.assert_close(together[:, lane], alone[:, 0], rtol=0, atol=1e-13)


def test_no_logit_depends_on_a_symbol_that_comes_later(make_model, make_network):
    for path in ("plain", "bptt", "fused"):
        network = make_network(make_model("gru", layers=2), path)
        ids = some_ids(network.vocab_size)
        changed = ids.clone()
        changed[5:] = (changed[5:] + 1) % network.vocab_size
        one, other = (network(given, network.initial_state(4))[0] for given in (ids, changed))
        assert torch.equal(one[:5], other[:5]) and not torch.equal(one[5], other[5])


def test_dropout_sees_every_layer_s_output_and_never_the_carried_state(make_model, make_network):
    for path in ("plain", "bptt", "fused"):
        network = make_network(make_model("lstm", layers=3), path)
        ids, seen = some_ids(network.vocab_size), []

        def silence_the_last(layer, x, seen=seen):
            seen.append((layer, tuple(x.shape)))
            return x * (layer < 2)

        logits, last = network(ids, network.initial_state(4), DropoutMasks(silence_the_last))
        assert seen == [(0, (9, 4, 7)), (1, (9, 4, 7)), (2, (9, 4, 7))]
        torch.testing.assert_close(logits, network.weight("readout.bias").expand(9, 4, -1))
        _, undropped = network(ids, network.initial_state(4))
        for layer, wanted in zip(last, undropped, strict=True):
            assert all(torch.equal(part, other) for part, other in zip(layer, wanted, strict=True))
