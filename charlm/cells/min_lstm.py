"""The minimal lstm (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201)."""

from typing import Any

from charlm.cells._cell import Array, Parameters, split
from charlm.cells._parallel import LinearCell


class MinLSTM(LinearCell):
    """The lstm without what looks back: its gates depend on the character alone, share 1 between them, and c is h.

        f'_t = σ(W_xf x_t + b_f),  i'_t = σ(W_xi x_t + b_i)
        f_t = f'_t / (f'_t + i'_t)             what is kept
        i_t = i'_t / (f'_t + i'_t)             what is let in
        n_t = W_xn x_t + b_n                   what is offered, linear
        h_t = f_t h_(t-1) + i_t n_t

    The form of the paper's section 3.2, whose candidate (h̃ there) is linear; not the one of its appendix, which makes
    the candidate positive to compute in logarithms.
    """

    name = "min-lstm"
    gates = ("f", "i", "n")
    first_bias = {"f": 1.0}

    def coefficients(self, xp: Any, p: Parameters, x: Array) -> tuple[Array, Array, dict[str, Array]]:
        """a_t = f_t and b_t = i_t n_t; shapes in `LinearCell.coefficients`."""
        f, i, n = split(x, 3)
        f, i = _shares(xp, f, i)
        return f, i * n, {"f": f, "i": i, "n": n}


def _shares(xp: Any, f: Array, i: Array) -> tuple[Array, Array]:
    """σ(f) and σ(i) over their sum, which are 1 + e^-i and 1 + e^-f over theirs.

    All four numbers are multiplied by e^low, low the smallest of f, i and 0: then none overflows, and one at least
    is 1, so that gates that are both shut, whose σ would be 0, still have a ratio.
    """
    smaller = xp.minimum(f, i)
    low = 0.5 * (smaller - xp.abs(smaller))
    one = xp.exp(low)
    keep, let_in = one + xp.exp(low - i), one + xp.exp(low - f)
    return keep / (keep + let_in), let_in / (keep + let_in)


CELL = MinLSTM
