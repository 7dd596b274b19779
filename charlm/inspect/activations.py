"""A model reads a text while somebody looks on: surprises, states and gates, block after block.

The text is read by the stepper, from the boundary on, with the state carried through all of it. Nothing is
kept: a block's arrays are made anew for the next one, so that any text can be read in bounded memory.
What is left out: what is made of the numbers.

Shapes: T characters of a block, B stretches of the text that are read side by side, V symbols, H hidden units.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from charlm.cells import Array, State
from charlm.evaluation.warm_up import warm_up_ids
from charlm.model.checkpoint import Model
from charlm.model.logits import log_softmax
from charlm.model.stepper import Edit, Stepper

BLOCK_BYTES = 1 << 24
"""What the arrays of a block may come to, roughly."""

MAX_SEGMENTS, MIN_SEGMENT_CHARACTERS = 64, 1024
"""Of a text that need not be read in one pass: how many at most, and the characters of each at least, so that warming
up is the smaller part of the work."""

Progress = Callable[[int, int], None]
"""Called with the characters read so far, and how many there are."""


@dataclass(frozen=True)
class Block:
    """Some characters of each stretch, and what the model did as it read them.

    Row t is about the prediction of symbol `at[t] + 1` of the ids, after symbol `at[t]` was read.

    Attributes:
        at: (T, B) positions of the symbols that were read.
        inside: (T, B) false where a stretch has ended before the others.
        read: (T, B) those symbols.
        next: (T, B) the symbols after them, which were to be predicted.
        log_probabilities: (T, B, V) natural logarithms, of each symbol to come next.
        values: (T, B, H) by layer and name: the parts of the state after reading, and the gates.
    """

    at: np.ndarray
    inside: np.ndarray
    read: np.ndarray
    next: np.ndarray
    log_probabilities: np.ndarray
    values: dict[tuple[int, str], np.ndarray]

    @property
    def nats(self) -> np.ndarray:
        """(T, B) the surprise of each next symbol, in nats."""
        return -np.take_along_axis(self.log_probabilities, self.next[..., None].astype(np.int64), -1)[..., 0]


def segments_for(characters: int) -> int:
    """How many segments to read a text in, side by side, if it need not be read in one pass."""
    return max(1, min(MAX_SEGMENTS, characters // MIN_SEGMENT_CHARACTERS))


def read(
    model: Model,
    ids: np.ndarray,
    *,
    names: tuple[str, ...] = (),
    layers: tuple[int, ...] | None = None,
    segments: int = 1,
    edit: Edit | None = None,
) -> Iterator[Block]:
    """Read a text.

    Args:
        model: of any cell.
        ids: (N + 1,) symbols, the boundary first; each of the N that follow is predicted once.
        names: which of the parts of the state (`h`, `c`) and of the gates to keep in `Block.values`, where a layer
            has them.
        layers: of which layers, counted from 0; None for all.
        segments: B, cut from the text in order, read side by side; each but the first warms up on the symbols
            before it (`charlm.evaluation.warm_up`).
        edit: changes a layer's state after each symbol (`charlm.model.stepper`).

    Yields:
        Blocks; of one segment they are the text from its beginning to its end.
    """
    model.check_one_way("be watched as it reads from character to character")
    stepper = Stepper(model)
    chosen = range(model.options.layers) if layers is None else layers
    known = {layer: {*stepper.cell.state, *stepper.cell.at(layer).gates} for layer in chosen}
    keep = [(layer, name) for layer in chosen for name in names if name in known[layer]]
    characters = len(ids) - 1
    length = -(-characters // segments)
    starts = np.arange(0, characters, length)
    ends = np.minimum(starts + length, characters)
    before = warm_up_ids(ids, starts, model.starts_at_boundary)
    states = _warm_up(stepper, before, starts, edit)
    row = len(starts) * (3 * model.vocabulary.size + len(keep) * model.options.hidden) * 4
    size = max(1, min(length, 1024, BLOCK_BYTES // row))
    for first in range(0, length, size):
        at = starts + np.arange(first, min(first + size, length))[:, None]
        inside = at < ends
        at = np.minimum(at, characters - 1)
        logits = np.empty((*at.shape, model.vocabulary.size), np.float32)
        values = {key: np.empty((*at.shape, model.options.hidden), np.float32) for key in keep}
        watch = _Watch(values, stepper.cell.state)
        for t, positions in enumerate(at):
            watch.t = t
            logits[t], states = stepper.step(ids[positions], states, trace=watch if keep else None, edit=edit)
        yield Block(at, inside, ids[at], ids[at + 1], log_softmax(logits), values)


class _Watch:
    """Writes what is wanted of a step into the arrays of the block."""

    def __init__(self, values: dict[tuple[int, str], np.ndarray], state: tuple[str, ...]) -> None:
        self._values, self._state, self.t = values, state, 0

    def __call__(self, layer: int, state: State, gates: dict[str, Array]) -> None:
        for name, array in (*gates.items(), *zip(self._state, state, strict=True)):
            if (layer, name) in self._values:
                self._values[layer, name][self.t] = array


def _warm_up(stepper: Stepper, before: np.ndarray, starts: np.ndarray, edit: Edit | None) -> list[State]:
    """States after the symbols before each start (T, B); zeros for the one that starts the text."""
    states = stepper.start(len(starts))
    if len(starts) == 1:
        return states
    for offset, symbols in enumerate(before, -len(before)):
        _, states = stepper.step(symbols, states, edit=edit)
        live = (starts + offset >= 0)[:, None]
        states = [tuple(array * live for array in state) for state in states]
    return states
