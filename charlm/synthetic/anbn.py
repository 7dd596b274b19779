"""As many b as a: a^n b^n, the smallest language that no finite automaton knows (Gers & Schmidhuber 2001).

    aaaabbbb

A network must count the a, and count them back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import ClassVar

from charlm.synthetic._random import PROBABILITY_ONE
from charlm.synthetic._source import Automaton, Distribution, Entropy

A, B, LINE_END = range(3)

State = tuple[int, int]
"""How many a and how many b of the line were written."""


@dataclass(frozen=True)
class AnBn(Automaton):
    """Lines of n times a and n times b; n is at least 1.

    Args:
        seed: of the draws.
        counts: how n is drawn: `uniform`, each from 1 to 2 mean - 1 alike, or `geometric`, the line going over to b
            after each a with the probability 1 / mean.
        mean: of n.
    """

    seed: int = 0
    counts: str = "uniform"
    mean: int = 10

    name: ClassVar[str] = "anbn"
    situations: ClassVar[tuple[str, ...]] = ("a", "b")
    memory: ClassVar[tuple[str, ...]] = ("b",)
    lines: ClassVar[bool] = True

    @property
    def letters(self) -> bytes:
        """a, b and the line end."""
        return b"ab\n"

    def start(self) -> State:
        """A new line."""
        return 0, 0

    def distribution(self, state: State) -> Distribution:
        """Before the first b, whether it comes; after it, as many as there are a."""
        a, b = state
        if b:
            return self._certain[B if b < a else LINE_END]
        weight = self._stop(a)
        if weight not in self._uncertain:
            self._uncertain[weight] = Distribution((PROBABILITY_ONE - weight, weight, 0), 0)
        return self._uncertain[weight]

    def after(self, state: State, letter: int) -> State:
        """One a or one b more, or a new line."""
        a, b = state
        if letter == LINE_END:
            return self.start()
        return (a + 1, 0) if letter == A else (a, b + 1)

    def _stop(self, a: int) -> int:
        """The weight of the first b after so many a."""
        if not a:
            return 0
        if self.counts == "geometric":
            return PROBABILITY_ONE // self.mean
        return PROBABILITY_ONE // max(1, 2 * self.mean - a)

    @cached_property
    def _uncertain(self) -> dict[int, Distribution]:
        """The distributions before the first b, by its weight, as they are needed."""
        return {}

    @cached_property
    def _certain(self) -> dict[int, Distribution]:
        return {B: Distribution((0, PROBABILITY_ONE, 0), 1), LINE_END: Distribution((0, 0, PROBABILITY_ONE), 1)}

    def entropy(self) -> Entropy:
        """Exact: the entropy of n over the mean of 2 n + 1."""
        if self.counts == "geometric":
            p = PROBABILITY_ONE // self.mean / PROBABILITY_ONE
            bits = 0.0 if p == 1 else -(p * log2(p) + (1 - p) * log2(1 - p)) / p
            return Entropy(bits / (2 / p + 1))
        bits, mean = 0.0, 0.0
        for n, probability in enumerate(self._probabilities(), 1):
            bits -= probability * log2(probability)
            mean += probability * n
        return Entropy(bits / (2 * mean + 1))

    def _probabilities(self) -> Iterator[float]:
        """Of n = 1, 2, …, 2 mean - 1 where n is uniform: each but for the rounding of the weights."""
        left = 1.0
        for a in range(1, 2 * self.mean):
            stop = self._stop(a) / PROBABILITY_ONE
            yield left * stop
            left *= 1 - stop


SOURCE = AnBn
