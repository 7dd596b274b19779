"""Writing new text: a prompt is read, then characters are drawn and printed as they come.

    for piece in stream(model, prompt="ROMEO:", length=200): …     one sample, piece by piece
    samples(model, num=8, length=200)                              several side by side, each whole
    samples(model, clamp={"0:17": 1.0})                            with unit 17 of layer 0 held at 1

A model that reads from the right writes to the left: its text grows before the prompt, and is given from left to right
when it is complete.

On the CPU this needs no torch, but for many samples of a large network. What is left out: the filters
(`charlm.sampling.filters`) and the stream of ids (`charlm.sampling.generate`).
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
from charlm.sampling.generate import OneStreamEngine, generate, generate_one, random_streams
from charlm.sampling.text_writer import DecodedSymbols, TextWriter, boundary_text
from charlm.tokenizers.vocabulary import BOUNDARY

Clamp = Mapping[str, float | str]
"""Values by the places where they are held (`charlm.model.units`)."""

DECODE_SYMBOLS = 64
"""Symbols of each sample that are turned into text at once."""

PREVIEW_SYMBOLS, PREVIEW_TEMPERATURE = 200, 0.8
"""Of the short samples during training."""

RANDOM_STATE_BYTES = 2500
"""Bytes of a stream of random numbers."""


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        index: which of the `num`.
        text: what was drawn, the prompt not included; nothing from the stop string on.
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
    """Write one sample, piece by piece, some symbols after they are certain. The prompt is checked at once.

    Args:
        model: from `charlm.model.checkpoint.load`. One that reads from the right gives one piece, at the end.
        prompt: read first, not repeated.
        seed: of the draws.
        clamp: units that are held while reading and writing, the value by LAYER:UNIT (its output h) or
            LAYER:UNIT:PART (such as c, the memory of an lstm): `{"0:17": 1.0}`.
        values: any option of `charlm.config.SampleOptions`, but that one sample is written.

    Returns:
        The pieces of text; together they are the sample.

    Raises:
        SymbolError: the prompt has a character that the model does not know.
        UsageError: an option is out of range, or there is no such unit to be held.
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
    """Write several samples side by side; sample i is the same whatever their number, up to rounding.

    Args:
        model, prompt, seed, clamp, values: as in `stream`; `num` says how many.

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
    """The options, checked; a seed that is None is not drawn here, where nobody would be told of it."""
    if seed is None:
        raise UsageError("seed must be an integer from 0 on, got None; give one")
    return SampleOptions.of({**values, "seed": seed})


def _memory_needed(model: Model, options: SampleOptions) -> int:
    """What the samples come to: of each its text, where nothing ends it early, and some rows of V and of H numbers."""
    text = 0 if options.stop is not None or options.until_end else options.length
    cell = cells.of(model.options)
    numbers = model.options.layers * len(cell.state) + 2 * len(cell.gates)
    return options.num * (text + RANDOM_STATE_BYTES + 24 * model.vocabulary.size + 4 * numbers * model.options.hidden)


def _pieces(drawn: Iterator[Sequence[int]], writer: TextWriter) -> Iterator[str]:
    while not writer.ended:
        yield writer.write(next(drawn)[0])
    yield writer.finish()


def _from_left(pieces: Iterator[str]) -> Iterator[str]:
    """What was written from its end, turned round, as one piece."""
    yield "".join(pieces)[::-1]


def _write_together(drawn: Iterator[Sequence[int]], writers: list[TextWriter]) -> list[str]:
    texts = [""] * len(writers)
    while wanted := max(writer.wanted() for writer in writers):
        for index, symbols in enumerate(zip(*islice(drawn, min(wanted, DECODE_SYMBOLS)), strict=True)):
            texts[index] += writers[index].write_all(symbols)
    return [text + writer.finish() for text, writer in zip(texts, writers, strict=True)]


def _generate_ids(model: Model, prompt: str, options: SampleOptions, edit: Edit | None) -> Iterator[Sequence[int]]:
    """The next symbol of every sample, without end."""
    params = SamplingParams(options.temperature, options.top_k, options.top_p, options.min_p)
    ids = _encode_prompt(model, prompt)
    random = random_streams(cast(int, options.seed), options.num)
    with np.errstate(all="ignore"):  # if products of the weights overflow, the draws report it
        engine = choose_engine(model, options.num, options.device, edit)
    if isinstance(engine, OneStreamEngine):
        return zip(generate_one(engine, ids, params, random[0]))  # each alone in a tuple
    return (symbols.tolist() for symbols in generate(engine, ids, params, random, edit))


def _encode_prompt(model: Model, prompt: str) -> np.ndarray:
    """The symbols of a prompt in the model's order; if lines are documents, a line's end is the end of one."""
    if boundary_text(model):
        lines = [model.vocabulary.encode_prompt(line) for line in prompt.split("\n")]
        pieces = [piece for line in lines for piece in ([BOUNDARY], line)][1:]
        ids = np.concatenate(pieces).astype(np.int64)
    else:
        ids = model.vocabulary.encode_prompt(prompt)
    return ids[::-1] if model.options.direction == BACKWARD else ids


def preview(model: Model, seed: int) -> str:
    """A short sample during training; ends of documents are line ends, and nothing of the model changes."""
    empty = np.array([], dtype=np.int64)
    ids = generate(Stepper(model), empty, SamplingParams(PREVIEW_TEMPERATURE), random_streams(seed, 1))
    tokenizer, backward = model.vocabulary.tokenizer, model.options.direction == BACKWARD
    decoder = tokenizer.reversed_decoder() if backward else tokenizer.decoder()
    pieces = []
    for (symbol,) in islice(ids, PREVIEW_SYMBOLS):
        at_end = symbol == BOUNDARY
        pieces.append(decoder.flush() + "\n" if at_end else decoder.feed([model.vocabulary.code(int(symbol))]))
    text = "".join(pieces) + decoder.flush()
    return text[::-1] if backward else text
