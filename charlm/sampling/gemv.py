"""A matrix times a vector in NumPy, again and again: most of what a character of a single sample costs.

NumPy asks OpenBLAS, which gives a real product of fewer than `SHARED` numbers to one processor, and shares a complex
one a hundredth that size among all. So a real product of middling size is done as a complex one, two rows at once:

    Re(Z v), Im(Z v) = W v in turns,   Z = (rows 0, 2, 4 …) + i (rows 1, 3, 5 …)

NumPy keeps real and imaginary parts side by side, so that Z takes the bytes of W, which is what a processor waits for,
and Z v lies where W v is wanted, in its order. On two cores of an AMD Zen 5 with nothing else to do, a character of an
lstm of 1x256 took 10.9 µs so, and 15.6 without; with one of them busy, 40 and 15.6 (docs/notes.md).

Which way is taken hangs on the matrix's shape and on the machine, never on a measurement, so that a sample repeats
itself bit for bit; a complex product has the same bits with any number of threads.

Shapes: R numbers that are read, O rows of a matrix.
"""

import os
from collections.abc import Callable
from functools import cache, partial

import numpy as np

Times = Callable[[], object]
"""A matrix (O, R) times what a vector (R) holds by now, into another (O)."""

CACHE_LINE_BYTES = 64
"""Bytes of a cache line. NumPy's large arrays begin 16 bytes into one, so that every second vector that OpenBLAS reads
of them lies in two: a product with a matrix of up to a megabyte is an eighth slower then (docs/notes.md)."""

SHARED = 4 * 115_200
"""Numbers of a matrix from which OpenBLAS 0.3.31 shares a real product among the processors (`interface/gemv.c`)."""

FEWEST = 3 << 16
"""Numbers of a matrix from which pairs are worth it: a character took a fifth to a third less time where all of a
network's matrices were such. Below it is a fifth or less, for the same loss beside a busy processor (docs/notes.md)."""

MOST_PROCESSORS = 8
"""A complex product is shared among all processors, however many, and each has to be told. Two were measured; that few
more will do, and many will not, is supposed."""


def make_gemv(weight: np.ndarray, vector: np.ndarray, into: np.ndarray) -> Times:
    """What multiplies a matrix by a vector, which it reads at every call.

    Args:
        weight: W (O, R); copied.
        vector: (R,).
        into: (O,), in one piece; gets W v.
    """
    if by_pairs(*weight.shape):
        return _pairs(weight, vector, into)
    return partial(_laid_out(weight).dot, vector, into)


def by_pairs(rows: int, columns: int) -> bool:
    """Whether a matrix is multiplied two rows at once."""
    return FEWEST <= rows * columns < SHARED and rows % 2 == 0 and complex_are_shared()


@cache
def complex_are_shared() -> bool:
    """Whether NumPy shares complex products among a few processors: those of the machine, so that what a sample is
    does not hang on which of them a process may run."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return "openblas" in blas.get("name", "") and 2 <= (os.cpu_count() or 1) <= MOST_PROCESSORS


def _pairs(weight: np.ndarray, vector: np.ndarray, into: np.ndarray) -> Times:
    pairs = _laid_out(weight[::2] + 1j * weight[1::2])
    dot, result, read = pairs.dot, into.view(pairs.dtype), np.zeros(len(vector), pairs.dtype)
    real, copy = read.real, np.copyto

    def times() -> None:
        copy(real, vector)
        dot(read, result)

    return times


def _laid_out(matrix: np.ndarray) -> np.ndarray:
    """The matrix, from the beginning of a cache line on."""
    room: np.ndarray = np.empty(matrix.nbytes + CACHE_LINE_BYTES, np.uint8)
    first = -room.ctypes.data % CACHE_LINE_BYTES
    laid_out = room[first : first + matrix.nbytes].view(matrix.dtype).reshape(matrix.shape)
    laid_out[...] = matrix
    return laid_out
