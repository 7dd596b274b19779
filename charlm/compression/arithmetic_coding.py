"""Entropy coding of symbols with a network's probabilities: arithmetic coding (Rissanen & Langdon 1979).

A symbol of probability p takes -log2 p bits, so that a text takes as many bits as its cross-entropy. The encoder and
the decoder step the same network over the same symbols, in an arithmetic that gives both the same probabilities
(`charlm.compression.exact_arithmetic`); the range coder (Martin 1979) is constriction's.

So that a longer text takes less time, it is cut into streams that are read as a batch: its first `HEAD_SYMBOLS` symbols
by one stream, then the rest in contiguous segments of nearly equal length, each of which begins in the state, and with
the last symbol, of the head. What is left out: bytes as symbols (`charlm.compression.lossless_text`), and the file
around the bits (`charlm.compression.container`).
"""

from collections.abc import Generator
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from math import log, log2
from typing import Any

import numpy as np

from charlm.callbacks import CountFn
from charlm.compression.exact_arithmetic import MIN_SYMBOL_BITS, exact_stepper, frequencies
from charlm.config import PLUGIN_CELLS
from charlm.errors import CharlmError, PackedError, UsageError
from charlm.model.checkpoint import Model
from charlm.model.logits import cross_entropy
from charlm.model.stepper import Stepper
from charlm.tokenizers.escape import NO_NUMBERS
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN

HEAD_SYMBOLS = 256
"""Symbols read by one stream before there are several, which so begin warmed up."""

MIN_STREAM_SYMBOLS = 1 << 13
"""Symbols of each stream, if the number of streams is not set; the beginning of a stream costs some bits."""

MAX_STREAMS = 64
"""The largest number of streams, if it is not set; more would gain little."""

MIN_CODER_VERSION = (0, 4)
"""The oldest version of constriction that works here."""

MAX_SYMBOL_BITS = 24
"""The most bits that a symbol costs: the precision of the coder's probabilities."""

SLACK_BITS = 128
"""Bits by which symbols may seem to take more than there are, by rounding."""


def streams_for(symbols: int) -> int:
    """How many streams a text is cut into: one for every `MIN_STREAM_SYMBOLS` symbols, at most `MAX_STREAMS`."""
    return max(1, min(MAX_STREAMS, symbols // MIN_STREAM_SYMBOLS))


def most_symbols(size: int) -> int:
    """The most symbols that `size` bytes can hold: each takes `MIN_SYMBOL_BITS` bits, or two thirds if V is 3."""
    return int((8 * size + SLACK_BITS) / MIN_SYMBOL_BITS * 1.5)


def coder_version() -> tuple[int, int]:
    """The coder's version, major and minor: its bits for the same probabilities might differ between these.

    Raises:
        UsageError: the coder is not installed, or too old.
    """
    _coder()
    installed = version("constriction")
    major, minor, *_ = (int(word) for word in installed.split(".")[:2])
    if (major, minor) < MIN_CODER_VERSION:
        raise UsageError(f"constriction {installed} is too old to compress with; pip install --upgrade constriction")
    return major, minor


def self_test(model: Model) -> bytes:
    """Four bytes that depend on every bit of this arithmetic: a digest of a few coded symbols and their frequencies.

    Raises:
        UsageError: the coder is not installed, or the cell is a plugin's and cannot be made exact.
        CharlmError: the network's output is not finite.
    """
    stepper = _stepper(model)
    digest, states, size = sha256(), stepper.start(2), model.vocabulary.size
    encoder = _coder().stream.queue.RangeEncoder()
    ids = np.array([BOUNDARY, size - 1])
    for step in range(8):
        counts, states, _ = _step(stepper, ids, states)
        digest.update(counts.astype("<f8").tobytes())
        ids = (np.array([3, 5]) * (step + 1) + BOUNDARY) % size
        encoder.encode(ids.astype(np.int32), _categorical(), counts)
    digest.update(_bytes(encoder))
    return digest.digest()[:4]


def encode(
    model: Model, ids: np.ndarray, raw: np.ndarray, *, streams: int, progress: CountFn | None = None
) -> tuple[bytes, float]:
    """Encode symbols.

    Args:
        model: of any cell that `charlm.compression.exact_arithmetic` can make exact.
        ids: (N,) symbols, N > 0, without the boundary before them.
        raw: (U,) the code of each unknown symbol, in order; they are written in the escape code
            (`charlm.tokenizers.escape`).
        streams: B, from 1.
        progress: called with the symbols that are done.

    Returns:
        The bytes, and the sum of the symbols' losses in nats, without `raw`.

    Raises:
        UsageError, CharlmError: as `self_test`.
    """
    encoder, distribution, nats, done = _coder().stream.queue.RangeEncoder(), _categorical(), 0.0, 0
    predictions = _predict(_stepper(model), len(ids), streams)
    positions, counts, logits = next(predictions)
    while positions is not None:
        symbols = ids[positions].astype(np.int64)
        encoder.encode(symbols.astype(np.int32), distribution, counts)
        nats += float(cross_entropy(logits, symbols).sum())
        done += len(positions)
        if progress is not None:
            progress(done)
        positions, counts, logits = predictions.send(symbols)
    letters, plain = model.vocabulary.escape_code.write(raw)
    if len(letters):
        encoder.encode(letters, _letters(model))
    if len(plain):
        encoder.encode(plain, _uniform(model))
    return _bytes(encoder), nats


def decode(
    model: Model, data: bytes, symbols: int, *, streams: int, progress: CountFn | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode symbols: `ids` and `raw` as they were passed to `encode`.

    Args:
        model, streams: as in `encode`.
        data: the bytes that it returned.
        symbols: N, as a file claims it.
        progress: called with the symbols that are done.

    Raises:
        PackedError: the bits cannot be those of so many symbols; time and memory are bounded by the size of `data`.
        UsageError, CharlmError: as `self_test`.
    """
    if len(data) % 4 or symbols > most_symbols(len(data)):
        raise PackedError(f"it claims {symbols:,} characters in {len(data):,} bytes of bits, which do not hold them")
    words = np.frombuffer(data, "<u4").astype(np.uint32)
    decoder, distribution = _coder().stream.queue.RangeDecoder(words), _categorical()
    ids, bits_left, done = np.zeros(symbols, model.vocabulary.dtype), 8.8 * len(data) + SLACK_BITS, 0
    predictions = _predict(_stepper(model), symbols, streams)
    positions, counts, _ = next(predictions)
    while positions is not None:
        decoded = _decode_next(decoder, distribution, counts).astype(np.int64)
        ids[positions] = decoded
        bits_left -= float(_bits(counts, decoded).sum())
        if bits_left < 0:
            raise PackedError(f"its bits end after {done:,} of {symbols:,} characters")
        done += len(positions)
        if progress is not None:
            progress(done)
        positions, counts, _ = predictions.send(decoded)
    return ids, _decode_escaped(decoder, model, int(np.count_nonzero(ids == UNKNOWN)), bits_left)


def _decode_escaped(decoder: Any, model: Model, unknown: int, bits_left: float) -> np.ndarray:
    """The codes (U,) of so many unknown symbols, from no more bits than there are."""
    escape_code = model.vocabulary.escape_code
    blocks, missing = [NO_NUMBERS], unknown if escape_code.shares.size else 0
    too_few_bits = PackedError(
        f"its bits end before the {unknown:,} {model.vocabulary.tokenizer.noun}s that the model does not know"
    )
    while missing:
        blocks.append(_decode_next(decoder, _letters(model), missing))  # each unknown symbol has one letter at least
        bits_left += float(np.log2(escape_code.shares[blocks[-1]]).sum())
        if bits_left < 0:
            raise too_few_bits
        missing -= escape_code.ends(blocks[-1])
    letters = np.concatenate(blocks)
    plain = escape_code.plain(letters, unknown)
    if plain * log2(escape_code.limit) > bits_left:
        raise too_few_bits
    return escape_code.read(letters, _decode_next(decoder, _uniform(model), plain) if plain else NO_NUMBERS)


_Predictions = Generator[tuple[np.ndarray | None, np.ndarray, np.ndarray], np.ndarray, None]


def _predict(stepper: Stepper, symbols: int, streams: int) -> _Predictions:
    """Predict symbols that are sent as they become known.

    Yields:
        The positions (b,) of the next symbols, one of each stream that still has some, with their frequencies and
        logits (b, V). It is sent those symbols (b,). At the end the positions are None.
    """
    states, last = stepper.start(), np.array([BOUNDARY])
    head = symbols if streams == 1 else min(symbols, HEAD_SYMBOLS)
    for position in range(head):
        counts, states, logits = _step(stepper, last, states)
        last = yield np.array([position]), counts, logits
    length, longer = divmod(symbols - head, streams)
    starts = head + np.arange(streams) * length + np.minimum(np.arange(streams), longer)
    states, last = stepper.repeat(states, streams), last.repeat(streams)
    for step in range(length + (longer > 0)):
        live = streams if step < length else longer
        states = [tuple(array[:live] for array in state) for state in states]
        counts, states, logits = _step(stepper, last[:live], states)
        last = yield starts[:live] + step, counts, logits
    yield None, last, last


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
    with np.errstate(all="ignore"):  # if products of the weights overflow, the logits show it
        return exact_stepper(model)


def _bits(counts: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """The bits (B,) of each symbol given frequencies (B, V), about."""
    chosen = np.take_along_axis(counts, symbols[:, None], -1)[:, 0]
    return np.minimum(np.log(counts.sum(-1) / np.maximum(chosen, 1)) / log(2), MAX_SYMBOL_BITS)


def _coder() -> Any:
    try:
        return import_module("constriction")
    except ImportError:
        raise UsageError(
            "compressing needs the package constriction, which is not installed; pip install constriction"
        ) from None


def _categorical() -> Any:
    return _coder().stream.model.Categorical(perfect=False)


def _uniform(model: Model) -> Any:
    return _coder().stream.model.Uniform(model.vocabulary.escape_code.limit)


def _letters(model: Model) -> Any:
    return _coder().stream.model.Categorical(model.vocabulary.escape_code.shares, perfect=False)


def _decode_next(decoder: Any, distribution: Any, parameters: Any) -> np.ndarray:
    """The next symbols; refuse a state of the coder that no bits lead to, as of a damaged file."""
    try:
        return np.asarray(decoder.decode(distribution, parameters))
    except AssertionError as error:
        raise PackedError(f"its bits are none that a coder makes ({error})") from None


def _bytes(encoder: Any) -> bytes:
    return np.asarray(encoder.get_compressed()).astype("<u4").tobytes()
