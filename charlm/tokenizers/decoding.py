"""Bytes of a document, in chunks cut anywhere, as code points.

Any text encoding that Python knows will do; what cannot be decoded is refused with its place. What is left out: what
a symbol is (`charlm.tokenizers`).

The encoding of code points as one to four bytes is RFC 3629 (UTF-8).
"""

import codecs
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from charlm.errors import CorpusError

LF, CR = 10, 13
EXTENDS_ASCII = {"utf-8", "ascii", "iso8859-1"}
"""Codecs without state in which a chunk of ASCII bytes is its own code points."""


class Decoding:
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
        numbers = np.frombuffer(chunk, np.uint8)
        if self.codec in EXTENDS_ASCII and not state[0] and chunk.isascii():
            return self._counted(numbers, numbers)
        try:
            text = self.decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise self._refusal(error, chunk, state) from None
        except UnicodeError as error:
            raise CorpusError(f"{self.where} is not {self.codec}: {error}; {_advice(self.codec)}") from None
        codes = code_points(text)
        return self._counted(codes, numbers if self.codec in EXTENDS_ASCII else codes)

    def _counted(self, codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The codes, when their lines were counted in `ends`: they, or the bytes that they are made of."""
        self.line += int(np.count_nonzero(ends == LF))
        return codes

    def _refusal(self, error: UnicodeDecodeError, chunk: bytes, state: Any) -> CorpusError:
        # What the decoder held back from earlier chunks stands before this one in error.object.
        held = len(error.object) - len(chunk)
        self.decoder.setstate(state)
        line = self.line + self.decoder.decode(chunk[: max(0, error.start - held)]).count("\n")
        offset = self.bytes - len(error.object) + error.start
        return CorpusError(
            f"{self.where} is not {self.codec}: byte 0x{error.object[error.start]:02X} at offset {offset} "
            f"(counted from 0), line {line}: {error.reason}; {_advice(self.codec)}"
        )


def _advice(codec: str) -> str:
    return (
        f"charlm prepare takes the text's encoding by --encoding, or its bytes as they are by --unit byte; for other "
        f"commands make it {codec}, as iconv can"
    )


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


def code_points(text: str) -> np.ndarray:
    """The code points (T,) of a text, halves of surrogate pairs included; a long one's in two bytes each if all fit."""
    # Python has four bytes for each character of a text where one of them needs more than two (PEP 393).
    if sys.getsizeof(text) < 4 * len(text):
        return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(points: np.ndarray) -> str:
    """The text of code points (T,), halves of surrogate pairs included."""
    if points.dtype == np.uint8:
        return points.tobytes().decode("latin-1")
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
