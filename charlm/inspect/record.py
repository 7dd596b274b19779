"""What a model did at every character of a text, kept: surprises, what it expected, values of chosen units.

The text is read in one pass from the zero state (`charlm.inspect.activations`). What is left out: what the numbers
say (`charlm.inspect.surprise`, `charlm.inspect.cells`).

Shapes: N characters, K symbols that were held likeliest, U units, V symbols.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from charlm import memory
from charlm.errors import CharlmError
from charlm.inspect.activations import Block, Progress, read
from charlm.model.checkpoint import Model
from charlm.model.units import HiddenUnit
from charlm.tokenizers.vocabulary import BOUNDARY


@dataclass(frozen=True)
class Record:
    """A text, and what a model did as it read it.

    Attributes:
        ids: (N,) the symbols, the boundary before the first one left out.
        nats: (N,) the surprise of each, given all before it.
        top: (N + 1, K) ids of the symbols that were held likeliest in the place of each, the likeliest first; the
            last row is about what would follow the text.
        probabilities: (N + 1, K) of those.
        values: (N, U) of each unit after the character was read: h, or the tanh of any other part of the state.
    """

    ids: np.ndarray
    nats: np.ndarray
    top: np.ndarray
    probabilities: np.ndarray
    values: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """(N,) the surprises in bits."""
        return self.nats / log(2)


@np.errstate(all="ignore")  # of weights whose products overflow, an error will speak
def record(
    model: Model,
    ids: np.ndarray,
    *,
    top: int = 0,
    units: Sequence[HiddenUnit] = (),
    parts: Sequence[str] = (),
    progress: Progress | None = None,
) -> Record:
    """Read a text and keep what happened.

    Args:
        model: of any cell.
        ids: (N + 1,) symbols, the boundary first.
        top: K, at most V.
        units: which to keep the values of; they must exist (`charlm.model.units`).
        parts: of the state, one for each of the units; h where none is named.
        progress: told how far it is.

    Raises:
        UsageError: there is not enough memory to keep so much.
        CharlmError: the model's numbers are not finite, as those of a linear rnn can become.
    """
    characters, top = len(ids) - 1, min(top, model.vocabulary.size)
    needed = (characters + 1) * (4 + top * (4 + ids.dtype.itemsize) + 4 * len(units))
    memory.check(needed, f"keeping what happened at {characters:,} characters", "choose a smaller --chars")
    result = Record(
        ids=ids[1:],
        nats=np.empty(characters, np.float32),
        top=np.empty((characters + 1, top), ids.dtype),
        probabilities=np.empty((characters + 1, top), np.float32),
        values=np.empty((characters, len(units)), np.float32),
    )
    parts = parts or ["h"] * len(units)
    names = tuple(dict.fromkeys(parts))
    layers = tuple(sorted({unit.layer for unit in units}))
    done = 0
    # A boundary behind the end is never scored: it lets the last character be read, for its values and what follows.
    for block in read(model, np.append(ids, ids.dtype.type(BOUNDARY)), names=names, layers=layers):
        done += _keep(result, block, done, list(zip(units, parts, strict=True)))
        if progress is not None:
            progress(done, characters + 1)
    if not (np.isfinite(result.nats).all() and np.isfinite(result.values).all()):
        raise CharlmError(
            f"{model.path or 'the model'} gives numbers that are not finite: its state grows without bound, as that "
            f"of a linear or relu rnn can; choose another model, or a smaller --chars"
        )
    return result


def _keep(result: Record, block: Block, at: int, entries: Sequence[tuple[HiddenUnit, str]]) -> int:
    """Write a block's rows, the first of which is about character `at`; how many they were."""
    rows = slice(at, at + len(block.at))
    log_probabilities = block.log_probabilities[:, 0]
    nats = block.nats[: len(result.nats) - at, 0]
    result.nats[at : at + len(nats)] = nats
    if result.top.shape[1]:
        result.top[rows] = _likeliest(log_probabilities, result.top.shape[1])
        chosen = np.take_along_axis(log_probabilities, result.top[rows].astype(np.int64), 1)
        result.probabilities[rows] = np.exp(chosen)
    first = max(0, 1 - at)  # the very first row is about the boundary, which is no character of the text
    for column, (unit, part) in enumerate(entries):
        values = block.values[unit.layer, part][first:, 0, unit.index]
        result.values[at + first - 1 : at + len(block.at) - 1, column] = values if part == "h" else np.tanh(values)
    return len(block.at)


def _likeliest(log_probabilities: np.ndarray, count: int) -> np.ndarray:
    """(T, K) ids of the largest in each row of (T, V), the largest first, equal ones in the order of ids."""
    size = log_probabilities.shape[1]
    if count < size:
        chosen = np.sort(np.argpartition(log_probabilities, size - count, 1)[:, size - count :], 1)
    else:
        chosen = np.broadcast_to(np.arange(size), log_probabilities.shape)
    order = np.argsort(-np.take_along_axis(log_probabilities, chosen, 1), 1, kind="stable")
    return np.take_along_axis(chosen, order, 1)
