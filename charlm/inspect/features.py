"""What is to be remembered of a text: features that a network may follow, character by character.

A feature at position t is what is so once symbol t has been read: `quotes` is on from the opening mark, and off
from the closing one. That is how the state after symbol t stands beside it. Everything begins anew after a
boundary, which ends a line and a document. Of a byte model, bytes from 0x80 on are small letters, and bytes that go
on with a character count for no column of their own. The unknown symbol is neither letter nor mark.

What is left out: which units follow them (`charlm.inspect.find`).

Shapes: N + 1 symbols, the boundary first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from charlm.errors import UsageError
from charlm.inspect import quotes
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, Vocabulary

TAB = 8
"""Columns of a tab in front of a line."""

_PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Feature:
    """A feature.

    Attributes:
        about: what it is, in words.
        absent: what a text does not have in which it never varies.
        values: (N + 1,) of a passage; booleans, or numbers.
    """

    about: str
    absent: str
    values: Callable[["Passage"], np.ndarray]


class Passage:
    """A text, and what its features share.

    Args:
        ids: (N + 1,) symbols, the boundary first.
        symbols: the table.
    """

    def __init__(self, ids: np.ndarray, vocabulary: Vocabulary) -> None:
        self._ids = np.asarray(ids)
        codes: np.ndarray = np.empty(vocabulary.size, "<u4")
        codes[:FIRST_SYMBOL] = ord("\n"), 0xFFFD
        codes[FIRST_SYMBOL:] = vocabulary.codes
        self._begins: np.ndarray = np.ones(vocabulary.size, bool)
        if vocabulary.unit == "byte":
            self._begins[FIRST_SYMBOL:] = (vocabulary.codes & 0xC0) != 0x80
            codes[FIRST_SYMBOL:][vocabulary.codes >= 0x80] = ord("é")
        self._codes = codes
        self._table = codes.tobytes().decode("utf-32-le", "surrogatepass")

    def where(self, is_one: Callable[[str], bool]) -> np.ndarray:
        """(N + 1,) which characters are such ones; the boundary is a line's end."""
        return np.array([is_one(letter) for letter in self._table], bool)[self._ids]

    @cached_property
    def text(self) -> str:
        """A character for every symbol."""
        return self._codes[self._ids].tobytes().decode("utf-32-le", "surrogatepass")

    @cached_property
    def regions(self) -> np.ndarray:
        """(N + 1,) in which kind of quote or comment each character stands."""
        return quotes.regions(self.text, self.documents)

    @cached_property
    def documents(self) -> list[tuple[int, int]]:
        """Where each document begins and ends, boundaries left out."""
        ends = [*np.flatnonzero(self._ids == BOUNDARY).tolist(), len(self._ids)]
        return [(before + 1, end) for before, end in zip([-1, *ends], ends, strict=False) if before + 1 < end]

    @cached_property
    def line_ends(self) -> np.ndarray:
        """(N + 1,) which symbols end a line."""
        return self.where(lambda letter: letter in "\n\r")

    @cached_property
    def word(self) -> np.ndarray:
        """(N + 1,) which symbols are of a word: letters, digits and underscores."""
        return self.where(lambda letter: letter.isalnum() or letter == "_")

    @cached_property
    def counted(self) -> np.ndarray:
        """(N + 1,) how many characters have begun up to each symbol, it included."""
        return np.cumsum(self._begins[self._ids])


def since(amounts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(N,) the sum of `amounts` (N,) after the last of the `starts` (N,), which is true at 0, up to each place."""
    total = np.cumsum(amounts)
    return total - total[np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))]


def _inside(*kinds: int) -> Callable[[Passage], np.ndarray]:
    return lambda passage: np.isin(passage.regions, kinds)


def _brackets(passage: Passage) -> np.ndarray:
    """How many pairs are open. Only brackets with a partner count: a closing one takes the last open one of its
    kind, and what was opened since then and not closed has none."""
    outside = passage.regions == quotes.OUTSIDE
    positions = np.flatnonzero(passage.where(lambda letter: letter in "()[]{}") & outside)
    ends = [end for _, end in passage.documents]
    change: np.ndarray = np.zeros(len(outside), np.int32)
    opened: list[tuple[str, int]] = []
    number = dict.fromkeys(_PAIRS.values(), 0)
    document = 0
    for at in positions.tolist():
        while at >= ends[document]:
            document, opened, number = document + 1, [], dict.fromkeys(number, 0)
        letter = passage.text[at]
        if letter in number:
            opened.append((letter, at))
            number[letter] += 1
        elif number[_PAIRS[letter]]:
            kind, first = "", at
            while kind != _PAIRS[letter]:
                kind, first = opened.pop()
                number[kind] -= 1
            change[first] += 1
            change[at] -= 1
    return np.cumsum(change)


def _column(passage: Passage) -> np.ndarray:
    return since(np.diff(passage.counted, prepend=0), passage.line_ends)


def _indentation(passage: Passage) -> np.ndarray:
    blank = passage.where(lambda letter: letter in " \t")
    leading = since(~(blank | passage.line_ends), passage.line_ends) == 0
    width = blank + (TAB - 1) * passage.where(lambda letter: letter == "\t")
    return since(width * leading, passage.line_ends)


def _capitals(passage: Passage) -> np.ndarray:
    upper = passage.where(str.isupper)
    return (since(upper, _no_word(passage)) > 0) & passage.word


def _word(passage: Passage) -> np.ndarray:
    return since(np.diff(passage.counted, prepend=0), _no_word(passage)) * passage.word


def _no_word(passage: Passage) -> np.ndarray:
    return ~passage.word


def _newline(passage: Passage) -> np.ndarray:
    """Characters that the line still has: those before the next line end that is yet to be read."""
    size = len(passage.line_ends)
    ends = np.where(passage.line_ends, np.arange(size), size)
    following = np.append(np.minimum.accumulate(ends[::-1])[::-1][1:], size)
    return passage.counted[following - 1] - passage.counted


FEATURES: Mapping[str, Feature] = {
    "quotes": Feature(
        "inside quotes of any kind", "quotes", _inside(quotes.DOUBLE, quotes.SINGLE, quotes.TRIPLE)
    ),
    "double-quotes": Feature('inside "…" or “…”', "double quotes", _inside(quotes.DOUBLE)),
    "single-quotes": Feature("inside '…' or ‘…’", "single quotes", _inside(quotes.SINGLE)),
    "triple-quotes": Feature("inside \"\"\"…\"\"\" or '''…'''", "triple quotes", _inside(quotes.TRIPLE)),
    "comment": Feature("from # to the line's end, outside quotes", "comments", _inside(quotes.COMMENT)),
    "brackets": Feature("pairs of ( [ { that are open, outside quotes and comments", "brackets", _brackets),
    "column": Feature("characters read of the line", "lines", _column),
    "indentation": Feature("blanks in front of the line, a tab being 8", "indentation", _indentation),
    "capitals": Feature("in a word, after a capital letter of it", "capital letters", _capitals),
    "word": Feature("characters read of the word", "words", _word),
    "newline": Feature("characters that the line still has, which the network cannot know", "lines", _newline),
}  # fmt: skip
"""Every feature, by its name; the names are also in `charlm.config`."""


def of_text(ids: np.ndarray, vocabulary: Vocabulary, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The features of a text by name, each (N + 1,), booleans or float32: what is so once a symbol was read.

    Args:
        ids: (N + 1,) symbols, the boundary first.
        symbols: the table.
        names: which; None for all.

    Raises:
        UsageError: symbols have several characters, so that features of characters have no place in them.
    """
    if vocabulary.tokenizer.longer:
        raise UsageError(
            f"features are of characters, and the model's symbols are {vocabulary.tokenizer.noun}s; give a model of a "
            f"corpus that was prepared with --unit char or byte"
        )
    passage = Passage(ids, vocabulary)
    by_name = {name: FEATURES[name].values(passage) for name in names or FEATURES}
    return {name: values if values.dtype == bool else values.astype(np.float32) for name, values in by_name.items()}


def on(values: np.ndarray) -> np.ndarray:
    """(N + 1,) where a feature is on: where it is true, or a number above its mean."""
    return values if values.dtype == bool else values > values.mean(dtype=np.float64)
