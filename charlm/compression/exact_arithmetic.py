"""The network in arithmetic that gives the same bits on every machine, so that two of them agree on probabilities.

A sum of products comes out differently where it is done in another order, and the order is the processor's, the
library's and the threads'. Here it is exact, and then no order matters: what is multiplied is rounded first, to
few enough bits that every product and every partial sum is a whole number of grains below 2^53, which float64
holds. What is left is done with +, -, ×, ÷ and rounding, one at a time, of which IEEE 754 fixes every bit; e^x is
made of these, as the functions of libraries differ in the last bit.

The equations are those of `charlm.cells` and `charlm.model.wiring`, in float64; rounding states to 24 bits and
weights to 28 beside the sum of their row changes them by less than float32 does. What is left out: what the
probabilities are for (`charlm.compression.arithmetic_coding`).
"""

from itertools import accumulate, repeat
from typing import Any

import numpy as np

from charlm.errors import UsageError
from charlm.model.checkpoint import Model
from charlm.model.stepper import Stepper
from charlm.model.wiring import split_weights

STATE_BITS = 24
"""Of what is multiplied with a weight, beside the largest in its row."""

WEIGHT_BITS = 28
"""Of the sum of the sizes of a row's weights. With `STATE_BITS` it stays below float64's 53."""

MEAN_BITS = 36
"""Of what a mean is made of, beside the largest: 65,536 of them, the most units of a layer, add up below 2^53."""

MIN_MEAN = 2.0**-100
"""What is below counts as nothing in a mean."""

EXP_ONE = 2.0**30
"""What a probability of 1 is as a frequency, before those of the other symbols are added."""

MIN_SYMBOL_BITS = 1 / 4096
"""Bits that a symbol costs at least, about: a share of probability is spread over all symbols for that."""

_EXP_TABLE_STEPS = 64
"""Entries of the table of e^x from one whole number to the next."""

_MAX_EXPONENT = 44.0
"""Where the table ends: tanh is 1 and a frequency 0 long before."""

EXACT = frozenset(
    "abs absolute add ceil clip concatenate divide empty_like floor full_like logical_and logical_not logical_or "
    "maximum minimum multiply negative ones_like rint sign sqrt square stack subtract trunc where zeros_like".split()
)
"""Functions of NumPy that round correctly or not at all; a cell may call these, `tanh`, `exp` and `mean`."""


def exact_stepper(model: Model) -> Stepper:
    """A stepper whose logits, float64, are the same everywhere, and of every stream whatever others run beside it.

    Raises:
        UsageError: the model's cell, from a plugin, does what cannot be made exact; when first stepped.
    """
    embedded = "embedding.weight" in model.weights
    weights: dict[str, Any] = {
        name: weight.astype(np.float64) if weight.ndim == 1 or _looked_up(name, embedded) else ExactWeight(weight)
        for name, weight in split_weights(model.options, model.weights).items()
    }
    return Stepper(model, xp=_Functions(model.options.cell), weights=weights)


def _looked_up(name: str, embedded: bool) -> bool:
    """Whether a symbol picks a row or a column of this matrix, instead of a product with it."""
    return name == "embedding.weight" if embedded else name == "layers.0.weight_ih" or name.endswith(".weight_skip")


class ExactWeight:
    """A matrix (R, C) that others are multiplied with, exactly.

    Args:
        weight: as the model has it; each row is rounded so that the sizes in it add up to `WEIGHT_BITS`.
    """

    __array_ufunc__ = None  # NumPy leaves `h @ weight` to this class

    def __init__(self, weight: np.ndarray) -> None:
        exact, columns = weight.astype(np.float64), weight.shape[1]
        # The sums too are made exact first, by grains that need no sum, lest one near a power of two hang on its order.
        grain = _grain(columns * np.abs(exact).max(1, keepdims=True), WEIGHT_BITS)
        sums = np.abs(_rounded(exact, grain)).sum(1, keepdims=True) + columns * grain
        self._rounded = _rounded(exact, _grain(sums, WEIGHT_BITS))

    @property
    def T(self) -> "ExactWeight":
        """The matrix again, which stands on the right of a product only."""
        return self

    def __rmatmul__(self, left: np.ndarray) -> np.ndarray:
        """left (B, C) @ Wᵀ (C, R), `left` rounded first."""
        largest = np.maximum(np.abs(left).max(-1, keepdims=True), 0.5)
        return np.matmul(_rounded(left, _grain(largest, STATE_BITS)), self._rounded.T)


def _grain(largest: np.ndarray, bits: int) -> np.ndarray:
    """The power of two of which numbers up to `largest` are at most 2^bits."""
    _, exponent = np.frexp(largest)
    return np.ldexp(1.0, exponent - bits)


def _rounded(x: np.ndarray, grain: np.ndarray) -> np.ndarray:
    return np.rint(x / grain) * grain


class _Functions:
    """What a cell's equations call `xp`.

    Args:
        cell: the cell's name, for messages.
    """

    def __init__(self, cell: str) -> None:
        self._cell = cell

    def __getattr__(self, name: str) -> Any:
        if name in EXACT:
            return getattr(np, name)
        raise UsageError(
            f"the cell {self._cell} calls {name}, which is not the same to the last bit on every machine; "
            f"compressing knows arithmetic, comparisons, tanh, exp, mean, and exact functions such as minimum"
        )

    @staticmethod
    def tanh(x: np.ndarray) -> np.ndarray:
        """(e^2x - 1) / (e^2x + 1)."""
        return 1.0 - 2.0 / (_exp(2.0 * x) + 1.0)

    @staticmethod
    def mean(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
        """The mean of up to 65,536 numbers, each rounded to `MEAN_BITS` beside the largest, so that no sum is."""
        largest = np.maximum(np.abs(x).max(axis, keepdims=True), MIN_MEAN)
        return _rounded(x, _grain(largest, MEAN_BITS)).sum(axis, keepdims=keepdims) / x.shape[axis]

    @staticmethod
    def exp(x: np.ndarray) -> np.ndarray:
        """e^x, as (e^(x/32))^32."""
        y = _exp(x / 32.0)
        for _ in range(5):
            y = y * y
        return y


def frequencies(logits: np.ndarray) -> np.ndarray:
    """Whole numbers (B, V) in proportion to the softmax of logits (B, V), up to what `MIN_SYMBOL_BITS` adds to each.

    Below 2^53 in sum, so that they too can be added in any order.
    """
    counts = np.rint(_exp(logits - logits.max(-1, keepdims=True)) * EXP_ONE)
    share = 1 - 2.0**-MIN_SYMBOL_BITS
    counts += np.rint(counts.sum(-1, keepdims=True) * (share / counts.shape[-1]))
    return counts


_POWERS = np.array(
    [
        1 / power
        for power in accumulate(repeat(1.0157477085866857, int(_MAX_EXPONENT * _EXP_TABLE_STEPS)), float.__mul__)
    ][::-1]
    + [1.0]
    + list(accumulate(repeat(1.0157477085866857, int(_MAX_EXPONENT * _EXP_TABLE_STEPS)), float.__mul__))
)
"""e^(n/64) for n from -2816 to 2816, multiplied up from e^(1/64)."""


def _exp(x: np.ndarray) -> np.ndarray:
    """e^x to nine digits for x up to 44 either way, and e^±44 beyond: e^(n/64) e^r, the latter by Taylor's series."""
    x = np.minimum(np.maximum(x, -_MAX_EXPONENT), _MAX_EXPONENT)
    n = np.rint(x * _EXP_TABLE_STEPS)
    r = x - n * (1 / _EXP_TABLE_STEPS)
    y = r * (1 / 6)
    y += 0.5
    y *= r
    y += 1.0
    y *= r
    y += 1.0
    y *= _POWERS.take(n.astype(np.int64) + int(_MAX_EXPONENT * _EXP_TABLE_STEPS), mode="clip")
    return y
