"""Lossless compression to as many bits as a model's cross-entropy of a file: a proof of its perplexity.

    compression = compress(model, data)       any bytes
    decompress(model, compression.data)       the same bytes, or an error; never other ones

Both need the extra `compress`, but not torch. What is left out: the arithmetic (`charlm.compression.exact_arithmetic`),
the coder (`charlm.compression.arithmetic_coding`), the layout (`charlm.compression.container`).
"""

from dataclasses import dataclass
from math import ceil, log
from time import perf_counter
from typing import Any

import numpy as np

from charlm import cells, memory
from charlm.callbacks import ProgressFn
from charlm.compression import arithmetic_coding
from charlm.compression.container import OWN, STORED, UTF8, CompressedFile, digest, model_digest
from charlm.compression.lossless_text import LOSSLESS_ENCODING, LosslessText
from charlm.config import CompressOptions
from charlm.data.direction import BACKWARD
from charlm.errors import CharlmError, PackedError
from charlm.model.checkpoint import Model, check_model
from charlm.spec import AUTO

MEMORY_PER_BYTE = 24
"""Bytes of memory for each byte of a text: its codes, ids and decoded forms."""


@dataclass(frozen=True)
class Compression:
    """A compressed file and what is known of it.

    Attributes:
        data: the file.
        bytes: size of what was compressed.
        characters: number of characters coded, those of words counted one by one.
        symbols: number of symbols coded.
        unknown: number of unknown symbols among them, whose codes are added in the escape code.
        streams: number of streams read as a batch.
        predicted: bytes predicted by the model's probabilities of these symbols and by the escape code.
        stored: whether the bytes are stored as they are, since coding would have made them longer.
        seconds: duration.
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


def compress(model: Model, data: bytes, *, progress: ProgressFn | None = None, **values: Any) -> Compression:
    """Compress any bytes with a model.

    Args:
        model: from `charlm.model.checkpoint.load`.
        data: read as text in the encoding of the model's corpus, or in UTF-8 if that would not restore it.
        progress: called with the symbols done and their number.
        values: any option of `charlm.config.CompressOptions`.

    Raises:
        UsageError: constriction is not installed, memory is short, or a plugin's cell cannot be made exact.
        CharlmError: the network's output is not finite.
    """
    check_model(model)
    model.check_one_way("compress")
    began, options = perf_counter(), CompressOptions.of(values)
    version = arithmetic_coding.coder_version()
    memory.check(MEMORY_PER_BYTE * len(data), "compressing so much at once", "compress it in parts")
    kind, ids, raw = _encode_text(model, data)
    streams = (
        arithmetic_coding.streams_for(len(ids)) if options.streams == AUTO else min(options.streams, max(1, len(ids)))
    )
    memory.check(_step_bytes(model, streams), "reading so many streams side by side", "choose a smaller --streams")
    stored = CompressedFile(STORED, model_digest(model), digest(data), data)
    file, nats = stored, 0.0
    if len(ids):
        symbol_progress = None if progress is None else lambda done: progress(done, len(ids))
        bits, nats = arithmetic_coding.encode(
            model, *_coding_order(model, ids, raw), streams=streams, progress=symbol_progress
        )
        answer = arithmetic_coding.self_test(model)
        coded = CompressedFile(kind, stored.model, stored.original, bits, answer, version, len(ids), streams)
        file = min(coded, stored, key=lambda candidate: len(candidate.to_bytes()))
    return Compression(
        data=file.to_bytes(),
        bytes=len(data),
        characters=int(model.vocabulary.sizes[ids].sum()) + model.vocabulary.tokenizer.characters(raw),
        symbols=len(ids),
        unknown=len(raw),
        streams=streams,
        predicted=ceil((nats / log(2) + model.vocabulary.escape_code.bits(raw)) / 8),
        stored=file is stored,
        seconds=perf_counter() - began,
        model=model.label,
    )


def decompress(model: Model, data: bytes, *, progress: ProgressFn | None = None) -> bytes:
    """Decompress the bytes that `compress` compressed.

    Args:
        model: the model that the file was compressed with.
        data: a compressed file, not trusted.
        progress: called with the symbols done and their number.

    Raises:
        PackedError: the file is damaged, of another model, or of an arithmetic that is not this machine's; no other
            bytes than those that were compressed are ever returned.
        UsageError: constriction is not installed, or memory is short.
    """
    check_model(model)
    model.check_one_way("decompress")
    file = CompressedFile.of(data)
    if file.model != model_digest(model):
        raise PackedError(
            f"it was compressed with another model than {model.path or 'this one'} (its weights' hash begins with "
            f"{file.model.hex()}, this one's with {model_digest(model).hex()}); name that one with --model"
        )
    content = file.payload if file.kind == STORED else _decode(model, file, progress)
    if digest(content) != file.original:
        raise PackedError("what comes out is not what was compressed: it is damaged; take another copy of it")
    return content


def _decode(model: Model, file: CompressedFile, progress: ProgressFn | None) -> bytes:
    version, total = arithmetic_coding.coder_version(), file.symbols
    possible = min(total, arithmetic_coding.most_symbols(len(file.payload)))
    claimed = MEMORY_PER_BYTE * possible + _step_bytes(model, file.streams)
    memory.check(claimed, "decompressing what it claims to hold", "free some, if it does")
    if arithmetic_coding.self_test(model) != file.answer:
        raise PackedError(
            f"it was compressed with an arithmetic whose results are not those of this machine: its coder was "
            f"constriction {file.coder[0]}.{file.coder[1]}, this one is {version[0]}.{version[1]}; "
            f"decompress it where it was made"
        )
    symbol_progress = None if progress is None else lambda done: progress(done, total)
    decoded = arithmetic_coding.decode(model, file.payload, total, streams=file.streams, progress=symbol_progress)
    try:
        return _lossless_text(model, file.kind).decode(*_coding_order(model, *decoded))
    except ValueError:
        raise PackedError("its characters are none of a text: it is damaged; take another copy of it") from None


def _encode_text(model: Model, data: bytes) -> tuple[int, np.ndarray, np.ndarray]:
    """The kind of the file, ids (N,), and codes of unknown symbols (U,) of some bytes."""
    for kind in (OWN, UTF8):
        encoded = _lossless_text(model, kind).encode(data)
        if encoded is not None:
            return (kind, *encoded)
    raise CharlmError("UTF-8 did not give the bytes back")  # PEP 383 rules this out


def _coding_order(model: Model, ids: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N,) and codes (U,) from the order of the text to the model's reading order, or from that order back."""
    return (ids[::-1].copy(), raw[::-1].copy()) if model.options.direction == BACKWARD else (ids, raw)


def _lossless_text(model: Model, kind: int) -> LosslessText:
    return LosslessText(model.vocabulary, model.encoding if kind == OWN else LOSSLESS_ENCODING, model.line_documents)


def _step_bytes(model: Model, streams: int) -> int:
    """Bytes of the largest arrays of a step."""
    cell = cells.of(model.options)
    numbers = 8 * len(cell.gates) + 2 * model.options.layers * len(cell.state)
    return 8 * streams * (6 * model.vocabulary.size + numbers * model.options.hidden)
