"""The recurrent network whose state is taken before the nonlinearity (Pascanu, Mikolov & Bengio 2013, equation 2)."""

from typing import Any

from charlm.cells._cell import Array, Parameters, State
from charlm.cells.rnn import RNN


class PreactivationRNN(RNN):
    """The state a passes the nonlinearity on its way into the next state and out, and is kept as it was before.

        a_t = W_ih x_t + b_ih + W_hh f(a_(t-1)) + b_hh
        h_t = f(a_t)                                         what the readout and the layer above read

    The paper writes x_t for a_t and u_t for x_t. Its bound is told of this form, of ∂a_t/∂a_(t-1) = W_hh diag(f').
    From the zero state, the outputs are those of `charlm.cells.rnn`, but for the sigmoid: there f(0) = 1/2 comes
    before the first character. f is tanh, ReLU or the logistic sigmoid.

    h is a part of the state since it is read from above; this layer itself goes on from a.
    """

    name = "preactivation-rnn"
    gates = ("a",)
    state = ("h", "a")
    activations = ("tanh", "relu", "sigmoid")

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The two equations above; shapes in `Cell.step`."""
        _, a = state
        a = x + self._f(xp, a) @ p["weight_hh"].T + p["bias_hh"]
        return (self._f(xp, a), a), {"a": a}


CELL = PreactivationRNN
