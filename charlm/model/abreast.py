"""Many streams of a large network at once on the CPU, in torch: what writes many samples.

The equations are those of `charlm.cells`, rearranged for products that oneDNN does with weights laid out once
(`charlm.model.products`), and into few calls on large arrays:

- the first layer's input product is a row of a table, and all biases that can be are in it, or in a product;
- tanh a = 2 σ(2a) - 1, so that one σ serves all gates. What is doubled is doubled in the weights, where it is exact.

`charlm.model.stepper` is the slow twin, and `charlm.model.lean` the way of a single stream; importing torch takes
longer than either needs for a thousand characters of a small network, which is why they do without.

Shapes: V symbols, B streams, H hidden, G gates.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from charlm.model.checkpoint import Model
from charlm.model.products import Into
from charlm.model.stepper import Edit
from charlm.model.wiring import input_table, layer_weights, parts

State = tuple[Tensor, ...]
States = list[State]
Step = Callable[[Tensor, State], State]
"""A layer's new state from its input product (B, G·H) and the state before."""


class Abreast:
    """A model that reads one symbol in each of many streams and says what may come next.

    Args:
        model: of a cell in `LAYERS`, its layers a plain stack (`charlm.model.wiring.is_stack`).
        streams: B, for which products are laid out; another number is slower.
        dtype: of all arithmetic; the tests take float64.
    """

    def __init__(self, model: Model, streams: int, dtype: torch.dtype = torch.float32) -> None:
        self._hidden, self._dtype = model.options.hidden, dtype
        weights = {
            name: torch.from_numpy(np.ascontiguousarray(weight)).to(dtype)
            for name, weight in parts(model.options, model.weights).items()
        }
        layer = LAYERS[model.options.cell](model.options.activation)
        self._parts, self._layers = layer.PARTS, model.options.layers
        self._steps: list[tuple[Step, Into | None]] = []
        for number in range(model.options.layers):
            p = layer_weights(weights, number)
            factors, constant = layer.factors(p), layer.constant(p)
            if number == 0:
                self._table = (input_table(weights) + constant) * factors
                into = None
            else:
                into = Into(p["weight_ih"] * factors[:, None], streams, (p["bias_ih"] + constant) * factors)
            self._steps.append((layer.make(p, factors, streams), into))
        self._readout = Into(weights["readout.weight"], streams, weights["readout.bias"])

    def start(self, batch: int = 1) -> States:
        """The state before any text, zeros (B, H), for `batch` streams."""
        zeros = torch.zeros(batch, self._hidden, dtype=self._dtype)
        return [(zeros,) * self._parts for _ in range(self._layers)]

    def repeat(self, states: States, batch: int) -> States:
        """One stream's states (1, H), copied for `batch` streams (B, H)."""
        return [tuple(part.repeat(batch, 1) for part in state) for state in states]

    def step(self, ids: np.ndarray, states: States, *, edit: Edit | None = None) -> tuple[np.ndarray, States]:
        """Read one symbol in each stream; as `charlm.model.stepper.Stepper.step`."""
        after: States = []
        x = self._table[torch.from_numpy(ids.astype(np.int64))]
        for number, ((step, into), state) in enumerate(zip(self._steps, states, strict=True)):
            new = step(x if into is None else into.times(after[-1][0]), state)
            after.append(new if edit is None else edit(number, new))
        return self._readout.times(after[-1][0]).numpy(), after


class _Layer:
    """What the three cells share.

    Attributes:
        PARTS: of the state.
    """

    PARTS = 1

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        """What the gates' arguments are multiplied by (G·H): 2 where tanh is made of σ."""
        return torch.ones_like(p["bias_hh"])

    def constant(self, p: dict[str, Tensor]) -> Tensor:
        """What of b_hh (G·H) can be added to the input product once for all."""
        return p["bias_hh"]

    def make(self, p: dict[str, Tensor], factors: Tensor, streams: int) -> Step:
        """The step of a layer with the parameters p."""
        raise NotImplementedError


def _from_half_(s: Tensor) -> Tensor:
    """2 s - 1, in place: tanh a of σ(2a)."""
    return s.mul_(2).sub_(1)


class _RNN(_Layer):
    """h = f(a)."""

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        return super().factors(p) * (2 if self.activation == "tanh" else 1)

    def make(self, p: dict[str, Tensor], factors: Tensor, streams: int) -> Step:
        recurrent = Into(p["weight_hh"] * factors[:, None], streams)
        activate: dict[str, Callable[[Tensor], Tensor]] = {
            "tanh": lambda a: _from_half_(a.sigmoid_()),
            "sigmoid": torch.sigmoid_,
            "relu": lambda a: a.clamp_min_(0),
            "linear": lambda a: a,
        }
        f = activate[self.activation]
        return lambda x, state: (f(recurrent.add(x, state[0])),)


class _LSTM(_Layer):
    """With G = σ of the doubled argument, g = 2 G - 1:  c' = f c + 2 i G - i,  h' = 2 o σ(2 c') - o."""

    PARTS = 2

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        factors = super().factors(p)
        factors.chunk(4)[2].fill_(2)
        return factors

    def make(self, p: dict[str, Tensor], factors: Tensor, streams: int) -> Step:
        recurrent = Into(p["weight_hh"] * factors[:, None], streams)

        def step(x: Tensor, state: State) -> State:
            h, c = state
            i, f, g, o = recurrent.add(x, h).sigmoid_().chunk(4, 1)
            c = torch.mul(f, c).addcmul_(i, g, value=2).sub_(i)
            return torch.mul(o, (c + c).sigmoid_()).mul_(2).sub_(o), c

        return step


class _GRU(_Layer):
    """With m = σ of the candidate's doubled argument:  n = 2 m - 1,  h' = n + z (h - n)."""

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        factors = super().factors(p)
        factors.chunk(3)[2].fill_(2)
        return factors

    def constant(self, p: dict[str, Tensor]) -> Tensor:
        constant = p["bias_hh"].clone()
        constant.chunk(3)[2].zero_()  # b_hn is behind the reset gate
        return constant

    def make(self, p: dict[str, Tensor], factors: Tensor, streams: int) -> Step:
        behind = (p["bias_hh"] - self.constant(p)) * factors
        recurrent, hidden = Into(p["weight_hh"] * factors[:, None], streams, behind), len(behind) // 3

        def step(x: Tensor, state: State) -> State:
            (h,) = state
            a = recurrent.times(h)
            r, z = (x[:, : 2 * hidden] + a[:, : 2 * hidden]).sigmoid_().chunk(2, 1)
            n = _from_half_(torch.addcmul(x[:, 2 * hidden :], r, a[:, 2 * hidden :]).sigmoid_())
            return (torch.lerp(n, h, z),)

        return step


LAYERS: dict[str, type[_Layer]] = {"rnn": _RNN, "lstm": _LSTM, "gru": _GRU}
"""The cells that have such a step."""
