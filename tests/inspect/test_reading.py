"""Looking on changes nothing, and what is seen is what evaluation computes."""

import numpy as np
import pytest
import torch
from texts import text_of

from charlm.evaluation.scoring import score
from charlm.inspect.activations import read
from charlm.model.network import Network
from charlm.model.stepper import Stepper

CELLS = ("rnn", "lstm", "gru")


def ids_of(model, characters, seed=1):
    return np.concatenate(([0], model.vocabulary.encode_text(text_of(characters, seed=seed))))


@pytest.mark.parametrize("cell", CELLS)
def test_surprises_are_those_of_an_exact_evaluation(make_model, cell):
    model = make_model(cell=cell, layers=2)
    ids = ids_of(model, 2500)
    blocks = list(read(model, ids))
    assert len(blocks) > 2 and sum(block.inside.sum() for block in blocks) == len(ids) - 1
    found = sum(float(block.nats[block.inside].astype(np.float64).sum()) for block in blocks)
    network = Network(model.options, model.vocabulary.size).load_weights(model.weights)
    assert found == pytest.approx(score(network.to_device(torch.device("cpu")), ids, exact=True).nats, rel=1e-5)


@pytest.mark.parametrize("stretches", [1, 3, 7, 64, 3000])
def test_stretches_cover_every_character_once_and_the_first_is_the_same(make_model, stretches):
    model = make_model(cell="lstm", layers=2)
    ids = ids_of(model, 700)
    blocks = list(read(model, ids, names=("h",), segments=stretches))
    at = np.concatenate([block.at[block.inside] for block in blocks])
    assert sorted(at.tolist()) == list(range(700))
    whole = next(iter(read(model, ids, names=("h",))))
    first = np.concatenate([block.values[1, "h"][:, 0] for block in blocks])[: -(-700 // stretches)]
    np.testing.assert_allclose(first, whole.values[1, "h"][: len(first), 0], atol=1e-6)


def test_the_values_are_those_of_the_stepper_and_an_edit_is_seen_in_them(make_model):
    model = make_model(cell="lstm", layers=2)
    ids = ids_of(model, 50)
    seen: list[dict[tuple[int, str], np.ndarray]] = []

    def edit(layer, state):
        h, c = state
        return (np.where(np.arange(h.shape[1]) == 3, 0.5, h), c) if layer == 0 else state

    stepper = Stepper(model)
    states = stepper.start()
    for symbol in ids[:-1]:
        found: dict[tuple[int, str], np.ndarray] = {}

        def trace(layer, state, gates, found=found):
            found |= {(layer, "h"): state[0], (layer, "c"): state[1], (layer, "f"): gates["f"]}

        _, states = stepper.step(np.array([symbol]), states, trace=trace, edit=edit)
        seen.append(found)
    (block,) = read(model, ids, names=("h", "c", "f"), edit=edit)
    for key, values in block.values.items():
        np.testing.assert_allclose(values[:, 0], np.concatenate([found[key] for found in seen]), atol=1e-7)
    assert (block.values[0, "h"][..., 3] == 0.5).all()


def test_only_what_is_wanted_is_kept(make_model):
    model = make_model(cell="gru", layers=2)
    (block,) = read(model, ids_of(model, 20), names=("z",), layers=(1,))
    assert list(block.values) == [(1, "z")]
    (block,) = read(model, ids_of(model, 20))
    assert not block.values
