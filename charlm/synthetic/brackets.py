"""Nested brackets of several kinds, and quotes between them: a Dyck language (Chomsky & Schützenberger 1963).

    [{"ab"}("d"())]

A closing bracket must be of the kind that was opened last and is open still: a network needs a stack for it. Quotes
hold letters and nothing else, so that it must also know whether it is inside one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from charlm.synthetic._random import shares
from charlm.synthetic._source import Automaton, Distribution, Entropy

PAIRS = ("()", "[]", "{}", "<>")
QUOTED = "abcd"
OPENS, QUOTES, CLOSES = 3, 2, 5
"""Outside quotes, of ten characters three open a pair, two a quote, and five close the pair, or end the line."""

QUOTE, LINE_END = 0, 1
OUTSIDE, INSIDE, IN_QUOTE = range(3)

State = tuple[tuple[int, ...], int, bool]
"""The kinds of the pairs that are open, the letters of the quote counted from 1 (0: not in one), and whether the line
has begun."""


@dataclass(frozen=True)
class Brackets(Automaton):
    """Lines of well-formed brackets and quotes.

    A line has at least one pair or quote. A quote has one letter or more, and each further one with the
    probability 3/4.

    Args:
        seed: of the draws.
        kinds: of brackets.
        depth: how many pairs may be open at a time; 0 for any number. Then the depth falls off geometrically.
    """

    seed: int = 0
    kinds: int = 3
    depth: int = 0

    name: ClassVar[str] = "brackets"
    situations: ClassVar[tuple[str, ...]] = ("outside", "inside", "in a quote")
    memory: ClassVar[tuple[str, ...]] = ("inside",)
    lines: ClassVar[bool] = True

    @property
    def letters(self) -> bytes:
        """The quote, the line end, the letters of quotes, and the opening and closing brackets by turns."""
        return ('"\n' + QUOTED + "".join(PAIRS[: self.kinds])).encode()

    def start(self) -> State:
        """A new line."""
        return (), 0, False

    def distribution(self, state: State) -> Distribution:
        """What may come depends on the quote, the last open pair, and on how many are open."""
        stack, quote, begun = state
        if quote:
            return self._in_quote[quote > 1]
        if not begun:
            return self._first
        full = bool(self.depth) and len(stack) >= self.depth
        return self._between[full, stack[-1] if stack else None]

    def after(self, state: State, letter: int) -> State:
        """The stack, higher or lower; the quote, begun, longer or over."""
        stack, quote, _ = state
        if letter == LINE_END:
            return self.start()
        if letter == QUOTE:
            return stack, 0 if quote else 1, True
        if quote:
            return stack, 2, True
        kind, closes = divmod(letter - _FIRST_BRACKET, 2)
        return stack[:-1] if closes else (*stack, kind), 0, True

    def _distribution(self, weights: dict[int, int], situation: int) -> Distribution:
        return Distribution(shares([weights.get(letter, 0) for letter in range(len(self.letters))]), situation)

    @cached_property
    def _opening(self) -> dict[int, int]:
        """The parts of the opening brackets of all kinds, and of the quote, in units that every kind has whole."""
        opening = {_FIRST_BRACKET + 2 * kind: OPENS for kind in range(self.kinds)}
        return opening | {QUOTE: QUOTES * self.kinds}

    @cached_property
    def _first(self) -> Distribution:
        return self._distribution(self._opening, OUTSIDE)

    @cached_property
    def _between(self) -> dict[tuple[bool, int | None], Distribution]:
        """By whether the depth is reached, and the kind that is open; without one, the line may end."""
        distributions = {}
        for full in (False, True):
            opening = {QUOTE: self._opening[QUOTE]} if full else self._opening
            for kind in (None, *range(self.kinds)):
                closing = LINE_END if kind is None else _FIRST_BRACKET + 2 * kind + 1
                weights = opening | {closing: CLOSES * self.kinds}
                distributions[full, kind] = self._distribution(weights, OUTSIDE if kind is None else INSIDE)
        return distributions

    @cached_property
    def _in_quote(self) -> tuple[Distribution, Distribution]:
        """Right behind the opening mark, and later."""
        quoted = range(LINE_END + 1, _FIRST_BRACKET)
        return (
            self._distribution(dict.fromkeys(quoted, 1), IN_QUOTE),
            self._distribution(dict.fromkeys(quoted, 3) | {QUOTE: len(quoted)}, IN_QUOTE),
        )

    def entropy(self) -> Entropy:
        """Exact, from the means of what a pair costs and how long it is.

        At a depth d, let (b, c) be the mean bits and characters from an opening bracket's end to its closing one,
        and (q, r) those from a quote's opening mark to its closing one. Each draw opens a pair with the probability
        o, and all of one depth d + 1 then comes before the next draw, opens a quote with s, or closes with e, so that

            b_d = (h + o b_(d+1) + s q) / e        c_d = (1 + o c_(d+1) + s r) / e

        with h the entropy of a draw. Where the depth has no bound, b_d = b_(d+1), and e > o makes the means finite.
        """
        quote = self._quote()
        pair = self._mean(self._between[True, 0], (0.0, 0.0), quote)
        if self.depth:
            for _ in range(self.depth - 1):
                pair = self._mean(self._between[False, 0], pair, quote)
        else:
            opens, _, closes = self._split(self._between[False, 0])
            still = self._mean(self._between[False, 0], (0.0, 0.0), quote)
            pair = (still[0] * closes / (closes - opens), still[1] * closes / (closes - opens))
        line = self._mean(self._between[False, None], pair, quote)
        opens, quotes, _ = self._split(self._first)
        bits = self._first.bits + opens * pair[0] + quotes * quote[0] + line[0]
        characters = 1 + opens * pair[1] + quotes * quote[1] + line[1]
        return Entropy(bits / characters)

    def _quote(self) -> tuple[float, float]:
        """Mean bits and characters of a quote behind its opening mark."""
        first, later = self._in_quote
        draws = 1 / float(later.probabilities[QUOTE])
        return first.bits + draws * later.bits, 1 + draws

    def _mean(self, draw: Distribution, deeper: tuple[float, float], quote: tuple[float, float]) -> tuple[float, float]:
        opens, quotes, closes = self._split(draw)
        bits = (draw.bits + opens * deeper[0] + quotes * quote[0]) / closes
        return bits, (1 + opens * deeper[1] + quotes * quote[1]) / closes

    def _split(self, draw: Distribution) -> tuple[float, float, float]:
        """The probabilities that a pair is opened, a quote, and of the rest."""
        p = draw.probabilities
        opens = float(p[_FIRST_BRACKET::2].sum())
        return opens, float(p[QUOTE]), 1 - opens - float(p[QUOTE])


_FIRST_BRACKET = 2 + len(QUOTED)

SOURCE = Brackets
