"""A file in as many bits as a model is surprised by, and back byte for byte: a perplexity that proves itself.

    packed = compress(model, data)       any bytes
    decompress(model, packed.data)       the same bytes, or an error; never other ones

Both need the extra `compress`, and no torch. What is left out: the arithmetic (`charlm.compression.exact_arithmetic`),
the coder (`charlm.compression.arithmetic_coding`), the layout (`charlm.compression.container`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log
from time import perf_counter
from typing import Any

import numpy as np

from charlm import cells, memory
from charlm.compression import arithmetic_coding
from charlm.compression.container import OWN, STORED, UTF8, CompressedFile, digest, model_digest
from charlm.compression.lossless_text import ALWAYS, LosslessText
from charlm.config import CompressOptions
from charlm.data.direction import BACKWARD
from charlm.errors import CharlmError, PackedError
from charlm.model.checkpoint import Model, check_model
from charlm.spec import AUTO

Progress = Callable[[int, int], None]
"""Called with the characters done, and how many there are."""

PER_BYTE = 24
"""Bytes of memory for each byte of a text: its codes, ids and decoded forms."""


@dataclass(frozen=True)
class Compression:
    """A compressed file with its company.

    Attributes:
        data: the file.
        bytes: of what was compressed.
        characters: that were coded; of a word each of its own.
        symbols: that they are.
        unknown: of those, the ones outside the model's table, which are spelled out beside.
        streams: read side by side.
        predicted: bytes that the model's probabilities of these symbols, and the codes beside, come to.
        stored: whether coding would have made it longer, so that it is kept as it is.
        seconds: it took.
        model: path of the model.
    """

    data: bytes
    bytes: int
    characters: int
    symbols: int
    unknown: int
    streams: int
    predicted: int
    stored: bool
    seconds: float
    model: str

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm compress --json`."""
        size = len(self.data)
        return {
            "bytes": self.bytes,
            "compressed_bytes": size,
            "predicted_bytes": self.predicted,
            "characters": self.characters,
            "symbols": self.symbols,
            "unknown": self.unknown,
            "bits_per_char": 8 * size / self.characters if self.characters else 0.0,
            "streams": self.streams,
            "stored": self.stored,
            "seconds": self.seconds,
            "model": self.model,
        }


def compress(model: Model, data: bytes, *, progress: Progress | None = None, **values: Any) -> Compression:
    """Compress any bytes with a model.

    Args:
        model: from `charlm.model.checkpoint.load`.
        data: read as text in the encoding of the model's corpus, or in UTF-8 where that would not give it back.
        progress: told how far it is.
        values: any option of `charlm.config.CompressOptions`.

    Raises:
        UsageError: constriction is not installed, memory is short, or the cell, of a plugin, cannot be made exact.
        CharlmError: the network's output is not finite.
    """
    check_model(model)
    model.check_one_way("compress")
    began, options = perf_counter(), CompressOptions.of(values)
    version = arithmetic_coding.coder_version()
    memory.check(PER_BYTE * len(data), "compressing so much at once", "compress it in parts")
    kind, ids, raw = _spelled(model, data)
    streams = (
        arithmetic_coding.streams_for(len(ids)) if options.streams == AUTO else min(options.streams, max(1, len(ids)))
    )
    memory.check(_bytes(model, streams), "reading so many streams side by side", "choose a smaller --streams")
    stored = CompressedFile(STORED, model_digest(model), digest(data), data)
    packed, nats, sizes = stored, 0.0, model.vocabulary.sizes
    if len(ids):
        symbol_progress = None if progress is None else lambda done: progress(done, len(ids))
        bits, nats = arithmetic_coding.encode(
            model, *_coded(model, ids, raw), streams=streams, progress=symbol_progress
        )
        answer = arithmetic_coding.self_test(model)
        coded = CompressedFile(kind, stored.model, stored.original, bits, answer, version, len(ids), streams)
        packed = min(coded, stored, key=lambda file: len(file.to_bytes()))
    return Compression(
        data=packed.to_bytes(),
        bytes=len(data),
        characters=int(sizes[ids].sum()) + model.vocabulary.tokenizer.characters(raw),
        symbols=len(ids),
        unknown=len(raw),
        streams=streams,
        predicted=ceil((nats / log(2) + model.vocabulary.escape_code.bits(raw)) / 8),
        stored=packed is stored,
        seconds=perf_counter() - began,
        model=model.label,
    )


def decompress(model: Model, data: bytes, *, progress: Progress | None = None) -> bytes:
    """Give back what was compressed.

    Args:
        model: the one it was compressed with.
        data: a compressed file, not trusted.
        progress: told how far it is.

    Raises:
        PackedError: it is damaged, of another model, or of an arithmetic that is not this machine's; nothing but
            the very bytes that were compressed is ever returned.
        UsageError: constriction is not installed, or memory is short.
    """
    check_model(model)
    model.check_one_way("decompress")
    packed = CompressedFile.of(data)
    if packed.model != model_digest(model):
        raise PackedError(
            f"it was compressed with another model than {model.path or 'this one'} (its weights' hash begins with "
            f"{packed.model.hex()}, this one's with {model_digest(model).hex()}); name that one with --model"
        )
    content = packed.payload if packed.kind == STORED else _decoded(model, packed, progress)
    if digest(content) != packed.original:
        raise PackedError("what comes out is not what was compressed: it is damaged; take another copy of it")
    return content


def _decoded(model: Model, compressed: CompressedFile, progress: Progress | None) -> bytes:
    version, total = arithmetic_coding.coder_version(), compressed.symbols
    claimed = PER_BYTE * min(total, arithmetic_coding.most_symbols(len(compressed.payload))) + _bytes(
        model, compressed.streams
    )
    memory.check(claimed, "decompressing what it claims to hold", "free some, if it does")
    if arithmetic_coding.self_test(model) != compressed.answer:
        raise PackedError(
            f"it was compressed with an arithmetic whose results are not those of this machine: its coder was "
            f"constriction {compressed.coder[0]}.{compressed.coder[1]}, this one is {version[0]}.{version[1]}; "
            f"decompress it where it was made"
        )
    symbol_progress = None if progress is None else lambda done: progress(done, total)
    decoded = arithmetic_coding.decode(
        model, compressed.payload, total, streams=compressed.streams, progress=symbol_progress
    )
    ids, raw = _coded(model, *decoded)
    try:
        return _alphabet(model, compressed.kind).decode(ids, raw)
    except ValueError:
        raise PackedError("its characters are none of a text: it is damaged; take another copy of it") from None


def _spelled(model: Model, data: bytes) -> tuple[int, np.ndarray, np.ndarray]:
    """The kind of reading, ids (N,) and codes beside (U,) of some bytes."""
    for kind in (OWN, UTF8):
        spelled = _alphabet(model, kind).encode(data)
        if spelled is not None:
            return (kind, *spelled)
    raise CharlmError("UTF-8 did not give the bytes back")  # which PEP 383 rules out


def _coded(model: Model, ids: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N,) and codes beside (U,) in the order of coding, which is that of reading; and from that order back."""
    return (ids[::-1].copy(), raw[::-1].copy()) if model.options.direction == BACKWARD else (ids, raw)


def _alphabet(model: Model, kind: int) -> LosslessText:
    return LosslessText(model.vocabulary, model.encoding if kind == OWN else ALWAYS, model.line_documents)


def _bytes(model: Model, streams: int) -> int:
    """What the largest arrays of a step come to."""
    cell = cells.of(model.options)
    numbers = 8 * len(cell.gates) + 2 * model.options.layers * len(cell.state)
    return 8 * streams * (6 * model.vocabulary.size + numbers * model.options.hidden)
