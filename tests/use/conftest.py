"""Corpora of each kind, and models of them whose loss depends on the symbol to come alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from texts import text_of

from charlm.config import ModelOptions
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.text.corpus import Corpus
from charlm.text.prepare import prepare


@pytest.fixture(scope="session")
def untrained() -> Callable[..., Model]:
    """A model of a corpus with no weights but the readout's biases, which are the logarithms of a unigram."""

    def make(corpus: Corpus, folder: Path, cell: str = "lstm", noise: float = 0.0, seed: int = 0) -> Model:
        options = ModelOptions(cell=cell, layers=1, hidden=3, input="one-hot", embedding=2, dropout=0.0)
        shapes = parameters.shapes(options, corpus.symbols.size)
        weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        counts = np.bincount(corpus.split("train")[1:], minlength=corpus.symbols.size) + 0.5
        bias = np.log(counts / counts.sum()) + np.random.default_rng(seed).normal(0, noise, counts.size)
        weights["readout.bias"][:] = bias
        folder.mkdir(parents=True)
        checkpoint.save(folder / "model.safetensors", Model(options, corpus.symbols, weights, corpus=corpus.identity()))
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
    made = {
        "char": {},
        "byte": {"unit": "byte"},
        "line": {"documents": "line"},
        "rare": {"min_count": 2},
    }
    return {
        name: prepare(lively, name=name, out=out, valid_fraction=0.1, test_fraction=0.2, **options)
        for name, options in made.items()
    }
