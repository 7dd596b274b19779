"""Corpora that need no download: this Python's own library, and a text of known entropy.

`markov` is a random source in which each letter depends on the two before it. All its arithmetic
is on integers and its generator is written out below, so that a seed gives the same text on every
machine and with every version of every library; its entropy rate is computed, not estimated, so
that a model can be told how far it is from the best possible one.
What is left out: reading files (`charlm.text.sources`).

SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
Entropy rate of a Markov source: Shannon, "A mathematical theory of communication", 1948, section 7.
"""

import os
import sys
import sysconfig
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from charlm.errors import CorpusError

LETTERS = b"abcdefgh"
MARKOV_SIZE = 2_000_000
"""Characters of `markov` where no size is given."""

ORDER = 2
CONTEXTS = len(LETTERS) ** ORDER
ONE = 1 << 32
"""The probability 1: weights are whole numbers out of this."""

UNEVENNESS = 3
"""Power to which uniform weights are raised: entropies near 2 of the 3 bits that 8 letters could have."""

BLOCK = 1 << 16
MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
OUTSIDE = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders of the standard library that hold its test suites, or what others installed."""


def splitmix64(start: int, first: int, count: int) -> np.ndarray:
    """Numbers `first` to `first + count - 1` (count,) uint64 of the SplitMix64 stream with state `start`."""
    place = np.arange(first + 1, first + 1 + count, dtype=np.uint64)
    z = np.uint64(start & MASK) + place * np.uint64(GAMMA)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lru_cache(maxsize=8)
def markov_weights(seed: int) -> tuple[tuple[int, ...], ...]:
    """The source's transition weights: for each of 64 contexts, 8 positive numbers that sum to 2**32."""
    letters = len(LETTERS)
    rows = splitmix64(_stream(seed, 0), 0, CONTEXTS * letters).reshape(CONTEXTS, letters)
    return tuple(_row([int(number) >> 48 for number in row]) for row in rows)


def _row(numbers: list[int]) -> tuple[int, ...]:
    powers = [number**UNEVENNESS + 1 for number in numbers]
    weights = [max(1, power * ONE // sum(powers)) for power in powers]
    likeliest = weights.index(max(weights))
    weights[likeliest] += ONE - sum(weights)
    return tuple(weights)


def _stream(seed: int, which: int) -> int:
    """The state from which one of a seed's independent streams starts."""
    return int(splitmix64(seed, which, 1)[0])


def markov(size: int, seed: int) -> Iterator[bytes]:
    """Draw `size` letters of the source, in blocks. It starts as if two of the first letter came before."""
    thresholds = [_running(row) for row in markov_weights(seed)]
    start, letters, context = _stream(seed, 1), len(LETTERS), 0
    for first in range(0, size, BLOCK):
        drawn = bytearray()
        for number in (splitmix64(start, first, min(BLOCK, size - first)) >> np.uint64(32)).tolist():
            letter = bisect_right(thresholds[context], number)
            drawn.append(LETTERS[letter])
            context = (context * letters + letter) % CONTEXTS
        yield bytes(drawn)


def _running(row: tuple[int, ...]) -> list[int]:
    """Running sums without the last: the number of them that are <= a 32-bit number is the letter drawn."""
    return [sum(row[: index + 1]) for index in range(len(row) - 1)]


def markov_entropy(seed: int) -> float:
    """Entropy rate of the source in bits per character: the loss of the best possible model."""
    letters = len(LETTERS)
    p = np.array(markov_weights(seed), dtype=np.float64) / ONE
    step = np.zeros((CONTEXTS, CONTEXTS))
    for context in range(CONTEXTS):
        after = (context * letters + np.arange(letters)) % CONTEXTS
        step[context, after] = p[context]
    # pi step = pi has one solution up to scale, as every weight is positive; its sum replaces one equation.
    equations = step.T - np.eye(CONTEXTS)
    equations[-1] = 1.0
    pi = np.linalg.solve(equations, np.eye(CONTEXTS)[-1])
    return float(-(pi[:, None] * p * np.log2(p)).sum())


def stdlib_files() -> list[tuple[str, Path]]:
    """The source files of this interpreter's standard library: POSIX path within it and path, sorted.

    Test suites, installed packages and files that are not UTF-8 are left out.

    Raises:
        CorpusError: the installation has no sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in OUTSIDE and not name.startswith("config-")]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    named = sorted((path.relative_to(root).as_posix(), path) for path in found)
    kept = [(name, path) for name, path in named if _is_utf8(path)]
    if not kept:
        raise CorpusError(
            f"python-stdlib: {root} has no .py files; Python {sys.version.split()[0]} is installed here without its "
            f"sources, prepare a text of your own instead: charlm prepare FILE"
        )
    return kept


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True
