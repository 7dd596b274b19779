"""Units: what one symbol is. Each is one small object, and nothing else asks which one it is.

    char    a Unicode code point; the text is decoded
    byte    a byte; the text is taken as it is
    word    a word, or a character between words (`charlm.tokenizers.word`); the text is decoded

What is left out: what a unit can do (`charlm.tokenizers.base`).
"""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from charlm.tokenizers import counts, escape, word
from charlm.tokenizers.base import Lookup, StreamDecoder, Tokenizer
from charlm.tokenizers.counts import SymbolCounts
from charlm.tokenizers.decoding import Decoding, code_points, text_of
from charlm.tokenizers.escape import CODE_POINTS, EscapeCode

BYTE_ORDER_MARK = 0xFEFF

CONTROLS = (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0))
"""Control characters but tabs and line ends."""


class CharTokenizer(Tokenizer):
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

    def of_text(self, text: str) -> np.ndarray:
        return code_points(text)

    def printer(self) -> StreamDecoder:
        return CharDecoder()

    def describe(self, code: Any) -> str:
        return f"{chr(code)!r} (U+{code:04X})"

    def text(self, code: Any) -> str:
        return chr(code)

    def written(self, code: int) -> tuple[str, ...]:
        return _as_itself(code, f"U+{code:04X}")

    def text_bytes(self, codes: np.ndarray) -> int:
        if codes.dtype == np.uint8:  # `codes` makes such arrays of ASCII alone
            return int(codes.size)
        firsts = (0x80, 0x800) if codes.dtype == np.uint16 else (0x80, 0x800, 0x10000)
        longer = (np.count_nonzero(codes >= first) for first in firsts)
        return codes.size + int(sum(longer))

    def utf8(self, codes: np.ndarray) -> bytes:
        return text_of(codes).encode("utf-8", "surrogatepass")

    def spelling(self, codes: np.ndarray) -> EscapeCode:
        return escape.code_point_escape(CODE_POINTS)

    def pack(self, codes: np.ndarray) -> str | list[Any]:
        if ((codes >= 0xD800) & (codes < 0xE000)).any():
            return [int(code) for code in codes]
        return text_of(codes)

    def unpack(self, packed: Any) -> list[Any]:
        return _numbers(packed, CODE_POINTS)


class ByteTokenizer(Tokenizer):
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

    def of_text(self, text: str) -> np.ndarray:
        try:
            # The command line hands bytes that are not UTF-8 over as escapes; they become bytes again.
            encoded = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            encoded = text.encode("utf-8", "surrogatepass")
        return np.frombuffer(encoded, np.uint8)

    def printer(self) -> StreamDecoder:
        return ByteDecoder()

    def printer_from_right(self) -> StreamDecoder:
        return ReversedByteDecoder()

    def describe(self, code: Any) -> str:
        return f"byte 0x{code:02X}"

    def text(self, code: Any) -> str:
        return chr(code) if code < 0x80 else ""

    def written(self, code: int) -> tuple[str, ...]:
        return _as_itself(code, f"0x{code:02X}") if code < 0x80 else (f"0x{code:02X}",)

    def text_bytes(self, codes: np.ndarray) -> int:
        return int(codes.size)

    def utf8(self, codes: np.ndarray) -> bytes:
        return codes.astype(np.uint8).tobytes()

    def spelling(self, codes: np.ndarray) -> EscapeCode:
        return escape.code_point_escape(0x100)

    def pack(self, codes: np.ndarray) -> str | list[Any]:
        return [int(code) for code in codes]

    def unpack(self, packed: Any) -> list[Any]:
        return _numbers(packed, 0x100)


class WordTokenizer(CharTokenizer):
    """A code is the word itself, so that no table of all words is kept; what is of characters is as with `char`."""

    name = "word"
    noun = "word"
    dtype = np.dtype(object)
    longer = True
    line_feed = "\n"
    controls = tuple(map(chr, CONTROLS))

    def cut(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return (np.array(pieces, object) for pieces in word.split_stream(map(text_of, chunks)))

    def whole(self, points: np.ndarray) -> np.ndarray:
        return np.array(word.split(text_of(points)), object)

    def of_text(self, text: str) -> np.ndarray:
        return np.array(word.split(text), object)

    def points(self, codes: np.ndarray) -> np.ndarray:
        return code_points("".join(codes.tolist()))

    def sizes(self, codes: np.ndarray) -> np.ndarray:
        return np.array([len(word) for word in codes.tolist()], np.int64)

    def characters(self, codes: np.ndarray) -> int:
        return len("".join(codes.tolist()))

    def printer(self) -> StreamDecoder:
        return WordDecoder()

    def describe(self, code: Any) -> str:
        return repr(code)

    def written(self, code: Any) -> tuple[str, ...]:
        """A word counts as written with or without the blank before it; white space by its numbers."""
        word = code.removeprefix(" ") or code
        seen = word.isprintable() and not any(letter.isspace() for letter in word)
        return (word if seen else "".join(f"U+{ord(letter):04X}" for letter in word),)

    def text(self, code: Any) -> str:
        return str(code)

    def stranger(self, codes: np.ndarray) -> Any:
        known = set(codes.tolist())
        return next(letter for letter in map(chr, range(0xFFFD, 0, -1)) if letter not in known)

    def text_bytes(self, codes: np.ndarray) -> int:
        return len(self.utf8(codes))

    def utf8(self, codes: np.ndarray) -> bytes:
        return "".join(codes.tolist()).encode("utf-8", "surrogatepass")

    def lookup(self, codes: np.ndarray, first: int, unknown: int, dtype: np.dtype[Any]) -> Lookup:
        ids = _Ids(zip(codes.tolist(), range(first, first + len(codes)), strict=True))
        ids.unknown = unknown
        return lambda found: np.fromiter(map(ids.__getitem__, found.tolist()), dtype, len(found))

    def tally(self) -> SymbolCounts:
        return counts.word_counts()

    def spelling(self, codes: np.ndarray) -> EscapeCode:
        return escape.word_escape(codes)

    def pack(self, codes: np.ndarray) -> str | list[Any]:
        return codes.tolist()

    def unpack(self, packed: Any) -> list[Any]:
        if not isinstance(packed, list) or not packed:
            raise ValueError("it has no words")
        if not all(type(word) is str and word.is_piece(word) for word in packed):
            raise ValueError("an entry is no word")
        return packed


def _numbers(packed: Any, limit: int) -> list[int]:
    codes = [ord(letter) for letter in packed] if isinstance(packed, str) else packed
    if not isinstance(codes, list) or not codes:
        raise ValueError("it has no characters")
    if not all(type(code) is int and 0 <= code < limit for code in codes):
        raise ValueError(f"a code is not a number from 0 to {limit - 1}")
    return codes


class _Ids(dict[str, int]):
    """Ids of words; that of every other word is the unknown symbol's."""

    unknown: int

    def __missing__(self, word: str) -> int:
        return self.unknown


def _as_itself(code: int, number: str) -> tuple[str, ...]:
    """A character's number, and itself where it is neither white space nor beyond showing."""
    letter = chr(code)
    return (number, letter) if letter.isprintable() and not letter.isspace() else (number,)


class CharDecoder(StreamDecoder):
    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        if len(codes) == 1 and not 0xD800 <= codes[0] < 0xE000:  # sampling comes with one at a time
            return chr(codes[0])
        return np.asarray(codes, dtype="<u4").tobytes().decode("utf-32-le", "replace")

    def flush(self) -> str:
        return ""


class ByteDecoder(StreamDecoder):
    waits = True

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        one = bytes((codes[0],)) if len(codes) == 1 else np.asarray(codes, dtype=np.uint8).tobytes()
        return self._decoder.decode(one)

    def flush(self) -> str:
        return self._decoder.decode(b"", True)


class ReversedByteDecoder(StreamDecoder):
    """Bytes from the last to the first. In UTF-8 those from 0x80 to 0xBF belong to the byte before them, and wait for
    it; a fourth one has waited in vain, as no character has more than three of them."""

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


class WordDecoder(StreamDecoder):
    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        return "".join(codes).encode("utf-32-le", "surrogatepass").decode("utf-32-le", "replace")

    def flush(self) -> str:
        return ""


TOKENIZERS: dict[str, Tokenizer] = {unit.name: unit for unit in (CharTokenizer(), ByteTokenizer(), WordTokenizer())}
"""Every unit, by the word of `--unit`."""
