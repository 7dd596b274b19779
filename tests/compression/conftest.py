"""Models to compress with: trained for a moment, of random weights, of every cell and unit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from texts import text_of

import charlm
from charlm import cells
from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary

LETTERS = "\n 'acdefghilnoprstuvwy"
"""What `text_of` is made of; with weights this small a symbol takes about as many bits as their number says."""

Make = Callable[..., Model]


def made(cell: str = "lstm", codes: Any = LETTERS, unit: str = "char", seed: int = 1, **more: Any) -> Model:
    """A model of random weights; `corpus` says how its text was read."""
    corpus = more.pop("corpus", {"encoding": "utf-8", "documents": "file"})
    scale = more.pop("scale", 0.1)
    sizes = {"layers": 1, "hidden": 5, "input": "one-hot", "embedding": 3, "dropout": 0.0} | more
    options = ModelOptions(cell=cell, **sizes)
    numbers = sorted({ord(code) if isinstance(code, str) else int(code) for code in codes})
    symbols = Vocabulary(unit, np.array(numbers, np.uint32))
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(0, scale, shape).astype(np.float32)
        for name, shape in parameters.shapes(options, symbols.size).items()
    }
    return Model(options, symbols, weights, {"options": {"unit": unit, **corpus}})


def _family() -> list[Model]:
    every = [made(cell, input=entering, layers=2) for cell in cells.names() for entering in ("one-hot", "embedding")]
    return [
        *every,
        made("rnn", activation="relu", scale=0.2),
        made("lstm", codes=range(256), unit="byte"),
        made("gru", codes=[98, 255], unit="byte", corpus={"documents": "line"}),
        made("gru", codes="a"),
        made("rnn", codes=LETTERS[1:], corpus={"documents": "line"}),
        made("lstm", corpus={"encoding": "utf-16"}),
        made("gru", corpus={"encoding": "shift_jis"}, codes="aiあい漢"),
        made("rnn", corpus={"encoding": "latin-1"}, codes="aé\n\r\0"),
        made("lstm", codes=[97, 0xD800, 0xDC80, 0xDCFF, 0xFEFF, 0x1F600]),
    ]


@pytest.fixture(scope="session")
def make() -> Make:
    return made


@pytest.fixture(scope="session")
def family() -> list[Model]:
    """One model of every kind that reading and arithmetic tell apart."""
    return _family()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that learned something, in a moment."""
    root = tmp_path_factory.mktemp("trained")
    (root / "sea.txt").write_text(text_of(20000), encoding="utf-8")
    corpus = charlm.prepare(root / "sea.txt", out=str(root / "data"))
    run = charlm.train(corpus, root=root / "runs", run="sea", hidden=24, batch_size=8, seq_len=32, steps=150)
    return charlm.load(run.model)
