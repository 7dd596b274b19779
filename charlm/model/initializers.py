"""Initial weights: the network's own, and those of well-known systems (`--init`).

Not here: the weights of another model (`charlm.training.pretrained`).

Shapes: H hidden, G gates.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from charlm import cells
from charlm.config import ModelOptions, TrainOptions
from charlm.errors import UsageError
from charlm.model.parameters import REVERSE
from charlm.model.wiring import TRANSFORM_BIAS
from charlm.spec import AUTO


def initial_value(options: ModelOptions, name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return the initial value of a network's parameter, unless `initialize` changes it.

    Recurrent weights are orthogonal, a block for each gate: a product of such matrices neither
    grows nor shrinks a gradient (Saxe, McClelland & Ganguli 2014). Biases are 0, except those
    that the cell sets (the forget gate's 1), and the -1 of a highway. A layer normalisation
    starts with the gain 1. The rest is uniform in ±1/sqrt(H); an embedding is normal, as in
    torch, unless it is tied to the output layer.
    """
    value = torch.zeros(shape)
    name = name.removeprefix(REVERSE)
    group, kind = name.split(".")[0], name.rsplit(".", 1)[-1]
    if name == "embedding.weight" and not options.tied:
        return value.normal_(generator=generator)
    if group == "norm" and kind == "weight":
        return value.fill_(1.0)
    if group == "highway" and kind == "bias":
        return value.fill_(TRANSFORM_BIAS)
    if kind == "weight_hh":
        for block in value.split(options.hidden):
            nn.init.orthogonal_(block, generator=generator)
        return value
    if kind == "bias_ih":
        cell = cells.of(options)
        gates = cell.at(int(name.split(".")[1])).gates
        for gate, block in zip(gates, value.split(options.hidden), strict=True):
            block.fill_(cell.first_bias.get(gate, 0.0))
        return value
    if kind.startswith("bias"):
        return value
    bound = 1 / sqrt(options.hidden)
    return value.uniform_(-bound, bound, generator=generator)


def initialize(weights: dict[str, Tensor], options: TrainOptions) -> None:
    """Set the named weights of a new network as the options say; the same seed gives the same weights.

    - `orthogonal`: the network's own.
    - `uniform`: every number in ±scale, biases too, as in char-rnn (0.08); in torch the scale is 1/sqrt(H).
    - `normal`: matrices normal with standard deviation `scale`, biases 0, as in min-char-rnn (0.01); in torch-rnn
      the scale is 1/sqrt(inputs + H).
    - `glorot`: matrices uniform in ±sqrt(6 / (rows + columns)) (Glorot & Bengio 2010), recurrent ones with
      orthonormal columns over all gates together, biases 0, as in Keras.

    An embedding is drawn again only if a scale is given. Finally, gates for which the cell has an initial bias get it
    in `bias_ih`, and forget gates get `forget_bias`.

    Raises:
        UsageError: a scale is given for an initialization that has its own.
    """
    if options.init_scale != AUTO and options.init not in ("uniform", "normal"):
        raise UsageError(
            f"--init-scale {options.init_scale:g} is the size of uniform or normal weights, and --init {options.init} "
            f"has a size of its own; give --init-scale auto, or another --init"
        )
    generator = torch.Generator().manual_seed(options.seed)
    with torch.no_grad():
        if options.init != "orthogonal":
            for name, weight in weights.items():
                _draw(weights, name, weight, options, generator)
        for side in ("", REVERSE) if options.bidirectional else ("",):
            for layer in range(options.layers):
                _set_biases(weights, layer, options, side)


def _draw(
    weights: dict[str, Tensor], name: str, weight: Tensor, options: TrainOptions, generator: torch.Generator
) -> None:
    """Draw one parameter by `options.init`, which is not `orthogonal`."""
    kind = name.rsplit(".", 1)[-1]
    is_bias = kind.startswith("bias") and name.removeprefix(REVERSE).startswith(("layers.", "readout."))
    if weight.dim() == 1 and not is_bias or name == "embedding.weight" and options.init_scale == AUTO:
        return
    if options.init == "uniform":
        bound = 1 / sqrt(options.hidden) if options.init_scale == AUTO else options.init_scale
        weight.uniform_(-bound, bound, generator=generator)
    elif weight.dim() == 1:
        weight.zero_()
    elif options.init == "normal":
        deviation = (
            1 / sqrt(_fan_in(weights, name, options.hidden)) if options.init_scale == AUTO else options.init_scale
        )
        weight.normal_(0, deviation, generator=generator)
    elif kind == "weight_hh":
        nn.init.orthogonal_(weight, generator=generator)
    else:
        nn.init.xavier_uniform_(weight, generator=generator)


def _fan_in(weights: dict[str, Tensor], name: str, hidden: int) -> int:
    """Return how many numbers a unit of this matrix reads: in a layer, the input and the H of the state."""
    columns = weights[name].shape[1]
    layer, _, kind = name.rpartition(".")
    if kind == "weight_hh":
        return columns + weights[f"{layer}.weight_ih"].shape[1]
    return columns + hidden if kind == "weight_ih" else columns


def _set_biases(weights: dict[str, Tensor], layer: int, options: TrainOptions, side: str) -> None:
    """Set a cell's initial biases in its `bias_ih` (G·H), and the forget gate's if `forget_bias` is given."""
    cell, bias = cells.of(options).at(layer), weights[f"{side}layers.{layer}.bias_ih"]
    first_bias = dict(cell.first_bias)
    if options.forget_bias != AUTO:
        first_bias["f"] = options.forget_bias
    for gate, block in zip(cell.gates, bias.split(options.hidden), strict=True):
        if gate in first_bias:
            block.fill_(first_bias[gate])
