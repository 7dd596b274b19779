"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000)."""

from typing import Any

from charlm.cells._cell import Array, Cell, Parameters, State, sigmoid, split


class LSTM(Cell):
    """A memory c that is added to, not overwritten, behind three gates.

        i_t = σ(W_xi x_t + b_xi + W_hi h_(t-1) + b_hi)       what is let in
        f_t = σ(W_xf x_t + b_xf + W_hf h_(t-1) + b_hf)       what is kept
        g_t = tanh(W_xg x_t + b_xg + W_hg h_(t-1) + b_hg)    what is offered
        o_t = σ(W_xo x_t + b_xo + W_ho h_(t-1) + b_ho)       what is shown
        c_t = f_t c_(t-1) + i_t g_t
        h_t = o_t tanh(c_t)

    ∂c_t/∂c_(t-1) = f_t: where the forget gate is open, the error passes undamped (the constant
    error carousel). Its bias starts at 1, so that it is open before anything is learned (Gers et
    al. 2000; Jozefowicz, Zaremba & Sutskever 2015 measure the gain).
    """

    name = "lstm"
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    state: tuple[str, ...] = ("h", "c")
    first_bias = {"f": 1.0}

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The six equations above; shapes in `Cell.step`."""
        h, c = state
        i, f, g, o = split(x + h @ p["weight_hh"].T + p["bias_hh"], 4)
        i = sigmoid(xp, i)
        f = sigmoid(xp, f)
        g = xp.tanh(g)
        o = sigmoid(xp, o)
        c = f * c + i * g
        h = o * xp.tanh(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o}


CELL = LSTM
