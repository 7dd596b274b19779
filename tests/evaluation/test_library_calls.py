"""The library as Python calls it: what may be handed in, and what is refused by a sentence and not by a traceback."""

from pathlib import Path

import numpy as np
import pytest

import charlm
from charlm.data.corpus import Corpus
from charlm.errors import CorpusError, UsageError
from charlm.evaluation.measure import protocol

TEXT = "the sea was calm and the ship lay still.\n" * 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("calls")


@pytest.fixture(scope="module")
def corpus(place):
    (place / "sea.txt").write_text(TEXT, encoding="utf-8")
    return charlm.prepare(place / "sea.txt", out=place / "elsewhere", name="sea")


@pytest.fixture(scope="module")
def model(place, corpus):
    small = {"cell": "gru", "layers": 1, "hidden": 6, "batch_size": 4, "seq_len": 8, "threads": 1}
    return charlm.load(charlm.train(corpus, root=place / "runs", steps=3, **small).model)


def test_a_corpus_is_a_text_as_its_folder_is(place, corpus, model):
    by_folder, by_itself = (charlm.evaluate(model, text, split="valid") for text in (corpus.path, corpus))
    assert by_itself.score == by_folder.score and by_itself.text == by_folder.text
    one, two = (charlm.compare([model, model], text, split="valid") for text in (corpus.path, corpus))
    assert one.to_json() == two.to_json()
    with_baselines = charlm.evaluate(model, corpus, baselines=True)
    assert {"unigram", "xz"} <= {row.name for row in with_baselines.baselines}
    (place / "other.txt").write_text(TEXT.upper(), encoding="utf-8")
    other = charlm.prepare(place / "other.txt", out=place / "elsewhere")
    with pytest.raises(CorpusError, match="is not the corpus"):
        charlm.evaluate(model, other)


CALLS = {
    "evaluate": charlm.evaluate,
    "score_text": lambda model: charlm.score_text(model, "a"),
    "samples": charlm.samples,
    "stream": charlm.stream,
    "score_lines": lambda model: list(charlm.score_lines(model, ["a"])),
    "score_lines by name": lambda model: list(charlm.score_lines({"one": model}, ["a"])),
    "fill": lambda model: list(charlm.fill(model, ["_"])),
    "compare": lambda model: charlm.compare([model, model]),
    "compress": lambda model: charlm.compress(model, b"a"),
    "decompress": lambda model: charlm.decompress(model, b"a"),
    "novelty": lambda model: charlm.novelty(model, "a"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("given", ["runs/sea/model.safetensors", Path("runs"), None, 3, [1]], ids=repr)
def test_what_is_no_model_is_refused_by_name(call, given):
    with pytest.raises(UsageError, match=r"a model is wanted, as charlm.load\(path\) gives it, got") as refusal:
        CALLS[call](given)
    shown = repr(given) if isinstance(given, str | Path) else type(given).__name__
    assert shown in str(refusal.value) and "\n" not in str(refusal.value)


def test_models_may_come_from_a_generator(corpus, model):
    found = charlm.compare((each for each in (model, model)), corpus)
    assert found.to_json() == charlm.compare([model, model], corpus).to_json()


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True, [1], None])
@pytest.mark.parametrize("write", [charlm.samples, charlm.stream])
def test_seeds_are_checked(model, write, seed):
    with pytest.raises(UsageError, match="seed"):
        write(model, length=3, seed=seed)


def test_a_seed_is_one_number_however_it_is_written(model):
    assert "".join(charlm.stream(model, length=30, seed="7")) == "".join(charlm.stream(model, length=30, seed=7))


def test_what_would_be_passed_over_is_refused(model):
    with pytest.raises(UsageError, match="stream writes one sample"):
        charlm.stream(model, length=3, num=2)
    assert "".join(charlm.stream(model, length=3, num=1))
    with pytest.raises(UsageError, match="charlm.fill"):
        charlm.score_lines(model, ["th_"], cloze=True)
    for values in ({"encoding": "latin-1"}, {"cloze": False}):
        with pytest.raises(UsageError, match=f"leave {next(iter(values))} out"):
            charlm.fill(model, ["th_"], **values)
    with pytest.raises(UsageError, match="encoding"):
        charlm.score_lines(model, ["th"], encoding="nope")
    with pytest.raises(UsageError, match="--split train"):
        charlm.score_text(model, "the sea", split="train")


def test_strings_are_no_bytes_of_the_corpus(make_text_model):
    letters = "\n abcdéö_"
    plain, latin = (make_text_model(letters=letters, corpus={"encoding": name}) for name in ("utf-8", "latin-1"))
    for call in (charlm.score_lines, charlm.fill):
        one, other = (list(call(model, ["abé_", "ö_a"])) for model in (plain, latin))
        assert repr(one) == repr(other) and len(one) == 2


@pytest.mark.parametrize("measure", [0, -1, 1.5, True, "5"])
def test_steps_to_time_are_a_count(corpus, measure):
    with pytest.raises(UsageError, match="measure"):
        charlm.plan(corpus, measure=measure, hidden=6)


def test_splits_that_are_not_there_are_told_alike(place, corpus):
    asked = (corpus.split, corpus.characters_of, corpus.bytes_of, corpus.documents_of, corpus.escape_bits_of)
    for ask in asked:
        with pytest.raises(CorpusError, match="has no nope split") as refusal:
            ask("nope")
        assert "fraction" not in str(refusal.value)
        assert ask("train") is not None
    whole = charlm.prepare(place / "sea.txt", out=place / "whole", valid_fraction=0, test_fraction=0)
    with pytest.raises(CorpusError, match="another --valid-fraction"):
        whole.characters_of("valid")
    with pytest.raises(CorpusError, match="a prepared corpus is a folder"):
        charlm.Corpus.load(corpus.path / "corpus.json")


def test_models_are_themselves(model):
    again = charlm.load(model.path)
    assert model == model and model != again and len({model, again, model}) == 2
    assert all(np.array_equal(model.weights[name], again.weights[name]) for name in model.weights)


def test_a_protocol_counts_what_the_model_reads(make_text_model, model):
    assert "segments of 1024 characters, each" in charlm.score_text(model, "the sea").protocol
    assert "1024 bytes" in charlm.score_text(make_text_model(unit="byte"), "the sea").protocol
    told = charlm.score_text(model, "the sea", dynamic=True, dynamic_window=5)
    assert "every 5 characters" in told.dynamic_protocol
    assert protocol(False, "word").startswith("segments of 1024 words") and "words" not in protocol(True, "word")


def test_a_sample_leaves_out_its_stop_string_but_counts_it(model):
    (whole,) = charlm.samples(model, length=200, seed=1)
    stop = next(letter for letter in whole.text if letter != "\n")
    (cut,) = charlm.samples(model, length=200, seed=1, stop=stop)
    assert cut.ended == "stop" and stop not in cut.text and whole.text.startswith(cut.text + stop)
    assert cut.characters == len(cut.text) + 1


def test_what_has_no_byte_has_no_bits_per_byte(small_corpus: Corpus, tmp_path: Path) -> None:
    model = charlm.load(charlm.train(small_corpus, root=tmp_path, run="one", hidden=4, layers=1, steps=1).model)
    scores = charlm.score_text(model, "")
    assert scores.bytes == 0 and scores.bits_per_byte is None and scores.to_json()["bits_per_byte"] is None
