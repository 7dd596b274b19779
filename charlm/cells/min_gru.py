"""The minimal gru (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201)."""

from typing import Any

from charlm.cells._cell import Array, Parameters, sigmoid, split
from charlm.cells._parallel import LinearCell


class MinGRU(LinearCell):
    """The gru without what looks back: gate and candidate depend on the character alone, and training is a scan.

        z_t = σ(W_xz x_t + b_z)                how much is written
        n_t = W_xn x_t + b_n                   the candidate, linear
        h_t = (1 - z_t) h_(t-1) + z_t n_t

    The form of the paper's section 3.1, whose candidate (h̃ there) is linear; not the one of its appendix, which makes
    the candidate positive to compute in logarithms. Mind that z is the share that is new, as in the paper, and in
    `charlm.cells.gru` the share that is kept.
    """

    name = "min-gru"
    gates = ("z", "n")

    def coefficients(self, xp: Any, p: Parameters, x: Array) -> tuple[Array, Array, dict[str, Array]]:
        """a_t = 1 - z_t and b_t = z_t n_t; shapes in `LinearCell.coefficients`."""
        z, n = split(x, 2)
        z = sigmoid(xp, z)
        return 1 - z, z * n, {"z": z, "n": n}


CELL = MinGRU
