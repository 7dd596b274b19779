"""The format of a compressed file: compressed bits with a header and a checksum.

docs/compressed.md specifies the bytes. Nothing in such a file is trusted: it is checked before the network takes a
step. What is left out: the meaning of the bits (`charlm.compression.arithmetic_coding`).
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from zlib import crc32

from charlm.data.direction import BACKWARD
from charlm.errors import PackedError
from charlm.model.checkpoint import Model
from charlm.version import __version__

MAGIC = b"\x93clm"
VERSION = 1
"""Version of the format and of the arithmetic."""

STORED, OWN, UTF8 = range(3)
"""Kinds of file: the bytes as they are; coded, text in the encoding of the model's corpus; coded, text in UTF-8."""

FIXED_HEADER_BYTES = 26
"""Bytes of the header that files of all kinds have."""

MAX_STREAMS = 4096
"""The most streams of a file; each takes memory."""

MAX_NUMBER_BYTES = 9
"""The most bytes of a number of variable length."""


@dataclass(frozen=True)
class CompressedFile:
    """The content of a compressed file.

    Attributes:
        kind: `STORED`, `OWN` or `UTF8`.
        model: (8 bytes) the `model_digest`.
        original: (8 bytes) the `digest` of what was compressed.
        payload: the bits, or the stored bytes.
        answer: (4 bytes) the result of `charlm.compression.arithmetic_coding.self_test`.
        coder: version of the coder, major and minor.
        symbols, streams: N and B of `charlm.compression.arithmetic_coding`.
    """

    kind: int
    model: bytes
    original: bytes
    payload: bytes
    answer: bytes = b""
    coder: tuple[int, int] = (0, 0)
    symbols: int = 0
    streams: int = 0

    def to_bytes(self) -> bytes:
        """Write the file."""
        body = self.model + self.original
        if self.kind != STORED:
            body += self.answer + bytes(self.coder) + _number(self.symbols) + _number(self.streams)
        start = MAGIC + bytes((VERSION, self.kind))
        return start + _checksum(start, body + self.payload) + body + self.payload

    @classmethod
    def of(cls, data: bytes) -> "CompressedFile":
        """Read a file.

        Raises:
            PackedError: it is no compressed file, damaged, or from a newer charlm.
        """
        if data[:4] != MAGIC:
            raise PackedError("it is not a file that `charlm compress` wrote")
        if len(data) < FIXED_HEADER_BYTES:
            raise PackedError(f"it is cut short: {len(data)} bytes, its head alone has {FIXED_HEADER_BYTES}")
        if data[6:10] != _checksum(data[:6], data[10:]):
            raise PackedError("it is damaged: the checksum is not that of its bytes")
        if data[4] != VERSION:
            raise PackedError(f"it has version {data[4]}, this charlm {__version__} reads {VERSION}; update charlm")
        kind, model, original = data[5], data[10:18], data[18:26]
        if kind == STORED:
            return cls(kind, model, original, data[FIXED_HEADER_BYTES:])
        if kind not in (OWN, UTF8):
            raise PackedError(f"it is of the kind {kind}, and there are {STORED}, {OWN} and {UTF8}")
        if len(data) < FIXED_HEADER_BYTES + 6:
            raise PackedError("it is cut short within its head")
        symbols, offset = _read_number(data, FIXED_HEADER_BYTES + 6)
        streams, offset = _read_number(data, offset)
        if not 1 <= streams <= min(symbols, MAX_STREAMS):
            raise PackedError(f"it claims {streams:,} streams of {symbols:,} characters")
        answer, coder = data[FIXED_HEADER_BYTES:][:4], (data[FIXED_HEADER_BYTES + 4], data[FIXED_HEADER_BYTES + 5])
        return cls(kind, model, original, data[offset:], answer, coder, symbols, streams)


def model_digest(model: Model) -> bytes:
    """Eight bytes that identify a model.

    They begin a SHA-256 over the network, its vocabulary, how text is read, and the weights, as docs/compressed.md
    specifies.
    """
    description: dict[str, object] = {
        "config": [model.options.cell, model.options.activation, model.options.layers, model.options.hidden],
        "symbols": [model.vocabulary.unit, model.vocabulary.codes.tolist()],
        "reading": [model.encoding, model.line_documents],
    }
    if model.options.wiring():
        description["wiring"] = model.options.wiring()
    if model.options.direction == BACKWARD:
        description["direction"] = BACKWARD
    digest = sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(model.weights):
        digest.update(f"{name} {model.weights[name].shape}".encode())
        digest.update(model.weights[name].astype("<f4").tobytes())
    return digest.digest()[:8]


def digest(data: bytes) -> bytes:
    """The first eight bytes of the SHA-256."""
    return sha256(data).digest()[:8]


def _checksum(start: bytes, rest: bytes) -> bytes:
    return crc32(rest, crc32(start)).to_bytes(4, "little")


def _number(value: int) -> bytes:
    """A number as LEB128: seven bits a byte, the lowest first, the top bit set in all but the last."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes((*encoded, value))


def _read_number(data: bytes, offset: int) -> tuple[int, int]:
    """The number (LEB128) at an offset, and the offset of its end."""
    value = 0
    for index, byte in enumerate(data[offset : offset + MAX_NUMBER_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, offset + index + 1
    raise PackedError("a number in its head does not end")
