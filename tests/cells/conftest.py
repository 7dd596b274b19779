"""One layer of a cell with random weights, in float64."""

import numpy as np
import pytest
import torch

from charlm import cells

INPUTS, HIDDEN, BATCH, STEPS = 5, 4, 3, 6


class Layer:
    """A cell with weights, an input (T, B, in) and a first state, all float64 and all with gradients."""

    def __init__(self, name: str, activation: str) -> None:
        random = torch.Generator().manual_seed(7)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

        self.cell = cells.make(name, activation)
        self.p = {key: normal(*shape) for key, shape in self.cell.shapes(INPUTS, HIDDEN).items()}
        self.x = normal(STEPS, BATCH, INPUTS)
        self.state = tuple(normal(BATCH, HIDDEN) for _ in self.cell.state)
        self.below: list[tuple[torch.Tensor, ...] | None] = [None] * STEPS
        if self.cell.at(0) is not self.cell:  # it needs a layer beneath
            self.below = [tuple(normal(BATCH, HIDDEN) for _ in self.cell.state) for _ in range(STEPS)]

    @property
    def leaves(self) -> list[torch.Tensor]:
        """Everything that has a gradient."""
        return [*self.p.values(), self.x, *self.state]

    def unroll(self) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """h (T, B, H) and the last state, one `step` per character."""
        state, outputs = self.state, []
        for x, below in zip(self.x, self.below, strict=True):
            state, _ = self.cell.step(torch, self.p, x @ self.p["weight_ih"].T + self.p["bias_ih"], below, state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def below_as_arrays(self, t: int) -> tuple[np.ndarray, ...] | None:
        """The state of the layer beneath at one character, None where the cell does without."""
        below = self.below[t]
        return None if below is None else tuple(part.detach().numpy() for part in below)

    def numpy(self) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[np.ndarray, ...]]:
        """The same weights, input and first state as arrays."""
        return (
            {key: value.detach().numpy() for key, value in self.p.items()},
            self.x.detach().numpy(),
            tuple(part.detach().numpy() for part in self.state),
        )


@pytest.fixture(scope="session")
def layer():
    """Make a `Layer`."""
    return Layer
