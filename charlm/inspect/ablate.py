"""What is lost without a unit: it is held where it says nothing, and the text is read again.

A unit is taken away by holding all parts of its state at their means over the text (mean ablation), or at zero,
after every symbol; zero may be a value that it never has, and then says something. What is lost is the surprise
of the characters that follow, less that of the network as it is, apart where a feature is on and where it is
off: by what is so after the last character that was read.

What is left out: which units to take away (`charlm.inspect.find`).

Shapes: N characters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log

import numpy as np

from charlm import cells
from charlm.errors import CharlmError
from charlm.inspect.activations import Progress, read, segments_for
from charlm.inspect.features import on
from charlm.model.checkpoint import Model
from charlm.model.stepper import Edit
from charlm.model.units import HiddenUnit, StateEntry, make_edit


@dataclass(frozen=True)
class Loss:
    """Bits per character that are lost on a feature and off it; 0 where there are no such characters."""

    on: float
    off: float
    characters_on: int
    characters_off: int


@dataclass(frozen=True)
class Ablation:
    """What is lost without some units.

    Attributes:
        units: which are taken away together.
        characters: N.
        before: bits per character of the network as it is.
        after: and without them.
        features: the loss on and off each feature, by name.
    """

    units: tuple[HiddenUnit, ...]
    characters: int
    before: float
    after: float
    features: dict[str, Loss]

    @property
    def lost(self) -> float:
        """Bits per character that are lost."""
        return self.after - self.before


@np.errstate(all="ignore")  # of weights whose products overflow, an error will speak
def ablate(
    model: Model,
    ids: np.ndarray,
    groups: Sequence[tuple[HiddenUnit, ...]],
    features: Mapping[str, np.ndarray],
    *,
    to: str = "mean",
    progress: Progress | None = None,
) -> list[Ablation]:
    """Take units away.

    Args:
        model: of any cell.
        ids: (N + 1,) symbols, the boundary first.
        groups: units that are taken away together; each group costs one more reading of the text.
        features: (N + 1,) each, as in `charlm.inspect.find.find`.
        to: `mean` or `zero`.
        progress: told how far it is.

    Raises:
        CharlmError: the network gives the text no finite loss.
    """
    if not groups:
        return []
    reading = _Reading(model, ids, 1 + len(groups), progress)
    before, means = reading.intact({unit.layer for group in groups for unit in group})
    masks = {name: on(values[: len(before)]) for name, values in features.items()}
    rows = []
    for group in groups:
        clamps: dict[int, dict[StateEntry, float]] = {}
        for unit in group:
            for part in reading.parts:
                value = float(means[unit.layer, part][unit.index]) if to == "mean" else 0.0
                clamps.setdefault(unit.layer, {})[part, unit.index] = value
        lost = reading.nats(make_edit(model, clamps)) - before
        losses = {name: _loss(lost, mask) for name, mask in masks.items()}
        total = float(before.mean()) / log(2)
        rows.append(Ablation(group, len(before), total, total + float(lost.mean()) / log(2), losses))
    return rows


def _loss(lost: np.ndarray, mask: np.ndarray) -> Loss:
    """Nats that are lost (N,), put together where the mask (N,) is true and where it is false."""
    number = int(np.count_nonzero(mask))
    here, there = (float(lost[rows].mean()) / log(2) if rows.any() else 0.0 for rows in (mask, ~mask))
    return Loss(here, there, number, len(mask) - number)


class _Reading:
    """One text read several times in the same way, so that what a unit without influence changes is exactly nothing."""

    def __init__(self, model: Model, ids: np.ndarray, times: int, progress: Progress | None) -> None:
        self._model, self._ids, self._progress = model, ids, progress
        self._total, self._done = times * (len(ids) - 1), 0
        self._stretches = segments_for(len(ids) - 1)
        self.parts = cells.of(model.options).state

    def intact(self, layers: set[int]) -> tuple[np.ndarray, dict[tuple[int, str], np.ndarray]]:
        """The surprise (N,) of each character in nats, and the mean (H,) of each part of the layers' states."""
        sums: dict[tuple[int, str], np.ndarray] = {}
        nats = self._read(None, tuple(sorted(layers)), sums)
        return nats, {key: total / len(nats) for key, total in sums.items()}

    def nats(self, edit: Edit) -> np.ndarray:
        """The surprise (N,) of each character with an edited state."""
        return self._read(edit, (), {})

    def _read(self, edit: Edit | None, layers: tuple[int, ...], sums: dict[tuple[int, str], np.ndarray]) -> np.ndarray:
        nats: np.ndarray = np.empty(len(self._ids) - 1)
        names = self.parts if layers else ()
        blocks = read(self._model, self._ids, names=names, layers=layers, segments=self._stretches, edit=edit)
        for block in blocks:
            nats[block.at[block.inside]] = block.nats[block.inside]
            for key, values in block.values.items():
                sums[key] = sums.get(key, 0) + values[block.inside].sum(0, dtype=np.float64)
            self._done += int(np.count_nonzero(block.inside))
            if self._progress is not None:
                self._progress(self._done, self._total)
        if not isfinite(float(nats.sum())):
            raise CharlmError(
                f"{self._model.path or 'the model'} gives the text a loss that is no finite number: its state grows "
                f"without bound, as that of a linear or relu rnn can; nothing can be said of its units"
            )
        return nats
