"""Surveying: what a text has, before it becomes ids: how often each symbol occurs, the table, and what is to be said.

What is left out: counting itself (`charlm.tokenizers.counts`), and the ids (`charlm.data.prepare`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.config import PrepareOptions
from charlm.data.symbol_stream import Walk
from charlm.errors import CorpusError
from charlm.tokenizers.base import Tokenizer
from charlm.tokenizers.counts import Tally
from charlm.tokenizers.units import TOKENIZERS
from charlm.tokenizers.vocabulary import FIRST, UNKNOWN, Vocabulary

FEWEST = 2
"""Symbols that a corpus must have: one to see and one to predict."""

NAMED = 8
"""Symbols that a warning names before it only counts them."""

LONGEST_TABLE = 18_000_000
"""Bytes of a table in a model's header, which has room for one of all of Unicode."""


@dataclass(frozen=True)
class Survey:
    """What a walk over a text found.

    Attributes:
        codes: (K,) of the distinct symbols, in rising order.
        times: (K,) how often each occurs.
        tally: the same by code.
        characters: of the text; of words each of theirs.
        documents: how many.
    """

    codes: np.ndarray
    times: np.ndarray
    tally: Tally
    characters: int
    documents: int

    @property
    def symbols(self) -> int:
        """Of the whole text, ends of documents not counted."""
        return int(self.times.sum())

    @property
    def distinct(self) -> int:
        """How many symbols there are of which no two are equal."""
        return len(self.codes)


def survey(walk: Walk) -> Survey:
    """Walk over a text and count.

    Raises:
        CorpusError: it cannot be read, or is too short.
    """
    tally, characters, documents = walk.unit.symbol_counts(), 0, 0
    for piece in walk.pieces():
        codes = piece.codes
        if piece.ends is not None:
            documents += int(np.count_nonzero(piece.ends))
            codes = codes[~piece.ends]
        tally.add(codes)
        characters += walk.unit.characters(codes)
    found = Survey(*tally.counted(), tally, characters, documents)
    if found.symbols < FEWEST:
        noun = walk.unit.noun
        raise CorpusError(
            f"{', '.join(walk.source.origin)} has {_number(found.symbols, noun)}, "
            f"and at least {FEWEST} are needed; give a longer text"
        )
    return found


def table(found: Survey, options: PrepareOptions) -> Vocabulary:
    """The symbol table of a text.

    Raises:
        CorpusError: nothing occurs often enough, or a model's file has no room for so many words.
    """
    most = None if options.words is None else options.words - FIRST
    codes = found.tally.chosen(options.min_count, most)
    if not codes.size:
        raise CorpusError(
            f"--min-count {options.min_count} leaves no {TOKENIZERS[options.unit].noun}: the most frequent one occurs "
            f"{found.times.max()} times; choose a smaller --min-count"
        )
    symbols = Vocabulary(options.unit, codes)
    size = len(json.dumps(json.dumps(symbols.to_json())))
    if size > LONGEST_TABLE:
        raise CorpusError(
            f"a table of {codes.size:,} {symbols.tokenizer.noun}s takes {size:,} bytes of a model's header, and "
            f"{LONGEST_TABLE:,} are there; choose fewer --words, or a larger --min-count"
        )
    return symbols


def about_text(walk: Walk, found: Survey) -> Iterator[str]:
    """What a user may not know of the text, one line each."""
    if walk.marks:
        yield f"removed the byte order mark at the start of {_number(walk.marks, 'document')}"
    if walk.returns:
        yield _about_line_ends(walk, found.tally.times(walk.unit.line_feed))
    controls = [code for code in walk.unit.controls if found.tally.times(code)]
    if controls:
        times = _number(sum(map(found.tally.times, controls)), "control character")
        yield f"the text has {times}: {_named(walk.unit, controls)}; if it is no plain text, prepare another file"


def about_table(found: Survey, symbols: Vocabulary, options: PrepareOptions) -> Iterator[str]:
    """What the table has, and what it leaves out, in a line or two."""
    kind, kinds = symbols.tokenizer, found.distinct - symbols.codes.size
    once = found.codes[found.times == 1].tolist()
    if kinds and symbols.size == options.words:
        outside = int(found.times[symbols.encode(found.codes) == UNKNOWN].sum())
        yield (
            f"the {symbols.codes.size:,} most frequent of {found.distinct:,} {kind.noun}s are in the table; the "
            f"others become the unknown symbol, {outside:,} of {found.symbols:,} in the text "
            f"({outside / found.symbols:.2%}); --words takes more"
        )
    elif kinds:
        rare = found.times < options.min_count
        times = _number(int(found.times[rare].sum()), kind.noun)
        yield f"{times} of {kinds} kinds, seen less than {options.min_count} times, become the unknown symbol"
    elif once:
        yield (
            f"{_number(len(once), kind.noun)} seen once: {_named(kind, once)}; "
            f"--min-count 2 makes such {kind.noun}s the unknown symbol"
        )


def _about_line_ends(walk: Walk, line_feeds: int) -> str:
    lone = walk.returns - walk.pairs
    found = " and ".join(
        _number(times, f"{what} line end") for times, what in ((walk.pairs, "CR LF"), (lone, "CR")) if times
    )
    if walk.make_lf:
        return f"{found} made LF"
    others = line_feeds - walk.pairs
    kinds = sum(1 for times in (walk.pairs, lone, others) if times)
    mixed = f", mixed with {others} LF" if others else ", mixed" if kinds > 1 else ""
    return f"the text has {found}{mixed}; --newlines lf makes them all LF"


def _named(kind: Tokenizer, codes: list[Any]) -> str:
    more = f" and {len(codes) - NAMED} more" if len(codes) > NAMED else ""
    return ", ".join(kind.describe(code) for code in codes[:NAMED]) + more


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
