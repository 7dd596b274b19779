"""Several samples written at once: each is what its symbols say one after the other, and none is drawn in vain."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config import SampleOptions
from charlm.sampling import sample, text_writer
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary

CODES = {
    "char": np.array(sorted(map(ord, "\n abcé\U0001f30a")), np.uint32),
    "byte": np.frombuffer("\n abcé\U0001f30a".encode(), np.uint8),
    "word": np.array(sorted(["\n", " ", "a", "bc", "sea", "é", "the waves"]), object),
}
"""Of bytes some are parts of letters, which wait for the others, or never find them."""

WAYS = [{}, {"stop": "a"}, {"stop": "ab\n"}, {"until_end": True}]


def symbols_of(unit: str) -> Vocabulary:
    codes = CODES[unit]
    return Vocabulary(unit, np.unique(codes) if unit == "byte" else codes)


def one_by_one(model, options, column: Sequence[int]) -> tuple[str, int, str, int]:
    """The slow twin: text, characters, why it ended, and how many symbols it took."""
    writer, text, taken = text_writer.TextWriter.of(model, options, {}), "", count()
    for symbol in column:
        if writer.ended:
            break
        text += writer.write(symbol)
        next(taken)
    return text + writer.finish(), writer.written, writer.ended, next(taken)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("unit", CODES)
@given(data=st.data(), length=st.integers(0, 150), num=st.integers(2, 4), seed=st.integers(0, 99))
def test_blocks_are_what_single_symbols_are(make_text_model, unit, documents, way, data, length, num, seed):
    made = make_text_model(corpus={"documents": documents})
    symbols = symbols_of(unit)
    model = type(made)(made.options, symbols, made.weights, made.corpus)
    drawable = [symbol for symbol in range(symbols.size) if symbol != UNKNOWN]
    few = data.draw(st.sets(st.sampled_from(drawable), min_size=1)) | {BOUNDARY, len(drawable)}
    random = np.random.default_rng(seed)
    ids = random.choice(sorted(few), (600, num)).tolist()
    drawn = []

    def draws() -> Iterator[list[int]]:
        for row in ids:
            drawn.append(row)
            yield row

    options = SampleOptions.of({"length": length, "num": num, **way})
    wanted = [one_by_one(model, options, column) for column in zip(*ids, strict=True)]
    known: dict[int, tuple[str, int]] = {}
    writers = [text_writer.TextWriter.of(model, options, known) for _ in range(num)]
    texts = sample._write_together(draws(), writers)
    assert [(text, w.written, w.ended) for text, w in zip(texts, writers, strict=True)] == [one[:3] for one in wanted]
    assert len(drawn) == max(one[3] for one in wanted)
