"""What every cell says of itself, and the two functions that NumPy lacks.

Shapes: B batch, H hidden units, G gates, `in` the size of what is below.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

Array = Any
"""A NumPy array or a torch tensor."""

Parameters = Mapping[str, Array]
"""One layer's parameters by name, without the `layers.0.` before it."""

State = tuple[Array, ...]
"""One layer's memory between two characters, each part (B, H); the first part is always h."""


class Cell(ABC):
    """A cell: what a layer makes of a character and of its own state.

    Attributes:
        name: as `--cell` takes it.
        gates: the G blocks of H rows in `weight_ih` and `bias_ih`, in this order, and in `weight_hh` and `bias_hh`.
        state: the names of the parts of the state; `h` first, which is what the layer above reads.
        activations: the nonlinearities it can be given.
        first_bias: what the bias of a gate starts from, where that is not 0.
        recurrent: whether it multiplies its state by weights; one that does not has no `weight_hh` and `bias_hh`.
        activation, context: the options `--activation` and `--context`, which few cells look at.
    """

    name: ClassVar[str]
    gates: tuple[str, ...]
    state: tuple[str, ...] = ("h",)
    activations: ClassVar[tuple[str, ...]] = ("tanh",)
    first_bias: ClassVar[Mapping[str, float]] = {}
    recurrent: ClassVar[bool] = True

    def __init__(self, activation: str = "tanh", context: int = 8) -> None:
        self.activation = activation
        self.context = context

    def at(self, layer: int) -> "Cell":
        """The cell of a layer, counted from 0: another one where the lowest layer, with none beneath it, has less."""
        return self

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter of a layer that reads `inputs` numbers."""
        rows = len(self.gates) * hidden
        if not self.recurrent:
            return {"weight_ih": (rows, inputs), "bias_ih": (rows,)}
        return {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden), "bias_ih": (rows,), "bias_hh": (rows,)}

    @abstractmethod
    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """Read one character.

        Args:
            xp: `numpy` or `torch`.
            p: the layer's parameters.
            x: (B, G·H), the input product W_ih x_t + b_ih. It needs no state, so that the caller
                computes it for a whole window at once, or looks it up in a table of V rows.
            below: the state of the layer beneath at this character, None for the first layer.
            state: the layer's state after the character before, each (B, H).

        Returns:
            The new state, and the gates by name, each (B, H).
        """


def sigmoid(xp: Any, x: Array) -> Array:
    """σ(x) = 1 / (1 + e^-x), written with tanh, which overflows nowhere and which NumPy has."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def split(x: Array, parts: int) -> tuple[Array, ...]:
    """Cut (B, parts·H) into `parts` blocks (B, H), as the gates are stacked."""
    hidden = x.shape[-1] // parts
    return tuple(x[..., k * hidden : (k + 1) * hidden] for k in range(parts))
