"""Writing new text: read a prompt, then draw symbol after symbol and decode them.

    for piece in stream(model, prompt="ROMEO:", length=200): …     one sample, piece by piece
    samples(model, num=8, length=200)                              several as a batch, each complete
    samples(model, clamp={"0:17": 1.0})                            with unit 17 of layer 0 held at 1

A backward model writes to the left: its text grows before the prompt, and is returned from left to right when it is
complete. On the CPU this needs no torch, except for many samples of a large network.

What is left out: the engines (`charlm.sampling.engines`), the draws (`charlm.sampling.generate`), and where a text ends
(`charlm.sampling.text_writer`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np

from charlm import cells, memory
from charlm.config import SampleOptions
from charlm.data.direction import BACKWARD
from charlm.errors import UsageError
from charlm.model.checkpoint import Model, check_model
from charlm.model.stepper import Edit, Stepper
from charlm.model.units import clamp as clamp_edit
from charlm.sampling.engines import choose_engine
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import generate, random_streams
from charlm.sampling.text_writer import DecodedSymbols, TextWriter, boundary_text
from charlm.tokenizers.vocabulary import BOUNDARY

Clamp = Mapping[str, float | str]
"""Values at which units are held, by LAYER:UNIT or LAYER:UNIT:PART (`charlm.model.units`)."""

NO_PROMPT = np.array([], np.int64)
"""The ids of an empty prompt."""

MAX_DECODED_SYMBOLS = 64
"""Symbols of each sample that are decoded at once."""

PREVIEW_SYMBOLS, PREVIEW_TEMPERATURE = 200, 0.8
"""Length and temperature of the short samples during training."""

RANDOM_STATE_BYTES = 2500
"""Bytes of memory for the random numbers of a sample."""


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        index: from 0 to `num` - 1.
        text: without the prompt, and without the stop string and all after it.
        characters: how many were drawn, those of the stop string included.
        ended: why it ended: `length`, `stop` or `end` (of the document).
    """

    index: int
    text: str
    characters: int
    ended: str


def stream(
    model: Model, *, prompt: str = "", seed: int = 0, clamp: Clamp | None = None, **values: Any
) -> Iterator[str]:
    """Write one sample, piece by piece; the prompt is checked at once.

    Args:
        model: from `charlm.model.checkpoint.load`. A backward model yields one piece, at the end.
        prompt: read first, not repeated.
        seed: of the draws.
        clamp: units that are held while reading and writing, the value by LAYER:UNIT (its output h) or
            LAYER:UNIT:PART (such as c, the memory of an lstm): `{"0:17": 1.0}`.
        values: any option of `charlm.config.SampleOptions`; `num` must be 1.

    Returns:
        The pieces of text; together they are the sample.

    Raises:
        SymbolError: the prompt has a character that the model does not know.
        UsageError: an option is out of range, or the model has no such unit.
    """
    check_model(model)
    model.check_one_way("write text")
    options = _options(seed, values)
    if options.num != 1:
        raise UsageError(f"stream writes one sample, and num is {options.num}; charlm.samples writes several")
    edit = clamp_edit(model, clamp or {})
    pieces = _pieces(_generate_ids(model, prompt, options, edit), TextWriter.of(model, options, {}))
    return _from_left(pieces) if model.options.direction == BACKWARD else pieces


def samples(
    model: Model, *, prompt: str = "", seed: int = 0, clamp: Clamp | None = None, **values: Any
) -> list[Sample]:
    """Write several samples as a batch; sample i is the same whatever their number, up to rounding.

    Args:
        model, prompt, seed, clamp, values: as in `stream`; `num` is the number of samples.

    Raises:
        SymbolError, UsageError: as in `stream`.
    """
    check_model(model)
    model.check_one_way("write text")
    options = _options(seed, values)
    memory.check(
        _memory_needed(model, options), f"writing {options.num} samples at once", "choose a smaller --num or --length"
    )
    decoded: DecodedSymbols = {}
    writers = [TextWriter.of(model, options, decoded) for _ in range(options.num)]
    drawn = _generate_ids(model, prompt, options, clamp_edit(model, clamp or {}))
    texts = _write_together(drawn, writers)
    step = -1 if model.options.direction == BACKWARD else 1
    return [
        Sample(index, text[::step], writer.written, writer.ended)
        for index, (writer, text) in enumerate(zip(writers, texts, strict=True))
    ]


def _options(seed: int, values: Mapping[str, Any]) -> SampleOptions:
    """The checked options; a seed of None is refused, as one drawn here could not be reported."""
    if seed is None:
        raise UsageError("seed must be an integer from 0 on, got None; give one")
    return SampleOptions.of({**values, "seed": seed})


def _memory_needed(model: Model, options: SampleOptions) -> int:
    """Bytes for the samples: each has its text, if nothing ends it early, and some rows of V and of H numbers."""
    text = 0 if options.stop is not None or options.until_end else options.length
    cell = cells.of(model.options)
    numbers = model.options.layers * len(cell.state) + 2 * len(cell.gates)
    return options.num * (text + RANDOM_STATE_BYTES + 24 * model.vocabulary.size + 4 * numbers * model.options.hidden)


def _pieces(drawn: Iterator[Sequence[int]], writer: TextWriter) -> Iterator[str]:
    while not writer.ended:
        yield writer.write(next(drawn)[0])
    yield writer.finish()


def _from_left(pieces: Iterator[str]) -> Iterator[str]:
    """What was written from the right, as one piece from the left."""
    yield "".join(pieces)[::-1]


def _write_together(drawn: Iterator[Sequence[int]], writers: list[TextWriter]) -> list[str]:
    texts = [""] * len(writers)
    while wanted := max(writer.wanted() for writer in writers):
        for index, symbols in enumerate(zip(*islice(drawn, min(wanted, MAX_DECODED_SYMBOLS)), strict=True)):
            texts[index] += writers[index].write_all(symbols)
    return [text + writer.finish() for text, writer in zip(texts, writers, strict=True)]


def _generate_ids(model: Model, prompt: str, options: SampleOptions, edit: Edit | None) -> Iterator[Sequence[int]]:
    """The next symbol of every sample, without end."""
    params = SamplingParams(options.temperature, options.top_k, options.top_p, options.min_p)
    ids = _encode_prompt(model, prompt)
    random = random_streams(cast(int, options.seed), options.num)
    with np.errstate(all="ignore"):  # if products of the weights overflow, the draws report it
        engine = choose_engine(model, options.num, options.device, edit)
    return generate(engine, ids, params, random, edit)


def _encode_prompt(model: Model, prompt: str) -> np.ndarray:
    """The ids (P,) of a prompt in the model's order; if lines are documents, a line end is a boundary."""
    if boundary_text(model):
        lines = [model.vocabulary.encode_prompt(line) for line in prompt.split("\n")]
        pieces = [piece for line in lines for piece in ([BOUNDARY], line)][1:]
        ids = np.concatenate(pieces).astype(np.int64)
    else:
        ids = model.vocabulary.encode_prompt(prompt)
    return ids[::-1] if model.options.direction == BACKWARD else ids


def preview(model: Model, seed: int) -> str:
    """Write a short sample during training; ends of documents are line ends."""
    drawn = generate(Stepper(model), NO_PROMPT, SamplingParams(PREVIEW_TEMPERATURE), random_streams(seed, 1))
    backward = model.options.direction == BACKWARD
    writer = TextWriter(model.vocabulary, SampleOptions(), {}, boundary="\n", backward=backward)
    text = "".join(writer.write(symbol) for (symbol,) in islice(drawn, PREVIEW_SYMBOLS)) + writer.finish()
    return text[::-1] if backward else text
