"""The engine for many samples of a large network: a batch of streams on the CPU, in torch.

The equations are those of `charlm.cells`, rearranged for oneDNN's products with packed weights (`charlm.model.ops`),
and into few calls on large arrays:

- the first layer's input product is a row of a table, and all biases that can be are in it, or in a product;
- above it W_ih x + W_hh h is one product, except for the gru, whose candidate needs them apart;
- tanh a = 2 σ(2a) - 1, so that one σ serves all gates. The doubling is in the weights, where it is exact.

`charlm.model.stepper` is the slow twin, and `charlm.sampling.single_stream` is for one stream. Importing torch takes
longer than either needs for a thousand characters of a small network, so they do without it.

Shapes: V symbols, B streams, H hidden, G gates.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from charlm.model.bptt import from_half_
from charlm.model.checkpoint import Model
from charlm.model.ops import PackedLinear
from charlm.model.stepper import Edit
from charlm.model.wiring import input_table, layer_weights, split_weights

State = tuple[Tensor, ...]
States = list[State]
Step = Callable[[Tensor, State], State]
"""A layer's new state from its input and its old state: the input is the input product (B, G·H) in the first layer, and
h (B, H) of the layer below in any other."""

PreactivationFn = Callable[[Tensor, Tensor], Tensor]
"""The gates' pre-activations (B, G·H) from a layer's input, as for `Step`, and its own h (B, H)."""


class ManyStreams:
    """A plain stack that reads one symbol in each of many streams.

    Args:
        model: of a cell in `MANY_STREAM_CELLS`, its layers a plain stack (`charlm.model.wiring.is_plain_stack`).
        streams: B, for which weights are packed; another number is slower.
        dtype: of all arithmetic; the tests take float64.
    """

    def __init__(self, model: Model, streams: int, dtype: torch.dtype = torch.float32) -> None:
        self._hidden, self._dtype = model.options.hidden, dtype
        weights = {
            name: torch.from_numpy(np.ascontiguousarray(weight)).to(dtype)
            for name, weight in split_weights(model.options, model.weights).items()
        }
        layer = MANY_STREAM_CELLS[model.options.cell](model.options.activation)
        self._parts, self._layers = layer.PARTS, model.options.layers
        lowest, *above = (layer_weights(weights, number) for number in range(model.options.layers))
        self._table = (input_table(weights) + layer.constant(lowest)) * layer.factors(lowest)
        self._steps = [
            layer.make_step(lowest, streams, first=True),
            *(layer.make_step(p, streams, first=False) for p in above),
        ]
        self._readout = PackedLinear(weights["readout.weight"], streams, weights["readout.bias"])

    def start(self, batch: int = 1) -> States:
        """The state before any text, zeros (B, H), for `batch` streams."""
        zeros = torch.zeros(batch, self._hidden, dtype=self._dtype)
        return [(zeros,) * self._parts for _ in range(self._layers)]

    def repeat(self, states: States, batch: int) -> States:
        """One stream's states (1, H), copied for `batch` streams (B, H)."""
        return [tuple(tensor.repeat(batch, 1) for tensor in state) for state in states]

    @torch.inference_mode()
    def step(self, ids: np.ndarray, states: States, *, edit: Edit | None = None) -> tuple[np.ndarray, States]:
        """Read one symbol in each stream; as `charlm.model.stepper.Stepper.step`."""
        after: States = []
        layer_input = self._table.index_select(0, torch.from_numpy(ids.astype(np.int64, copy=False)))
        for number, (step, state) in enumerate(zip(self._steps, states, strict=True)):
            new = step(layer_input, state)
            after.append(new if edit is None else edit(number, new))
            layer_input = after[-1][0]
        return self._readout(layer_input).numpy(), after


class _Layer:
    """What the three cells share.

    Attributes:
        PARTS: how many arrays its state has.
    """

    PARTS = 1

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        """Factors (G·H) of the pre-activations: 2 if tanh is computed by σ, else 1."""
        return torch.ones_like(p["bias_hh"])

    def constant(self, p: dict[str, Tensor]) -> Tensor:
        """The part of b_hh (G·H) that can be added to the input product in advance."""
        return p["bias_hh"]

    def preactivations(self, p: dict[str, Tensor], streams: int, first: bool) -> PreactivationFn:
        """The pre-activations of cells that add the products of input and state."""
        factors = self.factors(p)
        recurrent = p["weight_hh"] * factors[:, None]
        if first:
            return PackedLinear(recurrent, streams).add
        weight_ih, bias = p["weight_ih"] * factors[:, None], (p["bias_ih"] + self.constant(p)) * factors
        joint = PackedLinear(torch.hstack([weight_ih, recurrent]), streams, bias)
        return lambda below, h: joint(torch.hstack([below, h]))

    def make_step(self, p: dict[str, Tensor], streams: int, first: bool) -> Step:
        """The step of a layer with the parameters p."""
        raise NotImplementedError


class _RNN(_Layer):
    """h = f(a)."""

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        return super().factors(p) * (2 if self.activation == "tanh" else 1)

    def make_step(self, p: dict[str, Tensor], streams: int, first: bool) -> Step:
        preactivations = self.preactivations(p, streams, first)
        activate: dict[str, Callable[[Tensor], Tensor]] = {
            "tanh": lambda a: from_half_(a.sigmoid_()),
            "sigmoid": torch.sigmoid_,
            "relu": lambda a: a.clamp_min_(0),
            "linear": lambda a: a,
        }
        f = activate[self.activation]
        return lambda layer_input, state: (f(preactivations(layer_input, state[0])),)


class _LSTM(_Layer):
    """With g = 2 G - 1, G = σ of the doubled argument:  c' = f c + i g,  h' = o (2 σ(2 c') - 1)."""

    PARTS = 2

    def factors(self, p: dict[str, Tensor]) -> Tensor:
        factors = super().factors(p)
        factors.chunk(4)[2].fill_(2)
        return factors

    def make_step(self, p: dict[str, Tensor], streams: int, first: bool) -> Step:
        preactivations = self.preactivations(p, streams, first)

        def step(layer_input: Tensor, state: State) -> State:
            h, c = state
            i, f, g, o = preactivations(layer_input, h).sigmoid_().chunk(4, 1)
            c = torch.mul(f, c).addcmul_(i, from_half_(g))
            return torch.mul(o, from_half_((c + c).sigmoid_())), c

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

    def make_step(self, p: dict[str, Tensor], streams: int, first: bool) -> Step:
        factors, constant = self.factors(p), self.constant(p)
        gated_bias = (p["bias_hh"] - constant) * factors
        recurrent, hidden = PackedLinear(p["weight_hh"] * factors[:, None], streams, gated_bias), len(gated_bias) // 3
        input_product = (
            None
            if first
            else PackedLinear(p["weight_ih"] * factors[:, None], streams, (p["bias_ih"] + constant) * factors)
        )

        def step(layer_input: Tensor, state: State) -> State:
            (h,) = state
            x = layer_input if input_product is None else input_product(layer_input)
            a = recurrent(h)
            r, z = (x[:, : 2 * hidden] + a[:, : 2 * hidden]).sigmoid_().chunk(2, 1)
            n = from_half_(torch.addcmul(x[:, 2 * hidden :], r, a[:, 2 * hidden :]).sigmoid_())
            return (torch.lerp(n, h, z),)

        return step


MANY_STREAM_CELLS: dict[str, type[_Layer]] = {"rnn": _RNN, "lstm": _LSTM, "gru": _GRU}
"""The cells that this engine knows."""
