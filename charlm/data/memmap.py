"""Releasing the pages of a mapped text, so that memory does not grow with what a run has read.

A page that was read counts as the process's memory until the file is unmapped, though the system could take it
back: a pass over a corpus of 5 GB would show as 5 GB. Releasing pages costs a page fault at each position
that is read next; they stay in the system's page cache. What is left out: mapping (`charlm.data.corpus`).
"""

import mmap

import numpy as np

RESIDENT_BYTES = 8 << 20
"""Bytes that are read before their pages are released."""


class PageReleaser:
    """Releases the pages of one text.

    Args:
        ids: a mapped text; an array in memory is left alone.
    """

    def __init__(self, ids: np.ndarray) -> None:
        self._mapped = None if ids.flags.writeable else _mapping(ids)  # written pages must stay
        self._size = ids.itemsize
        self._read = 0

    def advance(self, symbols: int) -> None:
        """Count symbols that were read and copied, and release their pages if they are many."""
        self._read += symbols * self._size
        if self._read >= RESIDENT_BYTES:
            self._read = 0
            if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                self._mapped.madvise(mmap.MADV_DONTNEED)


def _mapping(ids: np.ndarray) -> mmap.mmap | None:
    """The memory map that an array is a view of."""
    base: object = ids
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
