"""Bytes: a symbol is a byte, and the text is taken as it is."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from charlm.tokenizers.base import StreamDecoder, Tokenizer, name_code, unpack_codes
from charlm.tokenizers.escape import EscapeCode, code_point_escape


class ByteTokenizer(Tokenizer):
    """Bytes of a text in any encoding."""

    name = "byte"
    noun = "byte"
    decodes = False
    controls = (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)

    def codes(
        self, chunks: Iterable[bytes], *, encoding: str, where: str, on_mark: Callable[[], None] | None = None
    ) -> Iterator[np.ndarray]:
        for chunk in chunks:
            if chunk:
                yield np.frombuffer(chunk, np.uint8)

    def encode_text(self, text: str) -> np.ndarray:
        try:
            # The command line hands bytes that are not UTF-8 over as escapes; they become bytes again.
            encoded = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            encoded = text.encode("utf-8", "surrogatepass")
        return np.frombuffer(encoded, np.uint8)

    def decoder(self) -> StreamDecoder:
        return ByteDecoder()

    def reversed_decoder(self) -> StreamDecoder:
        return ReversedByteDecoder()

    def describe(self, code: Any) -> str:
        return f"byte 0x{code:02X}"

    def text(self, code: Any) -> str:
        return chr(code) if code < 0x80 else ""

    def written(self, code: int) -> tuple[str, ...]:
        return name_code(code, f"0x{code:02X}") if code < 0x80 else (f"0x{code:02X}",)

    def text_bytes(self, codes: np.ndarray) -> int:
        return int(codes.size)

    def utf8(self, codes: np.ndarray) -> bytes:
        return codes.astype(np.uint8).tobytes()

    def escape_code(self, codes: np.ndarray) -> EscapeCode:
        return code_point_escape(0x100)

    def pack(self, codes: np.ndarray) -> str | list[Any]:
        return [int(code) for code in codes]

    def unpack(self, packed: Any) -> list[Any]:
        return unpack_codes(packed, 0x100)


class ByteDecoder(StreamDecoder):
    """Bytes as UTF-8; the bytes of an incomplete character wait."""

    waits = True

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        data = bytes((codes[0],)) if len(codes) == 1 else np.asarray(codes, dtype=np.uint8).tobytes()
        return self._decoder.decode(data)

    def flush(self) -> str:
        return self._decoder.decode(b"", True)


class ReversedByteDecoder(StreamDecoder):
    """Bytes of UTF-8 from the last to the first.

    Those from 0x80 to 0xBF belong to a character whose first byte precedes them, and wait for it. No character has
    more than three of them, so the fourth makes the first invalid.
    """

    waits = True

    def __init__(self) -> None:
        self._waiting: list[int] = []

    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        text = ""
        for code in codes:
            self._waiting.append(int(code))
            if not 0x80 <= code < 0xC0:
                text += self.flush()
            elif len(self._waiting) > 3:
                del self._waiting[0]
                text += "\ufffd"
        return text

    def flush(self) -> str:
        text = bytes(reversed(self._waiting)).decode("utf-8", "replace")
        self._waiting = []
        return text[::-1]
