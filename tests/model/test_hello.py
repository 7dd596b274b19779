"""The lecture's worked example: "hell" is read, "ello" is expected, and the loss is known to four digits.

A linear network whose state counts places (the boundary starts the count, W_hh moves it on by one)
gives each place the logits on the slide, though `l` comes twice with different ones. The boundary's
own row makes the first `h` certain, so that it adds nothing to the four that the lecture scores.
"""

import numpy as np
import pytest

from charlm.config import ModelOptions
from charlm.evaluation.scoring import Score, score
from charlm.model import checkpoint
from charlm.model.checkpoint import Model
from charlm.model.logits import log_softmax
from charlm.model.network import Network
from charlm.model.stepper import Stepper
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary

LETTERS = "helo"
LOGITS = [(1.0, 2.2, -3.0, 4.1), (0.5, 0.3, -1.0, 1.2), (0.1, 0.5, 1.9, -1.1), (0.2, -1.5, -0.1, 2.2)]
NATS, PERPLEXITY = 1.3974, 4.0446
CERTAINLY_NOT = -1e4


@pytest.fixture(scope="module")
def model():
    symbols = Vocabulary("char", np.array(sorted(map(ord, LETTERS)), np.uint32))
    options = ModelOptions(cell="rnn", activation="linear", hidden=5, embedding=1, dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in _shapes(options, symbols).items()}
    weights["layers.0.weight_ih"][0, BOUNDARY] = 1
    weights["layers.0.weight_hh"][:] = np.eye(5, k=-1)
    readout = weights["readout.weight"]
    readout[:] = CERTAINLY_NOT
    readout[symbols.encode_text("h")[0], 0] = 0
    for place, logits in enumerate(LOGITS, start=1):
        readout[symbols.encode_text(LETTERS), place] = logits
    return Model(options, symbols, weights)


def _shapes(options, symbols):
    return {name: weight.shape for name, weight in Network(options, symbols.size).arrays().items()}


def ids_of(model):
    return np.concatenate(([BOUNDARY], model.vocabulary.encode_text("hello")))


@pytest.mark.parametrize("exact", [False, True])
def test_scoring_gives_the_lecture_s_loss(model, tmp_path, exact):
    checkpoint.save(tmp_path / "model.safetensors", model)
    loaded = checkpoint.load(tmp_path / "model.safetensors")
    network = Network(loaded.options, loaded.vocabulary.size).load_weights(loaded.weights)
    whole = score(network, ids_of(model), exact=exact)
    first = score(network, ids_of(model)[:2], exact=exact)
    assert (whole.characters, first.characters, first.nats) == (5, 1, 0.0)
    scored = Score(whole.nats - first.nats, whole.characters - first.characters)
    assert scored.nats_per_char == pytest.approx(NATS, abs=5e-5)
    assert scored.perplexity == pytest.approx(PERPLEXITY, abs=5e-4)
    assert scored.bits_per_char == pytest.approx(NATS / np.log(2), abs=1e-4)


def test_stepping_gives_the_slide_s_logits_and_loss(model):
    stepper = Stepper(model)
    letters = model.vocabulary.encode_text(LETTERS)
    states, nats = stepper.start(), []
    ids = ids_of(model)
    for place, (symbol, target) in enumerate(zip(ids, ids[1:], strict=False)):
        logits, states = stepper.step(np.array([symbol]), states)
        assert logits[0, UNKNOWN] == logits[0, BOUNDARY] == CERTAINLY_NOT
        if place:
            np.testing.assert_allclose(logits[0, letters], LOGITS[place - 1], rtol=1e-6)
            nats.append(-log_softmax(logits.astype(np.float64))[0, target])
    assert np.mean(nats) == pytest.approx(NATS, abs=5e-5)
    assert np.exp(np.mean(nats)) == pytest.approx(PERPLEXITY, abs=5e-5)
