"""The network unrolled over some characters by its cell's own `step`, in float64, every state within reach of autograd.

It is the slow and plain way, the same for every cell, also one from a plugin. To each part of each state a
perturbation of zero is added, so that the gradient with respect to the perturbation is the one with respect to
that state, and what finite differences perturb is the same thing.
What is left out: what is differentiated (`charlm.inspect.gradients`).

Shapes: T characters, B places of the text side by side, H hidden units, G gates, V symbols.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from charlm import cells
from charlm.cells import Parameters, State
from charlm.evaluation.warm_up import warm_up_ids
from charlm.model.checkpoint import Model
from charlm.model.wiring import StepWeights, split_weights

States = list[State]


@dataclass(frozen=True)
class Trail:
    """What was passed through on T characters.

    Attributes:
        logits: (B, V) after the last character.
        states: after each character, those of every layer.
        inputs: (B, G·H) what each layer read at each character, W_ih x_t + b_ih.
        nudges: (T, B, H) by layer and part of the state: the zeros that were added after each character.
    """

    logits: Tensor
    states: list[States] = field(repr=False)
    inputs: list[list[Tensor]] = field(repr=False)
    nudges: dict[tuple[int, str], Tensor] = field(repr=False)


class Unrolled:
    """A model in float64.

    Args:
        model: of any cell.
    """

    def __init__(self, model: Model) -> None:
        self.cell = cells.of(model.options)
        self.hidden: int = model.options.hidden
        exact = {name: torch.from_numpy(weight.astype(np.float64)) for name, weight in model.weights.items()}
        self._wired = StepWeights(model.options, split_weights(model.options, exact), torch)
        self.layers: list[Parameters] = self._wired.layers
        self._like = self._wired.like
        self._starts_at_boundary = model.starts_at_boundary

    def start(self, batch: int) -> States:
        """The state before any text, zeros (B, H)."""
        return [tuple(self._like.new_zeros(batch, self.hidden) for _ in self.cell.state) for _ in self.layers]

    def warm(self, ids: np.ndarray, ends: np.ndarray, characters: int) -> States:
        """The states before the symbols at `ends` (B,), after so many symbols before them, or as many as there are.

        Reading begins in the zero state, and with a boundary where the text has none of its own, as evaluation
        does (`charlm.evaluation.warm_up`).
        """
        states = self.start(len(ends))
        with torch.no_grad():
            before = warm_up_ids(ids, ends, self._starts_at_boundary, characters)
            for offset, symbols in enumerate(before, -characters):
                states = self._step(torch.from_numpy(symbols.astype(np.int64)), states)[0]
                inside = torch.from_numpy(ends + offset >= 0)[:, None]
                # what does not exist before the text is no number of steps in the zero state, but none
                states = [tuple(torch.where(inside, tensor, 0.0) for tensor in state) for state in states]
        return states

    def follow(self, ids: np.ndarray, states: States) -> Trail:
        """Read symbols (T, B) from `states` on, with gradients."""
        symbols = torch.from_numpy(ids.astype(np.int64))
        names = self.cell.state
        nudges = {
            (layer, name): self._like.new_zeros(*ids.shape, self.hidden, requires_grad=True)
            for layer in range(len(self.layers))
            for name in names
        }
        passed: list[States] = []
        inputs: list[list[Tensor]] = []
        outputs: list[Tensor] = []
        for t, row in enumerate(symbols):
            nudge = [tuple(nudges[layer, name][t] for name in names) for layer in range(len(self.layers))]
            states, entered, outputs = self._step(row, states, nudge)
            passed.append(states)
            inputs.append(entered)
        return Trail(self._wired.logits(outputs), passed, inputs, nudges)

    def _step(
        self, symbols: Tensor, states: States, nudge: States | None = None
    ) -> tuple[States, list[Tensor], list[Tensor]]:
        """Read one symbol (B,): the new states, and what each layer read (B, G·H) and handed on (B, H)."""
        below: State | None = None
        read: Tensor | None = None
        after: States = []
        inputs, outputs = [], []
        for number, (p, state) in enumerate(zip(self.layers, states, strict=True)):
            x = self._wired.layer_input(number, symbols, read)
            inputs.append(x)
            below, _ = self.cell.at(number).step(torch, p, x, below, state)
            if nudge is not None:
                below = tuple(tensor + zero for tensor, zero in zip(below, nudge[number], strict=True))
            after.append(below)
            read = self._wired.layer_output(number, below[0], read)
            outputs.append(read)
        return after, inputs, outputs
