"""Small models with random weights, and the slow twin of the network."""

import numpy as np
import pytest
import torch

from charlm import cells
from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.tokenizers.vocabulary import Vocabulary

CHARACTERS = "\n ehlorw"


def _options(cell="lstm", activation="tanh", layers=1, input="one-hot", hidden=7, embedding=5, context=8, **wiring):
    return ModelOptions(
        cell=cell,
        activation=activation,
        layers=layers,
        input=input,
        hidden=hidden,
        embedding=embedding,
        dropout=0.0,
        context=context,
        **wiring,
    )


def _symbols(characters=CHARACTERS, unit="char"):
    return Vocabulary(unit, np.array(sorted({ord(letter) for letter in characters}), np.uint32))


def _model(*kind, characters=CHARACTERS, seed=1, scale=0.4, **options):
    """A model with weights of every tensor drawn from a normal distribution; `kind` is cell and activation."""
    chosen, symbols = _options(*kind, **options), _symbols(characters)
    random = np.random.default_rng(seed)
    weights = {
        name: (scale * random.standard_normal(shape)).astype(np.float32)
        for name, shape in parameters.shapes(chosen, symbols.size).items()
    }
    return Model(chosen, symbols, weights)


def _network(model, path="plain", dtype=torch.float32):
    network = Network(model.options, model.vocabulary.size).load_weights(model.weights).to(dtype)
    network.backend = path
    return network


def _slow_logits(model, ids, states=None):
    """Logits (T, B, V) and last states in NumPy float64: explicit products, one character at a time."""
    cell = cells.of(model.options)
    w = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
    hidden, layers = model.options.hidden, model.options.layers
    if states is None:
        states = [tuple(np.zeros((ids.shape[1], hidden)) for _ in cell.state) for _ in range(layers)]
    one_hot = np.eye(model.vocabulary.size)
    logits = []
    for row in ids:
        x = one_hot[row]
        if "embedding.weight" in w:
            x = x @ w["embedding.weight"]
        below, after = None, []
        for number, state in enumerate(states):
            p = {name: w[f"layers.{number}.{name}"] for name in cell.at(number).shapes(1, 1)}
            below, _ = cell.at(number).step(np, p, x @ p["weight_ih"].T + p["bias_ih"], below, state)
            after.append(below)
            x = below[0]
        states = after
        logits.append(x @ w["readout.weight"].T + w["readout.bias"])
    return np.stack(logits), states


def _losses(model, ids):
    """Nats (N,) of every symbol after the first, from `_slow_logits` in one pass."""
    logits, _ = _slow_logits(model, ids[:-1, None])
    rows = logits[:, 0] - logits[:, 0].max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return -rows[np.arange(len(rows)), ids[1:]]


@pytest.fixture(scope="session")
def make_options():
    """Network options, every `auto` resolved."""
    return _options


@pytest.fixture(scope="session")
def make_symbols():
    """A symbol table of the characters of a string."""
    return _symbols


@pytest.fixture(scope="session")
def make_model():
    """A model with random weights."""
    return _model


@pytest.fixture(scope="session")
def make_network():
    """The network of a model, on one path through time, in one precision."""
    return _network


@pytest.fixture(scope="session")
def slow_logits():
    """The network's slow twin."""
    return _slow_logits


@pytest.fixture(scope="session")
def slow_losses():
    """The slow twin of scoring."""
    return _losses
