"""Letters of which each depends on the two before it (Shannon 1948, section 7)."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from charlm.synthetic._random import PROBABILITY_ONE, stream, uneven_rows
from charlm.synthetic._source import Automaton, Distribution, Entropy, stationary

LETTERS = b"abcdefgh"
ORDER = 2
CONTEXTS = len(LETTERS) ** ORDER


@dataclass(frozen=True)
class Markov(Automaton):
    """Eight letters; the probabilities after each two of them are drawn once, by the seed.

    The state is the two letters as one number; the text starts as if two of the first letter came before.
    """

    seed: int = 0

    name: ClassVar[str] = "markov"
    situations: ClassVar[tuple[str, ...]] = ("letter",)
    memory: ClassVar[tuple[str, ...]] = ("letter",)
    lines: ClassVar[bool] = False

    @property
    def letters(self) -> bytes:
        """a to h."""
        return LETTERS

    def start(self) -> int:
        """Two of the first letter."""
        return 0

    def distribution(self, state: int) -> Distribution:
        """The row of the two letters before."""
        return self._distributions[state]

    def after(self, state: int, letter: int) -> int:
        """The letter before, and this one."""
        return (state * len(LETTERS) + letter) % CONTEXTS

    @cached_property
    def weights(self) -> list[tuple[int, ...]]:
        """For each of 64 contexts, 8 positive numbers that sum to 2**32."""
        return uneven_rows(stream(self.seed, 0), CONTEXTS, len(LETTERS))

    @cached_property
    def _distributions(self) -> list[Distribution]:
        return [Distribution(row, 0) for row in self.weights]

    def entropy(self) -> Entropy:
        """Exact: the entropy of each row, by how often its context is met in the long run."""
        letters = len(LETTERS)
        p = np.array(self.weights, dtype=np.float64) / PROBABILITY_ONE
        step = np.zeros((CONTEXTS, CONTEXTS))
        for context in range(CONTEXTS):
            after = (context * letters + np.arange(letters)) % CONTEXTS
            step[context, after] = p[context]
        return Entropy(float(-(stationary(step)[:, None] * p * np.log2(p)).sum()))


SOURCE = Markov
