"""The company of a number: baselines after the same training text, and the interval."""

import json
import lzma
from itertools import islice
from math import exp, log, log2
from pathlib import Path

import numpy as np
import pytest
from texts import text_of

import charlm
from charlm import memory
from charlm.cli.main import run
from charlm.data.prepare import prepare
from charlm.data.sources import open_sources
from charlm.errors import CorpusError, UsageError
from charlm.evaluation import baselines, ngrams
from charlm.evaluation.bootstrap import block_starts, interval
from charlm.evaluation.evaluate import evaluate

COMPRESSORS = ["gzip", "bzip2", "xz"]


def by_name(found):
    return {row["name"]: row["bits_per_char"] for row in found["baselines"]}


@pytest.mark.parametrize("kind", ["char", "byte", "line", "rare"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_rows_are_of_the_text_that_the_model_scored(kinds, untrained, tmp_path, kind, cell):
    corpus = kinds[kind]
    model = untrained(corpus, tmp_path / "run", cell)
    found = evaluate(model, data=corpus.path.parent, baselines=True).to_json()
    rows, train, test = by_name(found), corpus.split("train"), corpus.split("test")
    assert rows["model"] == found["bits_per_char"]
    assert rows["uniform"] == log2(model.vocabulary.size)
    assert rows["unigram"] == pytest.approx(rows["model"], abs=0.01)
    orders = [nats.mean() / log(2) for nats in islice(ngrams.surprises(train, test, model.vocabulary.size), 4)]
    assert [rows[name] for name in ("unigram", "2-gram", "3-gram", "4-gram")] == orders
    assert list(rows.values()) == sorted(rows.values())
    if corpus.info["unit"] == "char" and kind != "rare":
        text = Path(corpus.origin[0]).read_text(encoding="utf-8") + "\n"
        train_text, test_text = (text_made_of(corpus, ids, kind == "line").encode() for ids in (train, test))
        assert train_text.decode() in text and test_text.decode() in text
        size = lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))  # noqa: E731
        wanted = 8 * (size(train_text + test_text) - size(train_text)) / (len(test) - 1)
        assert rows["xz"] == pytest.approx(wanted, abs=0.02)


def text_made_of(corpus, ids, lines):
    ends = "\n" if lines else ""
    return "".join(ends if s == 0 else chr(corpus.vocabulary.code(int(s))) for s in ids[1:])


def test_orders_go_on_for_as_long_as_they_help(kinds, untrained, tmp_path):
    corpus = kinds["char"]
    found = evaluate(untrained(corpus, tmp_path / "run"), data=corpus.path.parent, baselines=True)
    losses = [row.bits_per_char for row in found.baselines if row.name.endswith("gram")]
    assert 3 < len(losses) < baselines.MAX_ORDER
    assert all(after < before for before, after in zip(losses[:-2], losses[1:-1], strict=True))
    assert losses[-1] >= losses[-2]


def test_the_exact_entropy_stands_among_them_and_n_grams_come_near(untrained, tmp_path):
    corpus = prepare(open_sources(["markov"], size=60_000, seed=2), out=str(tmp_path / "data"))
    found = evaluate(untrained(corpus, tmp_path / "run"), data=tmp_path / "data", baselines=True).to_json()
    rows = by_name(found)
    assert rows["exact entropy"] == corpus.entropy_bits_per_char
    assert rows["3-gram"] == pytest.approx(corpus.entropy_bits_per_char, abs=0.06)
    assert {row["name"] for row in found["baselines"] if row["seconds"] is None} == {"uniform", "exact entropy"}


def test_another_text_is_scored_after_the_models_own_training_text(kinds, untrained, tmp_path):
    corpus = kinds["char"]
    model, data = untrained(corpus, tmp_path / "run"), corpus.path.parent
    (tmp_path / "other.txt").write_text(text_of(5000, seed=9))
    found = by_name(evaluate(model, tmp_path / "other.txt", data=data, baselines=True).to_json())
    ids = np.concatenate(([0], model.vocabulary.encode_text(text_of(5000, seed=9)), [0]))
    orders = islice(ngrams.surprises(corpus.split("train"), ids, model.vocabulary.size), 3)
    assert found["3-gram"] == [nats.mean() / log(2) for nats in orders][-1]
    same = by_name(charlm.score_text(model, text_of(5000, seed=9), data=data, baselines=True).to_json())
    assert found == same
    by_folder = evaluate(model, corpus.path, data=tmp_path / "nothing", baselines=True)
    assert by_name(by_folder.to_json())["uniform"] == found["uniform"]


def test_without_the_training_text_there_is_one_clear_error(kinds, untrained, tmp_path):
    model = untrained(kinds["char"], tmp_path / "run")
    (tmp_path / "other.txt").write_text(text_of(500))
    with pytest.raises(CorpusError, match="the text that the model was trained on is needed too: 'char' is not a"):
        evaluate(model, tmp_path / "other.txt", data=tmp_path / "nothing", baselines=True)
    assert evaluate(model, tmp_path / "other.txt", data=tmp_path / "nothing").score.characters == 501


def test_what_does_not_fit_is_refused_before(kinds, untrained, tmp_path, monkeypatch):
    model = untrained(kinds["char"], tmp_path / "run")
    monkeypatch.setattr(memory, "available", lambda: 1_500_000)
    with pytest.raises(UsageError, match="counting n-grams for --baselines.*leave --baselines out"):
        evaluate(model, data=kinds["char"].path.parent, baselines=True)


def shown(capfd, *words):
    capfd.readouterr()
    code = run([*words])
    return code, *capfd.readouterr()


def test_the_command_shows_a_table_and_the_bounds(kinds, untrained, tmp_path, capfd, monkeypatch):
    corpus = kinds["char"]
    untrained(corpus, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    words = ("eval", str(corpus.path), "--model", "run")
    found = json.loads(shown(capfd, *words, "--json")[1])
    for key, of in (("nats_per_char", 1), ("bits_per_char", log(2)), ("perplexity", None)):
        low, high = found[f"{key}_low"], found[f"{key}_high"]
        assert low < found[key] < high
        nats = (log(low), log(high)) if of is None else (low * of, high * of)
        assert nats == pytest.approx((found["nats_per_char_low"], found["nats_per_char_high"]))
        code, out, err = shown(capfd, *words, "--" + {"nats_per_char": "nats", "bits_per_char": "bits"}.get(key, key))
        assert code == 0 and float(out) == pytest.approx(found[key], abs=1e-6)
        assert f"({low:.4f} to {high:.4f})" in err and "32 blocks" in err
    assert found["interval_blocks"] == 32 and "baselines" not in found
    code, out, err = shown(capfd, *words, "--baselines")
    assert code == 0 and "Kneser-Ney" in out and "baseline xz:" in err
    assert f"({found['bits_per_char_low']:.4f} to {found['bits_per_char_high']:.4f})" in out
    for name in ("uniform", "unigram", "2-gram", "model", *COMPRESSORS):
        assert f"\n {name} " in out
    for more in ("--bits", "--nats", "--perplexity"):
        code, out, err = shown(capfd, *words, "--baselines", more)
        assert (code, out) == (2, "") and f"error: {more} prints one number and --baselines many" in err
    (tmp_path / "c.toml").write_text("[eval]\nbaselines = true\n")
    assert "baselines" in json.loads(shown(capfd, *words, "--json", "--config", "c.toml")[1])
    assert shown(capfd, *words, "--bits", "--config", "c.toml", "--no-baselines")[0] == 0


def test_a_short_text_says_that_it_has_no_interval(kinds, untrained, tmp_path, capfd):
    model = untrained(kinds["char"], tmp_path / "run")
    found = charlm.score_text(model, "the sea").to_json()
    assert found["interval_blocks"] == 0 and found["bits_per_char_low"] is found["perplexity_high"] is None
    (tmp_path / "short.txt").write_text("the sea")
    out = shown(capfd, "eval", str(tmp_path / "short.txt"), "--model", str(tmp_path / "run"))[1]
    assert "none: the text is too short" in out and "(" not in out.split("interval")[0]


@pytest.mark.parametrize("exact", [False, True])
def test_the_interval_is_that_of_the_losses(kinds, untrained, tmp_path, exact):
    corpus = kinds["line"]
    model = untrained(corpus, tmp_path / "run")
    found = evaluate(model, data=corpus.path.parent, exact=exact)
    bias, ids = model.weights["readout.bias"].astype(np.float64), corpus.split("test")
    losses = np.log(np.exp(bias).sum()) - bias[ids[1:]]
    starts = block_starts(len(losses))
    wanted = interval(np.add.reduceat(losses, starts), np.diff(starts, append=len(losses)))
    assert (found.interval.low, found.interval.high) == pytest.approx((wanted.low, wanted.high), rel=1e-5)
    assert found.to_json()["perplexity_low"] == pytest.approx(exp(wanted.low), rel=1e-4)
