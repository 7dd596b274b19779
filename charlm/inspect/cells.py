"""What a unit does over a text, in a few numbers.

What is left out: which units there are to look at (all of them can be looked at by `charlm.inspect.record`).
"""

from dataclasses import dataclass

import numpy as np

from charlm.model.units import HiddenUnit

MIN_OCCURRENCES = 10
"""How often a symbol must occur to be named among those on which a unit is high or low, where any does."""

NAMED = 3
"""Symbols that are named."""


@dataclass(frozen=True)
class Profile:
    """One unit over a text.

    Attributes:
        unit: which.
        mean, deviation, lowest, highest: of its values.
        high_on, low_on: ids of the symbols after which it is highest and lowest in the mean.
    """

    unit: HiddenUnit
    mean: float
    deviation: float
    lowest: float
    highest: float
    high_on: tuple[int, ...]
    low_on: tuple[int, ...]


def profile(unit: HiddenUnit, ids: np.ndarray, values: np.ndarray) -> Profile:
    """Look at one unit.

    Args:
        unit: which.
        ids: (N,) the symbols of a text.
        values: (N,) of it after each was read.
    """
    counts = np.bincount(ids)
    sums = np.bincount(ids, values)
    often = np.flatnonzero(counts >= min(MIN_OCCURRENCES, counts.max()))
    order = often[np.argsort(sums[often] / counts[often], kind="stable")]
    return Profile(
        unit=unit,
        mean=float(values.mean(dtype=np.float64)),
        deviation=float(values.std(dtype=np.float64)),
        lowest=float(values.min()),
        highest=float(values.max()),
        high_on=tuple(order[::-1][:NAMED].tolist()),
        low_on=tuple(order[:NAMED].tolist()),
    )
