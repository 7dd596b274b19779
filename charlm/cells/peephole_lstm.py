"""The lstm whose gates see its memory (Gers & Schmidhuber 2000, in the form of Graves 2013, arXiv 1308.0850)."""

from typing import Any

from charlm.cells._cell import Array, Cell, Parameters, State, sigmoid, split


class PeepholeLSTM(Cell):
    """The lstm with peepholes: what a gate decides depends on the memory itself, also while the output gate hides it.

        i_t = σ(W_xi x_t + W_hi h_(t-1) + w_ci c_(t-1) + b_i)
        f_t = σ(W_xf x_t + W_hf h_(t-1) + w_cf c_(t-1) + b_f)
        g_t = tanh(W_xc x_t + W_hc h_(t-1) + b_c)
        c_t = f_t c_(t-1) + i_t g_t
        o_t = σ(W_xo x_t + W_ho h_(t-1) + w_co c_t + b_o)       sees the new memory
        h_t = o_t tanh(c_t)

    The peepholes w_ci, w_cf and w_co are diagonal, a number a unit: a unit sees its own memory only. Each b is the
    sum of b_ih and b_hh. With peepholes of 0 this is `charlm.cells.lstm`.
    """

    name = "peephole-lstm"
    gates = ("i", "f", "g", "o")
    state = ("h", "c")
    first_bias = {"f": 1.0}

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Those of the lstm, and a peephole (H,) for each of the three gates."""
        peepholes = {name: (hidden,) for name in ("peephole_i", "peephole_f", "peephole_o")}
        return {**super().shapes(inputs, hidden), **peepholes}

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The six equations above; shapes in `Cell.step`."""
        h, c = state
        i, f, g, o = split(x + h @ p["weight_hh"].T + p["bias_hh"], 4)
        i = sigmoid(xp, i + p["peephole_i"] * c)
        f = sigmoid(xp, f + p["peephole_f"] * c)
        g = xp.tanh(g)
        c = f * c + i * g
        o = sigmoid(xp, o + p["peephole_o"] * c)
        h = o * xp.tanh(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o}


CELL = PeepholeLSTM
