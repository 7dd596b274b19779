"""What every synthetic source says of itself, and how one whose situation can be read off its text draws and reads.

A source is a probability law over texts. From that law come the text (`blocks`), the least loss that any model can
have on it in the long run (`entropy`), and what a perfect model, which knows the law and everything that was written
so far, expects at every character (`expect`). Where a prediction is made is its *situation*, which follows from what
stands before and never from what comes, so that no model can be better than the perfect one in any situation, but by
luck.

Shapes: T characters of a text, L letters of a source.

Entropy rate: Shannon, "A mathematical theory of communication", 1948. Of lines that are drawn one by one, each
without regard to the others, it is the entropy of a line over its mean length (a renewal process).
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import Any, ClassVar

import numpy as np

from charlm.errors import CorpusError
from charlm.synthetic._random import PROBABILITY_ONE, endless, running, stream

State = Any
"""What a source remembers of the text so far: all that its next letter depends on."""


@dataclass(frozen=True)
class Entropy:
    """Bits per character that a perfect model needs in the long run.

    Attributes:
        bits: the entropy rate.
        error: the standard error of `bits` where that is an estimate; None where it is exact.
        bounds: two numbers between which the rate lies for certain; None where it is exact.
    """

    bits: float
    error: float | None = None
    bounds: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The keys of `corpus.json` about it."""
        values: dict[str, Any] = {"entropy_bits_per_char": self.bits}
        if self.error is not None:
            values["entropy_error_bits_per_char"] = self.error
        if self.bounds is not None:
            values["entropy_bounds_bits_per_char"] = list(self.bounds)
        return values


@dataclass(frozen=True)
class Law:
    """What comes next in one situation.

    Attributes:
        weights: (L,) of each letter, which sum to `PROBABILITY_ONE`.
        situation: its place in `Source.situations`.
    """

    weights: tuple[int, ...]
    situation: int

    @cached_property
    def running(self) -> list[int]:
        """Running sums of the weights, to draw by."""
        return running(self.weights)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(L,) the probabilities."""
        return np.array(self.weights) / PROBABILITY_ONE

    @cached_property
    def bits(self) -> float:
        """The entropy of one draw."""
        return -sum(weight / PROBABILITY_ONE * log2(weight / PROBABILITY_ONE) for weight in self.weights if weight)


@dataclass(frozen=True)
class Expected:
    """What a perfect model expects of each character of a text, given all before it.

    Attributes:
        probabilities: (T, L) of each letter.
        came: (T,) the letter that came, as its place among the letters.
        situations: (T,) as places in `Source.situations`.
    """

    probabilities: np.ndarray
    came: np.ndarray
    situations: np.ndarray

    @property
    def nats(self) -> np.ndarray:
        """(T,) the surprise of each character: the least that is possible, on average."""
        return -np.log(np.take_along_axis(self.probabilities, self.came[:, None], 1)[:, 0])

    @property
    def likeliest(self) -> np.ndarray:
        """(T,) the letter that is held likeliest in each place; the first of several."""
        return self.probabilities.argmax(1)


class Source(ABC):
    """A synthetic source; its parameters are its fields.

    Attributes:
        name: as `charlm prepare` takes it.
        situations: where predictions are made; every character is predicted in one of them.
        memory: those of them in which a model is good only if it remembers what stands further back.
        lines: whether the text is made of lines, each drawn without regard to the others.
    """

    name: ClassVar[str]
    situations: ClassVar[tuple[str, ...]]
    memory: ClassVar[tuple[str, ...]]
    lines: ClassVar[bool]
    seed: int

    @property
    @abstractmethod
    def letters(self) -> bytes:
        """(L,) every character that the source writes; a line end is one."""

    @abstractmethod
    def draw(self) -> Iterator[bytes]:
        """The text, which never ends, in pieces of any length."""

    @abstractmethod
    def entropy(self) -> Entropy:
        """The entropy rate."""

    @abstractmethod
    def expect(self, text: bytes) -> Expected:
        """What a perfect model expects of a text that begins as the source begins: of lines, where one does.

        Raises:
            CorpusError: the source never writes such a text; the first character that shows it is named.
        """

    def blocks(self, size: int) -> Iterator[bytes]:
        """The first `size` characters of the text, in blocks of bounded length; the last line may be cut."""
        for piece in self.draw():
            yield piece[:size]
            size -= len(piece)
            if size <= 0:
                return

    @cached_property
    def _places(self) -> dict[int, int]:
        return {letter: index for index, letter in enumerate(self.letters)}

    def _refusal(self, text: bytes, at: int) -> CorpusError:
        letter = bytes(text[at : at + 1])
        before = bytes(text[max(0, at - 20) : at])
        return CorpusError(
            f"{self.name} with these parameters never writes {letter!r} after {before!r} (at {at:,}, counted from 0); "
            f"give a text of this source that begins where a line does"
        )


def stationary(goes: np.ndarray) -> np.ndarray:
    """(S,) how often each state is met in the long run, by the probabilities (S, S) of the state after each.

    All states must be within reach of each other, as they are where every weight is positive.
    """
    # pi goes = pi has one solution up to scale; its sum replaces one equation.
    size = len(goes)
    equations = goes.T - np.eye(size)
    equations[-1] = 1.0
    return np.linalg.solve(equations, np.eye(size)[-1])


class Automaton(Source):
    """A source whose state can be read off the text: the same law draws and expects."""

    @abstractmethod
    def start(self) -> State:
        """The state before the first letter."""

    @abstractmethod
    def law(self, state: State) -> Law:
        """What comes next."""

    @abstractmethod
    def after(self, state: State, letter: int) -> State:
        """The state once a letter, given as its place, was written."""

    def draw(self) -> Iterator[bytes]:
        """One letter for each random number."""
        state, letters = self.start(), self.letters
        for numbers in endless(stream(self.seed, 1)):
            drawn = bytearray()
            for number in (numbers >> np.uint64(32)).tolist():
                letter = bisect_right(self.law(state).running, number)
                drawn.append(letters[letter])
                state = self.after(state, letter)
            yield bytes(drawn)

    def expect(self, text: bytes) -> Expected:
        """The law of each state on the way; see `Source.expect`."""
        probabilities = np.empty((len(text), len(self.letters)))
        came, situations = np.empty((2, len(text)), np.int64)
        state = self.start()
        for at, character in enumerate(text):
            law, letter = self.law(state), self._places.get(character)
            if letter is None or not law.weights[letter]:
                raise self._refusal(text, at)
            probabilities[at], came[at], situations[at] = law.probabilities, letter, law.situation
            state = self.after(state, letter)
        return Expected(probabilities, came, situations)
