"""The network one character at a time, without autograd: what sampling and inspection run on.

The equations are those of `charlm.cells`, on NumPy arrays by default, so that writing text needs no
torch; on torch tensors when given a device; in another arithmetic when given one (`charlm.model.portable`).
A batch of B independent streams is one step's work.
What is left out: windows and gradients (`charlm.model.network`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from charlm import cells
from charlm.cells import Array, State
from charlm.model.checkpoint import Model

States = list[State]
"""The state of every layer, each part (B, H)."""

Trace = Callable[[int, State, dict[str, Array]], None]
"""Called after each layer with its number, new state and gates."""

Edit = Callable[[int, State], State]
"""Called after each layer with its number and new state; what it returns is used in its place."""


class Stepper:
    """A model that reads one symbol per stream and says what may come next.

    Args:
        model: the weights.
        device: None for NumPy; otherwise a torch device such as `cuda`.
        xp, weights: what stands for NumPy and for the model's weights in another arithmetic on NumPy's arrays.
    """

    def __init__(
        self, model: Model, device: str | None = None, *, xp: Any = np, weights: dict[str, Array] | None = None
    ) -> None:
        self.cell = cells.of(model.options)
        self.hidden: int = model.options.hidden
        self.vocabulary = model.symbols.size
        self._xp, self._numpy = xp, device is None
        weights = weights or dict(model.weights)
        if device is not None:
            import torch

            self._xp = torch
            weights = {name: torch.from_numpy(weight).to(device) for name, weight in weights.items()}
        self._layers = [layer_weights(weights, number) for number in range(model.options.layers)]
        self._table = input_table(weights)
        self._readout = weights["readout.weight"].T
        self._bias = weights["readout.bias"]

    def start(self, batch: int = 1) -> States:
        """The state before any text, zeros (B, H), for `batch` streams."""
        like = self._table[:1, :1]
        zeros = like.repeat(batch, 0).repeat(self.hidden, 1) if self._numpy else like.repeat(batch, self.hidden)
        return [tuple(zeros * 0 for _ in self.cell.state) for _ in self._layers]

    def repeat(self, states: States, batch: int) -> States:
        """One stream's states (1, H), copied for `batch` streams (B, H)."""
        if self._numpy:
            return [tuple(part.repeat(batch, 0) for part in state) for state in states]
        return [tuple(part.repeat(batch, 1) for part in state) for state in states]

    def step(
        self, ids: np.ndarray, states: States, *, trace: Trace | None = None, edit: Edit | None = None
    ) -> tuple[np.ndarray, States]:
        """Read one symbol in each stream.

        Args:
            ids: (B,) symbols.
            states: from `start`, `repeat` or the step before; not changed.

        Returns:
            Logits (B, V) in NumPy, float32 but in another arithmetic, and the new states.
        """
        x = self._table[ids if self._numpy else self._xp.from_numpy(ids.astype(np.int64)).to(self._table.device)]
        below: State | None = None
        after: States = []
        for number, (p, state) in enumerate(zip(self._layers, states, strict=True)):
            if below is not None:
                x = below[0] @ p["weight_ih"].T + p["bias_ih"]
            below, gates = self.cell.at(number).step(self._xp, p, x, below, state)
            if edit is not None:
                below = edit(number, below)
            if trace is not None:
                trace(number, below, gates)
            after.append(below)
        logits = after[-1][0] @ self._readout + self._bias
        return logits if self._numpy else logits.cpu().numpy(), after


def layer_weights(weights: dict[str, Array], number: int) -> dict[str, Array]:
    """One layer's parameters by the cell's own names."""
    prefix = f"layers.{number}."
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def input_table(weights: dict[str, Array]) -> Array:
    """(V, G·H): the first layer's input product for every symbol, so that reading one is a look-up."""
    into, bias = weights["layers.0.weight_ih"].T, weights["layers.0.bias_ih"]
    return weights["embedding.weight"] @ into + bias if "embedding.weight" in weights else into + bias
