"""Surveying: what a text has, before it becomes ids: how often each symbol occurs, the table, and what is to be said.

What is left out: counting itself (`charlm.tokenizers.counts`), and the ids (`charlm.data.prepare`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.config import PrepareOptions
from charlm.data.symbol_stream import SymbolStream
from charlm.errors import CorpusError
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.base import Tokenizer
from charlm.tokenizers.counts import SymbolCounts
from charlm.tokenizers.vocabulary import FIRST_SYMBOL, UNKNOWN, Vocabulary

RARE_COUNT = 2
"""Symbols that a corpus must have: one to see and one to predict."""

MAX_NAMED_SYMBOLS = 8
"""Symbols that a warning names before it only counts them."""

MAX_VOCABULARY_BYTES = 18_000_000
"""Bytes of a table in a model's header, which has room for one of all of Unicode."""


@dataclass(frozen=True)
class TextStatistics:
    """What a walk over a text found.

    Attributes:
        codes: (K,) of the distinct symbols, in rising order.
        times: (K,) how often each occurs.
        tally: the same by code.
        characters: of the text; of words each of theirs.
        documents: how many.
    """

    codes: np.ndarray
    counts: np.ndarray
    symbol_counts: SymbolCounts
    characters: int
    documents: int

    @property
    def symbols(self) -> int:
        """Of the whole text, ends of documents not counted."""
        return int(self.counts.sum())

    @property
    def distinct(self) -> int:
        """How many symbols there are of which no two are equal."""
        return len(self.codes)


def count_symbols(stream: SymbolStream) -> TextStatistics:
    """Walk over a text and count.

    Raises:
        CorpusError: it cannot be read, or is too short.
    """
    tally, characters, documents = stream.unit.symbol_counts(), 0, 0
    for piece in stream.chunks():
        codes = piece.codes
        if piece.ends is not None:
            documents += int(np.count_nonzero(piece.ends))
            codes = codes[~piece.ends]
        tally.add(codes)
        characters += stream.unit.characters(codes)
    found = TextStatistics(*tally.symbols_and_counts(), tally, characters, documents)
    if found.symbols < RARE_COUNT:
        noun = stream.unit.noun
        raise CorpusError(
            f"{', '.join(stream.source.origin)} has {_count_phrase(found.symbols, noun)}, "
            f"and at least {RARE_COUNT} are needed; give a longer text"
        )
    return found


def build_vocabulary(statistics: TextStatistics, options: PrepareOptions) -> Vocabulary:
    """The symbol table of a text.

    Raises:
        CorpusError: nothing occurs often enough, or a model's file has no room for so many words.
    """
    most = None if options.words is None else options.words - FIRST_SYMBOL
    codes = statistics.symbol_counts.select(options.min_count, most)
    if not codes.size:
        raise CorpusError(
            f"--min-count {options.min_count} leaves no {TOKENIZERS[options.unit].noun}: the most frequent one occurs "
            f"{statistics.counts.max()} times; choose a smaller --min-count"
        )
    symbols = Vocabulary(options.unit, codes)
    size = len(json.dumps(json.dumps(symbols.to_json())))
    if size > MAX_VOCABULARY_BYTES:
        raise CorpusError(
            f"a table of {codes.size:,} {symbols.tokenizer.noun}s takes {size:,} bytes of a model's header, and "
            f"{MAX_VOCABULARY_BYTES:,} are there; choose fewer --words, or a larger --min-count"
        )
    return symbols


def text_notices(stream: SymbolStream, statistics: TextStatistics) -> Iterator[str]:
    """What a user may not know of the text, one line each."""
    if stream.marks:
        yield f"removed the byte order mark at the start of {_count_phrase(stream.marks, 'document')}"
    if stream.returns:
        yield _about_line_ends(stream, statistics.symbol_counts.count(stream.unit.line_feed))
    controls = [code for code in stream.unit.controls if statistics.symbol_counts.count(code)]
    if controls:
        times = _count_phrase(sum(map(statistics.symbol_counts.count, controls)), "control character")
        names = _name_symbols(stream.unit, controls)
        yield f"the text has {times}: {names}; if it is no plain text, prepare another file"


def vocabulary_notices(statistics: TextStatistics, vocabulary: Vocabulary, options: PrepareOptions) -> Iterator[str]:
    """What the table has, and what it leaves out, in a line or two."""
    kind, kinds = vocabulary.tokenizer, statistics.distinct - vocabulary.codes.size
    once = statistics.codes[statistics.counts == 1].tolist()
    if kinds and vocabulary.size == options.words:
        outside = int(statistics.counts[vocabulary.encode(statistics.codes) == UNKNOWN].sum())
        yield (
            f"the {vocabulary.codes.size:,} most frequent of {statistics.distinct:,} {kind.noun}s are in the table; "
            f"the others become the unknown symbol, {outside:,} of {statistics.symbols:,} in the text "
            f"({outside / statistics.symbols:.2%}); --words takes more"
        )
    elif kinds:
        rare = statistics.counts < options.min_count
        times = _count_phrase(int(statistics.counts[rare].sum()), kind.noun)
        yield f"{times} of {kinds} kinds, seen less than {options.min_count} times, become the unknown symbol"
    elif once:
        yield (
            f"{_count_phrase(len(once), kind.noun)} seen once: {_name_symbols(kind, once)}; "
            f"--min-count 2 makes such {kind.noun}s the unknown symbol"
        )


def _about_line_ends(stream: SymbolStream, line_feeds: int) -> str:
    lone = stream.returns - stream.pairs
    found = " and ".join(
        _count_phrase(times, f"{what} line end") for times, what in ((stream.pairs, "CR LF"), (lone, "CR")) if times
    )
    if stream.make_lf:
        return f"{found} made LF"
    others = line_feeds - stream.pairs
    kinds = sum(1 for times in (stream.pairs, lone, others) if times)
    mixed = f", mixed with {others} LF" if others else ", mixed" if kinds > 1 else ""
    return f"the text has {found}{mixed}; --newlines lf makes them all LF"


def _name_symbols(tokenizer: Tokenizer, codes: list[Any]) -> str:
    more = f" and {len(codes) - MAX_NAMED_SYMBOLS} more" if len(codes) > MAX_NAMED_SYMBOLS else ""
    return ", ".join(tokenizer.describe(code) for code in codes[:MAX_NAMED_SYMBOLS]) + more


def _count_phrase(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
