"""The states of all units side by side: h as it is, and other parts, which have no bounds, through a tanh.

What is left out: what is compared with them (`charlm.inspect.find`).

Shapes: n characters of a block, U units of all layers and parts.
"""

import numpy as np

from charlm import cells
from charlm.errors import CharlmError, UsageError
from charlm.inspect.activations import Block
from charlm.model.checkpoint import Model

MAX_STATE = 1e15
"""No state that is bounded is so large; its square would be near the end of float32."""


def state_entries(model: Model, part: str) -> list[tuple[int, str]]:
    """Layers and parts of the state that are looked at.

    Args:
        model: of any cell.
        part: by name, or `all`.

    Raises:
        UsageError: the cell has no such part.
    """
    names = cells.of(model.options).state
    if part != "all" and part not in names:
        raise UsageError(
            f"--part {part!r:.40} is no part of the state of the {model.options.cell}; "
            f"choose {', '.join(names)}, or all"
        )
    return [(layer, name) for layer in range(model.options.layers) for name in names if part in ("all", name)]


def states_of(block: Block, entries: list[tuple[int, str]]) -> np.ndarray:
    """(n, U) the states of all places, one beside the other, for each of the n characters inside.

    Raises:
        CharlmError: a state is not finite, or so large that it soon will not be.
    """
    hidden = block.values[entries[0]].shape[-1]
    states: np.ndarray = np.empty((int(np.count_nonzero(block.inside)), hidden * len(entries)), np.float32)
    for number, entry in enumerate(entries):
        columns = states[:, number * hidden : (number + 1) * hidden]
        columns[:] = block.values[entry][block.inside]
        if entry[1] != "h":
            np.tanh(columns, columns)
    if not np.abs(states).max() < MAX_STATE:  # false for what is no number
        raise CharlmError(
            "the network's state is beyond all bounds: it grows with the text, as that of a linear or relu "
            "rnn can; its units cannot be compared"
        )
    return states
