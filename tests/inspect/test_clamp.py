"""A held unit is what a stepper driven by hand has there; without one nothing changes."""

from itertools import islice

import numpy as np
import pytest
import torch

from charlm.errors import UsageError
from charlm.model.stepper import Stepper
from charlm.model.units import HiddenUnit, clamp, parse_unit, split_clamps
from charlm.sampling import engines
from charlm.sampling.filters import SamplingParams, sample_ids
from charlm.sampling.generate import generate, random_streams
from charlm.sampling.sample import samples, stream
from charlm.sampling.single_stream import SingleStream


def by_hand(model, held, length, seed, number, prompt=""):
    """Samples from `Stepper.step` alone; `held` is a value by layer, part (a number) and unit."""
    stepper, random = Stepper(model), random_streams(seed, number)
    states, texts = stepper.start(number), [""] * number

    def step(ids):
        nonlocal states

        def edit(layer, state):
            parts = [part.copy() for part in state]
            for (at, part, unit), value in held.items():
                if at == layer:
                    parts[part][:, unit] = value
            return tuple(parts)

        logits, states = stepper.step(ids, states, edit=edit)
        return logits

    for symbol in (0, *model.vocabulary.encode_text(prompt)):
        logits = step(np.full(number, symbol))
    while min(map(len, texts)) < length:
        logits[:, 1] = -np.inf
        if all(not text for text in texts) and not prompt:
            logits[:, 0] = -np.inf
        ids = sample_ids(SamplingParams().apply(logits), np.array([each.random() for each in random]))
        texts = [text + model.vocabulary.decode([id]) for text, id in zip(texts, ids, strict=True)]
        logits = step(ids)
    return texts


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("number", [1, 3])
def test_clamped_samples_are_those_of_a_stepper_driven_by_hand(make_model, cell, number):
    model = make_model(cell=cell, layers=2, scale=1.0)
    model.weights["readout.bias"][0] = -50  # no ends of documents, whose place differs among samples
    held = {"0:2": 0.9, "1:5": -0.7}
    wanted = by_hand(model, {(0, 0, 2): 0.9, (1, 0, 5): -0.7}, 60, 3, number, "the ")
    found = samples(model, prompt="the ", seed=3, num=number, length=60, clamp=held)
    assert [each.text for each in found] == wanted
    assert [each.text for each in samples(model, prompt="the ", seed=3, num=number, length=60)] != wanted
    if number == 1:
        assert "".join(stream(model, prompt="the ", seed=3, length=60, clamp=held)) == wanted[0]


def test_the_memory_can_be_held(make_model):
    model = make_model(cell="lstm", layers=2, scale=1.0)
    model.weights["readout.bias"][0] = -50
    wanted = by_hand(model, {(0, 1, 2): -2.5}, 60, 4, 2)
    assert [each.text for each in samples(model, seed=4, num=2, length=60, clamp={"0:2:c": -2.5})] == wanted


def test_without_a_clamp_the_way_is_the_fast_one_bit_for_bit(make_model, monkeypatch):
    model = make_model(cell="lstm", layers=2)
    made = []
    monkeypatch.setattr(engines, "SingleStream", lambda model: made.append(model) or SingleStream(model))
    one = "".join(stream(model, seed=5, length=80))
    assert one == "".join(stream(model, seed=5, length=80, clamp={})) and len(made) == 2
    "".join(stream(model, seed=5, length=80, clamp={"0:0": 0.0}))
    assert len(made) == 2


def test_torch_holds_the_same_units_by_the_same_code(make_model):
    model = make_model(cell="lstm", layers=2, scale=1.0)
    edit = clamp(model, {"0:2": 0.9, "1:5:c": -0.7})
    nothing = np.array([], np.int64)
    one, other = (
        np.stack(list(islice(generate(stepper, nothing, SamplingParams(), random_streams(1, 4), edit), 50)))
        for stepper in (Stepper(model), Stepper(model, "cpu"))
    )
    np.testing.assert_array_equal(one, other)
    state = (torch.zeros(2, 7), torch.ones(2, 7))
    h, c = edit(0, state)
    assert h[:, 2].tolist() == pytest.approx([0.9, 0.9]) and c is state[1] and not state[0].any()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_clamped_sample_is_that_of_the_cpu(make_model):
    model = make_model(cell="lstm", layers=2, scale=1.0)
    one, other = (
        samples(model, seed=1, num=3, length=50, clamp={"0:2": 0.9, "1:5:c": -0.7}, device=device)
        for device in ("cpu", "cuda")
    )
    assert one == other


def test_an_edit_leaves_the_states_that_it_was_given(make_model):
    model = make_model(cell="lstm")
    state = (np.zeros((2, 7), np.float32), np.zeros((2, 7), np.float32))
    h, c = clamp(model, {"0:3": 0.5})(0, state)
    assert h[:, 3].tolist() == [0.5, 0.5] and not state[0].any() and c is state[1] and h.dtype == np.float32
    assert clamp(model, {}) is None


def test_units_by_their_words(make_model):
    model = make_model(layers=3)
    assert parse_unit("2:6", model) == HiddenUnit(2, 6) and str(HiddenUnit(2, 6)) == "2:6"
    for word in ("", "3:0", "0:7", "1", "1:", ":1", "-1:0", "a:b", "0:1:h", "1:1.0", " 0:1", "0:1\n", "0:²", "9" * 99):
        with pytest.raises(UsageError, match="is no unit of this model; give LAYER:UNIT") as caught:
            parse_unit(word, model)
        assert len(str(caught.value)) < 300 and "from 0 to 2" in str(caught.value) and "0 to 6" in str(caught.value)


@pytest.mark.parametrize(("words", "wanted"), [
    (["0:1"], "says no value"),
    (["0:1=1", "0:1=2"], "held already"),
    (["0:1=1", "0:1:h=2"], "held already"),
    (["0:1=1", "00:01=2"], "held already"),
    (["0:1="], "finite number"),
    (["0:1=nan"], "finite number"),
    (["0:1=-inf"], "finite number"),
    (["0:1=1e39"], "finite number"),
    (["0:1=1=2"], "finite number"),
    (["0:7=1"], "no unit of this model"),
    (["1:0=1"], "no unit of this model"),
    (["x=1"], "no unit of this model"),
    (["=1"], "no unit of this model"),
    (["0:1:q=1"], "has no part 'q'; it has h, c"),
    (["0:1:c:c=1"], "no unit of this model"),
])  # fmt: skip
def test_clamps_that_make_no_sense_are_refused(make_model, words, wanted):
    with pytest.raises(UsageError, match=wanted):
        clamp(make_model(cell="lstm"), split_clamps(words))


def test_a_sample_goes_on_though_its_unit_is_held_far_out(make_model):
    model = make_model(cell="gru")
    assert len(samples(model, seed=1, length=30, clamp={"0:1": 1e6})[0].text) == 30
    with pytest.raises(UsageError, match="no part 'c'; it has h"):
        stream(model, clamp={"0:1:c": 1.0})
