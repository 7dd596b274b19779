"""Texts, corpora and models that several rooms need, made once."""

from pathlib import Path

import pytest
import torch
from texts import text_of

from charlm.text.corpus import Corpus
from charlm.text.prepare import prepare

torch.set_num_threads(1)
"""The networks of the tests are tiny: a second thread would cost more than it brings."""


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
