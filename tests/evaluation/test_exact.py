"""Scores against loops written for this test from docs/checkpoint.md, through the front doors."""

import json
import re
import struct
from math import log, log2
from pathlib import Path
from typing import Any

import by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking import Soak

import charlm
from charlm import cells
from charlm.cli.main import run
from charlm.config import ModelOptions
from charlm.data.sources import Document, Source
from charlm.evaluation import scoring
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary

LETTERS = "\n abcdefghijklmnopqrstuvwxyz"
KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
LINES = {"options": {"documents": "line"}, "documents": 9}
"""What a model says that learned from lines."""


def make_model(*kind: str, scale: float = 0.4, letters: str = LETTERS, corpus: Any = None, **options: Any) -> Model:
    """A model with random weights; `kind` is cell and activation."""
    names = ("cell", "activation")
    sizes: dict[str, Any] = {"layers": 1, "hidden": 9, "input": "one-hot", "embedding": 5, "dropout": 0.0}
    chosen = ModelOptions(**{**sizes, **dict(zip(names, kind, strict=False)), **options})
    symbols = Vocabulary("char", np.array(sorted(map(ord, letters)), np.uint32))
    draws = np.random.default_rng(3)
    shapes = parameters.shapes(chosen, symbols.size)
    weights = {name: (scale * draws.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return Model(chosen, symbols, weights, corpus or {})


def telling(corpus: Any = None) -> tuple[Model, np.ndarray]:
    """A model whose loss depends on nothing but the symbol to come, and that loss (V,), another for each symbol."""
    model = make_model("rnn", scale=0.0, corpus=corpus)
    bias = np.random.default_rng(4).normal(0, 3, model.vocabulary.size).astype(np.float32)
    model.weights["readout.bias"][:] = bias
    return model, np.log(np.exp(bias.astype(np.float64)).sum()) - bias


def text_of(characters: int, seed: int = 0, letters: str = LETTERS) -> str:
    return "".join(np.random.default_rng(seed).choice(list(letters), characters))


def nats_by_hand(path: Path, ids: list[int]) -> float:
    """A model file read with nothing but NumPy, and its loss in float64."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(size)), file.read()
    config = json.loads(header.pop("__metadata__")["config"])
    w = {
        name: np.frombuffer(data[slice(*at["data_offsets"])], "<f4").reshape(at["shape"]) for name, at in header.items()
    }
    rows = by_hand.logits(config, w, ids[:-1])
    rows -= rows.max(1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(1, keepdims=True))
    return float(-rows[np.arange(len(rows)), ids[1:]].sum())


def ids_of(text: str, letters: str = LETTERS) -> list[int]:
    """The symbols of one document: 0 around it, 1 for what the table does not have."""
    table = {letter: 2 + rank for rank, letter in enumerate(sorted(letters))}
    return [0, *(table.get(letter, 1) for letter in text), 0]


def eval_json(capfd: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capfd.readouterr()
    code = run(["eval", "--json", "--threads", "1", *words])
    out, err = capfd.readouterr()
    assert code == 0, err
    return json.loads(out)


@pytest.mark.cases(2)
@pytest.mark.parametrize("more", [{"layers": 1}, {"layers": 3, "input": "embedding"}], ids=["1", "3 embedding"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_exact_is_a_loop_over_characters(
    kind: tuple[str, str], more: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], soak: Soak
) -> None:
    """Unknown characters in the text, from the command line."""
    path, text = tmp_path / "model.safetensors", tmp_path / "text.txt"
    checkpoint.save(path, make_model(*kind, **more, scale=0.25))
    written = text_of(soak.count(700, 20_000), letters=LETTERS + "ÄΩ😀")
    text.write_text(written, encoding="utf-8", newline="")
    found = eval_json(capfd, str(text), "--model", str(path), "--exact")
    wanted = nats_by_hand(path, ids_of(written))
    assert found["characters"] == len(written) + 1
    assert found["unknown"] == sum(letter not in LETTERS for letter in written) > 30
    assert found["documents"] == 1
    assert found["nats_per_char"] == pytest.approx(wanted / found["characters"], rel=1e-6)
    off = abs(found["nats_per_char"] - wanted / found["characters"])
    soak.saw(
        f"eval --exact of {'-'.join(kind)}, {'x'.join(map(str, more.values()))}: against a float64 loop over "
        f"{len(written):,} characters",
        f"{off:.1e} nats per character apart",
    )


def test_the_loop_would_notice_one_weight(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The comparison above is sharp: a recurrent weight moved by 2 % is seen."""
    model, written = make_model("gru"), text_of(700)
    text = tmp_path / "text.txt"
    text.write_text(written, newline="")
    path, moved = tmp_path / "model.safetensors", tmp_path / "moved.safetensors"
    checkpoint.save(path, model)
    model.weights["layers.0.weight_hh"][0, 0] *= 1.02
    checkpoint.save(moved, model)
    found = eval_json(capfd, str(text), "--model", str(moved), "--exact")
    wanted = nats_by_hand(path, ids_of(written)) / found["characters"]
    assert found["nats_per_char"] != pytest.approx(wanted, rel=1e-6)


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", [("rnn",), ("lstm",), ("gru",)], ids="-".join)
def test_default_protocol_does_not_depend_on_the_batch_size(kind: tuple[str, ...], soak: Soak) -> None:
    model, worst = make_model(*kind), 0.0
    lengths = [
        1,
        2,
        1023,
        1024,
        1025,
        soak.count(2100, 5000),
        soak.count(4200, 20_000),
        *range(1100, soak.count(1101, 9000), 97),
    ]
    for characters in lengths:
        text = text_of(characters, seed=characters)
        found = [charlm.score_text(model, text, batch_size=size).score for size in (1, 7, 64)]
        assert {score.characters for score in found} == {characters + 1}
        bits = [score.bits_per_char for score in found]
        worst = max(worst, max(bits) - min(bits))
    assert worst <= 1e-6
    soak.saw(f"default protocol of {kind[0]} with batches of 1, 7, 64, {len(lengths)} lengths", f"{worst:.1e} bits")


@given(
    lengths=st.lists(st.integers(0, 1500), min_size=1, max_size=4),
    batch=st.sampled_from([1, 2, 7, 64]),
    window=st.sampled_from([1 << 20, 128, 100, 37]),
    lines=st.booleans(),
    exact=st.booleans(),
)
def test_every_character_of_every_document_counts_once(
    lengths: list[int], batch: int, window: int, lines: bool, exact: bool
) -> None:
    """Told by losses that depend on the symbol alone; lengths, documents, batch and window change nothing."""
    model, losses = telling(LINES if lines else None)
    texts = [text_of(length, seed=rank) for rank, length in enumerate(lengths)]
    documents = [line for text in texts for line in text.split("\n")] if lines else texts
    wanted = [symbol for document in documents if document for symbol in ids_of(document)[1:]]
    if not wanted:
        return
    made = [Document("d", lambda text=text: iter([text.encode()] if text else [])) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "CHUNK_SYMBOLS", window)
        found = charlm.evaluate(model, Source("s", ["s"], lambda: made), batch_size=batch, exact=exact, threads=1)
    assert found.score.characters == len(wanted)
    assert found.documents == sum(1 for document in documents if document)
    assert found.score.nats == pytest.approx(losses[wanted].sum(), rel=1e-6)
    assert not exact or found.default_off == pytest.approx(0, abs=1e-6)


def test_every_length_is_scored_once(soak: Soak) -> None:
    model, losses = telling()
    tried = 0
    for characters in range(1, 3001, soak.count(149, 1)):
        text = text_of(characters, seed=characters)
        wanted = losses[ids_of(text)[1:]].sum()
        exact = charlm.score_text(model, text, threads=1, exact=True, batch_size=1)
        default = charlm.score_text(model, text, threads=1, batch_size=(7, 64)[characters % 2])
        assert exact.default_off is not None
        alone = (exact.score.bits_per_char + exact.default_off) * log(2) * (characters + 1)
        for nats in (exact.score.nats, default.score.nats, alone):
            assert nats == pytest.approx(wanted, rel=2e-6), characters
            tried += 1
        assert exact.score.characters == default.score.characters == characters + 1
    soak.saw(
        "every character counted once, lengths 1 to 3,000, exact and in batches of 1, and 7 or 64",
        f"{tried:,} scores, each that of its characters",
    )


@pytest.mark.parametrize("words", [[], ["--exact"]])
@pytest.mark.parametrize("name", cells.names())
def test_a_model_without_weights_scores_the_logarithm_of_v(
    name: str, words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Unknown symbols cost as much as any other."""
    path, text = tmp_path / "model.safetensors", tmp_path / "text.txt"
    model = make_model(name, scale=0.0)
    checkpoint.save(path, model)
    text.write_text(text_of(2500, letters="abcÄ"), encoding="utf-8")
    found = eval_json(capfd, str(text), "--model", str(path), *words)
    assert found["bits_per_char"] == pytest.approx(log2(model.vocabulary.size), abs=1e-6)
    assert found["perplexity"] == pytest.approx(model.vocabulary.size, rel=1e-6)
    assert found["unknown"] > 500


def reminding() -> Model:
    """A relu rnn that remembers for ever whether A or B came, and expects a or b accordingly; it looks at nothing else.

    Its recurrent weights are the identity, which is orthogonal: nothing fades.
    """
    model = make_model("rnn", "relu", scale=0.0, letters="ABab", hidden=2)
    w, ids = model.weights, dict(zip("ABab", range(2, 6), strict=True))
    w["layers.0.weight_ih"][:, [ids["A"], ids["B"]]] = np.eye(2)
    w["layers.0.weight_hh"][:] = np.eye(2)
    w["readout.weight"][[ids["a"], ids["b"]]] = [[15, -15], [-15, 15]]
    w["readout.bias"][[ids["a"], ids["b"]]] = 15
    return model


def test_a_memory_that_lasts_shows_in_what_exact_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All but the first segment do not know whether a or b comes: one bit for each of their characters.

    The end of the text costs 30 nats where b is certain, and 15 + ln 2 where it is not.
    """
    path, text = tmp_path / "model.safetensors", tmp_path / "text.txt"
    checkpoint.save(path, reminding())
    text.write_text("B" + "b" * 8191)
    words = (str(text), "--model", str(path))
    exact, default = eval_json(capfd, *words, "--exact"), eval_json(capfd, *words)
    off = exact["default_off_bits_per_char"]
    assert off == pytest.approx(default["bits_per_char"] - exact["bits_per_char"], abs=1e-9)
    assert off == pytest.approx((7 * 1024 - (15 - log(2)) / log(2)) / 8193, abs=1e-4)
    assert "default_off_bits_per_char" not in default
    for shown in (["--bits"], []):
        capfd.readouterr()
        assert run(["eval", "--exact", *shown, *words]) == 0
        out, err = capfd.readouterr()
        assert f"the default protocol is {off:.6f} bits per character above that" in (err if shown else out)
        assert not shown or re.fullmatch(r"\d+\.\d{6}\n", out)


def copying(period: int, width: int) -> tuple[Model, str]:
    """A copy task and an rnn that solves it: the letters that began a record end it, each after a digit.

    For each of the `width` letters one unit keeps for ever whether it was large or small, as its recurrent weight is
    above 1 and tanh bounds it; another says that its digit came.
    """
    small, large, digits = "abcdefgh"[:width], "ABCDEFGH"[:width], "01234567"[:width]
    letters = "".join(sorted(f".{small}{large}{digits}"))
    model = make_model("rnn", scale=0.0, letters=letters, hidden=2 * width)
    w, bias = model.weights, model.weights["readout.bias"]
    bias[:] = log(1 / period)
    bias[letters.index(".") + 2] = log(1 - 3 * width / period)
    for rank, pair in enumerate(zip(small, large, digits, strict=True)):
        off, on, digit = (letters.index(letter) + 2 for letter in pair)
        w["layers.0.weight_ih"][rank, [off, on]] = -20, 20
        w["layers.0.weight_ih"][width + rank, digit] = 20
        w["layers.0.weight_hh"][rank, rank] = 3
        w["readout.weight"][[off, on], width + rank] = 20
        w["readout.weight"][[off, on], rank] = -5, 5
        bias[[off, on]] -= 5
    draws, text = np.random.default_rng(0), ""
    for _ in range(60_000 // period):
        chosen = [draws.choice(list(pair)) for pair in zip(small, large, strict=True)]
        asked = "".join(digit + letter for digit, letter in zip(digits, chosen, strict=True))
        text += "".join(chosen) + "." * (period - 3 * width) + asked
    return model, text


@pytest.mark.parametrize(
    ("period", "width", "low", "high"),
    [(100, 1, 0, 1e-6), (250, 8, 0, 1e-6), (300, 1, 5e-5, 0.001), (500, 8, 0.001, 0.01), (1000, 8, 0.001, 0.01)],
)
def test_a_copy_task_is_off_where_it_reaches_beyond_the_warm_up(
    period: int, width: int, low: float, high: float, soak: Soak
) -> None:
    found = charlm.score_text(*copying(period, width), exact=True)
    soak.saw(
        f"default protocol on a copy task, {width} letters over {period} characters, solved by hand",
        f"{found.default_off:+.6f} bits per character off, exact {found.score.bits_per_char:.4f}",
    )
    assert found.default_off is not None and low - 1e-9 <= found.default_off <= high


def test_progress_of_an_exact_score_goes_on_through_the_comparison() -> None:
    model, seen = make_model("rnn"), []
    text = text_of(3000)
    ids = Source("s", ["s"], lambda: [Document("d", lambda: iter([text.encode()]))])
    charlm.evaluate(model, ids, exact=True, progress=lambda done, total, nats: seen.append((done, total)))
    assert {total for _, total in seen} == {6002} and seen[-1][0] == 6002
    assert seen == sorted(seen)


def test_a_perplexity_beyond_all_numbers_is_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, text = tmp_path / "model.safetensors", tmp_path / "text.txt"
    model = make_model("rnn", scale=0.0)
    model.weights["readout.bias"][0] = 5000
    checkpoint.save(path, model)
    text.write_text("abc" * 99)
    words = (str(text), "--model", str(path))
    assert eval_json(capfd, *words)["perplexity"] is None
    for more, shown in ((["--perplexity"], "inf\n"), ([], "inf per character")):
        assert run(["eval", *words, *more]) == 0
        assert shown in capfd.readouterr().out
