"""Cells that multiply their state by no weights, so that a whole window needs no step after the other.

    LinearCell   h_t = a_t h_(t-1) + b_t, with a_t and b_t made of the input: a scan over the window
    WindowCell   any other way through a window that the cell knows

Left out: how a window of the first is scanned, which is a matter of torch (`charlm.model.recurrence`).

Shapes: T time, B batch, H hidden units, G gates.
"""

from abc import abstractmethod
from typing import Any

from charlm.cells._cell import Array, Cell, Parameters, State


class LinearCell(Cell):
    """A cell whose state is h alone, and linear in the state before: h_t = a_t h_(t-1) + b_t."""

    state = ("h",)
    recurrent = False

    @abstractmethod
    def coefficients(self, xp: Any, p: Parameters, x: Array) -> tuple[Array, Array, dict[str, Array]]:
        """a_t and b_t (…, H), and the gates by name, from the input product x (…, G·H); … is B, or T and B."""

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """h_t = a_t h_(t-1) + b_t; shapes in `Cell.step`."""
        (h,) = state
        a, b, gates = self.coefficients(xp, p, x)
        return (a * h + b,), gates


class WindowCell(Cell):
    """A cell that computes a window at once, the same numbers as step by step."""

    recurrent = False

    @abstractmethod
    def window(self, xp: Any, p: Parameters, x: Array, state: State) -> tuple[Array, State]:
        """h (T, B, H) and the last state, each part (B, H), from all input products x (T, B, G·H) and the first state.

        Where `xp` is torch, autograd goes through it.
        """
