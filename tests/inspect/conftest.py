"""Models with random weights that know the letters of `texts.text_of`."""

from collections.abc import Callable

import numpy as np
import pytest
from texts import WORDS

from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary

LETTERS = sorted({ord(letter) for letter in "".join(WORDS) + " \n"})


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """A model of the cell and sizes that are given; weights are normal with deviation `scale`."""

    def make(seed: int = 1, scale: float = 0.4, letters: str | None = None, **options: object) -> Model:
        kind = {"input": "one-hot", "hidden": 7, "embedding": 5, "dropout": 0.0, **options}
        chosen = ModelOptions.of(kind)
        symbols = Vocabulary("char", np.array(LETTERS if letters is None else sorted({*map(ord, letters)}), np.uint32))
        random = np.random.default_rng(seed)
        shapes = parameters.shapes(chosen, symbols.size)
        weights = {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
        return Model(chosen, symbols, weights)

    return make


STRONG = 20.0
"""What opens a gate, or shuts it."""


@pytest.fixture(scope="session")
def tracker(make_model: Callable[..., Model]) -> Model:
    """An lstm of random units, but that 0 turns over at each quote mark of a line and 1 counts from each line's end."""
    model = make_model(cell="lstm", hidden=6, letters="".join(WORDS) + ' \n"(', seed=4)
    w, symbols = model.weights, model.vocabulary
    quote, newline = symbols.encode_text('"\n')
    i, f, g, o = ((k * 6, k * 6 + 1) for k in range(4))
    for row in (*i, *f, *g, *o):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            w[f"layers.0.{name}"][row] = 0
    entering, bias = w["layers.0.weight_ih"], w["layers.0.bias_ih"]
    bias[[i[0], f[0], o[0], o[1], i[1], f[1]]] = -STRONG, STRONG, STRONG, STRONG, STRONG, STRONG
    entering[i[0], [quote, newline, 0]], entering[f[0], [quote, newline, 0]] = 2 * STRONG, -2 * STRONG
    entering[g[0], [newline, 0]], w["layers.0.weight_hh"][g[0], 0] = -STRONG, -STRONG / 2
    bias[g[1]] = 0.02
    entering[i[1], [newline, 0]] = entering[f[1], [newline, 0]] = -2 * STRONG
    return model
