"""The ways through a window are one function: the loop, BPTT by hand and torch's kernels agree."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from charlm import cells
from charlm.model import bptt, ops, recurrence
from charlm.model.network import NO_DROPOUT, DropoutMasks
from charlm.model.recurrence import MAX_FUSED_INPUT, choose_backend

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
FUSED = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
T, B = 5, 3
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def paths(kind: tuple[str, str]) -> list[str]:
    """The ways besides the plain one that exist for a cell."""
    cell = cells.make(*kind)
    there = {
        "bptt": kind[0] in bptt.BPTT_FUNCTIONS,
        "fused": kind in FUSED,
        "scan": isinstance(cell, cells.LinearCell),
        "whole": isinstance(cell, cells.WindowCell),
    }
    return [path for path, is_there in there.items() if is_there]


def goes_on_from_h(kind: tuple[str, str]) -> bool:
    """Whether the next state depends on h; where not, the gradient with respect to the first h is 0."""
    return kind[0] not in ("preactivation-rnn", "window-mlp")


def window_of(network, seed=3):
    """Ids, targets, first states with gradients, and weights for the last states."""
    random = torch.Generator().manual_seed(seed)

    def state():
        return [
            tuple(torch.randn(part.shape, generator=random, dtype=part.dtype) for part in layer)
            for layer in network.initial_state(B)
        ]

    ids = torch.randint(network.vocab_size, (T, B), generator=random)
    targets = torch.randint(network.vocab_size, (T, B), generator=random)
    first = [tuple(part.requires_grad_() for part in layer) for layer in state()]
    return ids, targets, first, state()


def everything(network, drops=NO_DROPOUT):
    """Loss, logits, last states, and the gradient of every weight and first state; the loss reads the last states."""
    ids, targets, first, reading = window_of(network)
    logits, last = network(ids, first, drops)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    for wanted, layer in zip(reading, last, strict=True):
        loss = loss + sum((r * part).sum() for r, part in zip(wanted, layer, strict=True))
    leaves = [*network.named_weights().values(), *(part for layer in first for part in layer)]
    found = {"loss": loss, "logits": logits}
    found |= {f"last {n} {k}": part for n, layer in enumerate(last) for k, part in enumerate(layer)}
    gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
    names = [*network.named_weights(), *(f"first {n} {k}" for n, layer in enumerate(first) for k in range(len(layer)))]
    return found | {f"d {name}": gradient for name, gradient in zip(names, gradients, strict=True)}


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if paths(kind)], ids="-".join)
def test_all_paths_agree_in_loss_states_and_every_gradient(make_model, make_network, kind, layers, input):
    model = make_model(*kind, layers=layers, input=input)
    plain = everything(make_network(model, "plain", torch.float64))
    assert all(torch.isfinite(value).all() for value in plain.values())
    zero = {name for name, value in plain.items() if value.abs().max() == 0}
    assert zero == (set() if goes_on_from_h(kind) else {f"d first {layer} 0" for layer in range(layers)})
    for path in paths(kind):
        other = everything(make_network(model, path, torch.float64))
        assert plain.keys() == other.keys()
        for name, value in plain.items():
            torch.testing.assert_close(other[name], value, rtol=1e-10, atol=1e-10, msg=f"{path}: {name}")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] in bptt.BPTT_FUNCTIONS], ids="-".join)
def test_whichever_library_is_the_quicker_the_numbers_are_the_same(make_model, make_network, monkeypatch, kind, wide):
    taken = set()

    def noting(name, function):
        return lambda *arguments, **more: taken.add(name) or function(*arguments, **more)

    monkeypatch.setattr(bptt, "mkl_preferred", lambda: wide)
    monkeypatch.setitem(bptt._ACTIVATE_, "tanh", noting("tanh", torch.tanh_))
    for name in ("_two_products", "_one_product"):
        monkeypatch.setattr(bptt, name, noting(name, getattr(bptt, name)))
    model = make_model(*kind, layers=2)
    plain = everything(make_network(model, "plain", torch.float64))
    for name, value in everything(make_network(model, "bptt", torch.float64)).items():
        torch.testing.assert_close(value, plain[name], rtol=1e-10, atol=1e-10, msg=name)
    ways = {"rnn-tanh": {"tanh"} if wide else set(), "gru-tanh": {"_two_products" if wide else "_one_product"}}
    assert taken == ways.get("-".join(kind), set())


@pytest.mark.parametrize("cell", bptt.BPTT_FUNCTIONS)
def test_a_window_leaves_alone_what_it_was_given_and_gives_what_autograd_takes(cell):
    gates, parts = {"rnn": 1, "gru": 3, "lstm": 4}[cell], 2 if cell == "lstm" else 1
    given = [torch.randn(4, 2, gates * 5), torch.randn(gates * 5, 5), torch.randn(gates * 5), torch.randn(2, 5)]
    given = [part.requires_grad_() for part in [*given, torch.randn(2, 5)][: 3 + parts]]
    ahead = [torch.randn(4, 2, 5), *(torch.randn(2, 5) for _ in range(parts))]
    before = [part.detach().clone() for part in [*given, *ahead]]
    made = bptt.BPTT_FUNCTIONS[cell].apply(*given, *(["tanh"] if cell == "rnn" else []))
    found = torch.autograd.grad(made, given, ahead, retain_graph=True)
    torch.autograd.grad([part.sin() for part in made], given, ahead)
    assert not any(part.is_inference() for part in [*made, *found])
    assert all(torch.equal(part, old) for part, old in zip([*given, *ahead], before, strict=True))


@pytest.mark.skipif(not ops.has_onednn(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize("hidden", [7, 32])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] in bptt.BPTT_FUNCTIONS], ids="-".join)
def test_by_onednn_s_products_the_paths_agree_up_to_float32_s_rounding(
    make_model, make_network, monkeypatch, kind, hidden
):
    monkeypatch.setattr(ops, "MIN_ONEDNN_PRODUCT", 0)
    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    model = make_model(*kind, layers=2, hidden=hidden, scale=0.2)
    slow = everything(make_network(model, "plain"))
    for name, value in everything(make_network(model, "bptt")).items():
        torch.testing.assert_close(value, slow[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if paths(kind)], ids="-".join)
def test_all_paths_apply_dropout_at_the_same_places(make_model, make_network, kind):
    model = make_model(*kind, layers=2)

    def drop(layer, x):
        """Every third activation of the first layer, every second of the last."""
        return x * (torch.arange(x.numel()).view(x.shape) % (3 - layer) > 0) * 2

    plain = everything(make_network(model, "plain", torch.float64), DropoutMasks(drop))
    without = everything(make_network(model, "plain", torch.float64))
    assert not torch.equal(plain["logits"], without["logits"])
    for path in paths(kind):
        for name, value in everything(make_network(model, path, torch.float64), DropoutMasks(drop)).items():
            torch.testing.assert_close(value, plain[name], rtol=1e-10, atol=1e-10, msg=f"{path}: {name}")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if paths(kind) and cells.make(*kind).recurrent], ids="-".join)
def test_all_paths_drop_the_same_recurrent_weights(make_model, make_network, kind):
    """As if the weights had been zero from the start, but for the gradient, which reaches those that stay."""
    model = make_model(*kind, layers=2)

    def mask(layer, weight):
        return (torch.arange(weight.numel()).view(weight.shape) % (3 - layer) > 0).to(weight.dtype) * 2

    def dropped(path):
        network = make_network(model, path, torch.float64)
        ids, targets, first, _ = window_of(network)
        logits, _ = network(ids, first, DropoutMasks(weights=lambda layer, weight: weight * mask(layer, weight)))
        F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        return logits.detach(), [network.weight(f"layers.{layer}.weight_hh").grad for layer in range(2)], network

    logits, gradients, network = dropped("plain")
    for layer, gradient in enumerate(gradients):
        kept = mask(layer, gradient) != 0
        assert (gradient[~kept] == 0).all() and (gradient[kept] != 0).any()
        with torch.no_grad():
            network.weight(f"layers.{layer}.weight_hh").mul_(mask(layer, gradient))
    ids, _, first, _ = window_of(network)
    torch.testing.assert_close(network(ids, first)[0], logits)
    for path in paths(kind):
        found, others, _ = dropped(path)
        torch.testing.assert_close(found, logits, rtol=1e-10, atol=1e-10)
        for other, gradient in zip(others, gradients, strict=True):
            torch.testing.assert_close(other, gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for kind in KINDS for path in ("plain", *paths(kind))], ids=str
)
def test_whole_window_equals_its_chunks_with_the_state_carried(make_model, make_network, kind, path):
    network = make_network(make_model(*kind, layers=2), path, torch.float64)
    random = torch.Generator().manual_seed(5)
    ids = torch.randint(network.vocab_size, (12, B), generator=random)
    with torch.no_grad():
        whole, last = network(ids, network.initial_state(B))
        for cuts in ([1] * 12, [5, 7], [11, 1]):
            states, parts = network.initial_state(B), []
            for chunk in ids.split(cuts):
                logits, states = network(chunk, states)
                parts.append(logits)
            torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)
            for layer, wanted in zip(states, last, strict=True):
                for part, other in zip(layer, wanted, strict=True):
                    torch.testing.assert_close(part, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", ["plain", "bptt", "fused", "scan", "whole"])
def test_no_path_changes_the_states_it_was_given(make_model, make_network, path):
    for kind in FUSED if path in ("plain", "bptt", "fused") else [kind for kind in KINDS if path in paths(kind)]:
        network = make_network(make_model(*kind, layers=2), path, torch.float64)
        ids, _, first, _ = window_of(network)
        kept = [tuple(part.detach().clone() for part in layer) for layer in first]
        logits, last = network(ids, first)
        (logits.sum() + sum(part.sum() for layer in last for part in layer)).backward()
        for layer, copies in zip(first, kept, strict=True):
            assert all(torch.equal(part, copy) for part, copy in zip(layer, copies, strict=True))


@pytest.mark.parametrize(
    "kind", [(name, a) for name in bptt.BPTT_FUNCTIONS for a in cells.make(name).activations], ids="-".join
)
def test_backward_pass_by_hand_is_the_derivative_of_the_forward_pass(kind):
    cell = cells.make(*kind)
    hidden, rows = 2, 2 * len(cell.gates)
    random = torch.Generator().manual_seed(11)
    shapes = [(3, 2, rows), (rows, hidden), (rows,), *((2, hidden) for _ in cell.state)]
    leaves = [torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_() for shape in shapes]
    more = (cell.activation,) if len(cell.activations) > 1 else ()
    assert gradcheck(lambda *given: bptt.BPTT_FUNCTIONS[cell.name].apply(*given, *more), leaves)


@pytest.mark.parametrize("name", bptt.BPTT_FUNCTIONS)
def test_window_of_one_step_has_the_same_gradients_by_hand_and_by_autograd(make_model, make_network, name):
    found = {}
    for path in ("plain", "bptt"):
        network = make_network(make_model(name), path, torch.float64)
        logits, _ = network(torch.tensor([[3, 4]]), network.initial_state(2))
        found[path] = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    for got, wanted in zip(found["bptt"], found["plain"], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_gradient_does_not_leave_a_window_whose_state_was_cut_off(make_model, make_network):
    for path in ("plain", "bptt", "fused"):
        network = make_network(make_model("gru"), path, torch.float64)
        ids, _, _, _ = window_of(network)
        _, states = network(ids, network.initial_state(B))
        cut = [tuple(part.detach() for part in layer) for layer in states]
        logits, _ = network(ids, cut)
        carried = torch.autograd.grad(logits.square().sum(), network.weight("layers.0.weight_hh"))[0]
        again, _ = network(ids, [tuple(part.clone() for part in layer) for layer in cut])
        alone = torch.autograd.grad(again.square().sum(), network.weight("layers.0.weight_hh"))[0]
        whole, _ = network(ids, network(ids, network.initial_state(B))[1])
        through = torch.autograd.grad(whole.square().sum(), network.weight("layers.0.weight_hh"))[0]
        assert torch.equal(carried, alone)
        assert (carried - through).abs().max() > 1e-6


def test_quickest_path_of_each_device_is_one_that_can_compute_the_cell():
    for kind in KINDS:
        cell = cells.make(*kind)
        if not cell.recurrent:
            chosen = {choose_backend(cell, device, "float32", 100) for device in (CPU, CUDA, torch.device("mps"))}
            assert chosen == {choose_backend(cell, CPU, "bfloat16", 100)} == set(paths(kind))
            continue
        assert choose_backend(cell, CUDA, "float32", 100) == ("fused" if kind in FUSED else "plain")
        assert choose_backend(cell, torch.device("mps"), "float32", 100) == "plain"
        assert choose_backend(cell, CPU, "bfloat16", 100) == "plain"
        by_hand = "bptt" if kind[0] in bptt.BPTT_FUNCTIONS else "plain"
        assert choose_backend(cell, CPU, "float32", MAX_FUSED_INPUT + 1) == by_hand
        assert choose_backend(cell, CPU, "float32", MAX_FUSED_INPUT) == ("fused" if kind[0] == "lstm" else by_hand)


def test_only_torch_kernels_read_the_input_itself():
    reading = [recurrence.takes_projected_input(path) for path in ("plain", "bptt", "scan", "whole", "fused")]
    assert reading == [True, True, True, True, False]


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_path_that_is_chosen_in_float32_stays_close_to_the_loop_in_float64(make_model, make_network, kind, input):
    model = make_model(*kind, layers=2, input=input)
    exact = make_network(model, "plain", torch.float64)
    quick = make_network(model).to_device(CPU)
    ids, targets, first, _ = window_of(exact)
    losses = []
    for network in (exact, quick):
        states = [tuple(part.detach().to(network.weight("readout.bias").dtype) for part in layer) for layer in first]
        loss = F.cross_entropy(network(ids, states)[0].flatten(0, 1), targets.flatten())
        losses.append(torch.cat([g.flatten().double() for g in torch.autograd.grad(loss, list(network.parameters()))]))
        losses[-1] = torch.cat([loss.detach().double()[None], losses[-1]])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", FUSED, ids="-".join)
def test_layers_at_once_are_the_layers_one_by_one(make_model, make_network, kind, layers, input):
    """As on a GPU; torch does them there by another library, which `tests/test_cuda.py` compares."""
    model = make_model(*kind, layers=layers, input=input)
    ones = DropoutMasks(symbols=lambda _, ones: ones * 2, weights=lambda mask, weight: weight * (1 + mask))
    for drops in (NO_DROPOUT, ones):
        wanted = everything(make_network(model, "plain", torch.float64), drops)
        network = make_network(model, "fused", torch.float64)
        network.fused_stack = True
        found = everything(network, drops)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_layers_with_dropout_between_them_are_not_run_at_once(make_model, make_network):
    network = make_network(make_model("lstm", layers=2), "fused", torch.float64)
    half = DropoutMasks(activations=lambda layer, x: x * 0.5)
    wanted = everything(network, half)
    network.fused_stack = True
    found = everything(network, half)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
