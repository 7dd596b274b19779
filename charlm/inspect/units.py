"""Which unit is meant: LAYER:UNIT, both counted from 0, and the part of its state."""

import re
from dataclasses import dataclass

from charlm import cells
from charlm.config import ModelOptions
from charlm.errors import UsageError


@dataclass(frozen=True, order=True)
class Unit:
    """One unit of a network, `0:17` in words.

    Attributes:
        layer: counted from 0, the first above the input.
        unit: within the layer, counted from 0.
    """

    layer: int
    unit: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.unit}"


def find_unit(word: str, options: ModelOptions) -> Unit:
    """The unit that a word means in a network.

    Raises:
        UsageError: the word is no LAYER:UNIT, or the network has no such unit.
    """
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", word)
    if found is None:
        raise UsageError(f"--unit {word!r:.60} is no unit; give LAYER:UNIT, both counted from 0, such as 0:17")
    unit = Unit(int(found[1]), int(found[2]))
    if unit.layer >= options.layers:
        raise UsageError(
            f"--unit {word}: the model has {options.layers} layer{'s' * (options.layers > 1)}, counted from 0; "
            f"the last one is {options.layers - 1}"
        )
    if unit.unit >= options.hidden:
        raise UsageError(
            f"--unit {word}: a layer of the model has {options.hidden} units, counted from 0; "
            f"the last one is {unit.layer}:{options.hidden - 1}"
        )
    return unit


def check_part(part: str, options: ModelOptions) -> str:
    """The part of the state, where the network's cell has it.

    Raises:
        UsageError: it has none of that name.
    """
    state = cells.make(options.cell, options.activation).state
    if part not in state:
        raise UsageError(f"--part {part!r:.60}: the cell {options.cell} has no such part; it has {', '.join(state)}")
    return part
