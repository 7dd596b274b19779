"""Does the model use long context? The same characters, read after a reset and with the state carried.

Stretches of the text are read from the zero state, as a model begins any text. A character that comes after d
characters of such a stretch is predicted from those d alone; with the state carried through the whole text it is
predicted from everything before it. The difference is what the context beyond d characters is worth to the model:
where it has become nothing, the model remembers no further (in the spirit of Khandelwal et al. 2018, "Sharp
nearby, fuzzy far away: how neural language models use context", who shorten the context of LSTMs in the same way).

Distances are doubled from row to row, and so many stretches begin side by side that each row is about as many
characters. What is left out: which units keep what (`charlm.inspect.cells`).

Shapes: N characters, B stretches.
"""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from charlm.model.checkpoint import Model
from charlm.model.logits import cross_entropy
from charlm.model.stepper import States, Stepper
from charlm.tokenizers.vocabulary import BOUNDARY

MAX_SEGMENTS = 4096
"""Stretches that begin; after each row every second one ends."""

MIN_SEGMENTS = 16
"""Stretches that go on to the last row."""

CONTEXT_ROWS = 10
"""Rows at most; the last one has distances of 512 to 1023."""

SURE = 8
"""Stretches from which on their spread says something."""

SEGMENT_BYTES = 1 << 27
"""What the arrays of a step may come to, roughly: with many symbols or units there are fewer stretches."""


@dataclass(frozen=True)
class ContextRow:
    """Characters at some distance from a reset.

    Attributes:
        least, most: characters that were read since the reset.
        characters: how many were predicted at that distance.
        reset_bits_per_char: the mean surprise given those alone.
        carried_bits_per_char: that of the same characters given everything before them.
        worth: the difference: what all context further away is worth, in bits per character.
        standard_error: of `worth`, from how much it varies between stretches; None of fewer than `SURE`.
    """

    least: int
    most: int
    characters: int
    reset_bits_per_char: float
    carried_bits_per_char: float
    worth: float
    standard_error: float | None


@np.errstate(all="ignore")  # of weights whose products overflow, an error will speak
def by_context(model: Model, ids: np.ndarray, nats: np.ndarray) -> list[ContextRow]:
    """Read stretches of a text from the zero state, and compare.

    A stretch begins in the way the network learned to begin: after a boundary, or at once where documents end
    within its train split, so that a boundary there means the start of one (`charlm.training.step`).

    Args:
        model: of any cell.
        ids: (N + 1,) symbols, the boundary first.
        nats: (N,) the surprise of each character with the state carried through the text.

    Returns:
        A row for 1, 2-3, 4-7, ... characters since the reset, as far as the text is long enough.
    """
    stepper = Stepper(model)
    characters = len(ids) - 1
    starts = _starts(model, characters)
    states = stepper.start(len(starts))
    if model.starts_at_boundary and len(starts):
        _, states = stepper.step(np.full(len(starts), BOUNDARY, ids.dtype), states)
    rows: list[ContextRow] = []
    for row in range(CONTEXT_ROWS):
        least, most = 1 << row, (2 << row) - 1
        thinned = slice(None, None, 2 if row and len(starts) > MIN_SEGMENTS else 1)
        starts, states = starts[thinned], _kept(states, thinned)
        complete = starts + most <= characters
        starts, states = starts[complete], _kept(states, complete)
        if not len(starts):
            break
        cold: np.ndarray = np.zeros(len(starts))
        carried: np.ndarray = np.zeros(len(starts))
        for distance in range(least, most + 1):
            logits, states = stepper.step(ids[starts + distance - 1], states)
            target = ids[starts + distance].astype(np.int64)
            cold += cross_entropy(logits, target)
            carried += nats[starts + distance - 1]
        rows.append(_row(least, most, cold / least / log(2), carried / least / log(2)))
    return rows


def _starts(model: Model, characters: int) -> np.ndarray:
    """(B,) positions in the ids where stretches begin, spread over the text; one is followed by a character."""
    row = 4 * (3 * model.vocabulary.size + 12 * model.options.hidden)
    count = min(MAX_SEGMENTS, max(MIN_SEGMENTS, SEGMENT_BYTES // row), characters - 1)
    return np.unique(np.linspace(1, characters - 1, max(0, count)).astype(np.int64))


def _kept(states: States, rows: slice | np.ndarray) -> States:
    """The states of some of the stretches."""
    return [tuple(array[rows] for array in state) for state in states]


def _row(least: int, most: int, cold: np.ndarray, carried: np.ndarray) -> ContextRow:
    """From the bits per character (B,) of each stretch; as many characters of each, so that means are of all."""
    difference = cold - carried
    error = float(difference.std(ddof=1)) / sqrt(len(cold)) if len(cold) >= SURE else None
    return ContextRow(
        least=least,
        most=most,
        characters=len(cold) * least,
        reset_bits_per_char=float(cold.mean()),
        carried_bits_per_char=float(carried.mean()),
        worth=float(difference.mean()),
        standard_error=error,
    )
