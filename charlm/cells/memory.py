"""A memory that is added to behind no gates: the error carousel of Hochreiter & Schmidhuber 1997, left open."""

from typing import Any

from charlm.cells._cell import Array, Cell, Parameters, State


class Memory(Cell):
    """What every character and the output before say is added up, for ever.

        g_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
        c_t = c_(t-1) + g_t
        h_t = tanh(c_t)

    It is the lstm with its gates held at 1. ∂c_t/∂c_(t-1) holds the identity whatever the weights, so that the error
    passes undamped; but nothing is ever forgotten, and c may grow with the text.
    """

    name = "memory"
    gates = ("g",)
    state = ("h", "c")

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The three equations above; shapes in `Cell.step`."""
        h, c = state
        g = xp.tanh(x + h @ p["weight_hh"].T + p["bias_hh"])
        c = c + g
        return (xp.tanh(c), c), {"g": g}


CELL = Memory
