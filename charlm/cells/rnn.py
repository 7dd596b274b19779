"""The simple recurrent network (Elman, "Finding structure in time", 1990)."""

from typing import Any, ClassVar

from charlm.cells._cell import Array, Cell, Parameters, State, sigmoid


class RNN(Cell):
    """The state is one nonlinear layer of the character and of the state before.

        h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    f is tanh, ReLU (Le, Jaitly & Hinton 2015 train it from an identity W_hh), the logistic sigmoid
    of Elman's paper, or nothing at all (`linear`: then h is a weighted sum of all inputs so far).
    Gradients through k steps are products of k Jacobians diag(f') W_hh: they vanish or explode
    with k (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013).
    """

    name = "rnn"
    gates: tuple[str, ...] = ("h",)
    activations: ClassVar[tuple[str, ...]] = ("tanh", "relu", "sigmoid", "linear")

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """h_t = f(x + W_hh h_(t-1) + b_hh); shapes in `Cell.step`."""
        (h,) = state
        a = x + h @ p["weight_hh"].T + p["bias_hh"]
        h = self._f(xp, a)
        return (h,), {"h": h}

    def _f(self, xp: Any, a: Array) -> Array:
        if self.activation == "tanh":
            return xp.tanh(a)
        if self.activation == "relu":
            return a * (a > 0)
        if self.activation == "sigmoid":
            return sigmoid(xp, a)
        return a


CELL = RNN
