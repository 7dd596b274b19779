"""Texts, corpora and models that several rooms need, made once."""

import gc
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from networks import make_model, make_network, make_options, make_symbols, slow_logits, slow_losses
from soaking import Soak, covering
from text_models import kinds, lively, make_text_model, slow_bits, untrained
from texts import text_of

from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.training import trainer

__all__ = [
    "kinds", "lively", "make_model", "make_network", "make_options", "make_symbols", "make_text_model",
    "slow_bits", "slow_logits", "slow_losses", "untrained",
]  # fmt: skip
"""Fixtures that several folders use, from the modules that make them."""

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
"""Here and in the processes that tests start: the networks are tiny, a second thread would cost more than it brings."""

_SOAK = pytest.StashKey[Soak]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="full counts, for `make soak`")


def pytest_configure(config: pytest.Config) -> None:
    soak = config.stash[_SOAK] = Soak(config.getoption("--soak"))
    # No deadline: a busy machine is no failure. `make test` tries the same examples every time.
    settings.register_profile(
        "charlm", deadline=None, max_examples=soak.count(20, 200), derandomize=not soak.whole, database=None
    )
    settings.load_profile("charlm")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test` runs a covering sample of the cases (`soaking.covering`); `make soak` runs everything."""
    if config.stash[_SOAK].whole:
        return
    chosen = set(covering(items))
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays, thousands of tests and torch: it would go through them all the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with one thread, whatever `--threads` the test before gave; time steps without a second to warm up."""
    torch.set_num_threads(1)
    monkeypatch.setattr(trainer, "UNTIMED_SECONDS", 0.0)


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Soak:
    """How often to try, and where to say what came of it."""
    return request.config.stash[_SOAK]


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
