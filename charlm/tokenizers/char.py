"""Characters: a symbol is a Unicode code point, and the text is decoded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from charlm.tokenizers.base import StreamDecoder, Tokenizer, name_code, unpack_codes
from charlm.tokenizers.decoding import Decoding, code_points, text_of
from charlm.tokenizers.escape import CODE_POINTS, EscapeCode, code_point_escape

BYTE_ORDER_MARK = 0xFEFF

CONTROLS = (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0))
"""Control characters without tabs and line ends."""


class CharTokenizer(Tokenizer):
    """Code points of the decoded text, without a byte order mark."""

    name = "char"
    noun = "character"
    decodes = True
    controls: tuple[int | str, ...] = CONTROLS

    def codes(
        self, chunks: Iterable[bytes], *, encoding: str, where: str, on_mark: Callable[[], None] | None = None
    ) -> Iterator[np.ndarray]:
        decoding = Decoding(encoding, where)
        at_start = True
        for codes in decoding.arrays(chunks):
            if at_start and codes[0] == BYTE_ORDER_MARK:
                codes = codes[1:]
                if on_mark is not None:
                    on_mark()
            at_start = False
            if codes.size:
                yield codes

    def encode_text(self, text: str) -> np.ndarray:
        return code_points(text)

    def decoder(self) -> StreamDecoder:
        return CharDecoder()

    def describe(self, code: Any) -> str:
        return f"{chr(code)!r} (U+{code:04X})"

    def text(self, code: Any) -> str:
        return chr(code)

    def written(self, code: int) -> tuple[str, ...]:
        return name_code(code, f"U+{code:04X}")

    def text_bytes(self, codes: np.ndarray) -> int:
        if codes.dtype == np.uint8:  # `codes` makes such arrays of ASCII alone
            return int(codes.size)
        firsts = (0x80, 0x800) if codes.dtype == np.uint16 else (0x80, 0x800, 0x10000)
        return codes.size + int(sum(np.count_nonzero(codes >= first) for first in firsts))

    def utf8(self, codes: np.ndarray) -> bytes:
        return text_of(codes).encode("utf-8", "surrogatepass")

    def escape_code(self, codes: np.ndarray) -> EscapeCode:
        return code_point_escape(CODE_POINTS)

    def pack(self, codes: np.ndarray) -> str | list[Any]:
        if ((codes >= 0xD800) & (codes < 0xE000)).any():
            return [int(code) for code in codes]
        return text_of(codes)

    def unpack(self, packed: Any) -> list[Any]:
        return unpack_codes(packed, CODE_POINTS)


class CharDecoder(StreamDecoder):
    """Code points as text; a surrogate becomes the replacement character."""

    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        if len(codes) == 1 and not 0xD800 <= codes[0] < 0xE000:  # sampling decodes one at a time
            return chr(codes[0])
        return np.asarray(codes, dtype="<u4").tobytes().decode("utf-32-le", "replace")

    def flush(self) -> str:
        return ""
