"""The file is as small as the model's perplexity says."""

from pathlib import Path
from typing import Any

import pytest
from texts import text_of

import charlm
from charlm.compression.arithmetic_coding import MAX_STREAMS, MIN_STREAM_SYMBOLS, most_symbols, streams_for
from charlm.compression.container import CompressedFile
from charlm.evaluation.evaluate import evaluate
from charlm.model.checkpoint import Model

from .conftest import Make


@pytest.mark.parametrize("streams", ["auto", 12])
def test_the_file_is_within_half_a_percent_of_what_eval_predicts(trained: Model, tmp_path: Path, streams: Any) -> None:
    path = tmp_path / "other.txt"
    path.write_text(text_of(50_000, seed=5), encoding="utf-8")
    score = evaluate(trained, path, exact=True).score
    packed = charlm.compress(trained, path.read_bytes(), streams=streams)
    predicted = score.nats_per_char / 0.6931471805599453 * score.characters / 8
    assert packed.characters == score.characters - 1  # the end is not coded: the file knows how long it is
    assert abs(len(packed.data) / predicted - 1) < 0.005
    assert abs(packed.predicted / predicted - 1) < 0.003


def test_a_model_that_knows_nothing_takes_the_logarithm_of_its_table(make: Make) -> None:
    model = make("rnn", codes="abcdefghijklmn", scale=1e-9)
    packed = charlm.compress(model, b"abcdefghijklmn" * 300)
    assert packed.predicted == 4200 * 4 // 8
    assert 0 < len(packed.data) - packed.predicted < 60


def test_a_head_and_a_few_bits_for_each_stream(trained: Model) -> None:
    data = text_of(10_000, seed=3).encode()
    one, eight = (charlm.compress(trained, data, streams=streams) for streams in (1, 8))
    assert len(eight.data) - len(one.data) < 8 * 8
    assert 30 < len(one.data) - one.predicted < 55


def test_how_many_streams() -> None:
    assert [streams_for(n) for n in (0, 1, MIN_STREAM_SYMBOLS, 2 * MIN_STREAM_SYMBOLS, 10**9)] == [
        1,
        1,
        1,
        2,
        MAX_STREAMS,
    ]


def test_what_is_certain_still_takes_bits_so_that_claims_are_bounded(make: Make) -> None:
    for codes in ("a", "abcdefgh", range(3000, 6000)):
        model = make("rnn", codes=codes, scale=0.0)
        model.weights["readout.bias"][2] = 1000.0
        text = chr(int(model.vocabulary.codes[0])) * 20_000
        packed = CompressedFile.of(charlm.compress(model, text.encode(), streams=50).data)
        assert packed.symbols == 20_000 <= most_symbols(len(packed.payload))
        assert len(packed.payload) < 40
        assert charlm.decompress(model, packed.to_bytes()) == text.encode()
