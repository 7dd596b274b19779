"""Runs of every wiring and of every kind of dropout: they learn, resume bit for bit, and every command reads them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import TINY, assert_same_run, interrupted

from charlm.cli import main as entry
from charlm.compression.compress import compress, decompress
from charlm.config import TrainOptions
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import UsageError
from charlm.evaluation import dynamic
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.score_lines import score_lines
from charlm.model import checkpoint
from charlm.model.stepper import Stepper
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import generate, random_streams
from charlm.sampling.sample import samples, stream
from charlm.training import auto
from charlm.training.resume import resume
from charlm.training.train import plan, train

RUNS: dict[str, dict[str, Any]] = {
    "skip": {"cell": "lstm", "skip": True},
    "residual": {"cell": "rnn", "between": "residual", "layer_norm": True},
    "highway": {"cell": "gru", "between": "highway", "skip": True, "input": "embedding"},
    "tied": {"cell": "lstm", "tied": True, "input": "embedding", "layer_norm": True, "optimizer": "sgd"},
    "all": {"cell": "gru", "skip": True, "between": "highway", "layer_norm": True, "tied": True, "input": "embedding"},
}
DROPS = {"dropout": 0.3, "dropout_kind": "locked", "embedding_dropout": 0.2, "weight_drop": 0.2, "cold_starts": 0.2}


@pytest.mark.cases(1)
@pytest.mark.parametrize("name", RUNS)
def test_resumed_is_never_stopped_bit_for_bit(small_corpus: Corpus, tmp_path: Path, name: str) -> None:
    values = {**TINY, **DROPS, **RUNS[name], "layers": 3, "steps": 12, "save_every": 5, "sample_every": 4}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    parts = resume(interrupted(small_corpus, tmp_path, "parts", 7, **values), corpus=small_corpus)
    assert_same_run(whole.path, parts.path)


@pytest.fixture(scope="module")
def trained(small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each wiring, after a few steps."""
    root = tmp_path_factory.mktemp("wired")
    values = {**TINY, "layers": 3, "steps": 8}
    return {name: train(small_corpus, root=root, run=name, **values, **more).model for name, more in RUNS.items()}


@pytest.mark.cases(1)
@pytest.mark.parametrize("name", RUNS)
def test_every_command_of_the_library_reads_it(
    small_corpus: Corpus, small_text: Path, trained: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic, "SAMPLES", 2)
    monkeypatch.setattr(dynamic, "LENGTH", 60)
    model = checkpoint.load(trained[name])
    assert ("readout.weight" in model.weights) != model.options.tied
    data = small_corpus.path.parent
    by_window = evaluate(model, data=data, exact=True).score.nats_per_char
    assert np.isfinite(by_window) and by_window < np.log(model.vocabulary.size)
    assert np.isfinite(evaluate(model, data=data, dynamic=True).to_json()["dynamic_nats_per_char"])
    (line,) = score_lines(model, ["the sea is wide"])
    assert 0 < line.scores["model"].bits < np.inf
    text = "".join(stream(model, length=40, seed=1))
    assert len(text) == 40
    drawn = generate(Stepper(model), np.zeros(0, np.int64), SamplingParams(1.0), random_streams(1, 1))
    wanted = "".join(model.vocabulary.decode(next(drawn)) for _ in range(60))[:40]
    assert text == wanted, "a single sample is that of a batch of one"
    assert [one.text for one in samples(model, num=2, length=10, seed=1)][0] == text[:10]
    packed = compress(model, small_text.read_bytes()[:700])
    assert not packed.stored and decompress(model, packed.data) == small_text.read_bytes()[:700]


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = entry.run(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.cases(1)
@pytest.mark.parametrize("name", RUNS)
def test_every_inspection_reads_it(
    small_text: Path, trained: dict[str, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(trained[name]), "--json"]
    for words in (
        ["surprise", str(small_text), "--chars", "300"],
        ["cells", str(small_text), "--chars", "300", "--unit", "1:2"],
        ["gradients", str(small_text), "--window", "6", "--positions", "3"],
        ["find", str(small_text), "--chars", "2500", "--feature", "word", "--shuffles", "10"],
        ["ablate", str(small_text), "--chars", "1500", "--unit", "1:2"],
        ["gates", str(small_text), "--chars", "500"],
    ):
        code, out, err = ran(capsys, "inspect", *words, *model)
        assert code == 0, err
        assert json.loads(out)


def test_info_and_the_plan_say_how_layers_are_connected(
    small_corpus: Corpus, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ran(capsys, "info", str(trained["all"]))
    assert code == 0
    assert "skip connections, highway, layer normalisation, readout tied to the embedding" in out
    code, out, _ = ran(capsys, "info", str(trained["all"]), "--json")
    config = json.loads(out)["config"]
    assert (config["skip"], config["between"], config["embedding"]) == (True, "highway", 24)
    sizes = "--hidden 8 --layers 2 --batch-size 4 --seq-len 16 --skip --embedding-dropout 0.1 --dropout 0.2".split()
    code, out, _ = ran(capsys, "train", str(small_corpus.path), "--dry-run", "--dropout-kind", "locked", *sizes)
    assert code == 0
    assert "one-hot, skip connections, locked dropout 0.2, 0.1 of symbols" in out


def test_a_plain_model_names_no_wiring_and_says_none(small_corpus: Corpus, tmp_path: Path) -> None:
    """Its file is one that older readers know: they refuse what they do not know by name."""
    done = train(small_corpus, root=tmp_path, run="plain", **TINY, steps=2)
    head = done.model.read_bytes()
    assert b"skip" not in head[: head.index(b"layers.0")]
    options = checkpoint.load(done.model).options
    assert options.wiring() == {} and options.between == "plain"


def test_tied_embedding_has_the_readout_s_size(small_corpus: Corpus) -> None:
    tied = {"tied": True, "input": "embedding", "layers": 3}
    for more, size in (({"hidden": 96}, 96), ({"hidden": 8, "skip": True}, 24), ({}, 256)):
        found, _ = auto.resolve(TrainOptions.of({**tied, **more}), 20, 5000, 500)
        assert found.embedding == size
    with pytest.raises(
        UsageError, match="--tied needs an embedding of 24 numbers, .* 3 layers of --hidden 8, .* has 9"
    ):
        plan(small_corpus, **tied, hidden=8, skip=True, embedding=9)
    with pytest.raises(UsageError, match="--input one-hot has none; give --input embedding"):
        plan(small_corpus, tied=True)


def test_symbols_are_matched_in_every_layer_that_reads_them(
    small_corpus: Corpus, trained: dict[str, Path], tmp_path: Path
) -> None:
    """A model goes on with a larger table: what it knows stays where its characters are now."""
    text = tmp_path / "more.txt"
    text.write_text("AZ! " + "the sea is wide and old ships go home\n" * 200, encoding="utf-8")
    other = prepare(text, out=str(tmp_path / "data"))
    for name in ("skip", "highway", "all"):
        source = checkpoint.load(trained[name])
        tiny = {key: value for key, value in TINY.items() if key != "hidden"}
        done = train(other, root=tmp_path, run=name, init_from=trained[name], steps=1, lr=1e-9, **tiny)
        model = checkpoint.load(done.model)
        word = "the sea is wide"
        here, there = model.vocabulary.encode_text(word), source.vocabulary.encode_text(word)
        assert not np.array_equal(here, there)
        one, two, a, b = Stepper(model), Stepper(source), None, None
        a, b = one.start(), two.start()
        for mine, theirs in zip(here, there, strict=True):
            found, a = one.step(np.array([mine]), a)
            wanted, b = two.step(np.array([theirs]), b)
            np.testing.assert_allclose(found[0, here], wanted[0, there], atol=1e-4)


def test_a_network_of_any_wiring_learns(small_corpus: Corpus, tmp_path: Path) -> None:
    """More than the frequencies of characters, in 150 steps."""
    ids = np.asarray(small_corpus.split("train"))
    shares = np.bincount(ids) / len(ids)
    unigram = -sum(share * np.log(share) for share in shares if share)
    for name, more in RUNS.items():
        values = {**TINY, **more, "optimizer": "adamw", "layers": 2, "hidden": 24, "eval_every": 0}
        done = train(
            small_corpus,
            root=tmp_path,
            run=name,
            steps=150,
            seq_len=20,
            dropout=0.0,
            **{key: value for key, value in values.items() if key not in ("seq_len", "dropout")},
        )
        assert done.valid_nats is not None and done.valid_nats < 0.7 * unigram, name
