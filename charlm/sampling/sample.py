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
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import numpy as np

from charlm import cells, memory
from charlm.config import SampleOptions
from charlm.data.direction import BACKWARD
from charlm.errors import UsageError
from charlm.model.checkpoint import Model, check_model
from charlm.model.stepper import Edit, Stepper
from charlm.model.units import clamp as held
from charlm.model.wiring import is_plain_stack
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import Engine, generate, generate_one, random_streams
from charlm.sampling.single_stream import SINGLE_STREAM_CELLS, SingleStream
from charlm.sampling.wired_single_stream import WiredSingleStream
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

Clamp = Mapping[str, float | str]
"""Values by the places where they are held (`charlm.model.units`)."""

MIN_TORCH_MULTIPLICATIONS = 1 << 28
"""Multiplications for one character of all samples, from which on they are written in torch: its import, a second, is
then paid back within some 500 characters of each. How long the samples are to be is not looked at: their digits must
not depend on it."""

DECODE_SYMBOLS = 64
"""Symbols of each sample that are turned into text at once."""

DecodedSymbols = dict[int, tuple[str, int]]
"""What a symbol is printed as wherever it stands, and how many characters that is."""

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
    edit = held(model, clamp or {})
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
    known: DecodedSymbols = {}
    writers = [TextWriter.of(model, options, known) for _ in range(options.num)]
    drawn = _generate_ids(model, prompt, options, held(model, clamp or {}))
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


def _pieces(drawn: Iterator[Sequence[int]], writer: "TextWriter") -> Iterator[str]:
    while not writer.ended:
        yield writer.take(next(drawn)[0])
    yield writer.finish()


def _from_left(pieces: Iterator[str]) -> Iterator[str]:
    """What was written from its end, turned round, as one piece."""
    yield "".join(pieces)[::-1]


def _write_together(drawn: Iterator[Sequence[int]], writers: list["TextWriter"]) -> list[str]:
    texts = [""] * len(writers)
    while wanted := max(writer.wanted() for writer in writers):
        for index, symbols in enumerate(zip(*islice(drawn, min(wanted, DECODE_SYMBOLS)), strict=True)):
            texts[index] += writers[index].take_all(symbols)
    return [text + writer.finish() for text, writer in zip(texts, writers, strict=True)]


def _generate_ids(model: Model, prompt: str, options: SampleOptions, edit: Edit | None) -> Iterator[Sequence[int]]:
    """The next symbol of every sample, again and again; a state that is edited takes the way that has one."""
    rules = SamplingParams(options.temperature, options.top_k, options.top_p, options.min_p)
    start = _encode_prompt(model, prompt)
    random = random_streams(cast(int, options.seed), options.num)
    with np.errstate(all="ignore"):  # of weights whose products overflow, the draws will speak
        lean = (
            options.device == "cpu" and model.options.cell in SINGLE_STREAM_CELLS and model.options.between == "plain"
        )
        plain = is_plain_stack(model.options)
        if options.num == 1 and edit is None and lean:
            reader = SingleStream(model) if plain else WiredSingleStream(model)
            return zip(generate_one(reader, start, rules, random[0]))  # each alone in a tuple
        many = lean and plain and _multiplications(model, options.num) >= MIN_TORCH_MULTIPLICATIONS
        stepper = _many_streams(model, options.num) if many else _stepper(model, options.device)
    return (ids.tolist() for ids in generate(stepper, start, rules, random, edit))


def _encode_prompt(model: Model, prompt: str) -> np.ndarray:
    """The symbols of a prompt as the model reads them; where lines are documents, a line's end is the end of one."""
    if _boundary_text(model):
        lines = [model.vocabulary.encode_prompt(line) for line in prompt.split("\n")]
        joined = [part for line in lines for part in ([BOUNDARY], line)][1:]
        ids = np.concatenate(joined).astype(np.int64)
    else:
        ids = model.vocabulary.encode_prompt(prompt)
    return ids[::-1] if model.options.direction == BACKWARD else ids


def _multiplications(model: Model, num: int) -> int:
    """For one character of each sample."""
    return num * sum(weight.size for name, weight in model.weights.items() if name != "embedding.weight")


def _many_streams(model: Model, num: int) -> Engine:
    from charlm.runtime.malloc import keep_freed_memory
    from charlm.sampling.many_streams import ManyStreams

    keep_freed_memory()
    return ManyStreams(model, num)


def _stepper(model: Model, device: str) -> Stepper:
    """In NumPy on the CPU, in torch on a GPU."""
    if device == "cpu":
        return Stepper(model)
    from charlm.runtime.device import find_device

    return Stepper(model, find_device(device).type)


def _boundary_text(model: Model) -> str:
    """What the end of a document looks like: a line's end where lines are documents, else nothing."""
    return "\n" if dict(model.corpus.get("options", {})).get("documents") == "line" else ""


@dataclass
class TextWriter:
    """One sample's symbols turned into text, and its end found.

    Text that may be the beginning of the stop string is held back until that is decided. Of symbols that come from the
    right, text and stop string are turned round.
    """

    vocabulary: Vocabulary
    options: SampleOptions
    known: "DecodedSymbols"
    boundary: str
    backward: bool
    written: int = 0
    ended: str = ""
    _held: str = ""
    _printer: Any = field(init=False)
    _stop: str | None = field(init=False)
    _by_length: bool = field(init=False)
    _widest: int = field(init=False)

    @classmethod
    def of(cls, model: Model, options: SampleOptions, known: "DecodedSymbols") -> "TextWriter":
        """A writer of what a model draws; all of its writers may share what they know."""
        return cls(model.vocabulary, options, known, _boundary_text(model), model.options.direction == BACKWARD)

    def __post_init__(self) -> None:
        kind = self.vocabulary.tokenizer
        self._printer = kind.reversed_decoder() if self.backward else kind.decoder()
        stop = self.options.stop
        self._stop = stop[::-1] if stop is not None and self.backward else stop
        self._by_length = stop is None and not self.options.until_end  # nothing else can end it
        self._widest = int(self.vocabulary.sizes.max())
        self._check_length()

    def wanted(self) -> int:
        """Symbols that it will take for certain; none where it has ended."""
        if self.ended:
            return 0
        return -(-(self.options.length - self.written) // self._widest) if self._by_length else 1

    def take_all(self, symbols: Sequence[int]) -> str:
        """Add drawn symbols up to the one that ends it, none where it has ended; returns what can be printed."""
        known = list(filter(None, map(self.known.get, symbols))) if self._by_length else []
        more = sum(size for _, size in known)
        if len(known) < len(symbols) or self.written + more > self.options.length:
            return "".join(self.take(symbol) for symbol in symbols if not self.ended)
        self.written += more
        self._check_length()
        return "".join(piece for piece, _ in known)

    def take(self, symbol: int) -> str:
        """Add one drawn symbol; returns what can be printed."""
        if symbol == BOUNDARY:
            if self.options.until_end:
                self.ended = "end"
                return ""
            piece = self._printer.flush() + self.boundary
            self.written += len(self.boundary)
        else:
            piece, size = self.known.get(symbol) or self._printed(symbol)
            self.written += size
        if self._stop is not None:
            self._held += piece
            piece = self._release(self._stop)
        self._check_length()
        return piece

    def _printed(self, symbol: int) -> tuple[str, int]:
        """What a symbol is printed as, and how many characters it has; kept where it is always the same."""
        found = self._printer.feed([self.vocabulary.code(symbol)]), int(self.vocabulary.sizes[symbol])
        if not self._printer.waits:
            self.known[symbol] = found
        return found

    def finish(self) -> str:
        """What was held back, once no more symbols come."""
        if self.ended == "stop":
            return ""
        text, self._held = self._held + self._printer.flush(), ""
        return text

    def _check_length(self) -> None:
        if not self.ended and self.written >= self.options.length:
            self.ended = "length"

    def _release(self, stop: str) -> str:
        """Cut off what cannot be part of the stop string any more."""
        at = self._held.find(stop)
        if at >= 0:
            text, self._held, self.ended = self._held[:at], "", "stop"
            return text
        keep = next((n for n in range(min(len(stop) - 1, len(self._held)), 0, -1) if self._held.endswith(stop[:n])), 0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text
