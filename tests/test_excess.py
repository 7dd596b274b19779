"""How far a model is above a perfect one: models whose surprises are known, and one that learned to remember."""

from math import log2
from pathlib import Path

import numpy as np
import pytest

from benchmarks.excess import by_situation, together
from charlm import synthetic
from charlm.config import ModelOptions
from charlm.data.prepare import prepare
from charlm.errors import CorpusError
from charlm.inspect.record import record
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training.train import train


def random_model(letters: str) -> Model:
    """A model of these characters whose weights are normal."""
    options = ModelOptions.of({"cell": "lstm", "input": "one-hot", "hidden": 7, "embedding": 5, "dropout": 0.0})
    symbols = Vocabulary("char", np.array(sorted({*map(ord, letters)}), np.uint32))
    random, shapes = np.random.default_rng(1), parameters.shapes(options, symbols.size)
    weights = {name: (0.4 * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return Model(options, symbols, weights)


def constant(text: bytes, favourite: str, odds: float, unit: str = "char") -> Model:
    """A model that expects every symbol alike, save one that it holds `odds` times as likely, whatever it reads."""
    options = ModelOptions.of({"cell": "rnn", "hidden": 2, "embedding": 2, "dropout": 0.0})
    symbols = Vocabulary(unit, np.array(sorted(set(text)), np.uint32))
    weights = {name: np.zeros(shape, np.float32) for name, shape in parameters.shapes(options, symbols.size).items()}
    weights["readout.bias"][symbols.encode_text(favourite)[0]] = np.log(odds)
    return Model(options, symbols, weights, {})


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_a_model_that_remembers_nothing_pays_for_every_situation_what_can_be_counted(unit: str) -> None:
    source = synthetic.make("copy", delay=3, copied=2, alphabet=4)
    text = b"".join(source.blocks(9 * 200))
    model = constant(text, ".", 3.0, unit)
    ids = np.concatenate(([0], model.vocabulary.encode_text(text.decode())))
    rows = {row.situation: row for row in by_situation(model, source, ids)}
    assert list(rows) == ["string", "delay", "mark", "copy", "line end"]
    total = model.vocabulary.size + 2
    for name, perfect, bits in (
        ("string", 2, log2(total)), ("delay", 0, log2(total / 3)), ("mark", 0, log2(total)), ("copy", 0, log2(total)),
    ):  # fmt: skip
        assert rows[name].perfect_bits == pytest.approx(perfect, abs=1e-8)
        assert rows[name].bits == pytest.approx(bits, abs=1e-5)
        assert rows[name].excess == pytest.approx(bits - perfect, abs=1e-5)
    assert [row.agreement for row in rows.values()] == [0, 1, 0, 0, 0]
    assert [row.memory for row in rows.values()] == [False, False, False, True, False]
    assert [row.characters for row in rows.values()] == [400, 600, 200, 400, 200]


def test_all_situations_together_are_the_models_loss() -> None:
    source = synthetic.make("brackets", kinds=2)
    text = b"".join(source.blocks(3000))
    model = random_model(source.letters.decode())
    ids = np.concatenate(([0], model.vocabulary.encode_text(text.decode())))
    rows = by_situation(model, source, ids)
    whole = together(rows, "all")
    assert whole.characters == 3000 and not whole.memory
    assert whole.bits == pytest.approx(record(model, ids).bits.mean(), abs=1e-6)
    assert whole.perfect_bits == pytest.approx(source.expect(text).nats.mean() / np.log(2), abs=1e-9)
    assert whole.to_json()["excess"] == whole.bits - whole.perfect_bits > 0


def test_a_text_that_the_source_never_writes_is_refused() -> None:
    source = synthetic.make("anbn")
    model = random_model("ab\nzπ")
    for text, found in (
        ("ab\nabb", "never writes b'b' after"),
        ("abz", "never writes b'z' after b'ab' \\(at 2,"),
        ("abπ", "a symbol that anbn never writes \\(at 2,"),
    ):
        with pytest.raises(CorpusError, match=found):
            by_situation(model, source, np.concatenate(([0], model.vocabulary.encode_text(text))))
    with pytest.raises(CorpusError, match="a symbol that anbn never writes"):
        by_situation(model, source, np.array([0, 1]))  # the unknown symbol


def test_a_network_that_learned_to_copy_is_near_the_perfect_model_and_one_without_memory_is_not(tmp_path: Path) -> None:
    values = {"delay": 2, "copied": 2, "alphabet": 3}
    corpus = prepare("copy", out=str(tmp_path / "data"), size=120_000, documents="line", **values)
    source = synthetic.make("copy", **values)
    quick = {"batch_size": 16, "seq_len": 32, "dropout": 0.0, "weight_decay": 0.0, "sample_every": 0, "eval_every": 0}
    found = {}
    for steps, rate in ((500, 0.02), (1, 1e-6)):
        done = train(corpus, root=tmp_path, cell="gru", hidden=24, steps=steps, lr=rate, **quick)
        rows = by_situation(checkpoint.load(done.model), source, corpus.split("test")[:3001])
        found[steps] = {row.situation: row for row in rows}
    assert found[500]["copy"].excess < 0.02 and found[500]["copy"].agreement > 0.99
    assert together(list(found[500].values()), "all").excess < 0.02
    assert found[1]["copy"].excess > 1 and found[1]["copy"].agreement < 0.7
