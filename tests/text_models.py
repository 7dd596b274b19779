"""Corpora of each kind, models of them, models with random weights, and a slow twin of scoring."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from texts import text_of

from charlm import cells
from charlm.config import ModelOptions
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary

LETTERS = "\n abcdefghijklmnopqrstuvwxyz"


def _make(
    cell: str = "gru", *, seed: int = 1, scale: float = 0.4, letters: str = LETTERS, unit: str = "char",
    corpus: dict[str, Any] | None = None, **options: object,
) -> Model:  # fmt: skip
    kind = {"input": "one-hot", "hidden": 7, "embedding": 5, "dropout": 0.0, "cell": cell, **options}
    chosen = ModelOptions.of(kind)
    symbols = Vocabulary(unit, np.array(sorted({*map(ord, letters)}), np.uint32))
    random = np.random.default_rng(seed)
    shapes = parameters.shapes(chosen, symbols.size)
    weights = {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return Model(chosen, symbols, weights, {"options": corpus or {}})


def _slow_bits(model: Model, ids: list[int]) -> np.ndarray:
    """Bits (N,) of every symbol after the first, in float64, one after the other."""
    cell = cells.of(model.options)
    w = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
    states = [tuple(np.zeros((1, model.options.hidden)) for _ in cell.state) for _ in range(model.options.layers)]
    found = []
    for symbol, coming in zip(ids, ids[1:], strict=False):
        x = np.eye(model.vocabulary.size)[[symbol]]
        x = x @ w["embedding.weight"] if "embedding.weight" in w else x
        below = None
        for number, state in enumerate(states):
            p = {name: w[f"layers.{number}.{name}"] for name in cell.at(number).shapes(1, 1)}
            below, _ = cell.at(number).step(np, p, x @ p["weight_ih"].T + p["bias_ih"], below, state)
            states[number], x = below, below[0]
        logits = (x @ w["readout.weight"].T + w["readout.bias"])[0]
        found.append((np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[coming]) / np.log(2))
    return np.array(found)


@pytest.fixture(scope="session")
def make_text_model() -> Callable[..., Model]:
    """A model with random weights."""
    return _make


@pytest.fixture(scope="session")
def slow_bits() -> Callable[[Model, list[int]], np.ndarray]:
    """The slow twin."""
    return _slow_bits


@pytest.fixture(scope="session")
def untrained() -> Callable[..., Model]:
    """A model of a corpus with no weights but the readout's biases, which are the logarithms of a unigram."""

    def make(corpus: Corpus, folder: Path, cell: str = "lstm", noise: float = 0.0, seed: int = 0) -> Model:
        options = ModelOptions(cell=cell, layers=1, hidden=3, input="one-hot", embedding=2, dropout=0.0)
        shapes = parameters.shapes(options, corpus.vocabulary.size)
        weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        counts = np.bincount(corpus.split("train")[1:], minlength=corpus.vocabulary.size) + 0.5
        bias = np.log(counts / counts.sum()) + np.random.default_rng(seed).normal(0, noise, counts.size)
        weights["readout.bias"][:] = bias
        folder.mkdir(parents=True)
        checkpoint.save(
            folder / "model.safetensors", Model(options, corpus.vocabulary, weights, corpus=corpus.identity())
        )
        return checkpoint.load(folder / "model.safetensors")

    return make


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 40,000 characters, some of them not ASCII, one of them rare."""
    path = tmp_path_factory.mktemp("lively") / "lively.txt"
    path.write_text(text_of(40_000).replace("ships", "ſhips") + "§", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def kinds(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    """That file as characters, as bytes, by lines, and with its rare character unknown."""
    out = str(tmp_path_factory.mktemp("data"))
    made = {"char": {}, "byte": {"unit": "byte"}, "line": {"documents": "line"}, "rare": {"min_count": 2}}
    return {
        name: prepare(lively, name=name, out=out, valid_fraction=0.1, test_fraction=0.2, **options)
        for name, options in made.items()
    }
