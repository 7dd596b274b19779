"""The network in torch: embedding or one-hot -> stacked cells -> readout, over windows of text.

    (T, B) ids -> x -> layer 0 -> dropout -> layer 1 -> … -> dropout -> W_hy h + b_y = logits (T, B, V)

State is passed in and returned, never stored, so that evaluating in the middle of training cannot
touch it. What is left out: the loss (`charlm.model.scoring`, `charlm.learn.loop`), and stepping one
character at a time (`charlm.model.stepper`).

Shapes: T time, B batch (lanes), V symbols, E embedding, H hidden, G gates.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm import cells
from charlm.cells import State
from charlm.config import ModelOptions
from charlm.model import parameters, products, recurrence

States = list[State]

Drop = Callable[[int, Tensor], Tensor]
"""Dropout: given the layer's number and its output (T, B, H) or its weights (G·H, H), the same with some dropped."""


class Network(nn.Module):
    """A character language model with the tensor names of the model file.

    Args:
        options: every `auto` resolved.
        vocabulary: V.
        seed: of the first weights.
    """

    def __init__(self, options: ModelOptions, vocabulary: int, seed: int = 0) -> None:
        super().__init__()
        self.options = options
        self.vocabulary = vocabulary
        self.cell = cells.of(options)
        self._names = list(parameters.shapes(options, vocabulary))
        self._weights = nn.ParameterDict()
        generator = torch.Generator().manual_seed(seed)
        for name, shape in parameters.shapes(options, vocabulary).items():
            self._weights[_key(name)] = nn.Parameter(self._first_value(name, shape, generator))
        self.path: recurrence.Path = "plain"

    def _first_value(self, name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """What a parameter starts from.

        Recurrent weights are orthogonal, a block for each gate: a product of such matrices neither
        grows nor shrinks a gradient (Saxe, McClelland & Ganguli 2014). Biases are 0, but for those
        the cell asks for (the forget gate's 1). The rest is uniform in ±1/sqrt(H); an embedding is
        normal, as in torch.
        """
        value = torch.zeros(shape)
        kind = name.rsplit(".", 1)[-1]
        if name == "embedding.weight":
            return value.normal_(generator=generator)
        if kind == "weight_hh":
            for block in value.split(self.options.hidden):
                nn.init.orthogonal_(block, generator=generator)
            return value
        if kind == "bias_ih":
            gates = self.cell.at(int(name.split(".")[1])).gates
            for gate, block in zip(gates, value.split(self.options.hidden), strict=True):
                block.fill_(self.cell.first_bias.get(gate, 0.0))
            return value
        if kind.startswith("bias"):
            return value
        bound = 1 / sqrt(self.options.hidden)
        return value.uniform_(-bound, bound, generator=generator)

    def on(self, device: torch.device, precision: str = "float32") -> "Network":
        """Move to a device and take the quickest path through time there."""
        self.to(device)
        self.path = recurrence.choose(
            self.cell, device, precision, parameters.input_size(self.options, self.vocabulary)
        )
        for number in range(self.options.layers):
            recurrence.flatten(self.cell, self._layer(number), self.path)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weight("readout.bias").device

    def weight(self, name: str) -> Tensor:
        """A parameter by its name in the model file."""
        return self._weights[_key(name)]

    def named_weights(self) -> dict[str, Tensor]:
        """Every parameter by its name in the model file, in that order."""
        return {name: self.weight(name) for name in self._names}

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of every parameter as a NumPy float32 array."""
        return {
            name: w.detach().to("cpu", torch.float32, copy=True).numpy() for name, w in self.named_weights().items()
        }

    def take(self, weights: dict[str, np.ndarray]) -> "Network":
        """Set every parameter from arrays of the same names and shapes."""
        with torch.no_grad():
            for name, weight in self.named_weights().items():
                weight.copy_(torch.from_numpy(weights[name]))
        return self

    def start(self, batch: int) -> States:
        """The state before any text: zeros (B, H)."""
        like = self.weight("readout.weight")
        return [
            tuple(like.new_zeros(batch, self.options.hidden) for _ in self.cell.state)
            for _ in range(self.options.layers)
        ]

    def forward(
        self, ids: Tensor, states: States, drop: Drop | None = None, drop_weights: Drop | None = None
    ) -> tuple[Tensor, States]:
        """Read a window.

        Args:
            ids: (T, B) int64.
            states: from `start` or from the window before; not changed.
            drop: dropout of activations, in training.
            drop_weights: dropout of the recurrent weights, one mask for the whole window.

        Returns:
            Logits (T, B, V), and the states after the window.
        """
        after: States = []
        below = None
        x = self._first_input(ids)
        for number, state in enumerate(states):
            p = self._layer(number)
            if drop_weights is not None:
                p["weight_hh"] = drop_weights(number, p["weight_hh"])
            if number and recurrence.reads_products(self.path):
                x = products.linear(x, p["weight_ih"], p["bias_ih"])
            x, state, below = recurrence.window(self.path, self.cell.at(number), p, x, below, state)
            after.append(state)
            if drop is not None:
                x = drop(number, x)
        return products.linear(x, self.weight("readout.weight"), self.weight("readout.bias")), after

    def _first_input(self, ids: Tensor) -> Tensor:
        """What the first layer reads: W_ih x + b_ih is a table of V rows, so that a product becomes a look-up."""
        embedded = self.options.input == "embedding"
        if not recurrence.reads_products(self.path):
            return (
                F.embedding(ids, self.weight("embedding.weight"))
                if embedded
                else F.one_hot(ids, self.vocabulary).to(self.weight("readout.weight").dtype)
            )
        p = self._layer(0)
        into = p["weight_ih"].T
        table = (self.weight("embedding.weight") @ into if embedded else into) + p["bias_ih"]
        return F.embedding(ids, table)

    def _layer(self, number: int) -> dict[str, Tensor]:
        names = self.cell.at(number).shapes(1, 1)
        return {name: self.weight(f"layers.{number}.{name}") for name in names}


def _key(name: str) -> str:
    """A tensor's name without the dots that torch reserves for submodules."""
    return name.replace(".", ":")
