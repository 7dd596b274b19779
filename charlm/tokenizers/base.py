"""The interface of tokenizers.

A tokenizer turns streamed bytes into arrays of *codes* (code points, bytes, or the words themselves) and codes back
into text. What is left out: the tokenizers themselves (`charlm.tokenizers`), and the ids of a model, which depend on
the corpus (`charlm.tokenizers.vocabulary`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from charlm.tokenizers import counts
from charlm.tokenizers.counts import SymbolCounts
from charlm.tokenizers.decoding import LF
from charlm.tokenizers.escape import EscapeCode

Lookup = Callable[[np.ndarray], np.ndarray]
"""From codes (T,) to ids (T,)."""


class StreamDecoder(ABC):
    """Turns codes into text as they come; an incomplete character waits for the next call.

    Attributes:
        waits: whether a character can be incomplete; if not, the text of a code does not depend on its context.
    """

    waits: ClassVar[bool] = False

    @abstractmethod
    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        """The text that `codes` (T,) complete."""

    @abstractmethod
    def flush(self) -> str:
        """The text of the codes that still wait, an incomplete character as U+FFFD."""


class ReversedDecoder(StreamDecoder):
    """Turns the codes of a text, the last one first, into its letters, the last one first.

    Args:
        decoder: of a tokenizer each of whose codes is one or more complete letters.
    """

    def __init__(self, decoder: StreamDecoder) -> None:
        self._decoder = decoder

    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        """The letters of `codes` (T,), those of each code in reverse."""
        return "".join(self._decoder.feed([code])[::-1] for code in codes)

    def flush(self) -> str:
        """Nothing: no letter waits for another code."""
        return self._decoder.flush()


class Tokenizer(ABC):
    """One kind of symbol.

    Attributes:
        name: the word of `--unit`.
        noun: what one symbol is called in messages, without its plural s.
        dtype: of arrays of codes.
        decodes: whether the encoding of the text matters.
        longer: whether a symbol may have several characters.
        line_feed: the code of a line's end.
        controls: control characters, which are rarely intended in a text; tabs and line ends are not among them.
    """

    name: str
    noun: str
    dtype: np.dtype[Any] = np.dtype(np.uint32)
    decodes: bool
    longer = False
    line_feed: int | str = LF
    controls: tuple[int | str, ...]

    @abstractmethod
    def codes(
        self, chunks: Iterable[bytes], *, encoding: str, where: str, on_mark: Callable[[], None] | None = None
    ) -> Iterator[np.ndarray]:
        """Turn the bytes of one document, in chunks cut anywhere, into code points, or keep them as bytes.

        Args:
            chunks: the document's bytes.
            encoding: any of Python's text encodings.
            where: the document's name, for messages.
            on_mark: called when a leading byte order mark is removed.

        Yields:
            Arrays (T,), T > 0, of uint32, or of uint16 or uint8 if all codes of the chunk fit.

        Raises:
            CorpusError: the encoding is unknown, or bytes cannot be decoded; offset and line are named.
        """

    def split(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Split the output of `codes`, in chunks cut anywhere, into the codes of symbols."""
        return iter(chunks)

    def merge(self, points: np.ndarray) -> np.ndarray:
        """Split the output of `codes` for a complete text into the codes of symbols."""
        return points

    @abstractmethod
    def encode_text(self, text: str) -> np.ndarray:
        """The codes (T,) of a text that is already decoded."""

    def points(self, codes: np.ndarray) -> np.ndarray:
        """The code points (or bytes) that the symbols (T,) are made of."""
        return codes

    def sizes(self, codes: np.ndarray) -> np.ndarray:
        """(T,) the number of characters of each symbol (bytes: 1)."""
        return np.ones(len(codes), np.int64)

    def characters(self, codes: np.ndarray) -> int:
        """The characters (or bytes) of the symbols (T,) together."""
        return int(codes.size)

    @abstractmethod
    def decoder(self) -> StreamDecoder:
        """A new decoder from codes to text."""

    def reversed_decoder(self) -> StreamDecoder:
        """A new decoder for codes of which the last of a text comes first (`ReversedDecoder`)."""
        return ReversedDecoder(self.decoder())

    @abstractmethod
    def describe(self, code: Any) -> str:
        """One code for a message: `'é' (U+00E9)`, `byte 0xE9`, `' word'`."""

    @abstractmethod
    def written(self, code: Any) -> tuple[str, ...]:
        """How a file of vectors may write one code (`charlm.data.word2vec`): its number, or itself if it is visible."""

    @abstractmethod
    def text(self, code: Any) -> str:
        """The text of one symbol; empty for a byte that is not a character by itself."""

    def first_invalid(self, codes: np.ndarray) -> Any:
        """The first code that is not among `codes` (V - 2,)."""
        return next((code for code, known in enumerate(codes.tolist()) if code != known), len(codes))

    @abstractmethod
    def text_bytes(self, codes: np.ndarray) -> int:
        """How many bytes the text of `codes` (T,) takes in UTF-8 (bytes: as they are)."""

    @abstractmethod
    def utf8(self, codes: np.ndarray) -> bytes:
        """The text of `codes` (T,) in UTF-8 (bytes: as they are)."""

    def lookup(self, codes: np.ndarray, first: int, unknown: int, dtype: np.dtype[Any]) -> Lookup:
        """Make the function from codes to the ids of a vocabulary.

        Args:
            codes: (V - 2,) of the vocabulary, in rising order.
            first: the id of the first.
            unknown: the id of every other code.
            dtype: of ids.
        """
        # The table is long enough for any byte; its last entry is used for all codes above.
        highest = int(codes[-1]) if codes.size else 0
        table = np.full(max(257, highest + 2), unknown, dtype)
        table[codes] = np.arange(first, first + codes.size, dtype=dtype)
        return lambda text: table.take(text, mode="clip")

    def symbol_counts(self) -> SymbolCounts:
        """New counts of symbols."""
        return counts.code_counts()

    @abstractmethod
    def escape_code(self, codes: np.ndarray) -> EscapeCode:
        """The code for symbols outside the vocabulary `codes` (V - 2,)."""

    @abstractmethod
    def pack(self, codes: np.ndarray) -> str | list[Any]:
        """`codes` (T,) in the shortest readable form in JSON."""

    @abstractmethod
    def unpack(self, packed: Any) -> list[Any]:
        """The codes of a value that `pack` made, which is not trusted; their order is not checked.

        Raises:
            ValueError: it is damaged; the message tells what is wrong.
        """


def unpack_codes(packed: Any, limit: int) -> list[int]:
    """The codes that `Tokenizer.pack` wrote, each below `limit`.

    Raises:
        ValueError: it is not a string or list of such codes.
    """
    codes = [ord(letter) for letter in packed] if isinstance(packed, str) else packed
    if not isinstance(codes, list) or not codes:
        raise ValueError("it has no characters")
    if not all(type(code) is int and 0 <= code < limit for code in codes):
        raise ValueError(f"a code is not a number from 0 to {limit - 1}")
    return codes


def name_code(code: int, number: str) -> tuple[str, ...]:
    """A character's number, and itself if it is printable and not white space."""
    letter = chr(code)
    return (number, letter) if letter.isprintable() and not letter.isspace() else (number,)
