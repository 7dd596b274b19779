"""The network in an arithmetic with the same bits on every machine, so that encoder and decoder agree on probabilities.

A sum of products depends on the order of its terms, which differs between processors, libraries and numbers of threads.
Here sums are exact, and then no order matters: factors are first rounded to so few bits that every product and every
partial sum is a multiple of one step size and below 2^53 steps, which float64 represents exactly. All else is done with
+, -, ×, ÷ and rounding, one at a time, of which IEEE 754 fixes every bit; e^x is made of these, as the functions of
libraries differ in the last bit.

The equations are those of `charlm.cells` and `charlm.model.wiring`, in float64; rounding states to 24 bits, and weights
to 28 relative to the sum of their row, changes them by less than float32 does. What is left out: the use of the
probabilities (`charlm.compression.arithmetic_coding`).
"""

from itertools import accumulate, repeat
from typing import Any

import numpy as np

from charlm.errors import UsageError
from charlm.model.checkpoint import Model
from charlm.model.stepper import Stepper
from charlm.model.wiring import split_weights

STATE_BITS = 24
"""Bits of a factor of a weight, relative to the largest in its row."""

WEIGHT_BITS = 28
"""Bits of the sum of a row's absolute weights. With `STATE_BITS` it is below float64's 53."""

MEAN_BITS = 36
"""Bits of each number in a mean, relative to the largest: 65,536 of them, the most units of a layer, sum below 2^53."""

MIN_MEAN = 2.0**-100
"""Numbers below this count as 0 in a mean."""

MAX_COUNT = 2.0**30
"""The frequency of the likeliest symbol, before a share of the sum is added to each."""

MIN_SYMBOL_BITS = 1 / 4096
"""The least bits of a symbol, about: a share of the probability is spread over all symbols for that."""

_EXP_TABLE_STEPS = 64
"""Entries of the table of e^x between two integers."""

_MAX_EXPONENT = 44.0
"""The end of the table: tanh is 1 and a frequency 0 long before."""

EXACT = frozenset(
    "abs absolute add ceil clip concatenate divide empty_like floor full_like logical_and logical_not logical_or "
    "maximum minimum multiply negative ones_like rint sign sqrt square stack subtract trunc where zeros_like".split()
)
"""Functions of NumPy that round correctly or not at all. A cell may call these, `tanh`, `exp` and `mean`."""


def exact_stepper(model: Model) -> Stepper:
    """A stepper whose logits (float64) are the same on every machine, and for a stream in any batch.

    Raises:
        UsageError: a plugin's cell does what cannot be made exact; raised at the first step.
    """
    embedded = "embedding.weight" in model.weights
    weights: dict[str, Any] = {
        name: weight.astype(np.float64) if weight.ndim == 1 or _looked_up(name, embedded) else ExactWeight(weight)
        for name, weight in split_weights(model.options, model.weights).items()
    }
    return Stepper(model, xp=_Functions(model.options.cell), weights=weights)


def _looked_up(name: str, embedded: bool) -> bool:
    """Whether a symbol selects a row or column of this matrix, instead of a product with it."""
    return name == "embedding.weight" if embedded else name == "layers.0.weight_ih" or name.endswith(".weight_skip")


class ExactWeight:
    """A matrix (R, C) whose products are exact.

    Args:
        weight: of the model; each row is rounded so that its absolute weights sum to at most `WEIGHT_BITS` bits.
    """

    __array_ufunc__ = None  # NumPy leaves `h @ weight` to this class

    def __init__(self, weight: np.ndarray) -> None:
        exact, columns = weight.astype(np.float64), weight.shape[1]
        # The sums must be exact too, as one near a power of two would depend on its order: round by the largest first.
        step_size = _step_size(columns * np.abs(exact).max(1, keepdims=True), WEIGHT_BITS)
        sums = np.abs(_round(exact, step_size)).sum(1, keepdims=True) + columns * step_size
        self._rounded = _round(exact, _step_size(sums, WEIGHT_BITS))

    @property
    def T(self) -> "ExactWeight":
        """The matrix itself, which is only used on the right of a product."""
        return self

    def __rmatmul__(self, left: np.ndarray) -> np.ndarray:
        """left (B, C) @ Wᵀ (C, R) of the rounded `left`."""
        largest = np.maximum(np.abs(left).max(-1, keepdims=True), 0.5)
        return np.matmul(_round(left, _step_size(largest, STATE_BITS)), self._rounded.T)


def _step_size(largest: np.ndarray, bits: int) -> np.ndarray:
    """The power of two in which numbers up to `largest` are at most 2^bits."""
    _, exponent = np.frexp(largest)
    return np.ldexp(1.0, exponent - bits)


def _round(x: np.ndarray, step_size: np.ndarray) -> np.ndarray:
    return np.rint(x / step_size) * step_size


class _Functions:
    """The functions for a cell's equations, as its `xp`.

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
        """The mean of up to 65,536 numbers, each rounded to `MEAN_BITS` so that their sum is exact."""
        largest = np.maximum(np.abs(x).max(axis, keepdims=True), MIN_MEAN)
        return _round(x, _step_size(largest, MEAN_BITS)).sum(axis, keepdims=keepdims) / x.shape[axis]

    @staticmethod
    def exp(x: np.ndarray) -> np.ndarray:
        """e^x, as (e^(x/32))^32."""
        y = _exp(x / 32.0)
        for _ in range(5):
            y = y * y
        return y


def frequencies(logits: np.ndarray) -> np.ndarray:
    """Integers (B, V) in proportion to the softmax of logits (B, V), plus a share for `MIN_SYMBOL_BITS`.

    Their sum is below 2^53, so that they can be added in any order.
    """
    counts = np.rint(_exp(logits - logits.max(-1, keepdims=True)) * MAX_COUNT)
    share = 1 - 2.0**-MIN_SYMBOL_BITS
    counts += np.rint(counts.sum(-1, keepdims=True) * (share / counts.shape[-1]))
    return counts


_RISING = list(accumulate(repeat(1.0157477085866857, int(_MAX_EXPONENT * _EXP_TABLE_STEPS)), float.__mul__))
_POWERS = np.array([*(1 / power for power in reversed(_RISING)), 1.0, *_RISING])
"""e^(n/64) for n from -2816 to 2816, multiplied up from e^(1/64)."""


def _exp(x: np.ndarray) -> np.ndarray:
    """e^x to nine digits for x from -44 to 44, e^±44 beyond: e^(n/64) e^r, the latter by its Taylor series."""
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
