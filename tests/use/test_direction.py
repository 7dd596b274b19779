"""A backward model is a forward model of the reversed text: in training, in every number, and in what it writes."""

from dataclasses import replace
from functools import partial
from itertools import product
from math import exp, log

import numpy as np
import pytest
from running import TINY, assert_same_run, interrupted
from texts import text_of

from charlm import cells
from charlm.errors import CheckpointError, UsageError
from charlm.inspect.passage import beginning
from charlm.learn.train import resume, train
from charlm.model import checkpoint
from charlm.model.checkpoint import Model
from charlm.model.packed import identity
from charlm.text.line_ids import PIECE
from charlm.text.prepare import prepare
from charlm.use.compare import compare
from charlm.use.evaluate import evaluate, score_text
from charlm.use.sample import samples, stream
from charlm.use.score import score_lines
from charlm.use.texts import Text, find_text, in_order
from charlm.use.uncertainty import cut, interval

LINES = {"documents": "line"}


def turned(model: Model) -> Model:
    """The same weights, read from the right."""
    return replace(model, options=model.options.replace(direction="backward"))


@pytest.mark.parametrize("cell", cells.names())
def test_bits_are_those_of_the_reversed_text_to_the_last_digit(make_model, tmp_path, cell):
    model, text = make_model(cell, layers=2), text_of(3000)
    (tmp_path / "text").write_text(text)
    (tmp_path / "reversed").write_text(text[::-1])
    for more in ({}, {"exact": True}):
        backward = evaluate(turned(model), tmp_path / "text", **more)
        forward = evaluate(model, tmp_path / "reversed", **more)
        assert backward.score == forward.score and backward.default_off == forward.default_off
    assert backward.score.nats != evaluate(model, tmp_path / "text", exact=True).score.nats


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_lines_are_read_from_the_last_one(make_model, tmp_path, unit):
    letters = "\n abcdefghijklmnopqrstuvwxyz'" if unit == "char" else "\n aebdeghilnrtuwx\xc3\xa9"
    model = make_model(letters=letters, unit=unit, corpus={**LINES, "unit": unit})
    lines = [line.encode() for line in text_of(4000).replace("sea", "sé").splitlines()]
    (tmp_path / "text").write_bytes(b"".join(line + b"\n" for line in lines))
    if unit == "char":
        back = [line.decode()[::-1].encode() for line in reversed(lines)]
    else:
        back = [line[::-1] for line in reversed(lines)]
    (tmp_path / "reversed").write_bytes(b"".join(line + b"\n" for line in back))
    assert evaluate(turned(model), tmp_path / "text").score == evaluate(model, tmp_path / "reversed").score


@pytest.mark.parametrize("kind", ["char", "byte", "line", "rare"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_is_read_from_its_end_wherever_it_is_cut(make_model, slow_bits, kinds, kind, split):
    corpus = kinds[kind]
    base = make_model(hidden=4)
    shapes = {name: (corpus.symbols.size if size == base.symbols.size else size for size in weight.shape)
              for name, weight in base.weights.items()}  # fmt: skip
    random = np.random.default_rng(5)
    weights = {name: random.normal(0, 0.3, tuple(shape)).astype(np.float32) for name, shape in shapes.items()}
    model = turned(Model(base.options, corpus.symbols, weights, corpus.identity()))
    found = find_text(model, split=split, data=corpus.path.parent)
    left = np.asarray(corpus.split(split))
    assert found.ids[0] == 0 and sorted(found.ids[1:]) == sorted(left[1:])
    assert (found.written == left).all()
    few = beginning(model, found, 300)
    assert few.symbols == 300 and (few.written == left[:301]).all()
    measured = evaluate(model, split=split, data=corpus.path.parent, exact=True)
    assert measured.score.nats / log(2) == pytest.approx(slow_bits(model, found.ids.tolist()).sum(), rel=1e-5)
    assert (measured.documents, measured.unknown) == (np.count_nonzero(left[1:] == 0), np.count_nonzero(left[1:] == 1))


def test_all_documents_together_have_the_probability_one(make_model, slow_bits):
    """Those of up to 3 symbols, and what is longer: texts that are cut after 4 symbols and have had no end by then."""
    model = turned(make_model("lstm", letters="ab", scale=0.8))
    ended = [[0, *document, 0] for size in range(4) for document in product((1, 2, 3), repeat=size)]
    cut_off = [[0, *document] for document in product((1, 2, 3), repeat=4)]
    total = 0.0
    for ids in (*ended, *cut_off):
        text = in_order(model, Text("", np.array(ids), 0))
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
    starts = cut(len(paired))
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
def test_lines_are_scored_from_their_ends_and_told_from_the_left(make_model, slow_bits, end):
    model = make_model("lstm", layers=2)
    texts = ["the sea", "", "x", "ÄΩ unknown 😀", "abc " * (PIECE // 4 + 3)]
    symbol = {"boundary": [0], "newline": [2], "none": []}[end]
    for scored, text in zip(score_lines(turned(model), texts, per_char=True, end=end), texts, strict=True):
        body, found = model.symbols.encode_text(text).tolist(), scored.scores["model"]
        right = [0, *([2] if end == "newline" else []), *body[::-1], *([0] if end == "boundary" else [])]
        assert found.characters == len(body) + len(symbol)
        if len(body) < 100:
            bits = slow_bits(model, right)
            turn = [*bits[: len(body)][::-1], *bits[len(body) :]] if end == "boundary" else bits[::-1]
            np.testing.assert_allclose(found.per_char, turn, rtol=1e-4, atol=1e-5)
        assert len(found.per_char) == found.characters
        assert found.bits == pytest.approx(found.per_char.sum(dtype=np.float64), rel=1e-5)


@pytest.mark.parametrize("corpus", [{}, LINES], ids=["text", "lines"])
@pytest.mark.parametrize("options", [
    {}, {"num": 3}, {"until_end": True, "num": 2}, {"stop": "ab"}, {"stop": "ab", "num": 3}, {"length": 0},
], ids=str)  # fmt: skip
def test_samples_are_those_of_the_forward_twin_turned_round(make_model, corpus, options):
    model = make_model(letters="\nabc", corpus=corpus, scale=0.6)
    values = {"length": 40, "seed": 3, **options}
    mirrored = {**values, "stop": options["stop"][::-1]} if "stop" in options else values
    back = samples(turned(model), prompt="cab\nb", **values)
    wanted = samples(model, prompt="b\nbac", **mirrored)
    assert [(one.text[::-1], one.characters, one.ended) for one in back] == [
        (one.text, one.characters, one.ended) for one in wanted
    ]
    if "num" not in options:
        assert list(stream(turned(model), prompt="cab\nb", **values)) == [back[0].text]


def test_bytes_are_put_together_from_the_right(make_model):
    model = make_model(letters="ab\xc3\xa9\xe2\x82\xac", unit="byte", scale=0.6)
    drawn = samples(turned(model), length=300, seed=1)[0].text
    assert "\ufffd" in drawn  # weights at random write no UTF-8
    assert drawn == "".join(stream(turned(model), length=300, seed=1))
    known = "aé€b"
    assert score_text(turned(model), known).score.nats == pytest.approx(
        sum(score.bits * log(2) for scored in score_lines(turned(model), [known], end="boundary")
            for score in scored.scores.values()), rel=1e-5)  # fmt: skip


def test_training_learns_what_training_on_the_reversed_text_learns(tmp_path):
    text = text_of(4000)
    runs = []
    for name, written, direction in (("text", text, "backward"), ("reversed", text[::-1], "forward")):
        (tmp_path / name).write_text(written)
        corpus = prepare(tmp_path / name, out=str(tmp_path / "data"), valid_fraction=0, test_fraction=0)
        runs.append(train(corpus, root=tmp_path, direction=direction, cell="gru", dropout=0.1, steps=20, **TINY))
    one, other = (checkpoint.load(run.model) for run in runs)
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


def test_a_model_is_told_from_its_twin(make_model, tmp_path):
    model = make_model()
    assert identity(model) != identity(turned(model))
    checkpoint.save(tmp_path / "one", turned(model))
    assert checkpoint.load(tmp_path / "one").options.direction == "backward"
    data = (tmp_path / "one").read_bytes().replace(b'\\"backward\\"', b'\\"inwards \\"')
    (tmp_path / "two").write_bytes(data)
    with pytest.raises(CheckpointError, match="direction inwards , this charlm .* knows only 'forward' and 'backward'"):
        checkpoint.load(tmp_path / "two")


def test_perplexity_is_of_the_same_characters(make_model):
    model = turned(make_model())
    found = score_text(model, "the sea")
    assert found.score.characters == 8 and found.score.perplexity == pytest.approx(exp(found.score.nats_per_char))
