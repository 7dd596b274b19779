"""A state that adds up what it reads: a context unit that does not fade (Mikolov et al. 2014, arXiv 1412.7753)."""

from typing import Any

from charlm.cells._cell import Array, Parameters
from charlm.cells._parallel import LinearCell


class Sum(LinearCell):
    """A bag of the characters so far, as a layer F of each of them makes it.

        h_t = h_(t-1) + F(x_t),   F(x_t) = tanh(W_ih x_t + b_ih)

    The simplest state there is: ∂h_t/∂h_(t-1) is the identity, no gradient vanishes, nothing is forgotten, and the
    order of the characters makes no difference. h grows with the text. (The paper's context units fade:
    h_t = α h_(t-1) + (1 - α) B x_t. Here F is a layer with tanh, and nothing fades.)
    """

    name = "sum"
    gates = ("g",)

    def coefficients(self, xp: Any, p: Parameters, x: Array) -> tuple[Array, Array, dict[str, Array]]:
        """a_t = 1 and b_t = F(x_t); shapes in `LinearCell.coefficients`."""
        g = xp.tanh(x)
        return xp.ones_like(g), g, {"g": g}


CELL = Sum
