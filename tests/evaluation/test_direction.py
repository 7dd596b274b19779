"""A backward model is a forward model of the reversed text: in training, in every number, and in what it writes."""

import json
from dataclasses import replace
from functools import partial
from itertools import product
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from running import TINY, assert_same_run, interrupted
from texts import text_of

from charlm import cells
from charlm.cli.main import run
from charlm.compression.compress import compress, decompress
from charlm.compression.container import CompressedFile, model_digest
from charlm.data.batches import Batches
from charlm.data.prepare import prepare
from charlm.errors import CheckpointError, PackedError, UsageError
from charlm.evaluation.bootstrap import block_starts, interval
from charlm.evaluation.compare import compare
from charlm.evaluation.evaluate import evaluate, score_text
from charlm.evaluation.lines import LINE_PIECE_BYTES
from charlm.evaluation.score_lines import score_lines
from charlm.evaluation.texts import EvalText, find_text, in_order
from charlm.inspect.passage import beginning
from charlm.inspect.record import record
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.sampling.sample import samples, stream
from charlm.training.data_loader import DataLoader
from charlm.training.resume import resume
from charlm.training.train import train

LINES = {"documents": "line"}


def turned(model: Model) -> Model:
    """The same weights, read from the right."""
    return replace(model, options=model.options.replace(direction="backward"))


@pytest.mark.parametrize("cell", cells.names())
def test_bits_are_those_of_the_reversed_text_to_the_last_digit(make_text_model, tmp_path, cell):
    model, text = make_text_model(cell, layers=2), text_of(1500)
    (tmp_path / "text").write_text(text)
    (tmp_path / "reversed").write_text(text[::-1])
    for more in ({}, {"exact": True}):
        backward = evaluate(turned(model), tmp_path / "text", **more)
        forward = evaluate(model, tmp_path / "reversed", **more)
        assert backward.score == forward.score and backward.default_off == forward.default_off
    assert backward.score.nats != evaluate(model, tmp_path / "text", exact=True).score.nats


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_lines_are_read_from_the_last_one(make_text_model, tmp_path, unit):
    letters = "\n abcdefghijklmnopqrstuvwxyz'" if unit == "char" else "\n aebdeghilnrtuwx\xc3\xa9"
    model = make_text_model(letters=letters, unit=unit, corpus={**LINES, "unit": unit})
    lines = [line.encode() for line in text_of(4000).replace("sea", "sé").splitlines()]
    (tmp_path / "text").write_bytes(b"".join(line + b"\n" for line in lines))
    if unit == "char":
        back = [line.decode()[::-1].encode() for line in reversed(lines)]
    else:
        back = [line[::-1] for line in reversed(lines)]
    (tmp_path / "reversed").write_bytes(b"".join(line + b"\n" for line in back))
    assert evaluate(turned(model), tmp_path / "text").score == evaluate(model, tmp_path / "reversed").score


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", ["char", "byte", "line", "rare"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_is_read_from_its_end_wherever_it_is_cut(make_text_model, slow_bits, kinds, kind, split):
    corpus = kinds[kind]
    base = make_text_model(hidden=4)
    shapes = {name: (corpus.vocabulary.size if size == base.vocabulary.size else size for size in weight.shape)
              for name, weight in base.weights.items()}  # fmt: skip
    random = np.random.default_rng(5)
    weights = {name: random.normal(0, 0.3, tuple(shape)).astype(np.float32) for name, shape in shapes.items()}
    model = turned(Model(base.options, corpus.vocabulary, weights, corpus.identity()))
    found = find_text(model, split=split, data=corpus.path.parent)
    left = np.asarray(corpus.split(split))
    assert found.ids[0] == 0 and sorted(found.ids[1:]) == sorted(left[1:])
    assert (found.ids_from_left == left).all()
    few = beginning(model, found, 300)
    assert few.symbols == 300 and (few.ids_from_left == left[:301]).all()
    measured = evaluate(model, split=split, data=corpus.path.parent, exact=True)
    assert measured.score.nats / log(2) == pytest.approx(slow_bits(model, found.ids.tolist()).sum(), rel=1e-5)
    assert (measured.documents, measured.unknown) == (np.count_nonzero(left[1:] == 0), np.count_nonzero(left[1:] == 1))


def test_all_documents_together_have_the_probability_one(make_text_model, slow_bits):
    """Those of up to 3 symbols, and what is longer: texts that are cut after 4 symbols and have had no end by then."""
    model = turned(make_text_model("lstm", letters="ab", scale=0.8))
    ended = [[0, *document, 0] for size in range(4) for document in product((1, 2, 3), repeat=size)]
    cut_off = [[0, *document] for document in product((1, 2, 3), repeat=4)]
    total = 0.0
    for ids in (*ended, *cut_off):
        text = in_order(model, EvalText("", np.array(ids), 0))
        total += 2 ** -slow_bits(model, text.ids.tolist()).sum()
    assert total == pytest.approx(1, abs=1e-12)
    by_hand = slow_bits(model, [0, 3, 3, 2, 0]).sum()  # abb
    assert score_text(model, "abb").score.nats / log(2) == pytest.approx(by_hand, rel=1e-6)


def losses(model, ids):
    """Bits of each symbol (N,) by a model that has readout biases and nothing else."""
    bias = model.weights["readout.bias"].astype(np.float64)
    return (np.log(np.exp(bias).sum()) - bias)[ids[1:]] / log(2)


@pytest.mark.parametrize("kind", ["char", "line"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_both_directions_are_compared_on_the_same_characters(kinds, untrained, tmp_path, kind, split):
    """Losses that do not depend on what was read: piece by piece the difference is that of the same characters."""
    corpus = kinds[kind]
    models = [untrained(corpus, tmp_path / f"{n}", noise=n / 5, seed=n) for n in range(2)]
    found = compare([models[0], turned(models[1])], data=corpus.path.parent, split=split)
    ids = corpus.split(split)
    paired = losses(models[1], ids) - losses(models[0], ids)
    starts = block_starts(len(paired))
    wanted = interval(np.add.reduceat(paired, starts), np.diff(starts, append=len(paired)))
    (difference,) = found.differences
    assert difference.bits_per_char == pytest.approx(paired.mean(), abs=1e-6)
    assert difference.interval.low == pytest.approx(wanted.low, abs=1e-6)
    assert difference.interval.high == pytest.approx(wanted.high, abs=1e-6)
    same = compare([models[1], turned(models[1])], data=corpus.path.parent, split=split).differences[0]
    assert abs(same.interval.low) < 1e-6 and abs(same.interval.high) < 1e-6


def test_characters_from_the_left_and_bytes_from_the_right(kinds, untrained, tmp_path):
    (tmp_path / "text.txt").write_text(text_of(9000, seed=4).replace("ships", "ſhips"), encoding="utf-8")
    char, byte = (untrained(kinds[kind], tmp_path / kind, noise=0.2) for kind in ("char", "byte"))
    forward, mixed = (compare([other, char], tmp_path / "text.txt").differences[0] for other in (byte, turned(byte)))
    assert mixed.bits_per_char == pytest.approx(forward.bits_per_char, abs=1e-6)
    assert mixed.interval.low == pytest.approx(forward.interval.low, abs=1e-6)


@pytest.mark.parametrize("end", ["boundary", "newline", "none"])
def test_lines_are_scored_from_their_ends_and_told_from_the_left(make_text_model, slow_bits, end):
    model = make_text_model("lstm", layers=2)
    texts = ["the sea", "", "x", "ÄΩ unknown 😀"]
    symbol = {"boundary": [0], "newline": [2], "none": []}[end]
    for scored, text in zip(score_lines(turned(model), texts, per_char=True, end=end), texts, strict=True):
        body, found = model.vocabulary.encode_text(text).tolist(), scored.scores["model"]
        right = [0, *([2] if end == "newline" else []), *body[::-1], *([0] if end == "boundary" else [])]
        assert found.characters == len(body) + len(symbol)
        bits = slow_bits(model, right)
        turn = [*bits[: len(body)][::-1], *bits[len(body) :]] if end == "boundary" else bits[::-1]
        np.testing.assert_allclose(found.per_char, turn, rtol=1e-4, atol=1e-5)
        assert found.bits == pytest.approx(bits.sum(), rel=1e-5, abs=1e-5)


def test_a_line_too_long_to_be_read_at_once_is_read_from_its_end(make_text_model):
    model, text = make_text_model("rnn", hidden=3), text_of(LINE_PIECE_BYTES + 100).replace("\n", " ")
    (found,), (wanted,) = (
        list(score_lines(made, [line], per_char=True, end="none"))
        for made, line in ((turned(model), text), (model, text[::-1]))
    )
    np.testing.assert_array_equal(found.scores["model"].per_char, wanted.scores["model"].per_char[::-1])
    assert found.scores["model"].bits == pytest.approx(wanted.scores["model"].bits, rel=1e-9)


@pytest.mark.parametrize("corpus", [{}, LINES], ids=["text", "lines"])
@pytest.mark.parametrize("options", [
    {}, {"num": 3}, {"until_end": True, "num": 2}, {"stop": "ab"}, {"stop": "ab", "num": 3}, {"length": 0},
], ids=str)  # fmt: skip
def test_samples_are_those_of_the_forward_twin_turned_round(make_text_model, corpus, options):
    model = make_text_model(letters="\nabc", corpus=corpus, scale=0.6)
    values = {"length": 40, "seed": 3, **options}
    mirrored = {**values, "stop": options["stop"][::-1]} if "stop" in options else values
    back = samples(turned(model), prompt="cab\nb", **values)
    wanted = samples(model, prompt="b\nbac", **mirrored)
    assert [(one.text[::-1], one.characters, one.ended) for one in back] == [
        (one.text, one.characters, one.ended) for one in wanted
    ]
    if "num" not in options:
        assert list(stream(turned(model), prompt="cab\nb", **values)) == [back[0].text]


def test_bytes_are_put_together_from_the_right(make_text_model):
    model = make_text_model(letters="ab\xc3\xa9\xe2\x82\xac", unit="byte", scale=0.6)
    drawn = samples(turned(model), length=300, seed=1)[0].text
    assert "\ufffd" in drawn  # weights at random write no UTF-8
    assert drawn == "".join(stream(turned(model), length=300, seed=1))
    known = "aé€b"
    assert score_text(turned(model), known).score.nats == pytest.approx(
        sum(score.bits * log(2) for scored in score_lines(turned(model), [known], end="boundary")
            for score in scored.scores.values()), rel=1e-5)  # fmt: skip


def test_training_learns_what_training_on_the_reversed_text_learns(tmp_path):
    text = text_of(4000)
    done = []
    for name, written, direction in (("text", text, "backward"), ("reversed", text[::-1], "forward")):
        (tmp_path / name).write_text(written)
        corpus = prepare(tmp_path / name, out=str(tmp_path / "data"), valid_fraction=0, test_fraction=0)
        done.append(train(corpus, root=tmp_path, direction=direction, cell="gru", dropout=0.1, steps=20, **TINY))
    one, other = (checkpoint.load(each.model) for each in done)
    assert (one.options.direction, other.options.direction) == ("backward", "forward")
    assert all(np.array_equal(weight, other.weights[name]) for name, weight in one.weights.items())


def test_a_run_goes_on_in_its_direction_and_gives_it_on(small_corpus, tmp_path):
    values = {**TINY, "direction": "backward", "cell": "rnn", "steps": 12}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    path = interrupted(small_corpus, tmp_path, "parts", 5, **values)
    with pytest.raises(UsageError, match="--direction cannot change"):
        resume(path, corpus=small_corpus, direction="forward")
    assert_same_run(whole.path, resume(path, corpus=small_corpus).path)
    found = evaluate(checkpoint.load(whole.path / "last.safetensors"), split="valid", data=small_corpus.path.parent)
    assert whole.valid_nats == pytest.approx(found.score.nats_per_char, abs=0.05)
    with pytest.raises(UsageError, match=r"--direction forward does not fit --init-from .* which has backward"):
        train(small_corpus, root=tmp_path, init_from=whole.model, direction="forward", steps=1)
    later = train(small_corpus, root=tmp_path, init_from=whole.model, steps=1, batch_size=4, seq_len=16)
    assert checkpoint.load(later.model).options.direction == "backward"


def test_a_source_has_the_same_entropy_from_both_sides(tmp_path):
    """A Markov chain read backwards is one too; a network comes as near to its entropy from the right."""
    corpus = prepare("markov", out=str(tmp_path / "data"), size=100_000, valid_fraction=0.2, test_fraction=0)
    sizes = {"cell": "gru", "hidden": 64, "batch_size": 32, "seq_len": 16, "steps": 800, "lr": 0.01, "dropout": 0.0}
    learn = partial(train, corpus, root=tmp_path, sample_every=0, **sizes)
    gaps = [learn(direction=way).valid_nats / log(2) - corpus.entropy_bits_per_char for way in ("forward", "backward")]
    assert all(-0.03 < gap < 0.1 for gap in gaps) and abs(gaps[0] - gaps[1]) < 0.02


def test_a_model_is_told_from_its_twin(make_text_model, tmp_path):
    model = make_text_model()
    assert model_digest(model) != model_digest(turned(model))
    checkpoint.save(tmp_path / "one", turned(model))
    assert checkpoint.load(tmp_path / "one").options.direction == "backward"
    data = (tmp_path / "one").read_bytes().replace(b'\\"backward\\"', b'\\"inwards \\"')
    (tmp_path / "two").write_bytes(data)
    with pytest.raises(CheckpointError, match="direction inwards, this charlm .* knows only 'forward' and 'backward'"):
        checkpoint.load(tmp_path / "two")


def test_words_are_turned_whole_and_have_their_lengths(make_text_model, lively, tmp_path):
    corpus = prepare(lively, out=str(tmp_path), unit="word", words=20, valid_fraction=0.1, test_fraction=0.2)
    options = make_text_model(hidden=3).options
    random = np.random.default_rng(2)
    shapes = parameters.shapes(options, corpus.vocabulary.size)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    model = Model(options, corpus.vocabulary, weights, corpus.identity())
    forward, backward = (find_text(one, split="valid", data=tmp_path) for one in (model, turned(model)))
    starts = np.arange(0, forward.symbols, 50)
    lengths = forward.lengths(starts, corpus.vocabulary.sizes)
    np.testing.assert_allclose(backward.lengths(starts, corpus.vocabulary.sizes), lengths, rtol=1e-12)
    found = evaluate(turned(model), split="valid", data=tmp_path)
    assert (found.score.characters, found.unknown) == (forward.characters, forward.count(1))
    assert found.protocol.endswith("from right to left")
    drawn = samples(turned(model), prompt=" the sea", length=60, seed=1, num=2)
    wanted = [corpus.vocabulary.encode_text(one.text) for one in drawn]
    assert all((ids > 1).all() for ids in wanted)  # made of words of the table, each from left to right


@pytest.mark.parametrize("corpus", [{"documents": "file"}, LINES], ids=["text", "lines"])
def test_a_compressed_file_comes_back(make_text_model, corpus):
    model = make_text_model(corpus={"encoding": "utf-8", **corpus})
    data = text_of(900).encode() + "Ä 😀, Ω\r\n".encode() + bytes([200, 0, 255]) + b"the end\n"
    packed = compress(turned(model), data)
    assert decompress(turned(model), packed.data) == data
    with pytest.raises(PackedError, match="another model"):
        decompress(model, packed.data)
    plain = text_of(500).replace("\n", " ")
    one, other = (CompressedFile.of(compress(*pair).data) for pair in ((turned(model), plain.encode()),
                                                               (model, plain[::-1].encode())))  # fmt: skip
    assert one.payload == other.payload


def test_a_text_on_the_device_is_the_mapped_one():
    ids = np.random.default_rng(3).integers(0, 9, 400).astype(np.uint8)[::-1]
    lanes = Batches(ids, 4, 7)
    mapped, whole = (DataLoader(lanes, torch.device("cpu"), memory_budget=room) for room in (None, 1 << 20))
    assert whole.holds_whole_text and not mapped.holds_whole_text
    for step in range(lanes.batches_per_epoch + 2):
        for one, other in zip(mapped.batch(step), whole.batch(step), strict=True):
            assert torch.equal(one, other)


def test_the_command_line_says_so(make_text_model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("sea.txt").write_text(text_of(3000))
    checkpoint.save(Path("m.safetensors"), turned(make_text_model("lstm")))
    model = ["--model", "m.safetensors"]

    def said(*words, code=0):
        capfd.readouterr()
        assert run([*words, *model]) == code, words
        return capfd.readouterr()

    shown = said("sample", "--prompt", "the sea", "--length", "20", "--seed", "1")
    assert shown.out.endswith("the sea") and len(shown.out) == 27 and "from right to left" in shown.err
    bare = said("sample", "--prompt", "the sea", "--length", "20", "--seed", "1", "--no-echo").out
    assert shown.out == bare + "the sea"
    several = said("sample", "--prompt", "the sea", "--length", "20", "--seed", "1", "--num", "2").out
    assert several.split("\n" + "-" * 40 + "\n")[0] == shown.out
    found = json.loads(said("sample", "--prompt", "the sea", "--length", "20", "--seed", "1", "--jsonl").out)
    assert (found["prompt"], found["text"]) == ("the sea", bare)
    for command in ("surprise", "gates", "gradients"):
        assert said(
            "inspect", command, "sea.txt", "--chars", "600", *(["--window", "8"] * (command == "gradients"))
        ).out
    for words in (["find"], ["ablate", "--unit", "0:1"]):
        refused = said("inspect", *words, "sea.txt", code=2)
        assert not refused.out and "reads from right to left; give one" in refused.err
    assert run(["info", "m.safetensors"]) == 0
    assert "reads from right to left" in capfd.readouterr().out


def test_surprise_is_told_in_the_order_of_reading(make_text_model, slow_bits):
    model = turned(make_text_model())
    text = beginning(
        model, in_order(model, EvalText("", np.array([0, *model.vocabulary.encode_text("the sea"), 0]), 8)), 5
    )
    assert model.vocabulary.decode(text.ids[1:].tolist()) == "s eht"
    np.testing.assert_allclose(record(model, text.ids).bits, slow_bits(model, text.ids.tolist()), rtol=1e-4)
