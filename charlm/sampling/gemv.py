"""Matrix-vector products in NumPy, in place: most of what a character of a single sample costs.

Shapes: I inputs, O outputs.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

Gemv = Callable[[], object]
"""Multiplies a matrix (O, I) by the present values of a vector (I,), into another (O,)."""

CACHE_LINE_BYTES = 64
"""Bytes of a cache line. NumPy's large arrays begin 16 bytes into one, so that every second SIMD vector that OpenBLAS
loads spans two: a product with a matrix of up to a megabyte is then an eighth slower (docs/notes.md)."""


def make_gemv(weight: np.ndarray, vector: np.ndarray, out: np.ndarray) -> Gemv:
    """Make a product that reads its vector at each call.

    Args:
        weight: W (O, I); copied.
        vector: v (I,).
        out: (O,), contiguous; gets W v.
    """
    return partial(_aligned(weight).dot, vector, out)


def _aligned(matrix: np.ndarray) -> np.ndarray:
    """A copy of the matrix that begins at a cache line."""
    buffer: np.ndarray = np.empty(matrix.nbytes + CACHE_LINE_BYTES, np.uint8)
    offset = -buffer.ctypes.data % CACHE_LINE_BYTES
    aligned = buffer[offset : offset + matrix.nbytes].view(matrix.dtype).reshape(matrix.shape)
    aligned[...] = matrix
    return aligned
