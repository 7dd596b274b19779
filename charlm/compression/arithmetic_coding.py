"""Symbols as bits and back, by what a network expects: arithmetic coding (Rissanen & Langdon 1979).

A symbol of probability p takes -log2 p bits, so that a text takes what it is scored with. Both sides step the
same network over the same symbols, in an arithmetic that gives both the same probabilities
(`charlm.compression.exact_arithmetic`); the range coder (Martin 1979) is constriction's.

So that a longer text takes less time, it is cut into streams that are read as a batch: its first `HEAD_SYMBOLS` symbols
by one stream, then the rest in contiguous segments of nearly equal length, each of which begins in the state, and with
the last symbol, of the head. What is left out: how bytes are symbols (`charlm.compression.lossless_text`), and the file
around the bits (`charlm.compression.container`).
"""

from collections.abc import Callable, Generator
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from math import log, log2
from typing import Any

import numpy as np

from charlm.compression.exact_arithmetic import MIN_SYMBOL_BITS, exact_stepper, frequencies
from charlm.config import PLUGIN_CELLS
from charlm.errors import CharlmError, PackedError, UsageError
from charlm.model.checkpoint import Model
from charlm.model.logits import cross_entropy
from charlm.model.stepper import Stepper
from charlm.tokenizers.escape import NO_NUMBERS
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN

HEAD_SYMBOLS = 256
"""Symbols read by one stream before there are several, which then begin warm."""

MIN_STREAM_SYMBOLS = 1 << 13
"""Symbols for each stream, where nobody says how many there are; a stream's beginning costs some bits."""

MAX_STREAMS = 64
"""Of those; more would bring little."""

OLDEST_CODER = (0, 4)

PRECISION = 24
"""Bits of the coder's probabilities; no symbol costs more."""

SLACK_BITS = 128
"""Bits by which rounding may let symbols seem to take more than there are."""

Progress = Callable[[int], None]
"""Called with the symbols that are done."""


def streams_for(symbols: int) -> int:
    """How many streams a text is cut into: one for every `MIN_STREAM_SYMBOLS` symbols, at most `MAX_STREAMS`."""
    return max(1, min(MAX_STREAMS, symbols // MIN_STREAM_SYMBOLS))


def most_symbols(size: int) -> int:
    """How many symbols `size` bytes can stand for, since each takes `MIN_SYMBOL_BITS` bits or, of three symbols, two
    thirds."""
    return int((8 * size + SLACK_BITS) / MIN_SYMBOL_BITS * 1.5)


def coder_version() -> tuple[int, int]:
    """The coder's version, as far as what it makes of the same probabilities might change with it.

    Raises:
        UsageError: it is not installed, or too old.
    """
    _coder()
    installed = version("constriction")
    major, minor, *_ = (int(word) for word in installed.split(".")[:2])
    if (major, minor) < OLDEST_CODER:
        raise UsageError(
            f'constriction {installed} is too old to compress with; pip install --upgrade "charlm[compress]"'
        )
    return major, minor


def self_test(model: Model) -> bytes:
    """Four bytes that hang on every bit of the arithmetic here: a digest of a few coded symbols and what was expected.

    Raises:
        UsageError: the coder is not installed, or the cell is of a plugin and cannot be made exact.
        CharlmError: the network's output is not finite.
    """
    stepper = _stepper(model)
    digest, states, size = sha256(), stepper.start(2), model.vocabulary.size
    encoder = _coder().stream.queue.RangeEncoder()
    ids = np.array([BOUNDARY, size - 1])
    for step in range(8):
        expected, states, _ = _step(stepper, ids, states)
        digest.update(expected.astype("<f8").tobytes())
        ids = (np.array([3, 5]) * (step + 1) + BOUNDARY) % size
        encoder.encode(ids.astype(np.int32), _categorical(), expected)
    digest.update(_bytes(encoder))
    return digest.digest()[:4]


def encode(
    model: Model, ids: np.ndarray, raw: np.ndarray, *, streams: int, progress: Progress | None = None
) -> tuple[bytes, float]:
    """Symbols as bits.

    Args:
        model: of any cell that `charlm.compression.exact_arithmetic` can make exact.
        ids: (N,) symbols, N > 0, without the boundary before them.
        raw: (U,) the codes that stand behind each unknown symbol, in order; they are spelled
            (`charlm.tokenizers.escape`).
        streams: B, from 1.
        progress: told how far it is.

    Returns:
        The bytes, and the nats that the network alone gives the symbols in these streams, without `raw`.

    Raises:
        UsageError, CharlmError: as `self_test`.
    """
    encoder, kind, nats, done = _coder().stream.queue.RangeEncoder(), _categorical(), 0.0, 0
    reading = _read(_stepper(model), len(ids), streams)
    at, expected, logits = next(reading)
    while at is not None:
        symbols = ids[at].astype(np.int64)
        encoder.encode(symbols.astype(np.int32), kind, expected)
        nats += float(cross_entropy(logits, symbols).sum())
        done += len(at)
        if progress is not None:
            progress(done)
        at, expected, logits = reading.send(symbols)
    letters, plain = model.vocabulary.escape_code.write(raw)
    if len(letters):
        encoder.encode(letters, _letters(model))
    if len(plain):
        encoder.encode(plain, _uniform(model))
    return _bytes(encoder), nats


def decode(
    model: Model, data: bytes, symbols: int, *, streams: int, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Symbols from bits: `ids` and `raw` as `encode` was given them.

    Args:
        model, streams: as in `encode`.
        data: what it returned.
        symbols: N, as a file claims it.
        progress: told how far it is.

    Raises:
        PackedError: the bits cannot be those of so many symbols; time and memory are bounded by what there is.
        UsageError, CharlmError: as `self_test`.
    """
    if len(data) % 4 or symbols > most_symbols(len(data)):
        raise PackedError(f"it claims {symbols:,} characters in {len(data):,} bytes of bits, which do not hold them")
    decoder, kind = _coder().stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32)), _categorical()
    ids, room, done = np.zeros(symbols, model.vocabulary.dtype), 8.8 * len(data) + SLACK_BITS, 0
    reading = _read(_stepper(model), symbols, streams)
    at, expected, _ = next(reading)
    while at is not None:
        symbols_now = _decoded(decoder, kind, expected).astype(np.int64)
        ids[at] = symbols_now
        room -= float(_bits(expected, symbols_now).sum())
        if room < 0:
            raise PackedError(f"its bits end after {done:,} of {symbols:,} characters")
        done += len(at)
        if progress is not None:
            progress(done)
        at, expected, _ = reading.send(symbols_now)
    return ids, _spelled(decoder, model, int(np.count_nonzero(ids == UNKNOWN)), room)


def _spelled(decoder: Any, model: Model, unknown: int, room: float) -> np.ndarray:
    """The codes (U,) behind so many unknown symbols, from no more bits than there are."""
    spelling, pieces, missing = (
        model.vocabulary.escape_code,
        [NO_NUMBERS],
        unknown if model.vocabulary.escape_code.shares.size else 0,
    )
    few = PackedError(
        f"its bits end before the {unknown:,} {model.vocabulary.tokenizer.noun}s that the model does not know"
    )
    while missing:
        pieces.append(_decoded(decoder, _letters(model), missing))  # each unknown symbol has one letter at least
        room += float(np.log2(spelling.shares[pieces[-1]]).sum())
        if room < 0:
            raise few
        missing -= spelling.ends(pieces[-1])
    letters = np.concatenate(pieces)
    plain = spelling.plain(letters, unknown)
    if plain * log2(spelling.limit) > room:
        raise few
    return spelling.read(letters, _decoded(decoder, _uniform(model), plain) if plain else NO_NUMBERS)


_Reading = Generator[tuple[np.ndarray | None, np.ndarray, np.ndarray], np.ndarray, None]


def _read(stepper: Stepper, symbols: int, streams: int) -> _Reading:
    """Read symbols that are sent as they become known.

    Yields:
        The places (b,) of symbols that are next, one of each stream that still has some, and what the network
        expects there: frequencies and logits (b, V). It is sent those symbols (b,). At the end places are None.
    """
    states, before = stepper.start(), np.array([BOUNDARY])
    head = symbols if streams == 1 else min(symbols, HEAD_SYMBOLS)
    for position in range(head):
        expected, states, logits = _step(stepper, before, states)
        before = yield np.array([position]), expected, logits
    length, longer = divmod(symbols - head, streams)
    starts = head + np.arange(streams) * length + np.minimum(np.arange(streams), longer)
    states, before = stepper.repeat(states, streams), before.repeat(streams)
    for step in range(length + (longer > 0)):
        live = streams if step < length else longer
        states = [tuple(array[:live] for array in state) for state in states]
        expected, states, logits = _step(stepper, before[:live], states)
        before = yield starts[:live] + step, expected, logits
    yield None, before, before


def _step(stepper: Stepper, ids: np.ndarray, states: Any) -> tuple[np.ndarray, Any, np.ndarray]:
    """Frequencies (B, V), states and logits (B, V) after one more symbol in each stream."""
    try:
        with np.errstate(all="ignore"):
            logits, states = stepper.step(ids, states)
    except (TypeError, AttributeError) as error:
        if stepper.cell.name not in PLUGIN_CELLS:
            raise
        raise UsageError(
            f"the cell {stepper.cell.name} does with its weights what compressing cannot make exact ({error}); "
            f"it can take products h @ weight.T"
        ) from error
    if not np.isfinite(logits).all():
        raise CharlmError(
            "the network's output is no finite number: its state has grown without bound, as that of a linear or "
            "relu rnn can; use another model"
        )
    return frequencies(logits), states, logits


def _stepper(model: Model) -> Stepper:
    with np.errstate(all="ignore"):  # of weights whose products overflow, the logits will speak
        return exact_stepper(model)


def _bits(expected: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """(B,) what each symbol takes of the bits, about."""
    chosen = np.take_along_axis(expected, symbols[:, None], -1)[:, 0]
    return np.minimum(np.log(expected.sum(-1) / np.maximum(chosen, 1)) / log(2), PRECISION)


def _coder() -> Any:
    try:
        return import_module("constriction")
    except ImportError:
        raise UsageError(
            'compressing needs the package constriction, which is not installed; pip install "charlm[compress]"'
        ) from None


def _categorical() -> Any:
    return _coder().stream.model.Categorical(perfect=False)


def _uniform(model: Model) -> Any:
    return _coder().stream.model.Uniform(model.vocabulary.escape_code.limit)


def _letters(model: Model) -> Any:
    return _coder().stream.model.Categorical(model.vocabulary.escape_code.shares, perfect=False)


def _decoded(decoder: Any, kind: Any, parameters: Any) -> np.ndarray:
    """The next symbols; a state of the coder that no bits lead to is damage."""
    try:
        return np.asarray(decoder.decode(kind, parameters))
    except AssertionError as error:
        raise PackedError(f"its bits are none that a coder makes ({error})") from None


def _bytes(encoder: Any) -> bytes:
    return np.asarray(encoder.get_compressed()).astype("<u4").tobytes()
