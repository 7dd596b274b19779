"""Where a model is surprised: in all, by class of character, and by how much of the text it has read.

What is left out: how context is measured (`charlm.inspect.context`).
"""

import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from charlm.evaluation.texts import EvalText
from charlm.inspect.context import ContextRow, by_context
from charlm.inspect.record import Record
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary
from charlm.tokenizers.word import JOINS_NEXT_WORD

CLASSES = ("letters", "capitals", "digits", "spaces", "punctuation", "line starts", "others", "ends of documents")
"""Every character is of one class, a word of that of its first letter; the first of a line is of `line starts`,
whatever it is."""

_LINE_STARTS, _OTHERS, _ENDS = 5, 6, 7


@dataclass(frozen=True)
class ClassRow:
    """One class of characters.

    Attributes:
        name: of `CLASSES`.
        characters: how many.
        share: of all characters.
        bits_per_char: the mean surprise of one.
        share_of_bits: of the sum of all surprises.
    """

    name: str
    characters: int
    share: float
    bits_per_char: float
    share_of_bits: float


@dataclass(frozen=True)
class Summary:
    """A text's surprises in few numbers.

    Attributes:
        model, text: what read what.
        characters: N.
        documents: ends of documents among them.
        unknown: characters that the model's table does not have.
        bits_per_char: the mean, the state carried through the whole text.
        classes: where the surprise is.
        context: what the past is worth.
    """

    model: str
    text: str
    characters: int
    documents: int
    unknown: int
    bits_per_char: float
    classes: list[ClassRow]
    context: list[ContextRow]

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm inspect surprise --json`."""
        return asdict(self)


def summarize(model: Model, text: EvalText, record: Record) -> Summary:
    """Sum up what happened as a model read a text; stretches of it are read again, after resets."""
    bits = record.bits
    return Summary(
        model=model.label,
        text=text.name,
        characters=len(record.ids),
        documents=int(np.count_nonzero(record.ids == BOUNDARY)),
        unknown=int(np.count_nonzero(record.ids == UNKNOWN)),
        bits_per_char=float(bits.mean(dtype=np.float64)),
        classes=by_class(model.vocabulary, record.ids, bits),
        context=by_context(model, text.ids, record.nats),
    )


def by_class(vocabulary: Vocabulary, ids: np.ndarray, bits: np.ndarray) -> list[ClassRow]:
    """The classes that occur, in the order of `CLASSES`.

    Args:
        symbols: of the model.
        ids: (N,) the symbols of a text, the boundary before it left out.
        bits: (N,) their surprises.
    """
    classes = classify(vocabulary, ids)
    counts = np.bincount(classes, minlength=len(CLASSES))
    sums = np.bincount(classes, bits, minlength=len(CLASSES))
    everything = float(sums.sum()) or 1.0  # a model that knows the text by heart is surprised nowhere
    return [
        ClassRow(name, int(n), int(n) / len(ids), float(total) / int(n), float(total) / everything)
        for name, n, total in zip(CLASSES, counts, sums, strict=True)
        if n
    ]


def classify(vocabulary: Vocabulary, ids: np.ndarray) -> np.ndarray:
    """(N,) the class of each symbol of a text, as its place in `CLASSES`."""
    kinds = np.array([_ENDS, _OTHERS, *(_class(vocabulary.tokenizer.text(code)) for code in vocabulary.codes.tolist())])
    classes = kinds[ids]
    breaks = np.isin(
        ids, [BOUNDARY, *(FIRST_SYMBOL + np.flatnonzero(vocabulary.codes == vocabulary.tokenizer.line_feed))]
    )
    first_of_line = np.concatenate(([True], breaks[:-1])) & (ids != BOUNDARY)
    classes[first_of_line] = _LINE_STARTS
    return classes


def _class(text: str) -> int:
    """By Unicode's general category; of bytes, those of ASCII alone are characters."""
    if not text:
        return _OTHERS
    if text.isspace():
        return CLASSES.index("spaces")
    category = unicodedata.category(text[len(text) > 1 and text[0] in JOINS_NEXT_WORD])
    if category in ("Lu", "Lt"):
        return CLASSES.index("capitals")
    names = {"L": "letters", "N": "digits", "P": "punctuation", "S": "punctuation"}
    return CLASSES.index(names.get(category[0], "others"))
