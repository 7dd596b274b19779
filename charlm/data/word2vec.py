"""Vectors of symbols from a file, in the text format of word2vec and of GloVe.

A line is a symbol and its numbers, separated by single blanks; word2vec has one line in front, of two whole numbers:
how many vectors there are, and how many numbers each has. A symbol is written as itself, or by its number if it cannot
be seen (`charlm.tokenizers.base.Tokenizer.written`). The document boundary is `</s>`, which word2vec writes at the end
of each line of its text, and the unknown symbol `<unk>`.

    e 0.418 0.24968 -0.41242
    U+0020 0.013441 0.23682 -0.16899
    </s> 0.15164 0.30177 -0.16763

The file is read line by line, and only vectors of symbols of the vocabulary are kept. What is left out: what they are
used for (`charlm.training.pretrained`).

Shapes: N vectors of E numbers each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlm.errors import InputError
from charlm.files import text_encoding_of
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary

MAX_LINE_BYTES = 1 << 21
"""Bytes that a line may have: 65,536 numbers, the most that an embedding has, of 30 characters."""


@dataclass(frozen=True)
class Vectors:
    """The vectors that a file has of the symbols of a vocabulary.

    Attributes:
        ids: (N,) the symbols that it has, in rising order.
        values: (N, E) float32, a row for each.
        others: the number of its vectors for other symbols.
    """

    ids: np.ndarray
    values: np.ndarray
    others: int

    @property
    def size(self) -> int:
        """E, the numbers of a vector."""
        return int(self.values.shape[1])


def read_vectors(path: Path, vocabulary: Vocabulary) -> Vectors:
    """Read a file of vectors.

    Args:
        path: of a text file.
        vocabulary: whose vectors are wanted; those of other words are skipped.

    Raises:
        InputError: it cannot be read, has no vectors or none of the vocabulary's, a line with another number of numbers
            than the one before, something that is not a number, or two vectors of one symbol.
    """
    symbols_of: dict[str, list[int]] = {}
    for symbol in range(vocabulary.size):
        for name in names(vocabulary, symbol):
            symbols_of.setdefault(name, []).append(symbol)
    rows: dict[int, np.ndarray] = {}
    line_numbers: dict[int, int] = {}
    size, others = 0, 0
    for line_number, line in _lines(path):
        fields = line.split(" ")
        if line_number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            size = int(fields[1])
            continue
        word, numbers = _split_line(fields, size)
        size = size or len(numbers)
        if not size or len(numbers) != size or not word:
            needed = f"{size} numbers, as the lines before it" if size else "numbers"
            raise _refusal(path, line_number, f"has {len(fields) - 1} numbers behind its symbol, and needs {needed}")
        symbols = symbols_of.get(word, [])
        if not symbols:
            others += 1
            continue
        if symbols[0] in rows:
            first = line_numbers[symbols[0]]
            raise _refusal(path, line_number, f"has a second vector of {word!r:.40}; the first is in line {first}")
        vector = _vector(path, line_number, numbers)
        for symbol in symbols:
            rows[symbol], line_numbers[symbol] = vector, line_number
    if not rows:
        raise InputError(
            f"--embeddings {path} has no vector of any of the {vocabulary.size} symbols, and {others:,} of others; "
            f"its symbols must be those of the corpus, each written as itself or as U+0020 is"
        )
    ids = sorted(rows)
    return Vectors(np.array(ids), np.stack([rows[symbol] for symbol in ids]), others)


def names(vocabulary: Vocabulary, symbol: int) -> tuple[str, ...]:
    """The names by which a file may write a symbol."""
    if symbol < FIRST_SYMBOL:
        return {BOUNDARY: ("</s>",), UNKNOWN: ("<unk>",)}[symbol]
    return vocabulary.tokenizer.written(vocabulary.code(symbol))


def _split_line(fields: list[str], size: int) -> tuple[str, list[str]]:
    """The symbol and the numbers of a line; in some files words contain blanks, but no number after one."""
    first = len(fields) - size if 0 < size < len(fields) else 1
    if all(_is_number(field) for field in fields[1:first]):
        first = 1
    return " ".join(fields[:first]), fields[first:]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _vector(path: Path, line_number: int, numbers: list[str]) -> np.ndarray:
    """(E,) float32."""
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(word) for word in numbers], np.float64).astype(np.float32)
    except ValueError as error:
        raise _refusal(path, line_number, f"holds what is no number ({' '.join(str(error).split()):.80})") from None
    if not np.isfinite(vector).all():
        raise _refusal(path, line_number, "holds a number that is not finite, or too large for 32 bits")
    return vector


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1, without line ends and trailing blanks; empty ones are left out."""
    try:
        with path.open("rb") as file:
            encoding = text_encoding_of(file.read(4))
        with path.open(encoding=encoding, errors="replace", newline="\n") as lines:
            number = 0
            while line := lines.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) == MAX_LINE_BYTES:
                    raise _refusal(path, number, f"is longer than {MAX_LINE_BYTES:,} bytes")
                if stripped := line.rstrip(" \t\r\n"):
                    yield number, stripped
    except OSError as error:
        raise InputError(
            f"--embeddings {path} cannot be read: {error.strerror or error}; give a file of vectors as text"
        ) from None


def _refusal(path: Path, number: int, what: str) -> InputError:
    return InputError(
        f"--embeddings {path}: line {number} {what}; a line is a symbol and its numbers, separated by single blanks"
    )
