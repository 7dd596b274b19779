"""Many streams in torch are the slow stepper's, to the last digits of float64, and write the same texts."""

import numpy as np
import pytest
import torch
from stepping import walk

from charlm import cells
from charlm.errors import CharlmError
from charlm.model import ops, units
from charlm.model.stepper import Stepper
from charlm.sampling import engines, sample, single_stream
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import generate, random_streams
from charlm.sampling.many_streams import MANY_STREAM_CELLS, ManyStreams

KINDS = [(name, activation) for name in MANY_STREAM_CELLS for activation in cells.make(name).activations]


def some_ids(steps=30, batch=5, seed=2):
    return np.random.default_rng(seed).integers(0, 10, (steps, batch))


def test_what_one_stream_is_written_with_many_are():
    assert set(MANY_STREAM_CELLS) == set(single_stream.SINGLE_STREAM_CELLS), "charlm.sampling.sample asks once for both"


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_reading_equals_the_equations(make_model, slow_logits, kind, layers, input):
    model = make_model(*kind, layers=layers, input=input, scale=0.3)
    ids = some_ids()
    wanted, last = slow_logits(model, ids)
    found, states = walk(ManyStreams(model, 5, torch.float64), ids)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    for state, other in zip(states, last, strict=True):
        for part, same in zip(state, other, strict=True):
            np.testing.assert_allclose(part.numpy(), same, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", ["onednn", "torch"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_in_float32_it_is_the_stepper_up_to_rounding(make_model, monkeypatch, kind, way):
    there = way == "onednn" and ops.has_onednn()
    monkeypatch.setattr(ops, "has_onednn", lambda: there)
    monkeypatch.setattr(ops, "MIN_ONEDNN_PRODUCT", 0)
    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    model = make_model(*kind, layers=2, scale=0.3)
    for batch in (1, 5, 9):  # weights are laid out for 5
        ids = some_ids(batch=batch)
        found, _ = walk(ManyStreams(model, 5), ids)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, walk(Stepper(model), ids)[0], rtol=1e-4, atol=1e-5)


def test_tied_and_held_and_what_came_before_stays(make_model):
    model = make_model("lstm", layers=2, input="embedding", embedding=7, tied=True, scale=0.3)
    edit, ids = units.clamp(model, {"0:3": 0.5, "1:2:c": -1.0}), some_ids()
    wanted, _ = walk(Stepper(model), ids, edit=edit)
    stepper = ManyStreams(model, 5)
    np.testing.assert_allclose(walk(stepper, ids, edit=edit)[0], wanted, rtol=1e-4, atol=1e-5)
    assert not np.allclose(walk(stepper, ids)[0], wanted, atol=1e-3)
    before = stepper.repeat(stepper.step(ids[0, :1], stepper.start())[1], 3)
    kept = [[part.clone() for part in state] for state in before]
    stepper.step(ids[0, :3], before)
    assert all(torch.equal(a, b) for one, two in zip(before, kept, strict=True) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", MANY_STREAM_CELLS)
def test_the_same_texts_are_written(make_model, monkeypatch, name):
    model = make_model(name, layers=2, scale=0.3)
    drawn, made = [], []
    monkeypatch.setattr(
        engines, "many_streams", lambda model, num, real=engines.many_streams: made.append(num) or real(model, num)
    )
    for many in (engines.MIN_TORCH_MULTIPLICATIONS, 0):
        monkeypatch.setattr(engines, "MIN_TORCH_MULTIPLICATIONS", many)
        texts = sample.samples(model, num=4, length=60, seed=3, temperature=0.9)
        held = sample.samples(model, num=4, length=60, seed=3, clamp={"0:1": 0.9})
        drawn.append([found.text for found in (*texts, *held)])
        assert len(drawn[-1][0]) == 60
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 8 and made == [4, 4]


def test_the_way_follows_from_the_network_and_the_number_alone(make_model, monkeypatch):
    made = []
    monkeypatch.setattr(engines, "many_streams", lambda model, num: made.append((num, model)) or Stepper(model))
    model = make_model("gru", layers=2, scale=0.3)
    size = sum(weight.size for weight in model.weights.values())
    monkeypatch.setattr(engines, "MIN_TORCH_MULTIPLICATIONS", 3 * size)
    for length in (1, 50):
        sample.samples(model, num=2, length=length)
    assert not made
    for length in (1, 50):
        sample.samples(model, num=3, length=length)
    assert [num for num, _ in made] == [3, 3]
    sample.samples(make_model("gru", layers=2, skip=True), num=99, length=1)
    sample.samples(make_model("min-gru", layers=2), num=99, length=1)
    assert len(made) == 2, "other wirings and cells take the stepper"


def test_a_state_that_grows_without_bound_is_told(make_model):
    model = make_model("rnn", "linear", layers=1, scale=30.0)
    with pytest.raises(CharlmError, match="no finite number"), np.errstate(all="ignore"):
        drawn = generate(ManyStreams(model, 2), np.zeros(0, np.int64), SamplingParams(), random_streams(0, 2))
        for _ in range(400):
            next(drawn)
