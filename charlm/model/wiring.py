"""How the layers of a network are connected: what enters each, what leaves it, and what the output layer reads.

With x_t the input (the symbol's embedding, or its one-hot vector), h^n the first part of the state of layer n as its
cell made it, r^n what that layer hands on, and n = 0 … L - 1 from the lowest layer up:

    o^n = h^n
    o^n = g (h^n - mean) / sqrt(variance + ε) + b               layer_norm, over the H units (Ba, Kiros & Hinton 2016)

    r^0 = o^0,  and above it
    r^n = o^n                                                   plain
    r^n = o^n + r^(n-1)                                         residual (He, Zhang, Ren & Sun 2016)
    r^n = T o^n + (1 - T) r^(n-1),  T = σ(W_T r^(n-1) + b_T)    highway (Srivastava, Greff & Schmidhuber 2015)

    layer n reads r^(n-1), and the output layer r^(L-1)
    layer n reads [r^(n-1), x_t], and the output layer [r^0, …, r^(L-1)]    with skip (Graves 2013, section 2)

    the output layer multiplies by the table of embeddings           tied (Press & Wolf 2017)

The recurrence itself is the cell's, whatever the wiring: a layer carries h^n on as it is, so that every way through a
chunk (`charlm.model.recurrence`) serves every wiring. In training, dropout falls on o^n, so that what only passes by a
layer is not dropped again.

The lines are the same for NumPy, for torch and for the exact arithmetic; `xp` stands for whichever the arrays belong
to. What is left out: the cells (`charlm.cells`), and shapes and names of the tensors (`charlm.model.parameters`).

Shapes: B batch, V symbols, E embedding, H hidden, G gates, L layers; any number of axes may stand before the last.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from charlm.cells import Array, Parameters, sigmoid
from charlm.config import ModelOptions

EPSILON = 1e-5
"""ε of the layer normalisation, as in torch."""

TRANSFORM_BIAS = -1.0
"""What b_T starts from: a highway is mostly open road before anything is learned, as its paper has it."""

DropoutFn = Callable[[Any], Any]
"""Given a layer's output (…, H), the same with some of it dropped."""


def is_plain_stack(options: ModelOptions) -> bool:
    """Whether each layer reads h of the one below, and the output layer that of the last, as they are; tied or not."""
    return not options.layer_norm and (options.layers == 1 or (options.between == "plain" and not options.skip))


def split_weights(options: ModelOptions, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights of a model file with a name for each product.

    `layers.{n}.weight_ih` of a layer with skip is what r^(n-1) is multiplied with, `layers.{n}.weight_skip` what x is;
    `readout.weight` is there also where it is the table of embeddings.
    """
    split = dict(weights)
    if options.tied:
        split["readout.weight"] = weights["embedding.weight"]
    for number in range(1, options.layers) if options.skip else ():
        weight = weights[f"layers.{number}.weight_ih"]
        split[f"layers.{number}.weight_ih"] = weight[:, : options.hidden]
        split[f"layers.{number}.weight_skip"] = weight[:, options.hidden :]
    return split


def layer_norm(xp: Any, h: Array, gain: Array, bias: Array) -> Array:
    """g (h - mean) / sqrt(variance + ε) + b over the last axis (…, H), with g and b (H); torch does it in one."""
    torch: Any = sys.modules.get("torch")  # which not every command loads
    if torch is not None and xp is torch:
        return torch.nn.functional.layer_norm(h, h.shape[-1:], gain, bias, EPSILON)
    centred = h - xp.mean(h, axis=-1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + EPSILON) * gain + bias


def layer_output(
    xp: Any,
    options: ModelOptions,
    weights: Mapping[str, Array],
    number: int,
    h: Array,
    below_output: Array | None,
    drop: DropoutFn | None = None,
) -> Array:
    """What a layer hands on.

    Args:
        xp: `numpy`, `torch`, or what stands for them.
        options: the network.
        weights: by their names in the model file; `norm.…` and `highway.…` are looked at.
        number: n, the layer.
        h: (…, H) h^n.
        read: (…, H) r^(n-1), None in the first layer.
        drop: dropout, in training.

    Returns:
        r^n (…, H).
    """
    if options.layer_norm:
        h = layer_norm(xp, h, weights[f"norm.{number}.weight"], weights[f"norm.{number}.bias"])
    if drop is not None:
        h = drop(h)
    if below_output is None or options.between == "plain":
        return h
    if options.between == "residual":
        return h + below_output
    transform = sigmoid(xp, below_output @ weights[f"highway.{number}.weight"].T + weights[f"highway.{number}.bias"])
    return transform * h + (1 - transform) * below_output


class StepWeights:
    """The weights of a network as one character after the other needs them: tables, layers and output layer.

    Args:
        options: the network.
        weights: of `parts`, arrays of `xp`.
        xp: `numpy`, `torch`, or what stands for them.

    Attributes:
        layers: each layer's parameters by the cell's own names.
    """

    def __init__(self, options: ModelOptions, weights: Mapping[str, Array], xp: Any) -> None:
        self.layers: list[Parameters] = [layer_weights(weights, number) for number in range(options.layers)]
        self._options, self._weights, self._xp = options, weights, xp
        self._is_plain = is_plain_stack(options)
        self._tables = [input_table(weights)]
        self._tables += [skip_table(weights, number) for number in range(1, options.layers) if options.skip]
        self._readout, self._bias = weights["readout.weight"].T, weights["readout.bias"]

    @property
    def like(self) -> Array:
        """(1, 1) of the kind and place of all numbers here."""
        return self._tables[0][:1, :1]

    def layer_input(self, number: int, ids: Array, below_output: Array | None) -> Array:
        """The input product (B, G·H) of a layer, from symbols (B,) and r^(n-1) (B, H), None in the first layer."""
        if below_output is None:
            return self._tables[0][ids]
        p = self.layers[number]
        x = below_output @ p["weight_ih"].T + p["bias_ih"]
        return x + self._tables[number][ids] if self._options.skip else x

    def layer_output(self, number: int, h: Array, below_output: Array | None) -> Array:
        """What a layer hands on; as the function of that name."""
        return h if self._is_plain else layer_output(self._xp, self._options, self._weights, number, h, below_output)

    def logits(self, outputs: Sequence[Array]) -> Array:
        """(B, V) from what every layer handed on, each (B, H)."""
        top = self._xp.concatenate(outputs, -1) if self._options.skip else outputs[-1]
        return top @ self._readout + self._bias


def layer_weights(weights: Mapping[str, Array], number: int) -> dict[str, Array]:
    """One layer's parameters by the cell's own names."""
    prefix = f"layers.{number}."
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def input_table(weights: Mapping[str, Array]) -> Array:
    """(V, G·H): the first layer's input product for every symbol, so that reading one is a look-up."""
    return _table(weights, weights["layers.0.weight_ih"]) + weights["layers.0.bias_ih"]


def skip_table(weights: Mapping[str, Array], number: int) -> Array:
    """(V, G·H): what every symbol adds to the input product of a layer above the first, with skip."""
    return _table(weights, weights[f"layers.{number}.weight_skip"])


def _table(weights: Mapping[str, Array], into: Array) -> Array:
    """(V, G·H): the product of every symbol's x with a matrix (G·H, E), or (G·H, V) for one-hot input."""
    if "embedding.weight" in weights:
        return weights["embedding.weight"] @ into.T
    # By rows: a look-up in a table that is turned on its side touches a cache line for each number of a row.
    return into.T.copy() if isinstance(into, np.ndarray) else into.T.contiguous()
