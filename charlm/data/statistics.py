"""Statistics of a text before it becomes ids: symbol counts, the vocabulary, and notices.

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

MIN_SYMBOLS = 2
"""Symbols that a corpus must have: one to see and one to predict."""

MAX_NAMED_SYMBOLS = 8
"""Symbols that a notice names; it counts the others."""

MAX_VOCABULARY_BYTES = 18_000_000
"""Bytes of a vocabulary in a model's header, which is large enough for all of Unicode."""


@dataclass(frozen=True)
class TextStatistics:
    """The counts of a text.

    Attributes:
        codes: (K,) of the distinct symbols, in rising order.
        counts: (K,) how often each occurs.
        symbol_counts: the same by code.
        characters: of the text, those of words included.
        documents: number of documents.
    """

    codes: np.ndarray
    counts: np.ndarray
    symbol_counts: SymbolCounts
    characters: int
    documents: int

    @property
    def symbols(self) -> int:
        """Symbols of the whole text, ends of documents not counted."""
        return int(self.counts.sum())

    @property
    def distinct(self) -> int:
        """K, the number of distinct symbols."""
        return len(self.codes)


def count_symbols(stream: SymbolStream) -> TextStatistics:
    """Read a text and count.

    Raises:
        CorpusError: it cannot be read, or is too short.
    """
    symbol_counts, characters, documents = stream.tokenizer.symbol_counts(), 0, 0
    for chunk in stream.chunks():
        codes = chunk.codes
        if chunk.ends is not None:
            documents += int(np.count_nonzero(chunk.ends))
            codes = codes[~chunk.ends]
        symbol_counts.add(codes)
        characters += stream.tokenizer.characters(codes)
    statistics = TextStatistics(*symbol_counts.symbols_and_counts(), symbol_counts, characters, documents)
    if statistics.symbols < MIN_SYMBOLS:
        noun = stream.tokenizer.noun
        raise CorpusError(
            f"{', '.join(stream.source.origin)} has {_count_phrase(statistics.symbols, noun)}, "
            f"and at least {MIN_SYMBOLS} are needed; give a longer text"
        )
    return statistics


def build_vocabulary(statistics: TextStatistics, options: PrepareOptions) -> Vocabulary:
    """Choose the symbols of a text's vocabulary.

    Raises:
        CorpusError: nothing occurs often enough, or so many words do not fit into a model file.
    """
    max_symbols = None if options.words is None else options.words - FIRST_SYMBOL
    codes = statistics.symbol_counts.select(options.min_count, max_symbols)
    if not codes.size:
        raise CorpusError(
            f"--min-count {options.min_count} leaves no {TOKENIZERS[options.unit].noun}: the most frequent one occurs "
            f"{statistics.counts.max()} times; choose a smaller --min-count"
        )
    vocabulary = Vocabulary(options.unit, codes)
    size = len(json.dumps(json.dumps(vocabulary.to_json())))
    if size > MAX_VOCABULARY_BYTES:
        raise CorpusError(
            f"a table of {codes.size:,} {vocabulary.tokenizer.noun}s takes {size:,} bytes of a model's header, and "
            f"{MAX_VOCABULARY_BYTES:,} are there; choose fewer --words, or a larger --min-count"
        )
    return vocabulary


def text_notices(stream: SymbolStream, statistics: TextStatistics) -> Iterator[str]:
    """Notices on marks, line ends and control characters of the text."""
    if stream.marks:
        yield f"removed the byte order mark at the start of {_count_phrase(stream.marks, 'document')}"
    if stream.returns:
        yield _line_end_notice(stream, statistics.symbol_counts.count(stream.tokenizer.line_feed))
    controls = [code for code in stream.tokenizer.controls if statistics.symbol_counts.count(code)]
    if controls:
        phrase = _count_phrase(sum(map(statistics.symbol_counts.count, controls)), "control character")
        names = _name_symbols(stream.tokenizer, controls)
        yield f"the text has {phrase}: {names}; if it is no plain text, prepare another file"


def vocabulary_notices(statistics: TextStatistics, vocabulary: Vocabulary, options: PrepareOptions) -> Iterator[str]:
    """A notice on the symbols that the vocabulary leaves out, or on rare ones that it has."""
    noun, left_out = vocabulary.tokenizer.noun, statistics.distinct - vocabulary.codes.size
    once = statistics.codes[statistics.counts == 1].tolist()
    if left_out and vocabulary.size == options.words:
        unknown = int(statistics.counts[vocabulary.encode(statistics.codes) == UNKNOWN].sum())
        yield (
            f"the {vocabulary.codes.size:,} most frequent of {statistics.distinct:,} {noun}s are in the table; "
            f"the others become the unknown symbol, {unknown:,} of {statistics.symbols:,} in the text "
            f"({unknown / statistics.symbols:.2%}); --words takes more"
        )
    elif left_out:
        rare = statistics.counts < options.min_count
        phrase = _count_phrase(int(statistics.counts[rare].sum()), noun)
        yield f"{phrase} of {left_out} kinds, seen less than {options.min_count} times, become the unknown symbol"
    elif once:
        yield (
            f"{_count_phrase(len(once), noun)} seen once: {_name_symbols(vocabulary.tokenizer, once)}; "
            f"--min-count 2 makes such {noun}s the unknown symbol"
        )


def _line_end_notice(stream: SymbolStream, line_feeds: int) -> str:
    lone = stream.returns - stream.pairs
    counts = ((stream.pairs, "CR LF"), (lone, "CR"))
    phrase = " and ".join(_count_phrase(count, f"{what} line end") for count, what in counts if count)
    if stream.make_lf:
        return f"{phrase} made LF"
    line_feeds -= stream.pairs
    mixed = f", mixed with {line_feeds} LF" if line_feeds else ", mixed" if stream.pairs and lone else ""
    return f"the text has {phrase}{mixed}; --newlines lf makes them all LF"


def _name_symbols(tokenizer: Tokenizer, codes: list[Any]) -> str:
    others = f" and {len(codes) - MAX_NAMED_SYMBOLS} more" if len(codes) > MAX_NAMED_SYMBOLS else ""
    return ", ".join(tokenizer.describe(code) for code in codes[:MAX_NAMED_SYMBOLS]) + others


def _count_phrase(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
