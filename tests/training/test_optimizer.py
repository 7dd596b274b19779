"""Clipping is Pascanu's, steps are the optimisers', and one whose memory was saved goes on as if never stopped."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from charlm.config import TrainOptions
from charlm.errors import CheckpointError
from charlm.model.network import Network
from charlm.training.optimizer import clip_gradients, load_state_arrays, make_optimizer, set_learning_rate, state_arrays

OPTIMIZERS = TrainOptions.specs()["optimizer"].words()
V = 9


def options(optimizer="adam", **values):
    sizes = {"hidden": 6, "embedding": 3, "dropout": 0.0, "input": "embedding", "lr": 0.01, "weight_decay": 0.0}
    sizes |= {"layers": 1, "skip": False, "layer_norm": False}
    sizes["epsilon"] = 1e-10 if optimizer == "adagrad" else 1e-8
    return TrainOptions(optimizer=optimizer, **{**sizes, **values})


def train(network, optimizer, steps, first=0):
    """Take real steps; the data of a step follow from its number."""
    for step in range(first, first + steps):
        random = torch.Generator().manual_seed(step)
        ids = torch.randint(V, (5, 2), generator=random)
        logits, _ = network(ids, network.initial_state(2))
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), ids.roll(-1, 0).flatten()).backward()
        optimizer.step()


def gradients(scale=1.0):
    """Three tensors with a known norm of `scale` x 13: 3, 4 and 12."""
    values = ([[3.0, 0.0]], [0.0, -4.0, 0.0], [[[12.0]]])
    return [torch.tensor(value) * scale for value in values]


def norm_of(tensors):
    return float(torch.cat([tensor.flatten().double() for tensor in tensors]).norm())


@pytest.mark.parametrize("scale", [0.2, 1.0, 1e4])
def test_norm_is_clipped_to_the_threshold_and_the_direction_is_kept(scale):
    found = gradients(scale)
    before = clip_gradients(found, options(clip_norm=2.0))
    assert float(before) == pytest.approx(13 * scale, rel=1e-6)
    assert norm_of(found) == pytest.approx(2.0, rel=1e-6)
    for got, wanted in zip(found, gradients(2 / 13), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("threshold", [13.01, 1e6])
def test_gradient_below_the_threshold_is_not_touched(threshold):
    found = gradients()
    clip_gradients(found, options(clip_norm=threshold))
    assert all(torch.equal(got, wanted) for got, wanted in zip(found, gradients(), strict=True))


def test_value_clips_each_element_and_reports_the_norm_before():
    found = gradients()
    assert float(clip_gradients(found, options(clip_norm=0, clip_value=3.5))) == pytest.approx(13)
    assert [tensor.flatten().tolist() for tensor in found] == [[3.0, 0.0], [0.0, -3.5, 0.0], [3.5]]


def test_with_both_the_norm_is_that_of_the_clipped_elements():
    found = gradients()
    clip_gradients(found, options(clip_norm=1.0, clip_value=3.0))
    assert norm_of(found) == pytest.approx(1.0, rel=1e-6)
    assert [float(tensor.abs().max()) for tensor in found] == pytest.approx([1 / 3**0.5] * 3, rel=1e-6)


def test_without_thresholds_nothing_is_clipped():
    found = gradients(1e10)
    assert float(clip_gradients(found, options(clip_norm=0, clip_value=0))) == pytest.approx(13e10, rel=1e-6)
    assert all(torch.equal(got, wanted) for got, wanted in zip(found, gradients(1e10), strict=True))


def test_gradient_of_zero_stays_zero():
    found = [torch.zeros(3), torch.zeros(2, 2)]
    assert float(clip_gradients(found, options(clip_norm=1.0, clip_value=1.0))) == 0
    assert not any(tensor.any() for tensor in found)


@pytest.mark.parametrize("clipping", [{"clip_norm": 0}, {"clip_norm": 1.0}, {"clip_value": 1.0}])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_element_that_is_not_finite_makes_the_norm_so(value, clipping):
    found = gradients()
    found[1][2] = value
    assert not torch.isfinite(clip_gradients(found, options(**clipping)))


@pytest.mark.parametrize(
    ("optimizer", "wanted"),
    [
        # From memory zero: sgd -lr g; rmsprop -lr g / sqrt(0.05 g^2); adagrad and adam -lr sign(g).
        ("sgd", lambda g: -0.01 * g),
        ("rmsprop", lambda g: -0.01 * g / (np.sqrt(0.05 * g * g) + 1e-8)),
        ("adagrad", lambda g: -0.01 * g / (np.abs(g) + 1e-10)),
        ("adam", lambda g: -0.01 * g / (np.abs(g) + 1e-8)),
        ("adamw", lambda g: -0.01 * g / (np.abs(g) + 1e-8)),
    ],
)
def test_first_step_is_the_one_of_the_optimiser_s_equation(optimizer, wanted):
    network = Network(options(), V)
    stepping = make_optimizer(network, options(optimizer))
    before = network.arrays()
    for index, weight in enumerate(network.named_weights().values()):
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(index))
    stepping.step()
    for name, weight in network.named_weights().items():
        moved = network.arrays()[name].astype(float) - before[name]
        np.testing.assert_allclose(moved, wanted(weight.grad.double().numpy()), rtol=1e-3, atol=3e-7)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_group_of_which_everything_is_frozen_is_left_alone(optimizer):
    network = Network(options(), V)
    for weight in network.parameters():
        weight.requires_grad_(weight.dim() > 1)
    stepping, before = make_optimizer(network, options(optimizer)), network.arrays()
    train(network, stepping, 3)
    moved = {name for name, weight in network.arrays().items() if (weight != before[name]).any()}
    assert moved == {name for name, weight in before.items() if weight.ndim > 1}


def test_momentum_of_sgd_adds_up_earlier_gradients():
    network = Network(options(), V)
    stepping = make_optimizer(network, options("sgd", momentum=0.5))
    before = network.arrays()["readout.bias"]
    for _ in range(3):
        for weight in network.parameters():
            weight.grad = torch.ones_like(weight)
        stepping.step()
    moved = network.arrays()["readout.bias"] - before
    np.testing.assert_allclose(moved, -0.01 * (1 + 1.5 + 1.75), rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_decay_shrinks_weight_matrices_and_never_biases(optimizer):
    network = Network(options(optimizer), V)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.5 * (weight == 0)
            weight.grad = torch.zeros_like(weight)
    before = network.arrays()
    make_optimizer(network, options(optimizer, weight_decay=0.1)).step()
    for name, weight in network.arrays().items():
        if weight.ndim == 1:
            assert (weight == before[name]).all(), name
        else:
            assert np.linalg.norm(weight) < np.linalg.norm(before[name]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_new_rate_is_used_and_the_moments_are_kept(optimizer):
    network = Network(options(optimizer), V)
    stepping = make_optimizer(network, options(optimizer))
    train(network, stepping, 3)
    weights, moments = network.arrays(), state_arrays(stepping)
    set_learning_rate(stepping, 0.0)
    assert all((state_arrays(stepping)[key] == array).all() for key, array in moments.items())
    train(network, stepping, 1)
    assert all((network.arrays()[name] == weight).all() for name, weight in weights.items())
    set_learning_rate(stepping, 0.1)
    train(network, stepping, 1)
    assert not any((network.arrays()[name] == weight).all() for name, weight in weights.items())


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize(("optimizer", "momentum"), [*((name, 0.9) for name in OPTIMIZERS), ("sgd", 0.0)])
def test_steps_after_remembering_are_those_that_would_have_come_bit_for_bit(optimizer, momentum, steps):
    chosen = options(optimizer, momentum=momentum, weight_decay=0.01)
    whole = Network(chosen, V, seed=1)
    stepping = make_optimizer(whole, chosen)
    train(whole, stepping, steps)
    weights, moments = whole.arrays(), state_arrays(stepping)
    kept = {key: array.copy() for key, array in moments.items()}
    train(whole, stepping, 4, first=steps)
    assert all((moments[key] == array).all() for key, array in kept.items()), "memory is a copy"

    later = Network(chosen, V, seed=2).load_weights(weights)
    again = make_optimizer(later, chosen)
    load_state_arrays(again, moments, steps)
    train(later, again, 4, first=steps)
    assert all((later.arrays()[name] == weight).all() for name, weight in whole.arrays().items())
    assert state_arrays(again).keys() == state_arrays(stepping).keys()
    for key, array in state_arrays(stepping).items():
        np.testing.assert_array_equal(state_arrays(again)[key], array)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_forgetting_would_show(optimizer):
    """The twin of the test above: without the memory the steps differ, so that the test can fail."""
    chosen = options(optimizer)
    whole = Network(chosen, V, seed=1)
    stepping = make_optimizer(whole, chosen)
    train(whole, stepping, 4)
    later = Network(chosen, V).load_weights(whole.arrays())
    train(whole, stepping, 2, first=4)
    train(later, make_optimizer(later, chosen), 2, first=4)
    assert any((later.arrays()[name] != weight).any() for name, weight in whole.arrays().items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_memory_that_does_not_fit_the_network_is_refused(optimizer):
    other = Network(options(optimizer, hidden=5), V)
    stepping = make_optimizer(other, options(optimizer))
    train(other, stepping, 1)
    network = Network(options(optimizer), V)
    with pytest.raises(CheckpointError, match="does not fit the network") as caught:
        load_state_arrays(make_optimizer(network, options(optimizer)), state_arrays(stepping), 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_memory_with_something_missing_is_refused_after_a_step(optimizer, kept):
    """Starting those moments anew would be another run."""
    network = Network(options(optimizer), V)
    stepping = make_optimizer(network, options(optimizer))
    train(network, stepping, 1)
    moments = state_arrays(stepping)
    fewer = dict(list(moments.items())[:kept])
    with pytest.raises(CheckpointError, match="lacks moments"):
        load_state_arrays(make_optimizer(network, options(optimizer)), fewer, 1)


@pytest.mark.parametrize("key", ["99.step", "-1.step", "step", "one.step", "."])
def test_memory_of_a_parameter_that_is_not_there_is_refused(key):
    stepping = make_optimizer(Network(options(), V), options())
    with pytest.raises(CheckpointError, match="does not fit the network"):
        load_state_arrays(stepping, {key: np.array(3, np.float32)}, 1)
