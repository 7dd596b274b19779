"""Texts, corpora and models that several rooms need, made once."""

from pathlib import Path
from random import Random

import pytest
import torch

from charlm.text.corpus import Corpus
from charlm.text.prepare import prepare

torch.set_num_threads(1)
"""The networks of the tests are tiny: a second thread would cost more than it brings."""

WORDS = "the sea is wide and old ships go home when winds turn cold over grey water 'tis late".split()


def text_of(characters: int, seed: int = 0) -> str:
    """A text of random words in lines, the same for the same seed."""
    random = Random(seed)
    pieces = []
    size = 0
    while size < characters:
        piece = random.choice(WORDS) + ("\n" if random.random() < 0.15 else " ")
        pieces.append(piece)
        size += len(piece)
    return "".join(pieces)[:characters]


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 6,000 characters."""
    path = tmp_path_factory.mktemp("texts") / "small.txt"
    path.write_text(text_of(6000), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_corpus(small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """That text with valid and test splits of a tenth each."""
    out = tmp_path_factory.mktemp("data")
    return prepare(small_text, out=str(out), valid_fraction=0.1, test_fraction=0.1)
