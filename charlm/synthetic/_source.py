"""The interface of synthetic sources, and the base of those whose state follows from their text.

A source is a known distribution of texts. It yields the text (`blocks`), the least loss that any model can have on it
in the long run (`entropy`), and the predictions of a perfect model, which knows the distribution and all characters
before (`expect`). Each prediction is made in a *situation*, which depends on the characters before and never on those
after, so that only by chance a model is better than the perfect one in any situation.

Shapes: T characters of a text, L letters of a source.

Entropy rate: Shannon, "A mathematical theory of communication", 1948. Of lines that are drawn
independently, it is the entropy of a line over its mean length (a renewal process).
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
"""The state of a source after the text so far: all that its next letter depends on."""


@dataclass(frozen=True)
class Entropy:
    """Bits per character that a perfect model needs in the long run.

    Attributes:
        bits: the entropy rate.
        error: the standard error of `bits` if that is an estimate; None if it is exact.
        bounds: certain lower and upper bounds of the rate; None if it is exact.
    """

    bits: float
    error: float | None = None
    bounds: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The keys of `corpus.json`."""
        values: dict[str, Any] = {"entropy_bits_per_char": self.bits}
        if self.error is not None:
            values["entropy_error_bits_per_char"] = self.error
        if self.bounds is not None:
            values["entropy_bounds_bits_per_char"] = list(self.bounds)
        return values


@dataclass(frozen=True)
class Distribution:
    """The distribution of the next letter in one situation.

    Attributes:
        weights: (L,) of the letters, which sum to `PROBABILITY_ONE`.
        situation: index in `Source.situations`.
    """

    weights: tuple[int, ...]
    situation: int

    @cached_property
    def running(self) -> list[int]:
        """Running sums of the weights, for draws."""
        return running(self.weights)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(L,) the probabilities."""
        return np.array(self.weights) / PROBABILITY_ONE

    @cached_property
    def bits(self) -> float:
        """The entropy of one draw in bits."""
        return -sum(weight / PROBABILITY_ONE * log2(weight / PROBABILITY_ONE) for weight in self.weights if weight)


@dataclass(frozen=True)
class Expected:
    """The predictions of a perfect model for each character of a text, given all before it.

    Attributes:
        probabilities: (T, L) of each letter.
        letters: (T,) index of the letter in the text.
        situations: (T,) indices in `Source.situations`.
    """

    probabilities: np.ndarray
    letters: np.ndarray
    situations: np.ndarray

    @property
    def nats(self) -> np.ndarray:
        """(T,) the loss at each character in nats: on average the least that is possible."""
        return -np.log(np.take_along_axis(self.probabilities, self.letters[:, None], 1)[:, 0])

    @property
    def likeliest(self) -> np.ndarray:
        """(T,) the most probable letter at each character; the first of several."""
        return self.probabilities.argmax(1)


class Source(ABC):
    """A synthetic source; its parameters are its fields.

    Attributes:
        name: the name that `charlm prepare` takes.
        situations: every character is predicted in one of them.
        memory: those in which a good prediction depends on characters further back.
        lines: whether the text consists of independent lines.
    """

    name: ClassVar[str]
    situations: ClassVar[tuple[str, ...]]
    memory: ClassVar[tuple[str, ...]]
    lines: ClassVar[bool]
    seed: int

    @property
    @abstractmethod
    def letters(self) -> bytes:
        """(L,) every character of the source, line ends included."""

    @abstractmethod
    def draw(self) -> Iterator[bytes]:
        """The text, which never ends, in pieces of any length."""

    @abstractmethod
    def entropy(self) -> Entropy:
        """The entropy rate."""

    @abstractmethod
    def expect(self, text: bytes) -> Expected:
        """The predictions of a perfect model for a text from the beginning of the source, or of one of its lines.

        Raises:
            CorpusError: the source never writes such a text; the message names its first impossible character.
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


def stationary(transitions: np.ndarray) -> np.ndarray:
    """(S,) the stationary probabilities of a Markov chain with transition probabilities (S, S).

    All states must be reachable from each other, as they are if every weight is positive.
    """
    # pi transitions = pi has one solution up to scale; its sum replaces one equation.
    size = len(transitions)
    equations = transitions.T - np.eye(size)
    equations[-1] = 1.0
    return np.linalg.solve(equations, np.eye(size)[-1])


class Automaton(Source):
    """A source whose state follows from the text, so that one method serves for drawing and for predicting."""

    @abstractmethod
    def start(self) -> State:
        """The state before the first letter."""

    @abstractmethod
    def distribution(self, state: State) -> Distribution:
        """The distribution of the next letter."""

    @abstractmethod
    def after(self, state: State, letter: int) -> State:
        """The state after one more letter, given by its index."""

    def draw(self) -> Iterator[bytes]:
        """One letter for each random number."""
        state, letters = self.start(), self.letters
        for numbers in endless(stream(self.seed, 1)):
            drawn = bytearray()
            for number in (numbers >> np.uint64(32)).tolist():
                letter = bisect_right(self.distribution(state).running, number)
                drawn.append(letters[letter])
                state = self.after(state, letter)
            yield bytes(drawn)

    def expect(self, text: bytes) -> Expected:
        """The distribution at each character; see `Source.expect`."""
        probabilities = np.empty((len(text), len(self.letters)))
        letters, situations = np.empty((2, len(text)), np.int64)
        state = self.start()
        for at, character in enumerate(text):
            distribution, letter = self.distribution(state), self._places.get(character)
            if letter is None or not distribution.weights[letter]:
                raise self._refusal(text, at)
            probabilities[at] = distribution.probabilities
            letters[at], situations[at] = letter, distribution.situation
            state = self.after(state, letter)
        return Expected(probabilities, letters, situations)
