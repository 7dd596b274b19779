"""The lean step is the slow stepper's, to the last digits of float64, and draws the same text."""

from itertools import islice

import numpy as np
import pytest
from wirings import slow_wired

from charlm import cells
from charlm.errors import CharlmError
from charlm.model.stepper import Stepper
from charlm.sampling.filters import SamplingParams, make_sampler, sample_ids
from charlm.sampling.generate import generate, random_streams
from charlm.sampling.single_stream import SINGLE_STREAM_CELLS, SingleStream, WiredSingleStream

KINDS = [(name, activation) for name in SINGLE_STREAM_CELLS for activation in cells.make(name).activations]
FILTERS = [
    SamplingParams(),
    SamplingParams(0.7),
    SamplingParams(0),
    SamplingParams(1.3, top_k=3),
    SamplingParams(top_p=0.8),
    SamplingParams(min_p=0.2),
    SamplingParams(1e-9),
]


def some_ids(steps=40, seed=2):
    return np.random.default_rng(seed).integers(0, 10, steps)


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_reading_equals_the_equations(make_model, slow_logits, kind, layers, input):
    model = make_model(*kind, layers=layers, input=input, scale=0.3)
    ids = some_ids()
    wanted, _ = slow_logits(model, ids[:, None])
    lean = SingleStream(model, np.float64)
    np.testing.assert_allclose([lean.read(symbol).copy() for symbol in ids], wanted[:, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_in_float32_it_is_the_stepper_up_to_rounding(make_model, kind):
    model = make_model(*kind, layers=2, scale=0.3)
    stepper, lean = Stepper(model), SingleStream(model)
    states = stepper.start()
    for symbol in some_ids():
        wanted, states = stepper.step(np.array([symbol]), states)
        found = lean.read(symbol)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted[0], rtol=1e-4, atol=1e-5)


WIRED = [{"skip": True}, {"layer_norm": True}, {"skip": True, "layer_norm": True}]


@pytest.mark.parametrize("wiring", WIRED, ids=lambda wiring: "-".join(wiring))
@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_reading_through_any_wiring_equals_the_equations(make_model, kind, layers, input, wiring):
    model = make_model(*kind, layers=layers, input=input, scale=0.3, **wiring)
    ids = some_ids()
    wanted, _ = slow_wired(model, ids[:, None])
    lean = WiredSingleStream(model, np.float64)
    found = [lean.read(symbol).copy() for symbol in ids]
    np.testing.assert_allclose(found, wanted[:, 0], rtol=1e-10, atol=1e-10)
    stepper, lean = Stepper(model), WiredSingleStream(model)
    states = stepper.start()
    for symbol in ids:
        expected, states = stepper.step(np.array([symbol]), states)
        logits = lean.read(symbol)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rules", FILTERS, ids=str)
@pytest.mark.parametrize(("factor", "shift"), [(5, 0), (5, 800), (5, -800), (1e5, 0), (1e30, 0)])
def test_one_is_drawn_as_in_a_batch(rules, factor, shift):
    random, draw_one = np.random.default_rng(3), make_sampler(rules, 12)
    for logits in random.standard_normal((50, 12)).astype(np.float32) * np.float32(factor) + np.float32(shift):
        logits[1] = -np.inf
        uniform = random.random()
        with np.errstate(over="ignore"):
            one = draw_one(logits, uniform)
        assert one == sample_ids(rules.apply(logits[None]), np.array([uniform]))[0]


@pytest.mark.parametrize("rules", FILTERS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_drawn_from_numbers_without_a_largest(rules, bad):
    logits = np.array([0.5, -np.inf, bad, 1], np.float32)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        make_sampler(rules, 4)(logits, 0.5)


@pytest.mark.parametrize("name", SINGLE_STREAM_CELLS)
@pytest.mark.parametrize("rules", FILTERS[:4], ids=str)
@pytest.mark.parametrize("prompt", [[], [3, 4], [3, 0]], ids=str)
def test_one_stream_writes_what_a_batch_of_one_writes(make_model, name, rules, prompt):
    model, prompt = make_model(name, layers=2, seed=5), np.array(prompt, np.int64)
    model.weights["readout.bias"][:2] += 2  # boundary and unknown, which have rules of their own
    batch = generate(Stepper(model), prompt, rules, random_streams(4, 1))
    alone = generate(SingleStream(model), prompt, rules, random_streams(4, 1))
    assert [ids for (ids,) in islice(alone, 300)] == [ids for (ids,) in islice(batch, 300)]


@pytest.mark.parametrize(
    "rules", [SamplingParams(), SamplingParams(0), SamplingParams(top_k=2), SamplingParams(min_p=0.1)], ids=str
)
@pytest.mark.parametrize("grows", ["to both sides", "until nothing is possible"])
def test_state_that_grew_beyond_all_numbers_is_refused(make_model, rules, grows):
    model = make_model("rnn", "linear", scale=3.0)
    if grows == "until nothing is possible":
        model = make_model("rnn", "relu", hidden=1)
        model.weights["layers.0.weight_hh"][:] = 30
        model.weights["layers.0.weight_ih"][:] = 1
        model.weights["readout.weight"][:] = -1
    with pytest.raises(CharlmError, match="no finite number"):
        list(islice(generate(SingleStream(model), np.array([], np.int64), rules, random_streams(0, 1)), 1000))
