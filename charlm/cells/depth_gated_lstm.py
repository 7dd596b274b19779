"""The lstm whose memory takes in the memory beneath it (Yao, Cohn, Vylomova, Duh & Dyer 2015, arXiv 1508.03790)."""

from typing import Any

from charlm.cells._cell import Array, Cell, Parameters, State, sigmoid, split
from charlm.cells.lstm import LSTM


class DepthGatedLSTM(LSTM):
    """A depth gate d lets the memory c of the layer beneath into this layer's memory, linearly, as f lets in the past.

        i_t, f_t, g_t, o_t                                                         as in the lstm
        d_t = σ(W_xd x_t + b_d + w_cd c_(t-1) + w_ld c^below_t)                    what comes up from beneath
        c_t = d_t c^below_t + f_t c_(t-1) + i_t g_t
        h_t = o_t tanh(c_t)

    w_cd and w_ld are diagonal, a number a unit; h_(t-1) has no part in d_t. The lowest layer has none beneath it and is
    the plain lstm. So is every layer whose depth gate is shut. The paper's other gates have peepholes; these have not.
    """

    name = "depth-gated-lstm"
    gates: tuple[str, ...] = ("i", "f", "g", "o", "d")

    def at(self, layer: int) -> Cell:
        """The lstm in the lowest layer."""
        return self if layer else LSTM(self.activation)

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Five blocks of rows read what is below, four of them h; and two diagonals (H,)."""
        rows = (len(self.gates) - 1) * hidden
        recurrent = {"weight_hh": (rows, hidden), "bias_hh": (rows,)}
        return {**super().shapes(inputs, hidden), **recurrent, "depth_c": (hidden,), "depth_below": (hidden,)}

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The equations above, with `below` the h and c of the layer beneath; shapes in `Cell.step`.

        Raises:
            ValueError: there is no layer beneath.
        """
        if below is None:
            raise ValueError("a depth-gated layer needs the state of the layer beneath")
        h, c = state
        _, c_below = below
        x_i, x_f, x_g, x_o, x_d = split(x, 5)
        h_i, h_f, h_g, h_o = split(h @ p["weight_hh"].T + p["bias_hh"], 4)
        i = sigmoid(xp, x_i + h_i)
        f = sigmoid(xp, x_f + h_f)
        g = xp.tanh(x_g + h_g)
        o = sigmoid(xp, x_o + h_o)
        d = sigmoid(xp, x_d + p["depth_c"] * c + p["depth_below"] * c_below)
        c = d * c_below + f * c + i * g
        h = o * xp.tanh(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o, "d": d}


CELL = DepthGatedLSTM
