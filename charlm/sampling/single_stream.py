"""The engine for one sample: one stream in as few NumPy calls a character as the equations allow.

The equations are those of `charlm.cells`, rearranged into one matrix-vector product a layer and a handful
of calls on small arrays, all into buffers that are allocated once:

- one vector holds the states of all layers, so that the input of a layer, the new state below it and its own
  old one, is a slice of it, and W_ih x + W_hh h is one product; a 1 at its end brings in the output layer's bias;
- the first layer's input product is a row of a table;
- σ(a) = (1 + tanh(a/2)) / 2, so that one tanh serves all gates. The halves are moved into the weights, where
  a factor of two is exact; a layer keeps h times `FACTOR`, and the weights that read it are divided by `FACTOR`;
- a sum of two vectors with factors is a product of a row with both, one call for two;
- constants are arrays, as NumPy takes longer over a number than over a hundred of them.

`charlm.model.stepper` is the slow twin: any cell and wiring, many streams, traces and edits.

Shapes: V symbols, H hidden, G gates, I inputs of a layer, its own state included: H in the first, 2 H above.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import sqrt

import numpy as np

from charlm.cells import Parameters
from charlm.config import ModelOptions
from charlm.model.checkpoint import Model
from charlm.model.wiring import EPSILON, input_table, layer_weights, skip_table, split_weights
from charlm.sampling.gemv import Gemv, make_gemv

Step = Callable[[np.ndarray], None]
"""Updates a layer's state in place, given the input product (G·H) of a symbol, or the bias above the first layer."""


class SingleStream:
    """A plain stack that reads one stream, symbol by symbol, and keeps the state itself.

    Args:
        model: of a cell in `SINGLE_STREAM_CELLS`, its layers a plain stack (`charlm.model.wiring.is_plain_stack`).
        dtype: of all arithmetic; the tests take float64.
    """

    def __init__(self, model: Model, dtype: type = np.float32) -> None:
        hidden, layers = model.options.hidden, model.options.layers
        weights: dict[str, np.ndarray] = {
            name: weight.astype(dtype, copy=False)
            for name, weight in split_weights(model.options, model.weights).items()
        }
        layer = SINGLE_STREAM_CELLS[model.options.cell](model.options.activation)
        states: np.ndarray = np.zeros(layers * hidden + 1, dtype)
        states[-1] = 1  # for the bias of the output layer
        self._steps: list[tuple[Step, np.ndarray | None]] = []
        for number in range(layers):
            p = layer_weights(weights, number)
            inputs = states[max(0, number - 1) * hidden : (number + 1) * hidden]
            if number == 0:
                self._table = layer.arrange(input_table(weights) + layer.constant(p), -1)
            bias = layer.arrange(p["bias_ih"] + layer.constant(p), -1) if number else None
            self._steps.append((layer.make_step(p, inputs, inputs[-hidden:]), bias))
        readout = np.column_stack([weights["readout.weight"] / layer.FACTOR, weights["readout.bias"]])
        self._logits: np.ndarray = np.empty(len(readout), dtype)
        self._readout = make_gemv(readout, states[-hidden - 1 :], self._logits)

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self._logits)

    def read(self, symbol: int) -> np.ndarray:
        """Logits (V,) after one more symbol; the same array at every call."""
        for step, bias in self._steps:
            step(self._table[symbol] if bias is None else bias)
        self._readout()
        return self._logits


class _Layer:
    """What the three cells share.

    Attributes:
        FACTOR: the state holds h times this.
    """

    FACTOR = 1

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def arrange(self, a: np.ndarray, axis: int) -> np.ndarray:
        """The pre-activations, G·H along an axis, in the order and with the factors of `make_step`; a new array."""
        return np.array(a)

    def constant(self, p: Parameters) -> np.ndarray:
        """The part of b_hh (G·H) that can be added to the input product in advance."""
        return np.asarray(p["bias_hh"])

    def joint_gemv(self, p: Parameters, inputs: np.ndarray, out: np.ndarray) -> Gemv:
        """One product for all that the layer reads: W (G·H, I) times `inputs` (I,), into `out` (G·H,)."""
        above = len(inputs) > p["weight_hh"].shape[1]
        weight = self.arrange(np.hstack([p["weight_ih"], p["weight_hh"]]) if above else p["weight_hh"], 0)
        weight /= self.FACTOR
        return make_gemv(weight, inputs, out)

    def make_step(self, p: Parameters, inputs: np.ndarray, h: np.ndarray) -> Step:
        """The step of a layer with the parameters p, which reads `inputs` (I,) and keeps its h in `h` (H,)."""
        raise NotImplementedError


class _RNN(_Layer):
    """h = f(a): the sigmoid is kept as 2 h = 1 + tanh(a/2)."""

    def __init__(self, activation: str) -> None:
        super().__init__(activation)
        self.FACTOR = 2 if activation == "sigmoid" else 1

    def arrange(self, a: np.ndarray, axis: int) -> np.ndarray:
        return a / self.FACTOR

    def make_step(self, p: Parameters, inputs: np.ndarray, h: np.ndarray) -> Step:
        a = np.empty_like(h)
        multiply_weights = self.joint_gemv(p, inputs, a)
        zero, one = np.zeros_like(h), np.ones_like(h)
        add, tanh, maximum = np.add, np.tanh, np.maximum

        def through_tanh(x: np.ndarray) -> None:
            multiply_weights()
            add(a, x, a)
            tanh(a, h)

        def through_sigmoid(x: np.ndarray) -> None:
            through_tanh(x)
            add(h, one, h)

        def through_relu(x: np.ndarray) -> None:
            multiply_weights()
            add(a, x, a)
            maximum(a, zero, out=h)

        def linear(x: np.ndarray) -> None:
            multiply_weights()
            add(a, x, h)

        return {"tanh": through_tanh, "sigmoid": through_sigmoid, "relu": through_relu, "linear": linear}[
            self.activation
        ]


class _LSTM(_Layer):
    """With I = 2 i, F = 2 f, O = 2 o, each 1 + tanh(a/2):  c' = (F c + I g) / 2,  2 h' = O tanh(c')."""

    FACTOR = 2

    def arrange(self, a: np.ndarray, axis: int) -> np.ndarray:
        i, f, g, o = np.split(a, 4, axis)
        return np.concatenate([o / 2, i / 2, f / 2, g], axis)

    def make_step(self, p: Parameters, inputs: np.ndarray, h: np.ndarray) -> Step:
        hidden = len(h)
        row = np.zeros(5 * hidden, h.dtype)  # o, i, f, g and c side by side: one product makes both I g and F c
        a, c = row[: 4 * hidden], row[4 * hidden :]
        gates, o, i_f, g_c = row[: 3 * hidden], row[:hidden], row[hidden : 3 * hidden], row[3 * hidden :]
        multiply_weights = self.joint_gemv(p, inputs, a)
        both, t = np.empty((2, hidden), h.dtype), np.empty_like(h)
        side_by_side = both.reshape(-1)
        one, mean = np.ones_like(gates), np.full(2, 0.5, h.dtype).dot
        add, multiply, tanh = np.add, np.multiply, np.tanh

        def step(x: np.ndarray) -> None:
            multiply_weights()
            add(a, x, a)
            tanh(a, a)
            add(gates, one, gates)
            multiply(i_f, g_c, side_by_side)
            mean(both, c)
            tanh(c, t)
            multiply(o, t, h)

        return step


class _GRU(_Layer):
    """With R = 2 r, Z = 2 z, each 1 + tanh(a/2):  n = tanh(x_n + R (W_hn h + b_hn) / 2),  h' = n + Z (h - n) / 2."""

    def arrange(self, a: np.ndarray, axis: int) -> np.ndarray:
        r, z, n = np.split(a, 3, axis)
        return np.concatenate([r / 2, z / 2, n], axis)

    def constant(self, p: Parameters) -> np.ndarray:
        constant = np.array(p["bias_hh"])
        constant[2 * len(constant) // 3 :] = 0  # b_hn is behind the reset gate
        return constant

    def make_step(self, p: Parameters, inputs: np.ndarray, h: np.ndarray) -> Step:
        hidden = len(h)
        bias = p["bias_hh"][2 * hidden :] / 2
        rows = np.empty((4, hidden), h.dtype)  # r, z, n, and z times h - n
        (r, z, n, t), a, gates = rows, rows[:3].reshape(-1), rows[:2].reshape(-1)
        multiply_hidden, input_product = make_gemv(p["weight_hh"] / 2, h, a), np.empty(3 * hidden, h.dtype)
        above = len(inputs) > hidden
        multiply_input = make_gemv(self.arrange(p["weight_ih"], 0), inputs[:hidden], input_product) if above else None
        n_t, one, and_half = rows[2:], np.ones_like(gates), np.array([1, 0.5], h.dtype).dot
        add, subtract, multiply, tanh = np.add, np.subtract, np.multiply, np.tanh

        def step(x: np.ndarray) -> None:
            multiply_hidden()
            if multiply_input is not None:
                multiply_input()
                x = add(input_product, x, input_product)
            add(gates, x[: 2 * hidden], gates)
            tanh(gates, gates)
            add(gates, one, gates)
            add(n, bias, n)
            multiply(r, n, n)
            add(n, x[2 * hidden :], n)
            tanh(n, n)
            subtract(h, n, t)
            multiply(z, t, t)
            and_half(n_t, h)

        return step


SINGLE_STREAM_CELLS: dict[str, type[_Layer]] = {"rnn": _RNN, "lstm": _LSTM, "gru": _GRU}
"""The cells that these engines know."""


class WiredSingleStream:
    """The same for a stack with layer norm or skip connections.

    Each layer has an input vector: the output of the layer below, and its own old state. Between two layers is layer
    norm, of which as much as possible is moved into the weights that read its output:

        W (g z + b) = (W g) z + W b,   z = (h - mean) / sqrt(variance + ε)

    so that four calls remain. If the symbol is an input above the first layer, its product is a row of a table too.

    Args:
        model: of a cell in `SINGLE_STREAM_CELLS`, and `between` plain; with any skip and layer_norm.
        dtype: of all arithmetic; the tests take float64.
    """

    def __init__(self, model: Model, dtype: type = np.float32) -> None:
        options = model.options
        weights: dict[str, np.ndarray] = {
            name: weight.astype(dtype, copy=False) for name, weight in split_weights(options, model.weights).items()
        }
        hidden, layers, layer = options.hidden, options.layers, SINGLE_STREAM_CELLS[options.cell](options.activation)
        outputs = range(layers) if options.skip else range(layers - 1, layers)
        top: np.ndarray = np.zeros(len(outputs) * hidden + 1, dtype)
        top[-1] = 1  # for the bias of the output layer
        inputs: list[np.ndarray] = [np.zeros((2 if number else 1) * hidden, dtype) for number in range(layers)]
        self._steps: list[tuple[Step, np.ndarray, bool, Callable[[], None]]] = []
        for number, layer_inputs in enumerate(inputs):
            p, x = _layer_input(options, weights, number, layer.FACTOR)
            h, targets = layer_inputs[-hidden:], [inputs[number + 1][:hidden]] if number + 1 < layers else []
            if number in outputs:
                first = outputs.index(number) * hidden
                targets.append(top[first : first + hidden])
            write_output = _make_output(options, h, targets, layer.FACTOR)
            products = layer.arrange(x + layer.constant(p), -1)
            self._steps.append((layer.make_step(p, layer_inputs, h), products, x.ndim == 2, write_output))
        readout = _output_layer(options, weights, outputs, layer.FACTOR)
        self._logits: np.ndarray = np.empty(len(readout), dtype)
        self._readout = make_gemv(readout, top, self._logits)

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self._logits)

    def read(self, symbol: int) -> np.ndarray:
        """Logits (V,) after one more symbol; the same array at every call."""
        for step, products, by_symbol, write_output in self._steps:
            step(products[symbol] if by_symbol else products)
            write_output()
        self._readout()
        return self._logits


def _layer_input(
    options: ModelOptions, weights: Mapping[str, np.ndarray], number: int, factor: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A layer's parameters, W_ih adapted to what the layer below keeps, and the rest of its input product.

    Returns:
        The parameters; and a row for each symbol (V, G·H), or one for all (G·H).
    """
    p = layer_weights(weights, number)
    if number == 0:
        return p, input_table(weights)
    p["weight_ih"], constant = _fold_layer_norm(options, weights, p["weight_ih"], number - 1, factor)
    x = p["bias_ih"] + constant
    return p, skip_table(weights, number) + x if options.skip else x


def _fold_layer_norm(
    options: ModelOptions, weights: Mapping[str, np.ndarray], weight: np.ndarray, number: int, factor: int
) -> tuple[np.ndarray, np.ndarray | int]:
    """A matrix W (O, H) for the output of layer `number`, changed to read z, or `factor` times h; and W b (O,).

    The matrix is still to be divided by `factor`, as all that reads a state of this module.
    """
    if not options.layer_norm:
        return weight, 0
    return weight * weights[f"norm.{number}.weight"] * factor, weight @ weights[f"norm.{number}.bias"]


def _output_layer(options: ModelOptions, weights: Mapping[str, np.ndarray], outputs: range, factor: int) -> np.ndarray:
    """The output layer (V, …) for the concatenated outputs of layers, its bias as the last column."""
    blocks = np.split(weights["readout.weight"], len(outputs), axis=1)
    folded = [_fold_layer_norm(options, weights, block, n, factor) for n, block in zip(outputs, blocks, strict=True)]
    bias = sum((constant for _, constant in folded), weights["readout.bias"])
    return np.column_stack([*(block / factor for block, _ in folded), bias])


def _make_output(options: ModelOptions, h: np.ndarray, targets: list[np.ndarray], factor: int) -> Callable[[], None]:
    """Make a function that writes a layer's output into the inputs that read it: z, or `factor` times h as it is."""
    if not options.layer_norm:
        return partial(_copy, h, targets)
    size, epsilon = len(h), EPSILON * factor * factor
    t, (first, *others) = np.empty_like(h), targets
    total, subtract, multiply, copy = np.add.reduce, np.subtract, np.multiply, np.copyto

    def normalise() -> None:
        subtract(h, total(h) / size, t)
        multiply(t, 1 / sqrt(t.dot(t) / size + epsilon), first)
        for target in others:
            copy(target, first)

    return normalise


def _copy(h: np.ndarray, targets: list[np.ndarray]) -> None:
    for target in targets:
        np.copyto(target, h)
