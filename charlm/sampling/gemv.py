"""A matrix times a vector in NumPy, again and again: most of what a character of a single sample costs.

Shapes: R numbers that are read, O rows of a matrix.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

Gemv = Callable[[], object]
"""A matrix (O, R) times what a vector (R) holds by now, into another (O)."""

CACHE_LINE_BYTES = 64
"""Bytes of a cache line. NumPy's large arrays begin 16 bytes into one, so that every second vector that OpenBLAS reads
of them lies in two: a product with a matrix of up to a megabyte is an eighth slower then (docs/notes.md)."""


def make_gemv(weight: np.ndarray, vector: np.ndarray, into: np.ndarray) -> Gemv:
    """What multiplies a matrix by a vector, which it reads at every call.

    Args:
        weight: W (O, R); copied.
        vector: (R,).
        into: (O,), contiguous; gets W v.
    """
    return partial(_aligned(weight).dot, vector, into)


def _aligned(matrix: np.ndarray) -> np.ndarray:
    """A copy of the matrix that begins at a cache line."""
    buffer: np.ndarray = np.empty(matrix.nbytes + CACHE_LINE_BYTES, np.uint8)
    offset = -buffer.ctypes.data % CACHE_LINE_BYTES
    aligned = buffer[offset : offset + matrix.nbytes].view(matrix.dtype).reshape(matrix.shape)
    aligned[...] = matrix
    return aligned
