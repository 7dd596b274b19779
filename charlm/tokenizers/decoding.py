"""Decoding the bytes of a document, in chunks cut anywhere, into code points.

Any text encoding of Python may be used; bytes that cannot be decoded are refused with their offset. What is left out:
what a symbol is (`charlm.tokenizers`).

The encoding of code points as one to four bytes is RFC 3629 (UTF-8).
"""

import codecs
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from charlm.errors import CorpusError

LF, CR = 10, 13
STATELESS_CODECS = {"utf-8", "ascii", "iso8859-1"}
"""Codecs without state in which a chunk of ASCII bytes is its own code points."""


class Decoding:
    """Decodes one document, and counts its bytes and lines for messages."""

    def __init__(self, encoding: str, name: str) -> None:
        self.name = name
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
        numbers = np.frombuffer(chunk, np.uint8)
        if self.codec in STATELESS_CODECS and not state[0] and chunk.isascii():
            return self._counted(numbers, numbers)
        try:
            text = self.decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise self._refusal(error, chunk, state) from None
        except UnicodeError as error:
            raise CorpusError(f"{self.name} is not {self.codec}: {error}; {_advice(self.codec)}") from None
        codes = code_points(text)
        return self._counted(codes, numbers if self.codec in STATELESS_CODECS else codes)

    def _counted(self, codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return `codes` after counting the line ends in `ends`: the codes, or the bytes of them."""
        self.line += int(np.count_nonzero(ends == LF))
        return codes

    def _refusal(self, error: UnicodeDecodeError, chunk: bytes, state: Any) -> CorpusError:
        # error.object is the bytes that the decoder kept from earlier chunks, and then this chunk.
        pending = len(error.object) - len(chunk)
        self.decoder.setstate(state)
        line = self.line + self.decoder.decode(chunk[: max(0, error.start - pending)]).count("\n")
        offset = self.bytes - len(error.object) + error.start
        return CorpusError(
            f"{self.name} is not {self.codec}: byte 0x{error.object[error.start]:02X} at offset {offset} "
            f"(counted from 0), line {line}: {error.reason}; {_advice(self.codec)}"
        )


def _advice(codec: str) -> str:
    return (
        f"charlm prepare takes the text's encoding by --encoding, or its bytes as they are by --unit byte; for other "
        f"commands make it {codec}, as iconv can"
    )


def text_encoding(name: str) -> str:
    """The codec of an encoding's name, one that keeps a byte order mark.

    Raises:
        CorpusError: Python has no text encoding of that name.
    """
    try:
        b"a".decode(name)
    except (LookupError, ValueError) as error:
        # A multi-byte encoding rejects a single byte, but it is known.
        if not isinstance(error, UnicodeDecodeError):
            raise CorpusError(
                f"--encoding {name!r} is not a text encoding that Python knows; "
                f"try utf-8, utf-16, latin-1, cp1252, shift_jis or gb18030"
            ) from None
    codec = codecs.lookup(name).name
    return "utf-8" if codec == "utf-8-sig" else codec


def code_points(text: str) -> np.ndarray:
    """The code points (T,) of a string, lone surrogates included; of a long one as uint16 if all fit."""
    # Python stores four bytes for each character of a string if one of them needs more than two (PEP 393).
    if sys.getsizeof(text) < 4 * len(text):
        return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(points: np.ndarray) -> str:
    """The string of code points (T,), lone surrogates included."""
    if points.dtype == np.uint8:
        return points.tobytes().decode("latin-1")
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
