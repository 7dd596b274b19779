"""Words: a symbol is a word, or a character between words; the text is decoded.

A word is a run of 1 to 40 letters, marks, digits and underscores with the one space or apostrophe before it, if there
is one; a longer run is cut after each 40. Spaces that do not belong to a word are one token, up to 40 of them. Every
other character is a token by itself, also each of a script that puts no spaces between its words. So the tokens joined
are the text, and the end of a token depends on the character after it alone: a text in chunks is split as a text in
one.

Letters, marks and digits are those of Unicode 3.2 (2002), which every Python has and which does not change; newer
ones are tokens by themselves. What is left out: which words a model knows (`charlm.tokenizers.vocabulary`).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from charlm.tokenizers.base import Lookup, StreamDecoder
from charlm.tokenizers.char import CONTROLS, CharTokenizer
from charlm.tokenizers.counts import SymbolCounts, word_counts
from charlm.tokenizers.decoding import code_points, text_of
from charlm.tokenizers.escape import EscapeCode, word_escape

MAX_WORD_LENGTH = 40
"""Characters of the longest run."""

JOINS_NEXT_WORD = " '’"
"""Characters of which one may precede a run."""

UNSPACED_SCRIPTS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0xABFF))
"""Thai and Lao, Burmese, Khmer, and the ideographs and syllables of East Asia: scripts without spaces."""

LAST_WORD_CODE_POINT = 0xFFFF
"""Characters beyond it are not part of words."""


class WordTokenizer(CharTokenizer):
    """Words. A code is the word itself, so that no list of all words is needed; the text is decoded as for `char`."""

    name = "word"
    noun = "word"
    dtype = np.dtype(object)
    longer = True
    line_feed = "\n"
    controls = tuple(map(chr, CONTROLS))

    def split(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return (np.array(words, object) for words in split_stream(map(text_of, chunks)))

    def merge(self, points: np.ndarray) -> np.ndarray:
        return np.array(split_words(text_of(points)), object)

    def encode_text(self, text: str) -> np.ndarray:
        return np.array(split_words(text), object)

    def points(self, codes: np.ndarray) -> np.ndarray:
        return code_points("".join(codes.tolist()))

    def sizes(self, codes: np.ndarray) -> np.ndarray:
        return np.array([len(word) for word in codes.tolist()], np.int64)

    def characters(self, codes: np.ndarray) -> int:
        return len("".join(codes.tolist()))

    def decoder(self) -> StreamDecoder:
        return WordDecoder()

    def describe(self, code: Any) -> str:
        return repr(code)

    def written(self, code: Any) -> tuple[str, ...]:
        """A word counts as written with or without the blank before it; white space by its numbers."""
        word = code.removeprefix(" ") or code
        visible = word.isprintable() and not any(letter.isspace() for letter in word)
        return (word if visible else "".join(f"U+{ord(letter):04X}" for letter in word),)

    def text(self, code: Any) -> str:
        return str(code)

    def first_invalid(self, codes: np.ndarray) -> Any:
        known = set(codes.tolist())
        return next(letter for letter in map(chr, range(0xFFFD, 0, -1)) if letter not in known)

    def text_bytes(self, codes: np.ndarray) -> int:
        return len(self.utf8(codes))

    def utf8(self, codes: np.ndarray) -> bytes:
        return "".join(codes.tolist()).encode("utf-8", "surrogatepass")

    def lookup(self, codes: np.ndarray, first: int, unknown: int, dtype: np.dtype[Any]) -> Lookup:
        ids = _Ids(zip(codes.tolist(), range(first, first + len(codes)), strict=True))
        ids.unknown = unknown
        return lambda text: np.fromiter(map(ids.__getitem__, text.tolist()), dtype, len(text))

    def symbol_counts(self) -> SymbolCounts:
        return word_counts()

    def escape_code(self, codes: np.ndarray) -> EscapeCode:
        return word_escape(codes)

    def pack(self, codes: np.ndarray) -> str | list[Any]:
        return codes.tolist()

    def unpack(self, packed: Any) -> list[Any]:
        if not isinstance(packed, list) or not packed:
            raise ValueError("it has no words")
        if not all(type(word) is str and is_token(word) for word in packed):
            raise ValueError("an entry is no word")
        return packed


class _Ids(dict[str, int]):
    """Ids of words; every other word has the id of the unknown symbol."""

    unknown: int

    def __missing__(self, word: str) -> int:
        return self.unknown


class WordDecoder(StreamDecoder):
    """Words as text, joined without anything between them."""

    def feed(self, codes: Sequence[Any] | np.ndarray) -> str:
        return "".join(codes).encode("utf-32-le", "surrogatepass").decode("utf-32-le", "replace")

    def flush(self) -> str:
        return ""


def split_words(text: str) -> list[str]:
    """The tokens of a text; joined they are the text."""
    return _pattern().findall(text)


def split_stream(texts: Iterable[str]) -> Iterator[list[str]]:
    """The tokens of a text in chunks, as soon as they are certain; no list is empty."""
    last = ""
    for text in texts:
        # More text can change the last token only, as the character after every other token is known.
        *words, last = split_words(last + text) or [""]
        if words:
            yield words
    if last:
        yield [last]


def is_token(text: str) -> bool:
    """Whether a text is one token, as each entry of a vocabulary is."""
    return len(split_words(text)) == 1


@cache
def _pattern() -> re.Pattern[str]:
    letter = f"[{_ranges()}]"
    return re.compile(
        rf"[{JOINS_NEXT_WORD}]?{letter}{{1,{MAX_WORD_LENGTH}}}| {{1,{MAX_WORD_LENGTH}}}(?!{letter})|.", re.DOTALL
    )


def _ranges() -> str:
    """The characters of words as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in range(LAST_WORD_CODE_POINT + 1):
        if _is_letter(code):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in ranges)


def _is_letter(code: int) -> bool:
    if code == ord("_"):
        return True
    unspaced = any(first <= code <= last for first, last in UNSPACED_SCRIPTS)
    return not unspaced and unicodedata.ucd_3_2_0.category(chr(code))[0] in "LMN"
