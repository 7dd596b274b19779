"""How often gates are shut or open, and outputs at their ends.

A sigmoid gate below 0.1 or above 0.9 is *left-* or *right-saturated* (Karpathy, Johnson & Li 2015, "Visualizing and
understanding recurrent networks"): a forget gate that is always open keeps its memory for ever, one that is
always shut makes its unit forget at every character. What goes through a tanh is no gate. Which of a cell's gates
are such gates is seen by their values: those that stay between 0 and 1 on the whole text. One that has the name of
a part of the state, as that of the rnn, is that part.

Of the outputs h the ends are |h| above 0.9, where a tanh hardly passes a gradient, and exactly 0, where a ReLU
passes none.

What is left out: gradients themselves.
"""

from dataclasses import dataclass

import numpy as np

from charlm import cells
from charlm.errors import CharlmError
from charlm.inspect.activations import Progress, read, segments_for
from charlm.model.checkpoint import Model

LOW, HIGH = 0.1, 0.9
"""Below and above which a gate is saturated."""

ALWAYS = 0.9
"""The share of the characters on which a unit is so if it is always so."""


@dataclass(frozen=True)
class Gate:
    """One gate of one layer, over all characters and units.

    Attributes:
        layer: counted from 0.
        name: the gate's letter in the cell's equations.
        mean: of its values.
        below: the share of values below 0.1, by unit (H,).
        above: the share above 0.9, by unit (H,).
    """

    layer: int
    name: str
    mean: float
    below: np.ndarray
    above: np.ndarray


@dataclass(frozen=True)
class Output:
    """The output h of one layer.

    Attributes:
        layer: counted from 0.
        mean: of |h|.
        above: the share of |h| above 0.9, by unit (H,).
        zero: the share of h that are exactly 0, by unit (H,).
    """

    layer: int
    mean: float
    above: np.ndarray
    zero: np.ndarray


@np.errstate(all="ignore")  # of weights whose products overflow, an error will speak
def gates(model: Model, ids: np.ndarray, progress: Progress | None = None) -> tuple[list[Gate], list[Output]]:
    """Read a text and look at the gates.

    Args:
        model: of any cell.
        ids: (N + 1,) symbols, the boundary first.
        progress: told how far it is.

    Returns:
        The gates and the outputs, layer by layer.

    Raises:
        CharlmError: the state is not finite.
    """
    cell = cells.of(model.options)
    gate_names = tuple(name for name in cell.gates if name not in cell.state)
    characters, done = len(ids) - 1, 0
    sums: dict[tuple[int, str], _Counts] = {}
    for block in read(model, ids, names=(*gate_names, "h"), segments=segments_for(characters)):
        for key, values in block.values.items():
            sums.setdefault(key, _Counts(model.options.hidden)).add(values[block.inside], key[1] == "h")
        done += int(np.count_nonzero(block.inside))
        if progress is not None:
            progress(done, characters)
    reports = {key: counts for key, counts in sums.items() if counts.is_gate or key[1] == "h"}
    every = model.options.hidden * characters
    return (
        [
            Gate(layer, name, counts.total / every, counts.below / characters, counts.above / characters)
            for (layer, name), counts in reports.items() if name != "h"
        ],
        [
            Output(layer, counts.total / every, counts.above / characters, counts.zero / characters)
            for (layer, name), counts in reports.items() if name == "h"
        ],
    )  # fmt: skip


def always(shares: np.ndarray) -> int:
    """How many units (H,) are so on 90 % of the characters."""
    return int(np.count_nonzero(shares >= ALWAYS))


class _Counts:
    """What is counted of one gate, or of |h|."""

    def __init__(self, hidden: int) -> None:
        self.total, self.is_gate = 0.0, True
        self.below: np.ndarray = np.zeros(hidden, np.int64)
        self.above: np.ndarray = np.zeros(hidden, np.int64)
        self.zero: np.ndarray = np.zeros(hidden, np.int64)

    def add(self, values: np.ndarray, by_size: bool) -> None:
        """Take in values (n, H)."""
        if not np.isfinite(values).all():
            raise CharlmError(
                "the network's state is no finite number any more: it grows without bound, as that of a linear or "
                "relu rnn can; its gates say nothing"
            )
        self.is_gate &= bool(values.min() >= 0 and values.max() <= 1)
        values = np.abs(values) if by_size else values
        self.total += float(values.sum(dtype=np.float64))
        self.below += (values < LOW).sum(0)
        self.above += (values > HIGH).sum(0)
        self.zero += (values == 0).sum(0)
