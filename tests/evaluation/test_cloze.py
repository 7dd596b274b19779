"""Gaps: what fills them is what a model finds likeliest given the rest, by Bayes' rule or by reading both sides."""

import json
from math import inf, log, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import TINY
from texts import quoting

import charlm
from charlm import memory
from charlm.cli.main import run
from charlm.config import ModelOptions, ScoreOptions
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import UsageError
from charlm.evaluation.bidirectional import conditionals
from charlm.evaluation.cloze import Filled, Filler, fill
from charlm.inspect.gradients import gradients
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary
from charlm.training.train import train

BOTH = {"direction": "bidirectional"}
DIRECTIONS = ["forward", "backward", "bidirectional"]
NEWLINE = 2
"""Its id in the table of `make_text_model`."""


def one(model: Model, line: str | bytes, **more: Any) -> Filled:
    return Filler(model, ScoreOptions.of({"cloze": True, **more})).fill(
        line.encode() if isinstance(line, str) else line
    )


def chances(model: Model, ids: list[int], place: int, slow_bits) -> np.ndarray:
    """(V,) what can stand at a place of a text (N + 1,), its boundary first, by definition."""
    if model.options.bidirectional:
        network = (
            Network(model.options, model.vocabulary.size).load_weights(model.weights).to_device(torch.device("cpu"))
        )
        with torch.inference_mode():
            found = np.exp(conditionals(network, np.array(ids), np.array([place])).numpy()[0].astype(np.float64))
    else:
        found = np.zeros(model.vocabulary.size)
        for symbol in range(model.vocabulary.size):
            text = [*ids[:place], symbol, *ids[place + 1 :]]
            if model.options.direction == "backward":
                text = [BOUNDARY, *text[:0:-1]] if text[-1] != BOUNDARY else text[::-1]
            found[symbol] = 2 ** -slow_bits(model, text).sum()
    found[[BOUNDARY, UNKNOWN, NEWLINE]] = 0
    return found / found.sum()


@pytest.mark.parametrize(("end", "symbols"), [("newline", [NEWLINE]), ("boundary", [BOUNDARY]), ("none", [])])
@pytest.mark.parametrize("cell", ["lstm", "min-gru", "window-mlp"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_gap_by_definition(make_text_model, slow_bits, direction, cell, end, symbols):
    model = make_text_model(cell, layers=2, direction=direction)
    for line in ("the s_a", "_he sea", "the se_", "_", "Ä_😀"):
        found = one(model, line, end=end)
        place = line.index("_")
        behind = [] if direction == "bidirectional" and end == "boundary" else symbols  # a boundary is there anyway
        ids = [BOUNDARY, *model.vocabulary.encode_text(line).tolist(), *behind]
        wanted = chances(model, ids, place + 1, slow_bits)
        (gap,) = found.gaps
        best, *others = np.argsort(-wanted)[:5]
        assert gap.place == place and gap.probability == pytest.approx(wanted[best], rel=1e-3)
        assert found.text == line.replace("_", model.vocabulary.decode([best]))
        assert gap.text == model.vocabulary.decode([best])
        assert [text for text, _ in gap.others] == [model.vocabulary.decode([other]) for other in others]
        assert [share for _, share in gap.others] == pytest.approx(wanted[others].tolist(), rel=1e-3)
        assert found.bits == pytest.approx(-log2(wanted[best]), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("seed", range(5))
def test_no_other_symbol_in_any_one_gap_would_make_the_line_likelier(make_text_model, slow_bits, direction, seed):
    model = make_text_model("gru", seed=seed, scale=1.5, letters="abcde\n", direction=direction)
    line = "ab_de__a_cd_"
    found = one(model, line, end="none")
    assert len(found.gaps) == 5 and all(x == y for x, y in zip(line, found.text, strict=True) if x != "_")
    ids = [BOUNDARY, *model.vocabulary.encode_text(found.text).tolist()]
    for gap in found.gaps:
        wanted = chances(model, ids, gap.place + 1, slow_bits)
        assert ids[gap.place + 1] == wanted.argmax()
        assert gap.probability == pytest.approx(wanted.max(), rel=1e-3)


def slow_fill(model: Model, ids: list[int], places: list[int], slow_bits) -> list[int]:
    """One gap after the other, the open ones left out; then, as long as it helps, the one that gains most."""
    left = set(places)
    for place in places:
        left.remove(place)
        known = [symbol for at, symbol in enumerate(ids) if at not in left]
        ids[place] = int(chances(model, known, place - sum(gap in left for gap in range(place)), slow_bits).argmax())
    for _ in range(10 * len(places)):
        rows = [chances(model, ids, place, slow_bits) for place in places]
        gains = [row.max() - row[ids[place]] for row, place in zip(rows, places, strict=True)]
        most = int(np.argmax(gains))
        if gains[most] <= 0:
            break
        ids[places[most]] = int(rows[most].argmax())
    return ids


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seed", range(6))
def test_several_gaps_by_definition(make_text_model, slow_bits, direction, seed):
    model = make_text_model("gru", seed=seed, scale=2.0, letters="abcdefgh\n", direction=direction)
    line = "a__c_b_d"
    places = [at + 1 for at, letter in enumerate(line) if letter == "_"]
    wanted = slow_fill(model, [BOUNDARY, *model.vocabulary.encode_text(line).tolist()], places, slow_bits)
    assert one(model, line, end="none").text == model.vocabulary.decode(wanted)


@pytest.mark.parametrize("seed", range(5))
def test_numbers_of_several_gaps_are_given_the_filled_line(make_text_model, slow_bits, seed):
    model = make_text_model("gru", seed=seed, scale=1.5, letters="abcde\n", **BOTH)
    found = one(model, "a_c__ab_", end="none")
    ids = [BOUNDARY, *model.vocabulary.encode_text(found.text).tolist()]
    for gap in found.gaps:
        wanted = chances(model, ids, gap.place + 1, slow_bits)
        assert gap.probability == pytest.approx(wanted.max(), rel=1e-3)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_trained_model_mends_the_words_it_knows(tmp_path: Path, direction: str) -> None:
    (tmp_path / "text").write_text(text_of_lines(8000))
    corpus = prepare(tmp_path / "text", out=str(tmp_path / "data"))
    sizes = {"cell": "gru", "hidden": 32, "batch_size": 8, "seq_len": 32, "steps": 400, "lr": 0.02, "dropout": 0.0}
    model = checkpoint.load(train(corpus, root=tmp_path, direction=direction, **sizes).model)
    found = [line.text for line in fill(model, ["wint_r wa_er", "o_d s_ips go _ome", "g__y", "_inds turn col_"])]
    assert found == ["winter water", "old ships go home", "grey", "winds turn cold"]


def text_of_lines(characters: int) -> str:
    random, words = np.random.default_rng(0), ["winter water", "old ships go home", "grey", "winds turn cold"]
    lines: list[str] = []
    while sum(map(len, lines)) < characters:
        lines.append(str(random.choice(words)) + "\n")
    return "".join(lines)


def words_of(entries: list[str], shares: dict[str, float]) -> Model:
    """A model of words that gives each the same probability wherever it stands."""
    symbols = Vocabulary("word", np.array(sorted(entries), object))
    options = ModelOptions(cell="gru", layers=1, hidden=2, input="one-hot", embedding=2, dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in parameters.shapes(options, symbols.size).items()}
    order = ["boundary", "unknown", *symbols.codes.tolist()]
    weights["readout.bias"][:] = [log(shares.get(word, 1e-4)) for word in order]
    return Model(options, symbols, weights, {"options": {"unit": "word"}})


def test_a_word_is_a_gap_with_the_space_before_it():
    model = words_of(["the", " cat", " sat", ".", "\n"], {" cat": 0.4, "the": 0.2, "unknown": 0.4, "\n": 0.4})
    found = one(model, "the _ zebra’s _.")
    assert found.text == "the cat zebra’s cat." and [gap.place for gap in found.gaps] == [3, 15]
    assert found.gaps[0].text == " cat" and found.gaps[0].others[0][0] == "the"
    assert found.gaps[0].probability == pytest.approx(0.4 / (0.4 + 0.2 + 2e-4), rel=1e-4)
    assert one(model, "the cat_.").gaps == [], "that is one word"


def test_bytes_come_back_as_they_came(make_text_model):
    model = make_text_model(letters="\n abcé", unit="byte", corpus={"unit": "byte"})
    found = one(model, b"\xff_a\xfe")
    assert len(found.gaps) == 1 and found.filled[:1] == b"\xff" and found.filled[2:] == b"a\xfe"
    assert found.text == found.filled.decode("utf-8", "replace")
    both = make_text_model(letters="\n abcé", unit="byte", corpus={"unit": "byte"}, **BOTH)
    assert one(both, b"\xff_a\xfe").filled[2:] == b"a\xfe"


def test_a_line_is_read_in_the_encoding_that_is_named(make_text_model):
    model = make_text_model(letters="\n aé")
    found = one(model, "é_".encode("latin-1"), encoding="latin-1")
    assert found.text[0] == "é" and len(found.gaps) == 1
    assert one(model, "é_".encode("latin-1")).text[0] == "\ufffd"
    assert one(make_text_model(letters="\n aé", corpus={"encoding": "latin-1"}), b"\xe9_").text[0] == "é"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_has_no_gap_and_what_has_nothing_else(make_text_model, direction):
    model = make_text_model(direction=direction, letters="\nabcd")
    for line in ("", "abc", "Ω"):
        found = one(model, line)
        assert (found.text, found.gaps, found.bits) == (line, [], 0)
    found = one(model, "______")
    assert len(found.gaps) == 6 and set(found.text) <= set("abcd"), "no newline, nothing unknown"
    filler = Filler(model, ScoreOptions.of({}))
    assert [filler.fill(line).text for line in ("\ufeffab".encode(), "\ufeffab".encode())] == ["ab", "\ufeffab"]


def test_the_gap_can_be_another_character(make_text_model):
    model = make_text_model()
    assert one(model, "a_?b", gap="?").text.startswith("a_") and len(one(model, "a_?b", gap="?").gaps) == 1
    for gap in ("", "??"):
        with pytest.raises(UsageError, match="--gap stands for one character and must be one itself"):
            one(model, "a", gap=gap)
    with pytest.raises(UsageError, match="knows line ends alone"):
        one(make_text_model(letters="\n"), "a")
    with pytest.raises(UsageError, match="stands for one byte"):
        one(make_text_model(unit="byte", letters="ab"), "a", gap="é")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_state_without_bound_is_told(make_text_model, direction):
    model = make_text_model("rnn", activation="linear", scale=3.0, direction=direction)
    line = "a" * 300 + "_" + "a" * 300
    found = one(model, line)
    assert (found.text, found.gaps, found.bits) == (line, [], inf) and found.to_json()["bits"] is None


@pytest.mark.cases(1)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_line_that_memory_is_too_short_for_is_refused_and_one_without_gaps_is_not(
    make_text_model, monkeypatch, direction
):
    model = make_text_model(direction=direction)
    monkeypatch.setattr(memory, "available", lambda: 100_000)
    assert len(one(model, "a_" * 50).gaps) == 50
    with pytest.raises(UsageError, match=r"filling gaps in a line of 5,000 characters needs about .* cut it"):
        one(model, "a" * 4999 + "_")
    assert one(model, "a" * 5000).gaps == []


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_is_asked_of_a_model_and_where(make_text_model, direction, monkeypatch):
    model, asked = make_text_model(direction=direction), []
    filler = Filler(model, ScoreOptions.of({}))
    ask = filler._conditionals
    monkeypatch.setattr(filler, "_conditionals", lambda ids, places: asked.append(len(places)) or ask(ids, places))
    filler.fill(b"the s_a")
    assert asked == [1], "a single gap is asked for once"
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--device cuda"):
            Filler(model, ScoreOptions.of({"device": "cuda"}))
    few, many = (one(model, "_he s_a", batch_size=size) for size in (1, 256))
    assert few.text == many.text and few.bits == pytest.approx(many.bits, rel=1e-4)


def test_what_cannot_be_decoded_is_said_once(make_text_model):
    said: list[str] = []
    filler = Filler(make_text_model(), ScoreOptions.of({}), said.append)
    for line in (b"a", "\ufffd".encode(), b"\xff_", b"\xfe"):
        filler.fill(line)
    assert said == ["a line is not utf-8: what cannot be decoded, there and in lines to come, is U+FFFD"]


@pytest.fixture
def place(small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for direction in ("forward", "bidirectional"):
        train(small_corpus, run=direction, direction=direction, steps=2, layers=2, **TINY)
    return tmp_path


def test_the_command_fills_lines_in_order(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "lines").write_bytes(b"the s_a\n\nno gap\tat all\r\n_ _")
    for name in ("bidirectional", "forward"):
        model = ["--model", name]
        wanted = [
            one(checkpoint.load(f"runs/{name}/model.safetensors"), line)
            for line in ("the s_a", "", "no gap\tat all", "_ _")
        ]
        assert run(["score", "lines", "--cloze", *model]) == 0
        out = capsys.readouterr().out
        assert out == "".join(f"{found.bits:.4f}\t{len(found.gaps)}\t{found.text}\n" for found in wanted)
        assert run(["score", "lines", "--cloze", "--json", *model]) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert found == [line.to_json() for line in wanted]
        assert set(found[0]) == {"bits", "gaps", "filled"} and set(found[0]["gaps"][0]) == {
            "place", "text", "probability", "others",
        }  # fmt: skip
    assert run(["score", "lines", "--cloze", "--per-char"]) == 2
    assert "--cloze --json has the probability" in capsys.readouterr().err
    assert run(["score", "lines", "--cloze", "--model", "forward", "--model", "bidirectional"]) == 2
    assert "--cloze fills gaps by one model, got 2" in capsys.readouterr().err
    assert run(["score", "lines", "--gap", "?"]) == 2
    assert "--gap ? is what --cloze fills" in capsys.readouterr().err
    assert run(["score", "nowhere", "--cloze"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_everything_that_knows_one_side_refuses_a_model_of_both(
    place: Path, small_corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "t").write_text(quoting(3000))
    model = ["--model", "bidirectional"]
    commands = [
        ["sample"], ["sample", "--num", "3"], ["score", "t"], ["compress", "t"],
        ["eval", "t", "--dynamic"], ["eval", str(small_corpus.path), "--baselines"],
        ["inspect", "surprise", "t"], ["inspect", "cells", "t", "--unit", "0:1"], ["inspect", "find", "t"],
        ["inspect", "ablate", "t", "--unit", "0:1"], ["inspect", "gates", "t"], ["inspect", "gradients", "t"],
        ["compare", "bidirectional", "forward", "--text", "t"],
    ]  # fmt: skip
    for words in commands:
        named = [] if words[0] == "compare" else model
        assert run([*words, *named]) == 2, words
        captured = capsys.readouterr()
        last = captured.err.splitlines()[-1]
        assert "is bidirectional: it predicts a character from those on both sides" in last, (words, captured.err)
        assert captured.out == "", words
    assert not (place / "t.charlm").exists()
    for words in (["eval", "t"], ["eval", "t", "--exact"], ["info", "runs/bidirectional"]):
        assert run([*words, *(model if words[0] == "eval" else [])]) == 0
        assert "both sides" in capsys.readouterr().out
    loaded = checkpoint.load("runs/bidirectional/model.safetensors")
    for refused in (
        lambda: charlm.samples(loaded, length=3), lambda: charlm.stream(loaded, length=3),
        lambda: charlm.compress(loaded, b"a"), lambda: charlm.decompress(loaded, b"a"),
        lambda: list(charlm.score_lines(loaded, ["a"])), lambda: charlm.score_text(loaded, "a", dynamic=True),
        lambda: gradients(loaded, np.array([0, 2, 3, 4, 5]), window=2),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="is bidirectional"):
            refused()


def test_models_of_both_sides_are_compared_with_one_another(place: Path, small_corpus: Corpus) -> None:
    train(small_corpus, run="more", steps=30, **BOTH, **TINY)
    models = [checkpoint.load(f"runs/{name}/model.safetensors") for name in ("bidirectional", "more")]
    found = charlm.compare(models, small_corpus.path)
    assert found.models[0].model == "runs/more" and "pseudo-likelihood" in found.protocol
    wanted = charlm.evaluate(models[1], small_corpus.path).score.bits_per_char
    assert found.models[0].bits_per_char == pytest.approx(wanted, rel=1e-9)
    assert FIRST_SYMBOL == NEWLINE
