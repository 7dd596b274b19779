"""The feed-forward network over a window of the last N characters (Bengio, Ducharme, Vincent & Jauvin 2003)."""

from typing import Any

from charlm.cells._cell import Array, Parameters, State, split
from charlm.cells._parallel import WindowCell


class WindowMLP(WindowCell):
    """What came before recurrent networks: each of the last N characters has weights of its own, and the rest is gone.

        h_t = tanh(Σ_k (W_k x_(t-k) + b_k)),   k = 0 … N-1, characters before the beginning left out

    N is `--context`. W_k are the blocks of H rows of weight_ih, of which there are the more, the longer the window: six
    words of a dictionary of 10,000 and 200 units make 12 million weights. The state is a delay line of partial sums,
    s^j_t for what the characters so far will add to a_(t+j):

        s^j_t = s^(j+1)_(t-1) + W_j x_t + b_j,  s^N = 0,  h_t = tanh(s^0_t)

    so that one character at a time costs no more than its own products. Trained through time, a window's gradient is
    complete but for what it was handed: the partial sums of characters before it count as given.
    """

    name = "window-mlp"

    def __init__(self, activation: str = "tanh", context: int = 8) -> None:
        super().__init__(activation, context)
        self.gates = tuple(f"w{k}" for k in range(context))
        self.state = ("h", *(f"s{j}" for j in range(1, context)))

    def step(
        self, xp: Any, p: Parameters, x: Array, below: State | None, state: State
    ) -> tuple[State, dict[str, Array]]:
        """The two equations above; shapes in `Cell.step`."""
        products = split(x, self.context)
        waiting = [product + part for product, part in zip(products, state[1:], strict=False)]
        a, *later = (*waiting, products[-1])
        return (xp.tanh(a), *later), dict(zip(self.gates, products, strict=True))

    def window(self, xp: Any, p: Parameters, x: Array, state: State) -> tuple[Array, State]:
        """The same for all T at once, from s^(N-1) down to s^0; shapes in `WindowCell.window`."""
        *products, sums = split(x, self.context)
        last = []
        for product, before in zip(reversed(products), reversed(state[1:]), strict=True):
            last.append(sums[-1])
            sums = product + xp.concatenate((before[None], sums[:-1]))
        h = xp.tanh(sums)
        return h, (h[-1], *reversed(last))


CELL = WindowMLP
