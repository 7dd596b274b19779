"""Models with random weights that know the letters of `texts.text_of`."""

from collections.abc import Callable

import numpy as np
import pytest
from texts import WORDS

from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.text.symbols import Symbols

LETTERS = sorted({ord(letter) for letter in "".join(WORDS) + " \n"})


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """A model of the cell and sizes that are given; weights are normal with deviation `scale`."""

    def make(seed: int = 1, scale: float = 0.4, letters: str | None = None, **options: object) -> Model:
        kind = {"input": "one-hot", "hidden": 7, "embedding": 5, "dropout": 0.0, **options}
        chosen = ModelOptions.of(kind)
        symbols = Symbols("char", np.array(LETTERS if letters is None else sorted({*map(ord, letters)}), np.uint32))
        random = np.random.default_rng(seed)
        shapes = parameters.shapes(chosen, symbols.size)
        weights = {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
        return Model(chosen, symbols, weights)

    return make
