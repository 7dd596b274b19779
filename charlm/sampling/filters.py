"""From logits to a symbol: a chain of pure functions on (B, V) arrays, and the draw itself.

Everything is in float64 and in log space: no temperature overflows, and no probability that was
possible becomes impossible by rounding before the filters have seen it.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from charlm.model.logits import log_softmax

NEG_INF = -np.inf
"""The logit of a symbol that must not be drawn."""


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Divide by the temperature: below 1 sharper, above 1 flatter. 0 keeps only the likeliest."""
    if temperature == 0:
        return top_k(logits, 1)
    best = logits.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # beyond float64 is -inf, which is what so small a temperature means
        return (logits - best) / temperature


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k likeliest symbols of each row (ties: the lower id); k of V or more keeps all."""
    if k >= logits.shape[-1]:
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    filtered = np.full_like(logits, NEG_INF)
    np.put_along_axis(filtered, order[:, :k], np.take_along_axis(logits, order[:, :k], axis=-1), axis=-1)
    return filtered


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest likeliest symbols that together reach probability p (Holtzman et al. 2020)."""
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.exp(np.take_along_axis(log_softmax(logits), order, axis=-1))
    before = ranked.cumsum(axis=-1) - ranked
    keep = np.empty_like(before, dtype=bool)
    np.put_along_axis(keep, order, before < p, axis=-1)
    return np.where(keep, logits, NEG_INF)


def min_p(logits: np.ndarray, share: float) -> np.ndarray:
    """Drop symbols less likely than `share` times the likeliest."""
    best = logits.max(axis=-1, keepdims=True)
    return np.where(logits >= best + np.log(share), logits, NEG_INF)


@dataclass(frozen=True)
class SamplingParams:
    """Which of the filters apply, in the order temperature, top-k, top-p, min-p."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Filtered logits (B, V) in float64; what may not be drawn is -inf."""
        filtered = apply_temperature(logits.astype(np.float64), self.temperature)
        if self.top_k:
            filtered = top_k(filtered, self.top_k)
        if self.top_p < 1:
            filtered = top_p(filtered, self.top_p)
        if self.min_p > 0:
            filtered = min_p(filtered, self.min_p)
        return filtered


def sample_ids(logits: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Draw one symbol a row by inverting the cumulative distribution.

    Args:
        logits: (B, V), -inf where a symbol must not be drawn.
        uniforms: (B,) in [0, 1).

    Returns:
        (B,) ids.
    """
    reached = np.exp(logits - logits.max(axis=-1, keepdims=True)).cumsum(axis=-1)
    return (reached <= uniforms[:, None] * reached[:, -1:]).sum(axis=-1)


def make_sampler(params: SamplingParams, symbols: int) -> Callable[[np.ndarray, float], int]:
    """What draws from one row of logits (V,) with one uniform, as `draw` does under the rules; into buffers of its own.

    Where nothing is filtered there is less to do. An overflow on the way is seen to; the caller keeps NumPy from
    warning of it, once for many draws. What is returned raises FloatingPointError where the largest of the logits is
    not finite.

    Args:
        rules: the filters.
        symbols: V.
    """
    weights, reached = np.empty(symbols), np.empty(symbols)
    sums = reached.data  # whose numbers are Python's, which are compared in a third of the time
    exp, accumulate, temperature = np.exp, np.add.accumulate, params.temperature

    def filtered(logits: np.ndarray, uniform: float) -> int:
        if not isfinite(logits.max()):
            raise FloatingPointError("logits without a finite maximum")
        return int(sample_ids(params.apply(logits[None]), np.array([uniform]))[0])

    def unfiltered(logits: np.ndarray, uniform: float) -> int:
        weights[...] = logits
        if temperature != 1:
            np.divide(weights, temperature, weights)
        accumulate(exp(weights, weights), 0, None, reached)
        total = sums[-1]
        if _SMALLEST < total < _LARGEST:
            return bisect_right(sums, uniform * total)
        return filtered(logits, uniform)

    return filtered if temperature == 0 or params.top_k or params.top_p < 1 or params.min_p > 0 else unfiltered


_SMALLEST, _LARGEST = 1e-200, 1e300
"""A sum of exponentials between these is as exact as one of logits less their maximum, which costs two calls more."""
