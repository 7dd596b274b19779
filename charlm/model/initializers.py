"""The first weights of a network, where they are not its own: those of systems that people know.

A network comes with weights that suit most (`charlm.model.network`). Here every matrix and every bias is drawn
anew, as `--init` says; other vectors, such as a gain or what belongs to the wiring between layers, keep their own
start. What is left out: the weights of another model (`charlm.training.pretrained`).

Shapes: V symbols, E embedding, H hidden, G gates.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from charlm.config import TrainOptions
from charlm.errors import UsageError
from charlm.model.network import Network
from charlm.model.parameters import REVERSE
from charlm.spec import AUTO


def initialize(network: Network, options: TrainOptions) -> None:
    """Give a new network the first weights that the options ask for, the same for the same seed.

    - `orthogonal`: the network's own.
    - `uniform`: every number in ±scale, biases too, as in char-rnn (0.08); 1/sqrt(H) is what torch does.
    - `normal`: matrices normal with deviation `scale`, biases 0, as in min-char-rnn (0.01); 1/sqrt(inputs + H) is
      what torch-rnn does.
    - `glorot`: matrices uniform in ±sqrt(6 / (rows + columns)) (Glorot & Bengio 2010), recurrent ones with
      orthonormal columns over all gates together, biases 0, as in Keras.

    An embedding is drawn anew only where a scale is given. At last gates whose bias the cell wants to start from
    something else get that in `bias_ih`, and forget gates `forget_bias`.

    Raises:
        UsageError: a scale is given, and the rule has a size of its own.
    """
    if options.init_scale != AUTO and options.init not in ("uniform", "normal"):
        raise UsageError(
            f"--init-scale {options.init_scale:g} is the size of uniform or normal weights, and --init {options.init} "
            f"has a size of its own; give --init-scale auto, or another --init"
        )
    generator = torch.Generator().manual_seed(options.seed)
    with torch.no_grad():
        if options.init != "orthogonal":
            for name, weight in network.named_weights().items():
                _draw(network, name, weight, options, generator)
        for side in network.sides:
            for layer in range(network.options.layers):
                _set_biases(network, layer, options, side)


def _draw(network: Network, name: str, weight: Tensor, options: TrainOptions, generator: torch.Generator) -> None:
    """One parameter by the rule `options.init`, which is not `orthogonal`."""
    kind = name.rsplit(".", 1)[-1]
    own = not name.removeprefix(REVERSE).startswith(("layers.", "readout.")) or not kind.startswith("bias")
    if weight.dim() == 1 and own or name == "embedding.weight" and options.init_scale == AUTO:
        return
    if options.init == "uniform":
        bound = 1 / sqrt(network.options.hidden) if options.init_scale == AUTO else options.init_scale
        weight.uniform_(-bound, bound, generator=generator)
    elif weight.dim() == 1:
        weight.zero_()
    elif options.init == "normal":
        deviation = 1 / sqrt(_fan_in(network, name)) if options.init_scale == AUTO else options.init_scale
        weight.normal_(0, deviation, generator=generator)
    elif kind == "weight_hh":
        nn.init.orthogonal_(weight, generator=generator)
    else:
        nn.init.xavier_uniform_(weight, generator=generator)


def _fan_in(network: Network, name: str) -> int:
    """How many numbers a unit of this matrix reads: in a layer, those from below and the H of the state."""
    below = network.weight(name).shape[1]
    layer, _, kind = name.rpartition(".")
    if kind == "weight_hh":
        return below + network.weight(f"{layer}.weight_ih").shape[1]
    return below + network.options.hidden if kind == "weight_ih" else below


def _set_biases(network: Network, layer: int, options: TrainOptions, side: str) -> None:
    """The starts that a cell asks for in its `bias_ih` (G·H), and the forget gate's where it is given."""
    cell, bias = network.cell.at(layer), network.weight(f"{side}layers.{layer}.bias_ih")
    first_bias = dict(cell.first_bias)
    if options.forget_bias != AUTO:
        first_bias["f"] = options.forget_bias
    for gate, block in zip(cell.gates, bias.split(network.options.hidden), strict=True):
        if gate in first_bias:
            block.fill_(first_bias[gate])
