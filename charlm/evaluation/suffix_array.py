"""The longest match of every place of one text in another, by a suffix array (Manber & Myers 1993).

Both texts are sorted together, once, by divsufsort (Mori's library, in the package pydivsufsort). The text place that
shares most with a place of the query is then one of its two neighbours in that order; how much they share is counted
in one walk through the query, since a match that is L long leaves one of at least L - 1 for the next place (Kasai et
al. 2001). So nothing is searched, and a query that repeats the text letter for letter costs no more than another one.

A match lies within a document: it ends before a boundary. Memory is `bytes_per_symbol`, 5 bytes per character for
tables of up to 256 symbols and texts below 2 GB; time grows as n log n at worst.
What is left out: what the matches mean (`charlm.evaluation.novelty`).
"""

from dataclasses import dataclass
from threading import Thread

import numpy as np

from charlm import memory
from charlm.data.memmap import PageReleaser
from charlm.errors import UsageError
from charlm.tokenizers.vocabulary import BOUNDARY

BLOCK_SYMBOLS = 1 << 22
"""Places of the order that are looked at together."""

PER_PLACE = 64
"""Bytes for each place of the query beside what each symbol takes."""

SMALL = np.iinfo(np.int32).max
"""Bytes of text up to which a place in it has four bytes."""


@dataclass(frozen=True)
class Matches:
    """Of each place of a query the longest match that begins there.

    Attributes:
        lengths: (Q,) symbols; 0 where the symbol does not occur in the text, and at boundaries.
        places: (Q,) where in the text such a match stands; -1 where there is none. It may stand elsewhere too.
    """

    lengths: np.ndarray
    places: np.ndarray


def check_library() -> None:
    """Refuse early where the library is missing.

    Raises:
        UsageError: pydivsufsort is not installed.
    """
    try:
        import pydivsufsort  # noqa: F401
    except ImportError:
        raise UsageError(
            "--novelty needs the package pydivsufsort, which is not installed; "
            "install it with: pip install pydivsufsort"
        ) from None


def bytes_per_symbol(dtype: np.dtype, symbols: int) -> int:
    """What sorting takes for each symbol: its bytes, and for each byte a place of 4 or 8 bytes."""
    return dtype.itemsize * (1 + (4 if symbols * dtype.itemsize <= SMALL else 8))


def check_memory(dtype: np.dtype, text: int, query: int, advice: str) -> None:
    """Refuse texts of so many symbols that do not fit.

    Raises:
        UsageError: they need more memory than there is.
    """
    needed = bytes_per_symbol(dtype, text + query) * (text + query) + PER_PLACE * query
    memory.check(needed, f"sorting {text + query:,} characters with all that follows each", advice)


def longest_matches(text: np.ndarray, query: np.ndarray) -> Matches:
    """The longest match of each place of `query` (Q,) in `text` (T,), both ids of one table.

    Several texts make one query with a boundary between them. The unknown symbol matches itself.
    """
    first = len(text) + 1  # between the two stands a boundary
    joined = np.empty(first + len(query), query.dtype.newbyteorder(">"))  # bytes in the order of the numbers
    joined[: len(text)], joined[len(text)], joined[first:] = text, BOUNDARY, query
    PageReleaser(text).advance(len(text))
    symbols = joined.view(query.dtype.newbyteorder("=")).data  # equal where the ids are
    before, after = _neighbours(_order(joined), first)
    lengths, positions = _shared(symbols, first, before), before
    others = _shared(symbols, first, after)
    better = others > lengths
    lengths[better], positions[better] = others[better], after[better]
    positions[lengths == 0] = -1
    return Matches(lengths, positions)


def _order(joined: np.ndarray) -> np.ndarray:
    """The suffix array (N,) of symbols (N,) whose bytes stand in big-endian order."""
    from pydivsufsort import divsufsort

    pieces: list[np.ndarray] = []
    # The library does not hear signals: in a thread of its own it does not keep the program from ending.
    sorting = Thread(target=lambda: pieces.append(divsufsort(joined.view(np.uint8))), daemon=True)
    sorting.start()
    sorting.join()
    (order,) = pieces
    return order if joined.itemsize == 1 else _whole(order, joined.itemsize)


def _whole(order: np.ndarray, size: int) -> np.ndarray:
    """Of the places of all bytes those where a symbol of `size` bytes begins, in symbols and in the same memory."""
    count = 0
    for at in range(0, len(order), BLOCK_SYMBOLS):
        block = order[at : at + BLOCK_SYMBOLS]
        block = block[block % size == 0] // size
        order[count : count + len(block)] = block
        count += len(block)
    return order[:count]


def _neighbours(order: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """For each place of the query (Q,), which begins at `first`, the text's places before and after it; -1: none."""
    query_ranks = np.concatenate(
        [np.flatnonzero(order[at : at + BLOCK_SYMBOLS] >= first) + at for at in range(0, len(order), BLOCK_SYMBOLS)]
    )  # of the query's places, which stand in runs between the text's
    queries = order[query_ranks] - first
    begins = np.diff(query_ranks, prepend=-2) != 1
    run = np.cumsum(begins) - 1
    low, high = query_ranks[begins] - 1, query_ranks[np.diff(query_ranks, append=len(order) + 1) != 1] + 1
    before, after = (np.full(len(query_ranks), -1, np.int64) for _ in range(2))
    before[queries] = np.where(low >= 0, order[low], -1)[run]
    after[queries] = np.where(high < len(order), order[np.minimum(high, len(order) - 1)], -1)[run]
    return before, after


def _shared(symbols: memoryview, first: int, partners: np.ndarray) -> np.ndarray:
    """How many symbols each place of the query shares with its partner (Q,) in the text, up to a boundary."""
    end, length = len(symbols), 0
    lengths = np.zeros(len(partners), np.int64)
    written = lengths.data
    for index, partner in enumerate(partners.data):
        position, length = first + index, max(length - 1, 0)
        if partner < 0:
            length = 0
            continue
        while position + length < end and symbols[partner + length] == symbols[position + length] != BOUNDARY:
            length += 1
        written[index] = length
    return lengths
