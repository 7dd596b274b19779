"""The network one character at a time, without autograd: what sampling and inspection run on.

The equations are those of `charlm.cells`, on NumPy arrays by default, so that writing text needs no
torch; on torch tensors when given a device; in another arithmetic when given one
(`charlm.compression.exact_arithmetic`). A batch of B independent streams is one step's work.
What is left out: chunks and gradients (`charlm.model.network`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from charlm import cells
from charlm.cells import Array, State
from charlm.model.checkpoint import Model
from charlm.model.wiring import StepWeights, split_weights

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
        xp, weights: what stands for NumPy and for the `charlm.model.wiring.parts` of the model's weights in another
            arithmetic on NumPy's arrays.
    """

    def __init__(
        self, model: Model, device: str | None = None, *, xp: Any = np, weights: dict[str, Array] | None = None
    ) -> None:
        self.cell = cells.of(model.options)
        self.hidden: int = model.options.hidden
        self.vocab_size = model.vocabulary.size
        self._xp, self._numpy = xp, device is None
        weights = weights or split_weights(model.options, model.weights)
        if device is not None:
            import torch

            self._xp = torch
            weights = {name: torch.from_numpy(weight).to(device) for name, weight in weights.items()}
        self._weights = StepWeights(model.options, weights, self._xp)

    def start(self, batch: int = 1) -> States:
        """The state before any text, zeros (B, H), for `batch` streams."""
        like = self._weights.like
        zeros = like.repeat(batch, 0).repeat(self.hidden, 1) if self._numpy else like.repeat(batch, self.hidden)
        return [tuple(zeros * 0 for _ in self.cell.state) for _ in self._weights.layers]

    def repeat(self, states: States, batch: int) -> States:
        """One stream's states (1, H), copied for `batch` streams (B, H)."""
        if self._numpy:
            return [tuple(array.repeat(batch, 0) for array in state) for state in states]
        return [tuple(array.repeat(batch, 1) for array in state) for state in states]

    def step(
        self, ids: np.ndarray, states: States, *, trace: Trace | None = None, edit: Edit | None = None
    ) -> tuple[np.ndarray, States]:
        """Read one symbol in each stream.

        Args:
            ids: (B,) symbols.
            states: from `start`, `repeat` or the step before; not changed.
            trace: told of each layer's state and gates.
            edit: given a layer's number and its new state, what to continue with instead.

        Returns:
            Logits (B, V) in NumPy, float32 but in another arithmetic, and the new states.
        """
        if not self._numpy:
            ids = self._xp.from_numpy(ids.astype(np.int64)).to(self._weights.like.device)
        below: State | None = None
        below_output: Array | None = None
        after: States = []
        outputs: list[Array] = []
        for number, (p, state) in enumerate(zip(self._weights.layers, states, strict=True)):
            x = self._weights.layer_input(number, ids, below_output)
            below, gates = self.cell.at(number).step(self._xp, p, x, below, state)
            if edit is not None:
                below = edit(number, below)
            if trace is not None:
                trace(number, below, gates)
            after.append(below)
            below_output = self._weights.layer_output(number, below[0], below_output)
            outputs.append(below_output)
        logits = self._weights.logits(outputs)
        return logits if self._numpy else logits.cpu().numpy(), after
