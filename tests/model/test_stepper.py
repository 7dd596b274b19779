"""The stepper is the network one character at a time, on NumPy or on torch, with nothing remembered."""

import numpy as np
import pytest
import torch
from stepping import walk

from charlm import cells
from charlm.model import checkpoint
from charlm.model.stepper import Stepper

RELATIVE = {"sum": 1e-6}
"""What may be lost of numbers that grow with the text."""

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
DEVICES = [None, "cpu"]


def some_ids(steps=12, batch=4, seed=2):
    return np.random.default_rng(seed).integers(0, 10, (steps, batch))


def flat(states):
    return [np.asarray(part) for layer in states for part in layer]


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_stepping_equals_the_network_s_windows(make_model, make_network, slow_logits, kind, layers, input):
    model = make_model(*kind, layers=layers, input=input)
    network = make_network(model).to_device(torch.device("cpu"))
    ids = some_ids()
    with torch.inference_mode():
        wanted, last = network(torch.from_numpy(ids), network.initial_state(4))
    for device in DEVICES:
        logits, states = walk(Stepper(model, device), ids)
        assert type(logits) is np.ndarray and logits.dtype == np.float32
        np.testing.assert_allclose(logits, wanted.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(logits, slow_logits(model, ids)[0], rtol=1e-5, atol=1e-5)
        for part, other in zip(flat(states), flat(last), strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", cells.names())
def test_batch_of_streams_equals_each_stream_alone(make_model, name, device):
    stepper = Stepper(make_model(name, layers=2, input="embedding"), device)
    ids = some_ids()
    together, _ = walk(stepper, ids)
    for stream in range(4):
        alone, _ = walk(stepper, ids[:, stream : stream + 1])
        np.testing.assert_allclose(together[:, stream], alone[:, 0], rtol=RELATIVE.get(name, 0), atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", cells.names())
def test_repeated_states_go_on_as_the_one_they_came_from(make_model, name, device):
    stepper = Stepper(make_model(name, layers=2), device)
    _, one = walk(stepper, some_ids(batch=1))
    many = stepper.repeat(one, 3)
    assert all(part.shape == (3, 7) and (part == part[:1]).all() for part in flat(many))
    ahead = some_ids(5, 1, seed=3)
    wanted, _ = walk(stepper, ahead, one)
    got, _ = walk(stepper, ahead.repeat(3, 1), many)
    np.testing.assert_allclose(got, wanted.repeat(3, 1), rtol=RELATIVE.get(name, 0), atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_start_is_the_zero_state_of_every_layer(make_model, device):
    for name in cells.names():
        stepper = Stepper(make_model(name, layers=3), device)
        states = stepper.start(2)
        assert [len(layer) for layer in states] == [len(stepper.cell.state)] * 3
        assert all(part.shape == (2, 7) and part.dtype == np.float32 and not part.any() for part in flat(states))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", cells.names())
def test_step_changes_neither_the_states_it_was_given_nor_the_model(make_model, name, device):
    model = make_model(name, layers=2)
    weights = {key: weight.copy() for key, weight in model.weights.items()}
    stepper = Stepper(model, device)
    _, states = walk(stepper, some_ids())
    kept = [part.copy() for part in flat(states)]
    once, _ = stepper.step(np.array([3, 4, 5, 6]), states)
    for part, copy in zip(flat(states), kept, strict=True):
        np.testing.assert_array_equal(part, copy)
    once += 1
    again, _ = stepper.step(np.array([3, 4, 5, 6]), states)
    np.testing.assert_array_equal(once - 1, (again + 1) - 1)
    assert all((model.weights[key] == weight).all() for key, weight in weights.items())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", cells.names())
def test_trace_sees_every_layer_s_new_state_and_gates(make_model, name, device):
    stepper = Stepper(make_model(name, layers=3), device)
    seen = []
    logits, states = stepper.step(
        np.array([4, 5]), stepper.start(2), trace=lambda layer, state, gates: seen.append((layer, state, gates))
    )
    assert [layer for layer, _, _ in seen] == [0, 1, 2]
    assert all(tuple(gates) == stepper.cell.at(layer).gates for layer, _, gates in seen)
    for part, returned in zip(flat(state for _, state, _ in seen), flat(states), strict=True):
        np.testing.assert_array_equal(part, returned)
    untraced, _ = stepper.step(np.array([4, 5]), stepper.start(2))
    np.testing.assert_array_equal(logits, untraced)


def test_traced_lstm_gates_obey_the_equation_of_the_memory(make_model):
    """c_t = f c_(t-1) + i g and h_t = o tanh(c_t), read off the trace of the last layer."""
    stepper = Stepper(make_model("lstm", layers=2))
    _, states = walk(stepper, some_ids())
    seen = {}
    stepper.step(np.array([3, 4, 5, 6]), states, trace=lambda layer, state, gates: seen.update({layer: (state, gates)}))
    (h, c), gates = seen[1]
    np.testing.assert_allclose(c, gates["f"] * states[1][1] + gates["i"] * gates["g"], rtol=1e-6)
    np.testing.assert_allclose(h, gates["o"] * np.tanh(c), rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", cells.names())
def test_clamped_unit_stays_clamped_and_changes_what_comes_next(make_model, name, layer, device):
    stepper = Stepper(make_model(name, layers=2), device)
    ids, seen = some_ids(), []

    def clamp(number, state):
        if number != layer:
            return state
        h = state[0].copy() if device is None else state[0].clone()
        h[:, 3] = 5.0
        return (h, *state[1:])

    def watch(number, state, gates):
        if number == layer:
            seen.append(np.asarray(state[0])[:, 3].tolist())

    free, _ = walk(stepper, ids)
    clamped, states = walk(stepper, ids, edit=clamp, trace=watch)
    assert seen == [[5.0] * 4] * len(ids)
    assert (np.asarray(states[layer][0])[:, 3] == 5).all()
    assert (np.abs(clamped - free).max(axis=(1, 2)) > 1e-3).all()
    unchanged, _ = walk(stepper, ids, edit=lambda number, state: state)
    np.testing.assert_array_equal(unchanged, free)


@pytest.mark.parametrize("device", DEVICES)
def test_model_from_a_file_steps_like_the_one_in_memory(make_model, tmp_path, device):
    model = make_model("gru", layers=2, input="embedding")
    checkpoint.save(tmp_path / "model.safetensors", model)
    loaded = Stepper(checkpoint.load(tmp_path / "model.safetensors"), device)
    np.testing.assert_array_equal(walk(loaded, some_ids())[0], walk(Stepper(model, device), some_ids())[0])


def test_ids_may_be_of_any_integer_type(make_model):
    for device in DEVICES:
        stepper = Stepper(make_model("lstm"), device)
        found = [stepper.step(np.array([9, 3], kind), stepper.start(2))[0] for kind in (np.uint8, np.uint16, np.int64)]
        assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
