"""The vocabulary: the id of each symbol.

    id 0       the boundary: before the first document and after each one
    id 1       the unknown symbol: every character (or word) outside the vocabulary
    id 2 + r   the corpus' r-th character in code-point order (bytes: in numeric order; words: as texts are sorted)

What is left out: choosing the characters (`charlm.data.statistics`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from charlm.errors import CheckpointError, SymbolError
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.base import Lookup, Tokenizer
from charlm.tokenizers.escape import EscapeCode

BOUNDARY = 0
UNKNOWN = 1
FIRST_SYMBOL = 2
"""Id of the first character."""

MAX_NAMED_SYMBOLS = 8
"""Symbols that an error names; it counts the others."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The symbols of a model, for input and output alike. It cannot be changed.

    Args:
        unit: the name of the tokenizer, one of `charlm.tokenizers.TOKENIZERS`.
        codes: (V - 2,) codes of the characters in rising order; those of words are the words.
    """

    unit: str
    codes: np.ndarray

    def __post_init__(self) -> None:
        codes = np.array(self.codes, dtype=self.tokenizer.dtype)
        codes.flags.writeable = False
        object.__setattr__(self, "codes", codes)

    @property
    def size(self) -> int:
        """V, the number of symbols, boundary and unknown symbol included."""
        return FIRST_SYMBOL + int(self.codes.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(self.size - 1)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        return TOKENIZERS[self.unit]

    @cached_property
    def _lookup(self) -> Lookup:
        return self.tokenizer.lookup(self.codes, FIRST_SYMBOL, UNKNOWN, self.dtype)

    @cached_property
    def escape_code(self) -> EscapeCode:
        """The code for symbols outside the vocabulary."""
        return self.tokenizer.escape_code(self.codes)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(V,) the number of characters of each symbol; 1 for the boundary, and 0 for the unknown symbol."""
        return np.concatenate(([1, 0], self.tokenizer.sizes(self.codes)))

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """Ids (T,) of `codes` (T,), in `dtype`; codes outside the vocabulary become the unknown symbol."""
        return self._lookup(codes)

    def encode_text(self, text: str) -> np.ndarray:
        """Ids (T,) of a text; characters outside the vocabulary become the unknown symbol."""
        return self.encode(self.tokenizer.encode_text(text))

    def encode_prompt(self, text: str) -> np.ndarray:
        """Ids (T,) of a text whose characters must all be in the vocabulary.

        Raises:
            SymbolError: one is not; the message names the first with its index.
        """
        codes = self.tokenizer.encode_text(text)
        ids = self.encode(codes)
        positions = np.flatnonzero(ids == UNKNOWN)
        if not positions.size:
            return ids
        noun, outside = self.tokenizer.noun, codes[positions]
        first = outside.item(0)
        others = [code for code in np.unique(outside).tolist() if code != first]
        ellipsis = ", …" * (len(others) > MAX_NAMED_SYMBOLS)
        named = f" ({', '.join(map(self.tokenizer.describe, others[:MAX_NAMED_SYMBOLS]))}{ellipsis})"
        rest = f" and {len(others)} other {noun}{'s' * (len(others) > 1)}{named}" if others else ""
        raise SymbolError(
            f"the prompt has {self.tokenizer.describe(first)} at index {positions[0]} (counted from 0){rest} "
            f"that the model's table of {self.size - FIRST_SYMBOL} {noun}s does not have; "
            f"leave it out, or train on a text that has it"
        )

    def code(self, symbol: int) -> Any:
        """The code of one id: a number, or a word.

        Raises:
            ValueError: the id is the boundary, the unknown symbol, or outside the vocabulary.
        """
        if not FIRST_SYMBOL <= symbol < self.size:
            raise ValueError(f"id {symbol} is no {self.tokenizer.noun}; those are {FIRST_SYMBOL} to {self.size - 1}")
        return self.codes.item(symbol - FIRST_SYMBOL)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids` (T,); the boundary and the unknown symbol yield nothing."""
        array = np.asarray(ids, dtype=np.int64)
        decoder = self.tokenizer.decoder()
        return decoder.feed(self.codes[array[array >= FIRST_SYMBOL] - FIRST_SYMBOL]) + decoder.flush()

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as plain values, for `from_json`."""
        return {"unit": self.unit, "codes": self.tokenizer.pack(self.codes)}

    @classmethod
    def from_json(cls, value: Any) -> "Vocabulary":
        """The vocabulary from plain values, which are not trusted.

        Raises:
            CheckpointError: they are not a vocabulary of this version.
        """
        if not isinstance(value, dict) or not isinstance(value.get("unit"), str):
            raise _damaged("it has no unit")
        tokenizer = TOKENIZERS.get(value["unit"])
        if tokenizer is None:
            raise CheckpointError(
                f"the symbol table's unit {value['unit'][:40]!r} is none of {', '.join(TOKENIZERS)}; "
                f"it may be from a newer charlm, update charlm to read it"
            )
        try:
            codes = tokenizer.unpack(value.get("codes"))
        except ValueError as error:
            raise _damaged(str(error)) from None
        if any(left >= right for left, right in zip(codes, codes[1:], strict=False)):
            raise _damaged(f"its {tokenizer.noun}s are not in rising order")
        return cls(tokenizer.name, np.array(codes, dtype=tokenizer.dtype))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.unit == other.unit and np.array_equal(self.codes, other.codes)

    def __hash__(self) -> int:
        return hash((self.unit, tuple(self.codes.tolist())))


def _damaged(problem: str) -> CheckpointError:
    return CheckpointError(f"the symbol table is damaged: {problem}; take another copy of the file, or make it anew")
