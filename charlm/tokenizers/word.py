"""Words: where a text is cut into them.

A word is a run of 1 to 40 letters, marks, digits and underscores with the one space or apostrophe before it, if there
is one; a longer run is cut after each 40. Spaces that do not belong to a word are one piece, up to 40 of them. Every
other character is a piece by itself, also each of a script that puts no spaces between its words. So joining the
pieces gives back any text, and where a piece ends hangs on the character after it alone: a text that comes in chunks
is cut as one that comes whole.

What a letter, a mark or a digit is, Unicode 3.2 says (2002), which is in every Python and does not change; what is
younger is cut into its characters. What is left out: which words a model knows (`charlm.tokenizers.vocabulary`).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

MAX_WORD_LENGTH = 40
"""Characters of a run."""

JOINS_NEXT_WORD = " '’"
"""What may stand before a run, once."""

UNSPACED_SCRIPTS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0xABFF))
"""Thai and Lao, Burmese, Khmer, and the ideographs and syllables of East Asia: scripts without spaces."""

LAST_CODE_POINT = 0xFFFF
"""No character beyond is part of a word."""


def split(text: str) -> list[str]:
    """The pieces of a text; together they are the text."""
    return _pattern().findall(text)


def split_stream(texts: Iterable[str]) -> Iterator[list[str]]:
    """The pieces of a text that comes in chunks, as soon as they are certain; no list is empty."""
    held = ""
    for text in texts:
        # More text can change the last piece only: whatever follows another one is there already.
        *pieces, held = split(held + text) or [""]
        if pieces:
            yield pieces
    if held:
        yield [held]


def is_token(text: str) -> bool:
    """Whether a text is one piece when it stands alone, as each entry of a dictionary is."""
    return len(split(text)) == 1


@cache
def _pattern() -> re.Pattern[str]:
    letter = f"[{_ranges()}]"
    return re.compile(
        rf"[{JOINS_NEXT_WORD}]?{letter}{{1,{MAX_WORD_LENGTH}}}| {{1,{MAX_WORD_LENGTH}}}(?!{letter})|.", re.DOTALL
    )


def _ranges() -> str:
    """The characters of words as ranges of a character class."""
    found: list[list[int]] = []
    for code in range(LAST_CODE_POINT + 1):
        if _is_letter(code):
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in found)


def _is_letter(code: int) -> bool:
    if code == ord("_"):
        return True
    apart = any(first <= code <= last for first, last in UNSPACED_SCRIPTS)
    return not apart and unicodedata.ucd_3_2_0.category(chr(code))[0] in "LMN"
