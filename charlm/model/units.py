"""Units of a network, as a user names them, and a unit held at a value while the network reads on.

    3:17        unit 17 of layer 3, both counted from 0
    3:17=0.5    its output h held at 0.5 after every symbol
    3:17:c=-2   its memory c, in cells that have one, or whatever part of the state is named there

What is left out: finding units that are worth naming (`charlm.inspect.find`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from charlm import cells
from charlm.cells import State
from charlm.errors import UsageError
from charlm.model.checkpoint import Model
from charlm.model.stepper import Edit

MAX_CLAMP_VALUE = float(np.finfo(np.float32).max)
"""The largest value that a network's arithmetic has."""

StateEntry = tuple[str, int]
"""A part of the state by name, and a unit."""


@dataclass(frozen=True, order=True)
class HiddenUnit:
    """One unit of a layer, both counted from 0."""

    layer: int
    index: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.index}"


def parse_unit(word: str, model: Model) -> HiddenUnit:
    """The unit that a word names.

    Raises:
        UsageError: it is not LAYER:UNIT, or the model has no such unit.
    """
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", word)
    unit = HiddenUnit(int(match[1]), int(match[2])) if match else None
    layers, hidden = model.options.layers, model.options.hidden
    if unit is None or unit.layer >= layers or unit.index >= hidden:
        raise UsageError(
            f"{word!r:.60} is no unit of this model; give LAYER:UNIT, "
            f"with a layer from 0 to {layers - 1} and a unit from 0 to {hidden - 1}"
        )
    return unit


def check_part(part: str, model: Model) -> str:
    """The part of the state, where the model's cell has it.

    Raises:
        UsageError: it has none of that name.
    """
    names = _state_names(model)
    if part not in names:
        raise UsageError(
            f"--part {part!r:.60}: the cell {model.options.cell} has no such part; it has {', '.join(names)}"
        )
    return part


def split_clamps(words: Iterable[str]) -> dict[str, str]:
    """Place and value of words such as `0:17=0.5`; whether they make sense is not looked at yet.

    Raises:
        UsageError: a word has no `=`, or names the place of an earlier one.
    """
    values: dict[str, str] = {}
    for word in words:
        entry, is_one, value = word.partition("=")
        if not is_one:
            raise UsageError(f"--clamp {word!r:.60} says no value; give LAYER:UNIT=VALUE, such as 0:17=0.5")
        if entry in values:
            raise _duplicate_error(entry)
        values[entry] = value
    return values


def clamp(model: Model, values: Mapping[str, float | str]) -> Edit | None:
    """What holds units at values after every symbol, for `Stepper.step`; None where nothing is held.

    Args:
        model: has the units.
        held: the value by LAYER:UNIT, for its h, or LAYER:UNIT:PART.

    Raises:
        UsageError: there is no such place, two names stand for the same one, or a value is no finite number.
    """
    values_by_layer: dict[int, dict[StateEntry, float]] = {}
    for word, value in values.items():
        unit, part = _parse_entry(word, model)
        layer = values_by_layer.setdefault(unit.layer, {})
        if (part, unit.index) in layer:
            raise _duplicate_error(word)
        layer[part, unit.index] = _parse_value(word, value)
    return make_edit(model, values_by_layer) if values_by_layer else None


def make_edit(model: Model, values_by_layer: Mapping[int, Mapping[StateEntry, float]]) -> Edit:
    """What puts values into their places, by layer, part of the state and unit; in NumPy and torch alike."""
    names = _state_names(model)

    def edit(layer: int, state: State) -> State:
        changes = values_by_layer.get(layer, {})
        changed = {part for part, _ in changes}
        # A copy of what changes, as the step's own arrays may be those of its gates too.
        after = [part + 0 if name in changed else part for name, part in zip(names, state, strict=True)]
        for (part, index), value in changes.items():
            after[names.index(part)][:, index] = value
        return tuple(after)

    return edit


def _duplicate_error(entry: str) -> UsageError:
    return UsageError(f"--clamp {entry!r:.60} names a unit that is held already; give each unit once")


def _parse_value(word: str, value: float | str) -> float:
    """A number that the network's arithmetic has."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = nan
    if not abs(number) <= MAX_CLAMP_VALUE:  # false for what is no number
        raise UsageError(
            f"--clamp {word}={value!s:.40} must hold a finite number of at most {MAX_CLAMP_VALUE:.2g} in size"
        )
    return number


def _parse_entry(word: str, model: Model) -> tuple[HiddenUnit, str]:
    """The unit and the part of its state that `0:17` or `0:17:c` stands for."""
    names = _state_names(model)
    unit, part = word.rsplit(":", 1) if word.count(":") == 2 else (word, "h")
    if part not in names:
        raise UsageError(
            f"--clamp {word!r:.60}: the state of the {model.options.cell} has no part {part!r:.40}; "
            f"it has {', '.join(names)}"
        )
    return parse_unit(unit, model), part


def _state_names(model: Model) -> tuple[str, ...]:
    """The names of the parts of a layer's state."""
    return cells.of(model.options).state
