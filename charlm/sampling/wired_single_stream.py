"""One stream, as in `charlm.sampling.single_stream`, where layers are normalised or the input goes past them.

Each layer has a vector of its own: what the layer below handed on, and its own old state. Between them lies the
normalisation, of which as much as can be is in the weights of whoever reads it:

    W (g z + b) = (W g) z + W b,   z = (h - mean) / sqrt(variance + ε)

so that four calls remain. Where the input enters above the first layer, its product is a row of a table there too.

Shapes: V symbols, H hidden, G gates, R numbers that are read, O rows of a matrix.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import sqrt

import numpy as np

from charlm.config import ModelOptions
from charlm.model.checkpoint import Model
from charlm.model.wiring import EPSILON, input_table, layer_weights, skip_table, split_weights
from charlm.sampling.gemv import make_gemv
from charlm.sampling.single_stream import SINGLE_STREAM_CELLS, SingleStream, Step

Weights = Mapping[str, np.ndarray]


class WiredSingleStream(SingleStream):
    """A model that reads one symbol after the other, in one stream; the state is its own.

    Args:
        model: of a cell in `LAYERS`, and `between` plain; skip and layer_norm as they come.
        dtype: of all arithmetic; the tests take float64.
    """

    def __init__(self, model: Model, dtype: type = np.float32) -> None:
        options = model.options
        weights: dict[str, np.ndarray] = {
            name: weight.astype(dtype, copy=False) for name, weight in split_weights(options, model.weights).items()
        }
        hidden, layers, layer = options.hidden, options.layers, SINGLE_STREAM_CELLS[options.cell](options.activation)
        handed = range(layers) if options.skip else range(layers - 1, layers)
        top: np.ndarray = np.zeros(len(handed) * hidden + 1, dtype)
        top[-1] = 1  # what the readout multiplies by its bias
        reads: list[np.ndarray] = [np.zeros((2 if number else 1) * hidden, dtype) for number in range(layers)]
        self._moves: list[tuple[Step, np.ndarray, bool, Callable[[], None]]] = []
        for number, read in enumerate(reads):
            p, x = _entering(options, weights, number, layer.FACTOR)
            own, places = read[-hidden:], [reads[number + 1][:hidden]] if number + 1 < layers else []
            if number in handed:
                first = handed.index(number) * hidden
                places.append(top[first : first + hidden])
            hand_on = _handing_on(options, own, places, layer.FACTOR)
            entering = layer.rows(x + layer.constant(p), -1)
            self._moves.append((layer.make(p, read, own), entering, x.ndim == 2, hand_on))
        readout = _readout(options, weights, handed, layer.FACTOR)
        self._logits: np.ndarray = np.empty(len(readout), dtype)
        self._readout = make_gemv(readout, top, self._logits)

    def step(self, symbol: int) -> np.ndarray:
        """Logits (V,) after one more symbol; the same array at every call."""
        for step, entering, by_symbol, hand_on in self._moves:
            step(entering[symbol] if by_symbol else entering)
            hand_on()
        self._readout()
        return self._logits


def _entering(
    options: ModelOptions, weights: Weights, number: int, factor: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A layer's parameters, W_ih such that it reads what the layer below leaves; and what enters beside that: a row
    for each symbol (V, G·H), or the same for all (G·H).
    """
    p = layer_weights(weights, number)
    if number == 0:
        return p, input_table(weights)
    p["weight_ih"], constant = _reading(options, weights, p["weight_ih"], number - 1, factor)
    x = p["bias_ih"] + constant
    return p, skip_table(weights, number) + x if options.skip else x


def _reading(
    options: ModelOptions, weights: Weights, into: np.ndarray, number: int, factor: int
) -> tuple[np.ndarray, np.ndarray | int]:
    """A matrix (O, H) that reads what a layer hands on, and a constant (O,), such that it may read z, or `factor` h.

    The matrix is to be divided by `factor`, as for everything that `charlm.sampling.single_stream` keeps.
    """
    if not options.layer_norm:
        return into, 0
    return into * weights[f"norm.{number}.weight"] * factor, into @ weights[f"norm.{number}.bias"]


def _readout(options: ModelOptions, weights: Weights, handed: range, factor: int) -> np.ndarray:
    """The readout (V, …) of what the layers hand on side by side, with a 1 at the end for its bias."""
    blocks = np.split(weights["readout.weight"], len(handed), axis=1)
    read = [_reading(options, weights, block, n, factor) for n, block in zip(handed, blocks, strict=True)]
    bias = sum((constant for _, constant in read), weights["readout.bias"])
    return np.column_stack([*(block / factor for block, _ in read), bias])


def _handing_on(options: ModelOptions, h: np.ndarray, places: list[np.ndarray], factor: int) -> Callable[[], None]:
    """What puts a layer's output, which is kept `factor` times, where it is read: z, or the same that is kept."""
    if not options.layer_norm:
        return partial(_copy, h, places)
    size, epsilon = len(h), EPSILON * factor * factor
    t, (first, *others) = np.empty_like(h), places
    total, subtract, multiply, copy = np.add.reduce, np.subtract, np.multiply, np.copyto

    def normalise() -> None:
        subtract(h, total(h) / size, t)
        multiply(t, 1 / sqrt(t.dot(t) / size + epsilon), first)
        for place in others:
            copy(place, first)

    return normalise


def _copy(h: np.ndarray, places: list[np.ndarray]) -> None:
    for place in places:
        np.copyto(place, h)
