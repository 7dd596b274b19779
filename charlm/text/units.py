"""Units: what one symbol is. Each is one small object, and nothing else asks which one it is.

    char    a Unicode code point; the text is decoded
    byte    a byte; the text is taken as it is

A unit turns streamed bytes into arrays of *codes* (code points or bytes) and codes back into text.
What is left out: the ids of a model, which depend on the corpus (`charlm.text.symbols`).

The encoding of code points as one to four bytes is RFC 3629 (UTF-8).
"""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from charlm.errors import CorpusError

LF, CR = 10, 13
BYTE_ORDER_MARK = 0xFEFF
EXTENDS_ASCII = {"utf-8", "ascii", "iso8859-1"}
"""Codecs without state in which a chunk of ASCII bytes is its own code points."""


class Printer(ABC):
    """Turns codes into text as they come; what is still incomplete waits for the next call."""

    @abstractmethod
    def feed(self, codes: Sequence[int] | np.ndarray) -> str:
        """The text that `codes` (T,) complete."""

    @abstractmethod
    def flush(self) -> str:
        """What is left when nothing more comes, an incomplete sequence as U+FFFD."""


class Unit(ABC):
    """One kind of symbol.

    Attributes:
        name: the word of `--unit`.
        noun: what one symbol is called in messages, without its plural s.
        limit: every code is below it.
        decodes: whether the encoding of the text matters.
        controls: codes that a text hardly contains on purpose; tabs and line ends are not among them.
    """

    name: str
    noun: str
    limit: int
    decodes: bool
    controls: tuple[int, ...]

    @abstractmethod
    def codes(
        self, chunks: Iterable[bytes], *, encoding: str, where: str, on_mark: Callable[[], None] | None = None
    ) -> Iterator[np.ndarray]:
        """Turn the bytes of one document, in chunks cut anywhere, into codes.

        Args:
            chunks: the document's bytes.
            encoding: any of Python's text encodings.
            where: the document's name, for messages.
            on_mark: called when a leading byte order mark is removed.

        Yields:
            Arrays (T,), T > 0, of uint32, or of uint8 where all codes of the chunk fit.

        Raises:
            CorpusError: the encoding is unknown, or bytes cannot be decoded; offset and line are named.
        """

    @abstractmethod
    def of_text(self, text: str) -> np.ndarray:
        """The codes (T,) of a text that is already decoded."""

    @abstractmethod
    def printer(self) -> Printer:
        """A new stream from codes to text."""

    @abstractmethod
    def describe(self, code: int) -> str:
        """One code for a message: `'é' (U+00E9)` or `byte 0xE9`."""

    def written(self, code: int) -> tuple[str, ...]:
        """How a file of vectors may write one code (`charlm.text.embeddings`): its number, itself where it is seen."""
        return (self.describe(code),)

    @abstractmethod
    def text_bytes(self, codes: np.ndarray) -> int:
        """How many bytes the text of `codes` (T,) takes in UTF-8 (bytes: as they are)."""

    @abstractmethod
    def utf8(self, codes: np.ndarray) -> bytes:
        """The text of `codes` (T,) in UTF-8 (bytes: as they are)."""

    @abstractmethod
    def pack(self, codes: np.ndarray) -> str | list[int]:
        """`codes` (T,) in the shortest readable form that JSON has."""


class _Char(Unit):
    name = "char"
    noun = "character"
    limit = 0x110000
    decodes = True
    controls = (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0))

    def codes(
        self, chunks: Iterable[bytes], *, encoding: str, where: str, on_mark: Callable[[], None] | None = None
    ) -> Iterator[np.ndarray]:
        decoding = _Decoding(encoding, where)
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
        return _code_points(text)

    def printer(self) -> Printer:
        return _CharPrinter()

    def describe(self, code: int) -> str:
        return f"{chr(code)!r} (U+{code:04X})"

    def written(self, code: int) -> tuple[str, ...]:
        return _as_itself(code, f"U+{code:04X}")

    def text_bytes(self, codes: np.ndarray) -> int:
        if codes.dtype == np.uint8:  # `codes` makes such arrays of ASCII alone
            return int(codes.size)
        longer = (np.count_nonzero(codes >= first) for first in (0x80, 0x800, 0x10000))
        return codes.size + int(sum(longer))

    def utf8(self, codes: np.ndarray) -> bytes:
        return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass").encode("utf-8", "surrogatepass")

    def pack(self, codes: np.ndarray) -> str | list[int]:
        if ((codes >= 0xD800) & (codes < 0xE000)).any():
            return [int(code) for code in codes]
        return codes.astype("<u4").tobytes().decode("utf-32-le")


class _Byte(Unit):
    name = "byte"
    noun = "byte"
    limit = 0x100
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

    def printer(self) -> Printer:
        return _BytePrinter()

    def describe(self, code: int) -> str:
        return f"byte 0x{code:02X}"

    def written(self, code: int) -> tuple[str, ...]:
        return _as_itself(code, f"0x{code:02X}") if code < 0x80 else (f"0x{code:02X}",)

    def text_bytes(self, codes: np.ndarray) -> int:
        return int(codes.size)

    def utf8(self, codes: np.ndarray) -> bytes:
        return codes.astype(np.uint8).tobytes()

    def pack(self, codes: np.ndarray) -> str | list[int]:
        return [int(code) for code in codes]


def _as_itself(code: int, number: str) -> tuple[str, ...]:
    """A character's number, and itself where it is neither white space nor beyond showing."""
    letter = chr(code)
    return (number, letter) if letter.isprintable() and not letter.isspace() else (number,)


class _CharPrinter(Printer):
    def feed(self, codes: Sequence[int] | np.ndarray) -> str:
        if len(codes) == 1 and not 0xD800 <= codes[0] < 0xE000:  # sampling comes with one at a time
            return chr(codes[0])
        return np.asarray(codes, dtype="<u4").tobytes().decode("utf-32-le", "replace")

    def flush(self) -> str:
        return ""


class _BytePrinter(Printer):
    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, codes: Sequence[int] | np.ndarray) -> str:
        one = bytes((codes[0],)) if len(codes) == 1 else np.asarray(codes, dtype=np.uint8).tobytes()
        return self._decoder.decode(one)

    def flush(self) -> str:
        return self._decoder.decode(b"", True)


class _Decoding:
    """One document being decoded, with the place that has been reached."""

    def __init__(self, encoding: str, where: str) -> None:
        self.where = where
        self.codec = text_encoding(encoding)
        self.decoder = codecs.getincrementaldecoder(self.codec)()
        self.bytes = 0
        self.line = 1

    def arrays(self, chunks: Iterable[bytes]) -> Iterator[np.ndarray]:
        """The code points of `chunks`, in arrays that are never empty."""
        for chunk in chunks:
            codes = self._decode(chunk, final=False)
            if codes.size:
                yield codes
        codes = self._decode(b"", final=True)
        if codes.size:
            yield codes

    def _decode(self, chunk: bytes, *, final: bool) -> np.ndarray:
        state = self.decoder.getstate()
        self.bytes += len(chunk)
        if self.codec in EXTENDS_ASCII and not state[0] and chunk.isascii():
            return self._counted(np.frombuffer(chunk, np.uint8))
        try:
            text = self.decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise self._refusal(error, chunk, state) from None
        except UnicodeError as error:
            raise CorpusError(f"{self.where} is not {self.codec}: {error}; {_ADVICE}") from None
        return self._counted(_code_points(text))

    def _counted(self, codes: np.ndarray) -> np.ndarray:
        self.line += int(np.count_nonzero(codes == LF))
        return codes

    def _refusal(self, error: UnicodeDecodeError, chunk: bytes, state: Any) -> CorpusError:
        # What the decoder held back from earlier chunks stands before this one in error.object.
        held = len(error.object) - len(chunk)
        self.decoder.setstate(state)
        line = self.line + self.decoder.decode(chunk[: max(0, error.start - held)]).count("\n")
        offset = self.bytes - len(error.object) + error.start
        return CorpusError(
            f"{self.where} is not {self.codec}: byte 0x{error.object[error.start]:02X} at offset {offset} "
            f"(counted from 0), line {line}: {error.reason}; {_ADVICE}"
        )


_ADVICE = "name the text's encoding with --encoding, or take its bytes as they are with --unit byte"


def text_encoding(name: str) -> str:
    """The codec that an encoding's name stands for, a byte order mark left to us.

    Raises:
        CorpusError: Python has no text encoding of that name.
    """
    try:
        b"a".decode(name)
    except (LookupError, ValueError) as error:
        # A multi-byte encoding rejects a lone byte, and is known all the same.
        if not isinstance(error, UnicodeDecodeError):
            raise CorpusError(
                f"--encoding {name!r} is not a text encoding that Python knows; "
                f"try utf-8, utf-16, latin-1, cp1252, shift_jis or gb18030"
            ) from None
    codec = codecs.lookup(name).name
    return "utf-8" if codec == "utf-8-sig" else codec


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


UNITS: dict[str, Unit] = {unit.name: unit for unit in (_Char(), _Byte())}
"""Every unit, by the word of `--unit`."""
