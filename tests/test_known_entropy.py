"""A source whose entropy is known exactly: a trained model comes close to it, never below it, by either protocol."""

from pathlib import Path

import pytest

from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.evaluation.evaluate import evaluate
from charlm.model import checkpoint
from charlm.model.checkpoint import Model
from charlm.training.train import train


@pytest.fixture(scope="module")
def markov(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare("markov", out=str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def model(markov: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Model:
    sizes = {"cell": "gru", "hidden": 96, "batch_size": 32, "seq_len": 16, "steps": 2000, "lr": 0.01, "dropout": 0.0}
    run = train(markov, root=tmp_path_factory.mktemp("runs"), sample_every=0, **sizes)
    return checkpoint.load(run.model)


def test_a_trained_model_is_within_two_hundredths_of_a_bit_of_the_entropy(markov: Corpus, model: Model) -> None:
    found = evaluate(model, data=markov.path.parent).to_json()
    assert found["entropy_bits_per_char"] == markov.entropy_bits_per_char
    # The sample's own entropy differs from the source's by about 0.004 bits over 100,000 characters.
    assert -0.008 < found["gap_bits_per_char"] < 0.02
    assert found["gap_bits_per_char"] == found["bits_per_char"] - found["entropy_bits_per_char"]


def test_segments_and_one_exact_pass_agree_to_a_thousandth_of_a_bit(markov: Corpus, model: Model) -> None:
    default, exact = (evaluate(model, exact=exact, data=markov.path.parent).score for exact in (False, True))
    assert default.characters == exact.characters
    assert default.bits_per_char == pytest.approx(exact.bits_per_char, abs=0.001)


def test_they_agree_for_a_model_of_words_too(small_corpus: Corpus, tmp_path: Path) -> None:
    run = train(small_corpus, root=tmp_path, hidden=48, batch_size=8, seq_len=32, epochs=10, lr=0.01)
    model = checkpoint.load(run.model)
    data = small_corpus.path.parent
    default, exact = (evaluate(model, split="train", exact=exact, data=data).score for exact in (False, True))
    assert default.characters > 4 * 1024
    assert default.bits_per_char == pytest.approx(exact.bits_per_char, abs=0.001)
