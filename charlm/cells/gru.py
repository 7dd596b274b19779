"""The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), in the form that cuDNN and torch compute."""

from typing import Any

from charlm.cells._cell import Array, Cell, Parameters, State, sigmoid, split


class GRU(Cell):
    """A state that is moved towards a candidate by as much as the update gate allows.

        r_t = σ(W_xr x_t + b_xr + W_hr h_(t-1) + b_hr)          how much of the past the candidate sees
        z_t = σ(W_xz x_t + b_xz + W_hz h_(t-1) + b_hz)          how much of the past is kept
        n_t = tanh(W_xn x_t + b_xn + r_t (W_hn h_(t-1) + b_hn)) the candidate
        h_t = (1 - z_t) n_t + z_t h_(t-1)

    The paper's form differs in one place: there the reset gate is applied before the recurrent
    product, n_t = tanh(W_xn x_t + W_hn (r_t h_(t-1))). Applying it after lets one product serve
    all three gates; it is what cuDNN, torch and most published models compute. (z_t is the share
    that is kept, as in the paper; others, such as Chung et al. 2014, give that name to 1 - z_t.)
    """

    name = "gru"
    gates = ("r", "z", "n")

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The four equations above; shapes in `Cell.step`."""
        (h,) = state
        x_r, x_z, x_n = split(x, 3)
        h_r, h_z, h_n = split(h @ p["weight_hh"].T + p["bias_hh"], 3)
        r = sigmoid(xp, x_r + h_r)
        z = sigmoid(xp, x_z + h_z)
        n = xp.tanh(x_n + r * h_n)
        h = (1 - z) * n + z * h
        return (h,), {"r": r, "z": z, "n": n}


CELL = GRU
