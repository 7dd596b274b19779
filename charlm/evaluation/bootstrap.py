"""How far a loss, or a difference of two, would be elsewhere in texts of the same kind.

The interval is that of a block bootstrap: Künsch, "The jackknife and the bootstrap for general stationary
observations", 1989, on blocks that overlap, with the text closed to a circle so that every character is in as many
blocks as any other (Politis & Romano, "A circular block-resampling procedure for stationary data", 1992). Blocks are
drawn with replacement until they are as long as the text, 10,000 times, and 95 % of the means lie within the interval.
Neighbouring characters are hard or easy together, and so are neighbouring pages and files. So the blocks are long, a
thirty-second of the text, which makes them few; for that the percentiles are moved outwards as in Hesterberg, "What
teachers should know about the bootstrap", 2015, section 4 (expanded percentiles, by Student's t).

What it does not see: another seed of the training, and how unlike the texts are on which a model will be used.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

MAX_BLOCKS = 32
"""Blocks that make up a text, and are drawn to make up another one."""

MIN_BLOCKS = 10
"""Blocks, below which there is no interval."""

MIN_BLOCK_CHARACTERS = 64
"""Characters of a block, at least; a short text has fewer blocks."""

BLOCK_PIECES = 32
"""Pieces of a block: where one begins, a block can begin."""

BOOTSTRAP_DRAWS = 10_000
CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """From where to where.

    Attributes:
        low, high: in the unit of what was given.
        blocks: how many make up the text.
    """

    low: float
    high: float
    blocks: int


def block_starts(characters: int) -> np.ndarray:
    """Where the pieces (K,) of a text begin, which are as equal as can be; none where it is too short."""
    blocks = min(MAX_BLOCKS, characters // MIN_BLOCK_CHARACTERS)
    pieces = blocks * BLOCK_PIECES if blocks >= MIN_BLOCKS else 0
    return np.arange(pieces, dtype=np.int64) * characters // max(pieces, 1)


def interval(sums: np.ndarray, characters: np.ndarray, seed: int = 0) -> Interval | None:
    """The interval of a mean per character.

    Args:
        sums: (K,) of what is averaged, over the pieces of `block_starts`.
        characters: (K,) of each piece.
        seed: of the draws.

    Returns:
        None where there are no pieces.
    """
    blocks = len(sums) // BLOCK_PIECES
    if not blocks:
        return None
    of_blocks, lengths = _circular(sums), _circular(characters)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(BOOTSTRAP_DRAWS, blocks))
    means = of_blocks[drawn].sum(1) / lengths[drawn].sum(1)
    share = _expanded((1 - CONFIDENCE_LEVEL) / 2, blocks)
    low, high = np.quantile(means, (share, 1 - share))
    return Interval(float(low), float(high), blocks)


def _circular(values: np.ndarray) -> np.ndarray:
    """Sums (K,) over the block that begins with each piece; after the last piece comes the first."""
    running = np.concatenate(([0.0], np.cumsum(np.concatenate((values, values[: BLOCK_PIECES - 1])))))
    return running[BLOCK_PIECES:] - running[:-BLOCK_PIECES]


def _expanded(share: float, blocks: int) -> float:
    """The share below the lower end, for so many blocks: that of a normal distribution beyond Student's quantile."""
    normal, free = NormalDist(), blocks - 1
    z = -normal.inv_cdf(share)
    # Student's quantile by the first terms of Fisher's expansion in 1 / freedom (Abramowitz & Stegun 26.7.5).
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return normal.cdf(-t * sqrt(blocks / free))
