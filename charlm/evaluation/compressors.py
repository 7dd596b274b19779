"""Compressors: how many bits gzip, bzip2 and xz need for a text after another one.

That is the compressed size of both texts together less that of the first alone, each compressor at its highest level.
They differ in how far back they look: gzip 32 kB, so that a training text helps it hardly at all; bzip2 sorts blocks of
900 kB; xz is given a window over everything. The texts are what a model's ids stand for, in UTF-8 (byte symbols: as
they are); the end of a line document is a line end, that of a file nothing, and the unknown symbol is the first code
that the table does not have. What is left out: which texts (`charlm.evaluation.baselines`).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

import numpy as np

from charlm.data.memmap import PageReleaser
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary

CHUNK_SYMBOLS = 1 << 20
"""Symbols that are compressed at a time."""

WINDOW_BYTES_RANGE = 1 << 12, 1536 << 20
"""The smallest and the largest window that xz can have, in bytes."""

MEMORY_OF_WINDOW = 12
"""Bytes that xz takes for each byte of its window, roughly (man xz: 674 MiB for 64 MiB)."""

COMPRESSOR_NAMES = ("gzip", "bzip2", "xz")


class Compressor(Protocol):
    """What the standard library's compressors have in common."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready after more of the text."""

    def flush(self) -> bytes:
        """The rest."""


def text_bytes(ids: np.ndarray, vocabulary: Vocabulary, lines: bool) -> Iterator[bytes]:
    """The text of ids (N + 1,), the first one left out, in pieces.

    Args:
        ids: symbols, the boundary first.
        symbols: their table.
        lines: whether documents are lines.
    """
    table = np.concatenate((np.zeros(FIRST_SYMBOL, vocabulary.codes.dtype), vocabulary.codes))
    table[BOUNDARY], table[UNKNOWN] = (
        vocabulary.tokenizer.line_feed,
        vocabulary.tokenizer.first_invalid(vocabulary.codes),
    )
    pages = PageReleaser(ids)
    for at in range(1, len(ids), CHUNK_SYMBOLS):
        block = np.array(ids[at : at + CHUNK_SYMBOLS])
        pages.advance(block.size)
        yield vocabulary.tokenizer.utf8(table[block if lines else block[block != BOUNDARY]])


def window(size: int) -> int:
    """The window of xz for so many bytes of text."""
    return min(max(size, WINDOW_BYTES_RANGE[0]), WINDOW_BYTES_RANGE[1])


def bits(name: str, train: Callable[[], Iterator[bytes]], text: Callable[[], Iterator[bytes]], size: int) -> float:
    """Bits that a compressor needs for a text after a training text.

    Args:
        name: one of `COMPRESSOR_NAMES`.
        train, text: read the texts, in pieces.
        size: bytes of both.
    """
    together = _size(_compressor(name, size), chain(train(), text()))
    return 8.0 * (together - _size(_compressor(name, size), train()))


def _compressor(name: str, size: int) -> Compressor:
    if name == "gzip":
        return zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    if name == "bzip2":
        return bz2.BZ2Compressor(9)
    preset = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window(size)}
    return lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[preset])


def _size(compressor: Compressor, pieces: Iterator[bytes]) -> int:
    return sum(len(compressor.compress(piece)) for piece in pieces) + len(compressor.flush())
