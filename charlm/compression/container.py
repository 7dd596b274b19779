"""The file around compressed bits: what it was made from, with what, and whether it is whole.

The bytes are laid out in docs/compressed.md. Everything in such a file is distrusted: it is checked against itself
before the network takes a step. What is left out: what the bits say (`charlm.compression.arithmetic_coding`).
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
"""Of the layout and of the arithmetic."""

STORED, OWN, UTF8 = range(3)
"""Kinds: the bytes as they are; coded, read in the encoding of the model's corpus; coded, read as UTF-8."""

FIXED_HEADER_BYTES = 26
"""Bytes before what a coded file alone has."""

MAX_STREAMS = 4096
"""Of a file; each takes memory."""

MAX_NUMBER_BYTES = 9
"""Bytes of a number that may have any length."""


@dataclass(frozen=True)
class CompressedFile:
    """What a compressed file holds.

    Attributes:
        kind: `STORED`, `OWN` or `UTF8`.
        model: (8 bytes) of `identity`.
        original: (8 bytes) the beginning of the SHA-256 of what was compressed.
        payload: the bits, or the stored bytes.
        answer: (4 bytes) of `charlm.compression.arithmetic_coding.self_test`.
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
        """The file."""
        body = self.model + self.original
        if self.kind != STORED:
            body += self.answer + bytes(self.coder) + _number(self.symbols) + _number(self.streams)
        start = MAGIC + bytes((VERSION, self.kind))
        return start + _checksum(start, body + self.payload) + body + self.payload

    @classmethod
    def of(cls, data: bytes) -> "CompressedFile":
        """Read a file.

        Raises:
            PackedError: it is none, damaged, or from a newer charlm.
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
        at = FIXED_HEADER_BYTES + 6
        symbols, at = _read_number(data, at)
        streams, at = _read_number(data, at)
        if not 1 <= streams <= min(symbols, MAX_STREAMS):
            raise PackedError(f"it claims {streams:,} streams of {symbols:,} characters")
        coder = data[FIXED_HEADER_BYTES + 4], data[FIXED_HEADER_BYTES + 5]
        return cls(
            kind, model, original, data[at:], data[FIXED_HEADER_BYTES : FIXED_HEADER_BYTES + 4], coder, symbols, streams
        )


def model_digest(model: Model) -> bytes:
    """Eight bytes that tell models apart.

    They begin a SHA-256 over the network, the symbols, how text is read, and the weights; docs/compressed.md says how.
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
    """Seven bits a byte, the lowest first, the top bit set in all but the last (LEB128)."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes((*encoded, value))


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """A number that begins at `at`, and where it ends."""
    value = 0
    for number, byte in enumerate(data[at : at + MAX_NUMBER_BYTES]):
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return value, at + number + 1
    raise PackedError("a number in its head does not end")
