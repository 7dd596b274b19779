"""Comparing models: on the same characters, in bits of the same characters, with words that follow the interval."""

import json
from math import log

import numpy as np
import pytest
from texts import text_of

import charlm
from charlm.cli.main import run
from charlm.errors import CorpusError, UsageError
from charlm.evaluation.bootstrap import block_starts, interval
from charlm.evaluation.compare import compare
from charlm.evaluation.evaluate import evaluate
from charlm.show.tables import comparison_lines


def losses(model, ids):
    bias = model.weights["readout.bias"].astype(np.float64)
    return (np.log(np.exp(bias).sum()) - bias)[ids[1:]]


def test_the_interval_of_a_difference_is_made_of_paired_losses(kinds, untrained, tmp_path):
    corpus = kinds["char"]
    models = [untrained(corpus, tmp_path / f"{n}", noise=noise) for n, noise in enumerate((0.3, 0.0, 0.05))]
    found = compare(models, data=corpus.path.parent)
    assert [standing.model for standing in found.models] == [str(tmp_path / name) for name in "120"]
    ids = corpus.split("test")
    starts = block_starts(len(ids) - 1)
    sizes = np.diff(starts, append=len(ids) - 1)
    for difference, worse in zip(found.differences, (models[2], models[0]), strict=True):
        paired = (losses(worse, ids) - losses(models[1], ids)) / log(2)
        wanted = interval(np.add.reduceat(paired, starts), sizes)
        assert difference.bits_per_char == pytest.approx(paired.mean(), abs=1e-6)
        assert difference.interval.low == pytest.approx(wanted.low, abs=1e-6)
        assert difference.interval.high == pytest.approx(wanted.high, abs=1e-6)
        assert difference.better == str(tmp_path / "1")
    alone = evaluate(models[1], data=corpus.path.parent)
    assert found.models[0].bits_per_char == pytest.approx(alone.score.bits_per_char)
    assert found.models[0].interval.low == pytest.approx(alone.interval.low / log(2))
    assert found.differences[1].beyond_chance
    assert "that is beyond chance" in comparison_lines(found.to_json())[-1]


def test_a_model_is_not_better_than_itself(kinds, untrained, tmp_path):
    corpus = kinds["line"]
    model = untrained(corpus, tmp_path / "one")
    found = compare([model, model], data=corpus.path.parent).to_json()
    (difference,) = found["differences"]
    assert difference["bits_per_char"] == difference["bits_per_char_high"] == 0
    assert difference["beyond_chance"] is False
    assert "that could be told from chance" in comparison_lines(found)[-1]


def test_characters_and_bytes_are_paired_character_by_character(kinds, untrained, tmp_path):
    """Known losses of each byte, added up over the bytes of each character."""
    text = text_of(9000, seed=4).replace("ships", "ſhips")
    source = tmp_path / "text.txt"
    source.write_text(text, encoding="utf-8")
    char, byte = (untrained(kinds[kind], tmp_path / kind, noise=0.2) for kind in ("char", "byte"))
    found = compare([byte, char], source).to_json()
    assert found["characters"] == len(text) + 1
    of_char = losses(char, np.concatenate(([0], char.vocabulary.encode_text(text), [0])))
    table = losses(byte, np.concatenate(([0], np.arange(byte.vocabulary.size))))
    of_byte = np.array([sum(table[s] for s in byte.vocabulary.encode_text(c)) for c in text] + [table[0]])
    paired = of_byte - of_char if of_byte.sum() > of_char.sum() else of_char - of_byte
    starts = block_starts(len(paired))
    wanted = interval(np.add.reduceat(paired / log(2), starts), np.diff(starts, append=len(paired)))
    (difference,) = found["differences"]
    assert difference["bits_per_char"] == pytest.approx(paired.mean() / log(2), abs=1e-6)
    assert difference["bits_per_char_low"] == pytest.approx(wanted.low, abs=1e-6)
    bits = {row["model"]: row["bits_per_char"] for row in found["models"]}
    assert bits[str(tmp_path / "byte")] == pytest.approx(of_byte.mean() / log(2), abs=1e-6)


def test_tables_may_differ_and_what_is_unknown_is_said(kinds, untrained, tmp_path, capfd):
    for kind in ("char", "rare"):
        untrained(kinds[kind], tmp_path / kind)
    (tmp_path / "text.txt").write_text("the sea § is wide § " * 60, encoding="utf-8")
    words = ["compare", str(tmp_path / "char"), str(tmp_path / "rare"), "--text", str(tmp_path / "text.txt")]
    capfd.readouterr()
    assert run(words) == 0
    out, err = capfd.readouterr()
    assert f"{tmp_path / 'rare'} scored 120 as unknown" in err and f"{tmp_path / 'char'} scored 0" in err
    assert len(out.splitlines()) == 4 and "bits per character (" in out
    assert run([*words, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert {row["model"]: row["unknown"] for row in found["models"]}[str(tmp_path / "rare")] == 120


def test_what_cannot_be_paired_is_refused(kinds, untrained, tmp_path):
    models = {kind: untrained(corpus, tmp_path / kind) for kind, corpus in kinds.items()}
    data = kinds["char"].path.parent
    for pair in (("char", "line"), ("char", "byte"), ("line", "rare")):
        with pytest.raises(CorpusError, match="do not read the same text.*test.*characters"):
            compare([models[kind] for kind in pair], data=data)
    with pytest.raises(UsageError, match="two models or more, got 1"):
        compare([models["char"]], data=data)
    with pytest.raises(UsageError, match=r"--split valid is of the model's own corpus, \S+short\.txt is another text"):
        compare([models["char"], models["rare"]], _short(tmp_path), split="valid")
    assert compare([models["char"], models["rare"]], data=data, split="valid").text.endswith("char:valid")


def test_other_texts_of_one_length_are_refused_too(untrained, tmp_path):
    made = []
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.txt").write_text(text_of(5000, seed=seed))
        corpus = charlm.prepare(tmp_path / f"{name}.txt", out=str(tmp_path / "data"))
        made.append(untrained(corpus, tmp_path / name))
    with pytest.raises(CorpusError, match="has 251, others"):
        compare(made, data=tmp_path / "data")


def test_a_text_too_short_for_an_interval_says_so(kinds, untrained, tmp_path):
    models = [untrained(kinds["char"], tmp_path / f"{n}", noise=n) for n in (0, 1)]
    found = compare(models, _short(tmp_path)).to_json()
    assert found["differences"][0]["beyond_chance"] is None
    assert "too short to tell" in comparison_lines(found)[-1] and "(" not in comparison_lines(found)[0]


def test_what_is_left_out_of_a_folder_is_said_once(kinds, untrained, tmp_path):
    models = [untrained(kinds["char"], tmp_path / f"{n}", noise=n) for n in (0, 1)]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "sea.txt").write_text("the sea is wide")
    (tmp_path / "texts" / "sea.png").write_bytes(b"\0" * 99)
    told = []
    compare(models, tmp_path / "texts", report=told.append)
    assert sum("skipped 1 binary file" in line for line in told) == 1


def _short(place):
    path = place / "short.txt"
    path.write_text("the sea is wide")
    return path


def test_the_first_byte_may_be_inside_a_character(untrained, tmp_path):
    """Models of bytes alone need no characters."""
    (tmp_path / "raw").write_bytes(b"\x80\xff" + bytes(range(256)) * 40)
    corpus = charlm.prepare(tmp_path / "raw", out=str(tmp_path / "data"), unit="byte")
    models = [untrained(corpus, tmp_path / f"{n}", noise=n) for n in (0, 1)]
    found = compare(models, tmp_path / "raw")
    assert found.characters == 2 + 256 * 40 + 1 and found.differences[0].beyond_chance
