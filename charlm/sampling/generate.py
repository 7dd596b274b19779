"""Drawing symbols without end, each from what the network expects after those before it.

A generator of ids: the caller decodes and prints. Each of the B samples has its own random stream, so that what one
sample says does not depend on how many others there are. A single sample has a loop of its own, with less to do for
each symbol.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Protocol, runtime_checkable

import numpy as np

from charlm.errors import CharlmError
from charlm.model.stepper import Edit, States
from charlm.sampling.filters import NEG_INF, SamplingParams, make_sampler, sample_ids
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN

DRAWN_AT_ONCE = 8
"""Symbols of a single sample that are drawn before the first of them is yielded: each `np.errstate` costs a
microsecond, a twentieth of what a small network takes for a symbol."""

NON_FINITE_OUTPUT = (
    "the network's output is no finite number any more: its state has grown without bound, as that of a "
    "linear or relu rnn can; sample another model, or fewer characters"
)


class Engine(Protocol):
    """A model that reads one symbol in each of B streams: `charlm.model.stepper.Stepper`, or a faster twin."""

    def start(self, batch: int = 1) -> States:
        """The state before any text."""

    def repeat(self, states: States, batch: int) -> States:
        """One stream's states, copied."""

    def step(self, ids: np.ndarray, states: States, *, edit: Edit | None = None) -> tuple[np.ndarray, States]:
        """Logits (B, V) after one more symbol (B,) each, and the new states."""


@runtime_checkable
class SingleStreamEngine(Protocol):
    """A model that reads one stream, symbol by symbol, and keeps the state itself, in place."""

    @property
    def vocab_size(self) -> int:
        """V."""

    def read(self, symbol: int) -> np.ndarray:
        """Logits (V,) after one more symbol; the same array at every call."""


def random_streams(seed: int, number: int) -> list[Random]:
    """The random streams of samples 0 … number - 1; the i-th is the same whatever `number` is."""
    return [Random(f"{seed}:{index}") for index in range(number)]


def generate(
    engine: Engine | SingleStreamEngine,
    prompt: np.ndarray,
    params: SamplingParams,
    random: list[Random],
    edit: Edit | None = None,
) -> Iterator[Sequence[int]]:
    """Draw without end.

    The unknown symbol is never drawn; the boundary is not drawn twice in a row, so that there is always a next
    character. An engine for a single stream draws what any other does for a batch of one, up to rounding.

    Args:
        engine: the model; one for a single stream has read nothing yet.
        prompt: (P,) symbols to read first, after the boundary that precedes every text.
        params: temperature and filters.
        random: a random stream for each of the B samples.
        edit: changes a layer's state after each symbol, the prompt's included (`charlm.model.stepper`); not for an
            engine of a single stream.

    Yields:
        B ids.

    Raises:
        CharlmError: the network's output is not finite.
    """
    if isinstance(engine, SingleStreamEngine):
        return zip(_generate_one(engine, prompt, params, random[0]))  # each id in a tuple
    return _generate_batch(engine, prompt, params, random, edit)


def _generate_batch(
    engine: Engine, prompt: np.ndarray, params: SamplingParams, random: list[Random], edit: Edit | None
) -> Iterator[list[int]]:
    states = engine.start()
    for symbol in (BOUNDARY, *prompt):
        logits, states = _step(engine, np.array([symbol]), states, edit)
    batch = len(random)
    states = engine.repeat(states, batch)
    logits = logits.repeat(batch, 0)
    last = np.full(batch, prompt[-1] if len(prompt) else BOUNDARY)
    while True:
        logits[:, UNKNOWN] = NEG_INF
        logits[last == BOUNDARY, BOUNDARY] = NEG_INF
        last = sample_ids(params.apply(logits), np.array([stream.random() for stream in random]))
        yield last.tolist()
        logits, states = _step(engine, last, states, edit)


def _step(engine: Engine, ids: np.ndarray, states: States, edit: Edit | None) -> tuple[np.ndarray, States]:
    with np.errstate(all="ignore"):
        logits, states = engine.step(ids, states, edit=edit)
    if not np.isfinite(logits).all():
        raise CharlmError(NON_FINITE_OUTPUT)
    return logits, states


def _generate_one(
    engine: SingleStreamEngine, prompt: np.ndarray, params: SamplingParams, random: Random
) -> Iterator[int]:
    ids: list[int] = [BOUNDARY, *prompt.tolist()]
    last = ids.pop()
    sample_id = make_sampler(params, engine.vocab_size)
    with np.errstate(all="ignore"):
        for symbol in ids:
            engine.read(symbol)
    while True:
        drawn: list[int] = []
        with np.errstate(all="ignore"):
            for _ in range(DRAWN_AT_ONCE):
                logits = engine.read(last)
                logits[UNKNOWN] = NEG_INF
                if last == BOUNDARY:
                    logits[BOUNDARY] = NEG_INF
                try:
                    last = sample_id(logits, random.random())
                except FloatingPointError:
                    break
                drawn.append(last)
        yield from drawn
        if len(drawn) < DRAWN_AT_ONCE:
            raise CharlmError(NON_FINITE_OUTPUT)
