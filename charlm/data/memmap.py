"""Pages of a mapped text: what was read goes back, so that memory does not grow with what a run has read.

A page that was read once counts as the process's memory until the mapping goes, though the system could take it
back: a pass over a corpus of 5 GB would show as 5 GB. Giving the pages back costs a page fault for each place
that is read next; the file's pages stay in the system's cache. What is left out: mapping (`charlm.data.corpus`).
"""

import mmap

import numpy as np

RESIDENT_BYTES = 8 << 20
"""Bytes that are read before their pages are given back."""


class PageReleaser:
    """Those of one text.

    Args:
        ids: a mapped text; anything else is left alone.
    """

    def __init__(self, ids: np.ndarray) -> None:
        self._mapped = None if ids.flags.writeable else _mapping(ids)  # what was written to a page must stay
        self._size = ids.itemsize
        self._read = 0

    def advance(self, symbols: int) -> None:
        """Take note that so many symbols were read, and copied."""
        self._read += symbols * self._size
        if self._read >= RESIDENT_BYTES:
            self._read = 0
            if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                self._mapped.madvise(mmap.MADV_DONTNEED)


def _mapping(ids: np.ndarray) -> mmap.mmap | None:
    """The mapped file that an array, or what it is a view of, lies in."""
    base: object = ids
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
