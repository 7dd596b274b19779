"""One stream in as few NumPy calls a character as the equations allow: what writes a single sample.

The equations are those of `charlm.cells`, rearranged into one matrix-vector product a layer and a handful
of calls on small arrays, all into buffers made once:

- the states of all layers lie in one vector, so that what a layer reads, the new state below it and its own
  old one, is a slice of it, and W_ih x + W_hh h is one product; a 1 at its end brings in the output layer's bias;
- the first layer's input product is a row of a table;
- σ(a) = (1 + tanh(a/2)) / 2, so that one tanh serves all gates. The halves are moved into the weights, where
  a factor of two is exact; a layer keeps h times `FACTOR`, and whatever reads it divides;
- a sum of two vectors with factors is a product of a row with both, one call for two;
- constants are arrays, as NumPy takes longer over a number than over a hundred of them.

`charlm.model.stepper` is the slow twin: any cell and wiring, many streams, with a view inside.

Shapes: V symbols, H hidden, G gates, R numbers that a layer reads: H in the first, 2 H above.
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
"""Given the input product (G·H) of a symbol, or the bias above the first layer, moves the layer's state on."""


class SingleStream:
    """A model that reads one symbol after the other, in one stream; the state is its own.

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
        states[-1] = 1  # what the output layer multiplies by its bias
        self._steps: list[tuple[Step, np.ndarray | None]] = []
        for number in range(layers):
            p = layer_weights(weights, number)
            read = states[max(0, number - 1) * hidden : (number + 1) * hidden]
            if number == 0:
                self._table = layer.rows(input_table(weights) + layer.constant(p), -1)
            bias = layer.rows(p["bias_ih"] + layer.constant(p), -1) if number else None
            self._steps.append((layer.make(p, read, read[-hidden:]), bias))
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
        FACTOR: what h is multiplied by where it is kept.
    """

    FACTOR = 1

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def rows(self, a: np.ndarray, axis: int) -> np.ndarray:
        """The gates' arguments, G·H along an axis, in the order and with the factors that `make` wants; a new array."""
        return np.array(a)

    def constant(self, p: Parameters) -> np.ndarray:
        """What of b_hh (G·H) can be added to the input product once for all."""
        return np.asarray(p["bias_hh"])

    def joined(self, p: Parameters, read: np.ndarray, into: np.ndarray) -> Gemv:
        """W (G·H, R) times what the layer reads (R), into (G·H): one product for all."""
        both = [p["weight_hh"]] if len(read) == p["weight_hh"].shape[1] else [p["weight_ih"], p["weight_hh"]]
        weight = self.rows(np.hstack(both), 0)
        weight /= self.FACTOR
        return make_gemv(weight, read, into)

    def make(self, p: Parameters, read: np.ndarray, h: np.ndarray) -> Step:
        """The step of a layer with the parameters p, which reads `read` (R) and keeps its state in `h` (H)."""
        raise NotImplementedError


class _RNN(_Layer):
    """h = f(a): the sigmoid is kept as 2 h = 1 + tanh(a/2)."""

    def __init__(self, activation: str) -> None:
        super().__init__(activation)
        self.FACTOR = 2 if activation == "sigmoid" else 1

    def rows(self, a: np.ndarray, axis: int) -> np.ndarray:
        return a / self.FACTOR

    def make(self, p: Parameters, read: np.ndarray, h: np.ndarray) -> Step:
        a = np.empty_like(h)
        times = self.joined(p, read, a)
        zero, one = np.zeros_like(h), np.ones_like(h)
        add, tanh, maximum = np.add, np.tanh, np.maximum

        def through_tanh(x: np.ndarray) -> None:
            times()
            add(a, x, a)
            tanh(a, h)

        def through_sigmoid(x: np.ndarray) -> None:
            through_tanh(x)
            add(h, one, h)

        def through_relu(x: np.ndarray) -> None:
            times()
            add(a, x, a)
            maximum(a, zero, out=h)

        def straight(x: np.ndarray) -> None:
            times()
            add(a, x, h)

        return {"tanh": through_tanh, "sigmoid": through_sigmoid, "relu": through_relu, "linear": straight}[
            self.activation
        ]


class _LSTM(_Layer):
    """With I = 2 i, F = 2 f, O = 2 o, each 1 + tanh(a/2):  c' = (F c + I g) / 2,  2 h' = O tanh(c')."""

    FACTOR = 2

    def rows(self, a: np.ndarray, axis: int) -> np.ndarray:
        i, f, g, o = np.split(a, 4, axis)
        return np.concatenate([o / 2, i / 2, f / 2, g], axis)

    def make(self, p: Parameters, read: np.ndarray, h: np.ndarray) -> Step:
        hidden = len(h)
        row = np.zeros(5 * hidden, h.dtype)  # o, i, f, g and c side by side: one product makes both I g and F c
        a, c = row[: 4 * hidden], row[4 * hidden :]
        gates, o, i_f, g_c = row[: 3 * hidden], row[:hidden], row[hidden : 3 * hidden], row[3 * hidden :]
        times = self.joined(p, read, a)
        both, t = np.empty((2, hidden), h.dtype), np.empty_like(h)
        side_by_side = both.reshape(-1)
        one, mean = np.ones_like(gates), np.full(2, 0.5, h.dtype).dot
        add, multiply, tanh = np.add, np.multiply, np.tanh

        def step(x: np.ndarray) -> None:
            times()
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

    def rows(self, a: np.ndarray, axis: int) -> np.ndarray:
        r, z, n = np.split(a, 3, axis)
        return np.concatenate([r / 2, z / 2, n], axis)

    def constant(self, p: Parameters) -> np.ndarray:
        constant = np.array(p["bias_hh"])
        constant[2 * len(constant) // 3 :] = 0  # b_hn is behind the reset gate
        return constant

    def make(self, p: Parameters, read: np.ndarray, h: np.ndarray) -> Step:
        hidden = len(h)
        bias = p["bias_hh"][2 * hidden :] / 2
        rows = np.empty((4, hidden), h.dtype)  # r, z, n and what z brings in of h - n
        (r, z, n, t), a, gates = rows, rows[:3].reshape(-1), rows[:2].reshape(-1)
        recurrent, entering = make_gemv(p["weight_hh"] / 2, h, a), np.empty(3 * hidden, h.dtype)
        above = len(read) > hidden
        into = make_gemv(self.rows(p["weight_ih"], 0), read[:hidden], entering) if above else None
        n_t, one, and_half = rows[2:], np.ones_like(gates), np.array([1, 0.5], h.dtype).dot
        add, subtract, multiply, tanh = np.add, np.subtract, np.multiply, np.tanh

        def step(x: np.ndarray) -> None:
            recurrent()
            if into is not None:
                into()
                x = add(entering, x, entering)
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
"""The cells that have a step of their own here."""


class WiredSingleStream:
    """The same for a model whose layers are normalised, or whose input skips past them.

    Each layer has a vector of its own: what the layer below hands on, and its own old state. Between them is the
    normalisation, of which as much as possible is in the weights of whatever reads it:

        W (g z + b) = (W g) z + W b,   z = (h - mean) / sqrt(variance + ε)

    so that four calls remain. If the input enters above the first layer, its product is a row of a table there too.

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
        top[-1] = 1  # what the output layer multiplies by its bias
        reads: list[np.ndarray] = [np.zeros((2 if number else 1) * hidden, dtype) for number in range(layers)]
        self._moves: list[tuple[Step, np.ndarray, bool, Callable[[], None]]] = []
        for number, read in enumerate(reads):
            p, x = _layer_input(options, weights, number, layer.FACTOR)
            own, targets = read[-hidden:], [reads[number + 1][:hidden]] if number + 1 < layers else []
            if number in outputs:
                first = outputs.index(number) * hidden
                targets.append(top[first : first + hidden])
            write_output = _make_output(options, own, targets, layer.FACTOR)
            entering = layer.rows(x + layer.constant(p), -1)
            self._moves.append((layer.make(p, read, own), entering, x.ndim == 2, write_output))
        readout = _output_layer(options, weights, outputs, layer.FACTOR)
        self._logits: np.ndarray = np.empty(len(readout), dtype)
        self._readout = make_gemv(readout, top, self._logits)

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self._logits)

    def read(self, symbol: int) -> np.ndarray:
        """Logits (V,) after one more symbol; the same array at every call."""
        for step, entering, by_symbol, write_output in self._moves:
            step(entering[symbol] if by_symbol else entering)
            write_output()
        self._readout()
        return self._logits


def _layer_input(
    options: ModelOptions, weights: Mapping[str, np.ndarray], number: int, factor: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A layer's parameters, W_ih such that it reads what the layer below leaves; and what enters beside that: a row
    for each symbol (V, G·H), or the same for all (G·H).
    """
    p = layer_weights(weights, number)
    if number == 0:
        return p, input_table(weights)
    p["weight_ih"], constant = _normalised_input(options, weights, p["weight_ih"], number - 1, factor)
    x = p["bias_ih"] + constant
    return p, skip_table(weights, number) + x if options.skip else x


def _normalised_input(
    options: ModelOptions, weights: Mapping[str, np.ndarray], into: np.ndarray, number: int, factor: int
) -> tuple[np.ndarray, np.ndarray | int]:
    """A matrix (O, H) that reads what a layer hands on, and a constant (O,), such that it may read z, or `factor` h.

    The matrix is to be divided by `factor`, as for everything that `charlm.sampling.single_stream` keeps.
    """
    if not options.layer_norm:
        return into, 0
    return into * weights[f"norm.{number}.weight"] * factor, into @ weights[f"norm.{number}.bias"]


def _output_layer(options: ModelOptions, weights: Mapping[str, np.ndarray], outputs: range, factor: int) -> np.ndarray:
    """The output layer (V, …) of what the layers hand on side by side, with a 1 at the end for its bias."""
    blocks = np.split(weights["readout.weight"], len(outputs), axis=1)
    read = [_normalised_input(options, weights, block, n, factor) for n, block in zip(outputs, blocks, strict=True)]
    bias = sum((constant for _, constant in read), weights["readout.bias"])
    return np.column_stack([*(block / factor for block, _ in read), bias])


def _make_output(options: ModelOptions, h: np.ndarray, targets: list[np.ndarray], factor: int) -> Callable[[], None]:
    """What puts a layer's output, which is kept `factor` times, where it is read: z, or the same that is kept."""
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
