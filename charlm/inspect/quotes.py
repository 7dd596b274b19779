"""Which characters of a text stand inside quotes and comments, by one rule for prose and program text.

An opening mark stands where no letter, digit, underscore or backslash stands before it, so that the
apostrophes of *don't* and *dogs'* open nothing; the prefixes of Python's strings, as in `rb'…'`, may stand
there. A quote closes at the next mark of its kind; behind a backslash a straight mark is none.

    '…' and ‘…’          within a line; a mark before a letter is an apostrophe and closes nothing
    "…" and “…”          up to an empty line, as prose breaks its lines within quotes
    \"\"\"…\"\"\" and '''…'''  across everything, to the document's end where they are not closed
    # …                  to the line's end, outside quotes: the comment of Python, shells, TOML and YAML

What is not closed in time was no quote. What is left out: comments of other languages, and nested quotes,
which belong to the outer one.
"""

import re
from collections.abc import Iterable

import numpy as np

OUTSIDE, DOUBLE, SINGLE, TRIPLE, COMMENT = range(5)
"""What a character can stand in."""

_FREE = r"(?:(?<![\w\\])|(?<=(?<![\w\\])[rRbBuUfF])|(?<=(?<![\w\\])[rRbBuUfF]{2}))"
_OPENING = re.compile(rf"#|{_FREE}(?:\"\"\"|'''|[\"'“‘])")
_LINE_END = re.compile(r"[\n\r]")
_EMPTY_LINE = re.compile(r"\n[ \t\r]*\n|\r[ \t]*\r")

# What follows an opening mark up to the end of its closing one. The repetitions give nothing back once they
# have it (possessive), so that a text made for it cannot make the search slow.
_REST = {
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*+"""', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*+'''", re.DOTALL),
    '"': re.compile(r'(?:[^"\\]|\\.)*+"', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.|'(?=\w))*+'", re.DOTALL),
    "“": re.compile(r"[^”]*+”"),
    "‘": re.compile(r"(?:[^’]|’(?=\w))*+’"),
}
_KINDS = {'"': DOUBLE, "“": DOUBLE, "'": SINGLE, "‘": SINGLE, '"""': TRIPLE, "'''": TRIPLE}


def regions(text: str, documents: Iterable[tuple[int, int]]) -> np.ndarray:
    """(N,) what each character stands in.

    An opening mark counts as inside, and the last mark that closes as outside; so does a comment's line end.

    Args:
        text: N characters.
        documents: where each begins and ends; nothing reaches from one into the next.
    """
    marks = np.zeros(len(text), np.uint8)
    for start, end in documents:
        _mark(text, start, end, marks)
    return marks


def _mark(text: str, start: int, end: int, marks: np.ndarray) -> None:
    """Mark the quotes and comments of one document."""
    limits = {SINGLE: _Limit(text, end, _LINE_END), DOUBLE: _Limit(text, end, _EMPTY_LINE)}
    hopeless: dict[str, int] = {}  # up to where there is no closing mark, by opening mark
    at = start
    while (opening := _OPENING.search(text, at, end)) is not None:
        first, at, mark = opening.start(), opening.end(), opening.group()
        if mark == "#":
            at = limits[SINGLE].after(first)
            marks[first:at] = COMMENT
            continue
        kind = _KINDS[mark]
        limit = end if kind == TRIPLE else limits[kind].after(first)
        if first < hopeless.get(mark, start):
            continue
        closing = _REST[mark].match(text, at, limit)
        if closing is not None:
            at = closing.end()
            marks[first : at - 1] = kind
        elif kind == TRIPLE:
            marks[first:end] = kind
            return
        else:
            hopeless[mark] = limit


class _Limit:
    """Where what is looked for comes next; asked with rising places, it reads the text once."""

    def __init__(self, text: str, end: int, pattern: re.Pattern[str]) -> None:
        self._text, self._end, self._wanted, self._next = text, end, pattern, -1

    def after(self, at: int) -> int:
        """The first place from `at` on, or the document's end."""
        if self._next < at:
            match = self._wanted.search(self._text, at, self._end)
            self._next = match.start() if match else self._end
        return self._next
