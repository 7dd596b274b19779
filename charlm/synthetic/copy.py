"""A string, a delay, the string again (Hochreiter & Schmidhuber 1997 have such tasks; this form: Arjovsky et al. 2016).

    hgcab....................:hgcab

What a network must carry across the delay is the string; that a delay is over, the mark says, so that what is
copied is asked for apart from the counting that finds the mark.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from charlm.synthetic._random import shares
from charlm.synthetic._source import Automaton, Distribution, Entropy

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
FILLER, MARK, LINE_END = range(3)

State = tuple[int, tuple[int, ...]]
"""How many letters of the line were written, and the string so far."""


@dataclass(frozen=True)
class Copy(Automaton):
    """Lines of one length: letters drawn evenly, fillers, a mark, and the letters once more.

    Args:
        seed: of the draws.
        delay: fillers between the string and the mark. A copied letter is `copied + delay + 1` characters
            after its original.
        copied: letters of a string.
        alphabet: how many different ones.
    """

    seed: int = 0
    delay: int = 20
    copied: int = 5
    alphabet: int = 8

    name: ClassVar[str] = "copy"
    situations: ClassVar[tuple[str, ...]] = ("string", "delay", "mark", "copy", "line end")
    memory: ClassVar[tuple[str, ...]] = ("copy",)
    lines: ClassVar[bool] = True

    @property
    def letters(self) -> bytes:
        """Filler, mark and line end, and then the alphabet."""
        return b".:\n" + ALPHABET[: self.alphabet]

    def start(self) -> State:
        """A new line."""
        return 0, ()

    def distribution(self, state: State) -> Distribution:
        """One letter alone, save within the string."""
        written, string = state
        if written < self.copied:
            return self._string
        if written < self.copied + self.delay:
            return self._certain[FILLER]
        if written == self.copied + self.delay:
            return self._certain[MARK]
        position = written - self.copied - self.delay - 1
        return self._certain[string[position] if position < self.copied else LINE_END]

    def after(self, state: State, letter: int) -> State:
        """One letter more; the string grows while it is drawn."""
        if letter == LINE_END:
            return self.start()
        written, string = state
        return written + 1, (*string, letter) if written < self.copied else string

    @cached_property
    def _string(self) -> Distribution:
        return Distribution(shares([0, 0, 0] + [1] * self.alphabet), 0)

    @cached_property
    def _certain(self) -> list[Distribution]:
        """The distributions with one certain letter, by that letter."""
        kinds = {FILLER: 1, MARK: 2, LINE_END: 4}
        size = len(self.letters)
        return [
            Distribution(shares([position == sure for position in range(size)]), kinds.get(sure, 3))
            for sure in range(size)
        ]

    def entropy(self) -> Entropy:
        """Exact: a string's bits over a line's length."""
        return Entropy(self.copied * self._string.bits / (2 * self.copied + self.delay + 2))


SOURCE = Copy
