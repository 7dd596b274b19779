"""Models of words give back every byte, unknown words included, from as many bits as their spelled score says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import text_of

import charlm
from charlm.compression.arithmetic_coding import decode, encode
from charlm.config import ModelOptions
from charlm.errors import PackedError
from charlm.evaluation.evaluate import evaluate
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary

from .test_round_trips import HOSTILE


def of_words(words: list[str], documents: str = "file", encoding: str = "utf-8") -> Model:
    options = ModelOptions(cell="lstm", layers=1, hidden=4, input="embedding", embedding=3, dropout=0.0)
    symbols = Vocabulary("word", np.array(sorted(words), object))
    random = np.random.default_rng(1)
    weights = {
        name: random.normal(0, 0.1, shape).astype(np.float32)
        for name, shape in parameters.shapes(options, symbols.size).items()
    }
    return Model(options, symbols, weights, {"options": {"unit": "word", "documents": documents, "encoding": encoding}})


MODELS = [
    of_words(["the", " the", " sea", "\n", ".", " was"]),
    of_words(["the", " was"], documents="line"),
    of_words(["a"], encoding="utf-16"),
    of_words(["a", "é", " ", "漢"], encoding="shift_jis"),
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_bytes_come_back(model: Model, data: bytes) -> None:
    assert charlm.decompress(model, charlm.compress(model, data).data) == data


@given(st.text(st.sampled_from("the sea\n.é漢'\x00\udc80"), max_size=60), st.integers(0, 3), st.integers(1, 4))
def test_any_text_comes_back(text: str, which: int, streams: int) -> None:
    model, data = MODELS[which], text.encode("utf-8", "surrogatepass")
    packed = charlm.compress(model, data, streams=streams)
    assert charlm.decompress(model, packed.data) == data
    if not packed.stored:
        assert packed.symbols <= packed.characters


def test_the_file_is_what_the_spelled_score_predicts(tmp_path: Path) -> None:
    (tmp_path / "sea.txt").write_text(text_of(30_000), encoding="utf-8")
    corpus = charlm.prepare(tmp_path / "sea.txt", out=str(tmp_path / "data"), unit="word", words=20)
    run = charlm.train(corpus, root=tmp_path, run="sea", hidden=12, batch_size=4, seq_len=16, steps=60, threads=1)
    model, data = charlm.load(run.model), text_of(30_000, seed=7).encode()
    (tmp_path / "other.txt").write_bytes(data)
    found = evaluate(model, tmp_path / "other.txt", exact=True)
    packed = charlm.compress(model, data, streams=1)
    assert packed.unknown == found.unknown > 50 and packed.characters == len(data)
    predicted = found.spelled_bits_per_char * found.score.characters / 8
    assert abs(packed.predicted / predicted - 1) < 0.003
    assert abs(len(packed.data) / predicted - 1) < 0.01
    assert charlm.decompress(model, packed.data) == data


def test_bits_that_end_before_the_letters_are_refused() -> None:
    model = MODELS[0]
    ids, raw = np.array([1] * 20), np.array(["zebra crossing"[:5] * 8] * 20, object)
    bits, _ = encode(model, ids, raw, streams=1)
    assert decode(model, bits, 20, streams=1)[1].tolist() == raw.tolist()
    with pytest.raises(PackedError):
        decode(model, bits[: len(bits) // 8 // 4 * 4], 20, streams=1)
