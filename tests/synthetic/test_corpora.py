"""Synthetic sources as corpora: options, splits, documents, and what evaluation says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grammars import check_anbn, check_brackets, check_copy

from charlm import synthetic
from charlm.config import SYNTHETIC_OPTIONS, ModelOptions, PrepareOptions
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.data.sources import open_sources
from charlm.errors import CorpusError, UsageError
from charlm.evaluation.evaluate import evaluate
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.show import tables
from charlm.tokenizers.vocabulary import BOUNDARY


def lines_of(corpus: Corpus, split: str) -> list[str]:
    """The documents of a split."""
    ids = corpus.split(split)[1:]
    ends = np.flatnonzero(ids == BOUNDARY)
    return [corpus.vocabulary.decode(part) for part in np.split(ids, ends)]


def zeros(corpus: Corpus) -> Model:
    """A model that expects every symbol alike."""
    options = ModelOptions.of({"cell": "rnn", "hidden": 2, "embedding": 2, "dropout": 0.0})
    shapes = parameters.shapes(options, corpus.vocabulary.size)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return Model(options, corpus.vocabulary, weights, corpus.identity())


def test_every_parameter_of_a_source_is_an_option_with_its_default_in_the_help() -> None:
    owned = {name for source in synthetic.names() for name in synthetic.parameters(source)}
    assert {"size", "seed"} | owned == set(SYNTHETIC_OPTIONS)
    for source in synthetic.names():
        for name, value in synthetic.settings(synthetic.make(source)).items():
            spec = PrepareOptions.specs()[name]
            assert spec.read(name, value) == value and f"Default: {value}." in spec.help and source in spec.help


@pytest.mark.parametrize(
    ("words", "values", "wanted"),
    [
        (["copy"], {"kinds": 2}, "--kinds 2 is for the source brackets; copy has only --size, --seed, --delay,"),
        (["markov"], {"alphabet": 3}, "is for the source copy or hidden-markov; markov has only --size and --seed"),
        (["python-stdlib"], {"delay": 3}, "--delay 3 is for the source copy; python-stdlib is none"),
        (["markov", "anbn"], {"delay": 0}, "--delay 0 is for the source copy; markov has only --size and --seed"),
    ],
)
def test_an_option_that_does_not_fit_the_source_is_refused(
    words: list[str], values: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(UsageError, match=wanted):
        open_sources(words, **values)


def test_joined_sources_take_what_fits_them_and_have_no_known_entropy() -> None:
    source = open_sources(["copy", "anbn"], size=100, delay=1, mean=2)
    copy, anbn = (b"".join(document.chunks()).decode() for document in source.documents())
    assert len(copy) == len(anbn) == 100 and source.entropy is None and source.bytes == 200
    check_copy(copy.split("\n")[0], 1, 5, 8)
    assert check_anbn(anbn.split("\n")[0]) <= 3


@pytest.mark.parametrize("name", ["brackets", "copy", "anbn"])
def test_lines_as_documents_are_whole_in_every_split(tmp_path: Path, name: str) -> None:
    corpus = prepare(name, size="9k", seed=3, documents="line", out=str(tmp_path))
    check = {"brackets": lambda line: check_brackets(line, 3), "copy": lambda line: check_copy(line, 20, 5, 8),
             "anbn": check_anbn}[name]  # fmt: skip
    for split in ("train", "valid", "test"):
        *lines, rest = lines_of(corpus, split)
        assert rest == "" and len(lines) == corpus.documents_of(split) > 5
        for line in lines if split != "test" else lines[:-1]:
            check(line)
    whole = prepare(name, size="9k", seed=3, out=str(tmp_path), name="whole")
    assert (whole.documents, whole.characters) == (1, 9000)
    assert whole.entropy_bits_per_char == corpus.entropy_bits_per_char
    assert corpus.characters + corpus.documents in (9000, 9001)  # a line that was cut has an end all the same


def test_a_corpus_keeps_what_it_was_drawn_with_and_is_used_as_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    values: dict[str, Any] = {"size": 3000, "states": 3, "stay": 0.5, "out": str(tmp_path), "report": told.append}
    corpus = prepare("hidden-markov", **values)
    kept = {"size": 3000, "seed": 0, "states": 3, "alphabet": 8, "stay": 0.5}
    assert kept.items() <= corpus.options.values().items()
    assert synthetic.make("hidden-markov", states=3, stay=0.5).entropy().to_json().items() <= corpus.info.items()
    assert corpus.entropy_error == corpus.info["entropy_error_bits_per_char"] > 0
    prepare("hidden-markov", **values)
    assert told == [f"{corpus.path} is made from this text with these options already; it is used as it is"]
    with pytest.raises(CorpusError, match="was made with another text"):
        prepare("hidden-markov", **values | {"stay": 0.6})


def test_repeats_of_a_drawn_text_are_no_warning(tmp_path: Path) -> None:
    told: list[str] = []
    corpus = prepare("anbn", size=20_000, mean=1, out=str(tmp_path), report=told.append)
    assert corpus.info["shared"]["test"]["longest"] > 200 and not told


@pytest.mark.parametrize("value", ["low", [1], [1, "2"], None, [1.0, float("nan")]])
def test_damaged_bounds_are_told_of(tmp_path: Path, value: Any) -> None:
    corpus = prepare("hidden-markov", size=3000, out=str(tmp_path))
    place = corpus.path / "corpus.json"
    place.write_text(json.dumps(corpus.info | {"entropy_bounds_bits_per_char": value}), encoding="utf-8")
    with pytest.raises(CorpusError, match="entropy_bounds_bits_per_char is"):
        Corpus.load(corpus.path)


def test_evaluation_says_how_well_an_estimated_entropy_is_known(tmp_path: Path) -> None:
    corpus = prepare("hidden-markov", size=3000, out=str(tmp_path))
    model = zeros(corpus)
    found = evaluate(model, data=tmp_path, baselines=True).to_json()
    entropy = synthetic.make("hidden-markov").entropy()
    assert (found["entropy_bits_per_char"], found["entropy_error_bits_per_char"]) == (entropy.bits, entropy.error)
    assert found["gap_bits_per_char"] == pytest.approx(np.log2(10) - entropy.bits, abs=1e-6)
    assert "estimated entropy" in {row["name"] for row in found["baselines"]}
    shown = f"{entropy.bits:.4f} ± {entropy.error:.4f} bits per character; the model is"
    assert shown in tables.evaluation_facts(found)["entropy"]
    low, high = entropy.bounds
    assert f"between {low:.4f} and {high:.4f} for certain" in tables.corpus_facts(corpus.info, 10)["entropy"]
    again = evaluate(model, open_sources(["hidden-markov"], size=500)).to_json()
    assert again["entropy_error_bits_per_char"] == entropy.error


def test_evaluation_of_an_exact_entropy_has_no_error(tmp_path: Path) -> None:
    corpus = prepare("copy", size=3000, unit="byte", out=str(tmp_path))
    found = evaluate(zeros(corpus), data=tmp_path).to_json()
    assert found["entropy_bits_per_char"] == 15 / 32 and "entropy_error_bits_per_char" not in found
    assert "exactly known" in tables.corpus_facts(corpus.info, 13)["entropy"]
    assert "0.4688 bits per character; the model is" in tables.evaluation_facts(found)["entropy"]
