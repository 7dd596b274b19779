"""Random numbers that are the same everywhere, and probabilities that are whole numbers.

All arithmetic is on integers, and the generator is written out, so that a seed gives the same text on every
machine and with every version of every library.

SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from collections.abc import Iterator, Sequence

import numpy as np

PROBABILITY_ONE = 1 << 32
"""The probability 1: weights are whole numbers out of this."""

UNEVENNESS = 3
"""Power to which uniform weights are raised: entropies near 2 of the 3 bits that 8 letters could have."""

BLOCK_NUMBERS = 1 << 16
"""Numbers of one block."""

MASK_64_BITS = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def splitmix64(start: int, first: int, count: int) -> np.ndarray:
    """Numbers `first` to `first + count - 1` (count,) uint64 of the SplitMix64 stream with state `start`."""
    index = np.arange(first + 1, first + 1 + count, dtype=np.uint64)
    z = np.uint64(start & MASK_64_BITS) + index * np.uint64(GAMMA)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def stream(seed: int, which: int) -> int:
    """The state from which one of a seed's independent streams starts."""
    return int(splitmix64(seed, which, 1)[0])


def endless(start: int) -> Iterator[np.ndarray]:
    """The whole stream with state `start`, in blocks (BLOCK_NUMBERS,) uint64."""
    first = 0
    while True:
        yield splitmix64(start, first, BLOCK_NUMBERS)
        first += BLOCK_NUMBERS


def uneven_rows(start: int, rows: int, width: int) -> list[tuple[int, ...]]:
    """Random probabilities: `rows` rows of `width` positive weights that sum to `PROBABILITY_ONE`, some much larger
    than others."""
    numbers = splitmix64(start, 0, rows * width).reshape(rows, width)
    return [_uneven([int(number) >> 48 for number in row]) for row in numbers]


def _uneven(numbers: list[int]) -> tuple[int, ...]:
    powers = [number**UNEVENNESS + 1 for number in numbers]
    total = sum(powers)
    return normalise([max(1, power * PROBABILITY_ONE // total) for power in powers])


def normalise(weights: Sequence[int]) -> tuple[int, ...]:
    """The weights with what they lack of `PROBABILITY_ONE`, or have beyond it, given to the largest."""
    normalised = list(weights)
    normalised[normalised.index(max(normalised))] += PROBABILITY_ONE - sum(normalised)
    return tuple(normalised)


def shares(weights: Sequence[int]) -> tuple[int, ...]:
    """Weights in these proportions, which sum to `PROBABILITY_ONE`; a part of 0 stays 0."""
    return normalise([weight * PROBABILITY_ONE // sum(weights) for weight in weights])


def running(weights: Sequence[int]) -> list[int]:
    """Running sums without the last: the number of them that are <= a 32-bit number is the index drawn."""
    sums, total = [], 0
    for weight in weights[:-1]:
        total += weight
        sums.append(total)
    return sums
