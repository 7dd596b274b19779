"""From logits to a symbol: filters as pure functions on arrays (B, V), and the draw.

Everything is in float64 and in log space: no temperature overflows, and no symbol becomes impossible by rounding before
the filters are applied.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from charlm.model.logits import log_softmax

NEG_INF = -np.inf
"""The logit of a symbol that must not be drawn."""

MIN_EXACT_SUM, MAX_EXACT_SUM = 1e-200, 1e300
"""A sum of exponentials between these is as exact as one of logits less their maximum, which costs two calls more."""


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Divide by the temperature: below 1 sharper, above 1 flatter. 0 keeps the likeliest symbol alone."""
    if temperature == 0:
        return top_k(logits, 1)
    best = logits.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # -inf is right for what a temperature so small divides
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
    likelier = ranked.cumsum(axis=-1) - ranked  # the probability of all likelier symbols
    selected = np.empty_like(likelier, dtype=bool)
    np.put_along_axis(selected, order, likelier < p, axis=-1)
    return np.where(selected, logits, NEG_INF)


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
        """Filtered logits (B, V) in float64, -inf for a symbol that must not be drawn."""
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
        logits: (B, V), -inf for a symbol that must not be drawn.
        uniforms: (B,) in [0, 1).

    Returns:
        (B,) ids.
    """
    cumulative = np.exp(logits - logits.max(axis=-1, keepdims=True)).cumsum(axis=-1)
    return (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=-1)


def make_sampler(params: SamplingParams, vocab_size: int) -> Callable[[np.ndarray, float], int]:
    """Make a function that draws one symbol from logits (V,) and a uniform number, as `sample_ids` does for a batch.

    It computes into buffers of its own, and does less if nothing is filtered. It handles overflows; the caller silences
    NumPy's warnings of them, once for many draws. It raises FloatingPointError if the largest logit is not finite.

    Args:
        params: temperature and filters.
        vocab_size: V.
    """
    weights, cumulative = np.empty(vocab_size), np.empty(vocab_size)
    sums = cumulative.data  # its items are Python's floats, which compare in a third of the time
    exp, accumulate, temperature = np.exp, np.add.accumulate, params.temperature

    def filtered(logits: np.ndarray, uniform: float) -> int:
        if not isfinite(logits.max()):
            raise FloatingPointError("logits without a finite maximum")
        return int(sample_ids(params.apply(logits[None]), np.array([uniform]))[0])

    def unfiltered(logits: np.ndarray, uniform: float) -> int:
        weights[...] = logits
        if temperature != 1:
            np.divide(weights, temperature, weights)
        accumulate(exp(weights, weights), 0, None, cumulative)
        total = sums[-1]
        if MIN_EXACT_SUM < total < MAX_EXACT_SUM:
            return bisect_right(sums, uniform * total)
        return filtered(logits, uniform)

    return filtered if temperature == 0 or params.top_k or params.top_p < 1 or params.min_p > 0 else unfiltered
