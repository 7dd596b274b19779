"""Models with random weights, what they learned from, and a slow twin of scoring."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from charlm import cells
from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.text.symbols import Symbols

LETTERS = "\n abcdefghijklmnopqrstuvwxyz"


def _make(
    cell: str = "gru", *, seed: int = 1, scale: float = 0.4, letters: str = LETTERS, unit: str = "char",
    corpus: dict[str, Any] | None = None, **options: object,
) -> Model:  # fmt: skip
    kind = {"input": "one-hot", "hidden": 7, "embedding": 5, "dropout": 0.0, "cell": cell, **options}
    chosen = ModelOptions.of(kind)
    symbols = Symbols(unit, np.array(sorted({*map(ord, letters)}), np.uint32))
    random = np.random.default_rng(seed)
    shapes = parameters.shapes(chosen, symbols.size)
    weights = {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return Model(chosen, symbols, weights, {"options": corpus or {}})


def _slow_bits(model: Model, ids: list[int]) -> np.ndarray:
    """Bits (N,) of every symbol after the first, in float64, one after the other."""
    cell = cells.make(model.options.cell, model.options.activation)
    w = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
    states = [tuple(np.zeros((1, model.options.hidden)) for _ in cell.state) for _ in range(model.options.layers)]
    found = []
    for symbol, coming in zip(ids, ids[1:], strict=False):
        x = np.eye(model.symbols.size)[[symbol]]
        x = x @ w["embedding.weight"] if "embedding.weight" in w else x
        below = None
        for number, state in enumerate(states):
            p = {name: w[f"layers.{number}.{name}"] for name in cell.shapes(1, 1)}
            below, _ = cell.step(np, p, x @ p["weight_ih"].T + p["bias_ih"], below, state)
            states[number], x = below, below[0]
        logits = (x @ w["readout.weight"].T + w["readout.bias"])[0]
        found.append((np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[coming]) / np.log(2))
    return np.array(found)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """A model with random weights."""
    return _make


@pytest.fixture(scope="session")
def slow_bits() -> Callable[[Model, list[int]], np.ndarray]:
    """The slow twin."""
    return _slow_bits
