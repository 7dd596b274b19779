"""The network in torch: embedding or one-hot -> stacked cells -> output layer, over chunks of T characters.

    (T, B) ids -> x -> layer 0 -> dropout -> layer 1 -> … -> dropout -> W_hy h + b_y = logits (T, B, V)

The arrows are those of a plain stack; `charlm.model.wiring` has other connections.

A bidirectional network (Schuster & Paliwal 1997) has two stacks, which meet in the output layer alone. One reads the
symbols before the one that is predicted, the other those after it, from the right:

    s_(t-1), s_(t-2), …  ->  h_t   \
                                     W_hy [h_t, h'_t] + b_y = logits of s_t
    s_(t+1), s_(t+2), …  ->  h'_t  /

A layer that read the states of both sides would see s_t itself through its neighbours; so the stacks are separate
from bottom to top (as in ELMo, Peters et al. 2018).

State is passed in and returned, never stored, so that evaluation during training cannot change it.
Not here: the loss (`charlm.evaluation.scoring`, `charlm.training.step`), and stepping one character at a time
(`charlm.model.stepper`).

Shapes: T time, B batch (sequences), V symbols, E embedding, H hidden, G gates, L layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm import cells
from charlm.cells import State
from charlm.config import ModelOptions
from charlm.model import ops, parameters, recurrence, wiring
from charlm.model.checkpoint import Model
from charlm.model.initializers import initial_value
from charlm.model.parameters import REVERSE

States = list[State]

FORWARD = ""
"""Prefix of the names of the layers that read from the left."""

DropoutFn = Callable[[int, Tensor], Tensor]
"""(layer, tensor) -> the tensor with some elements dropped: a layer's output (T, B, H), its weights (G·H, H), or ones
(V, 1) for whole symbols, with layer 0."""


@dataclass(frozen=True)
class DropoutMasks:
    """Dropout in a chunk of training; None if there is none of a kind.

    Attributes:
        activations: of each layer's output.
        weights: of the recurrent weights, one mask for the whole chunk.
        symbols: of whole symbols in the input, one mask for the whole chunk.
    """

    activations: DropoutFn | None = None
    weights: DropoutFn | None = None
    symbols: DropoutFn | None = None


NO_DROPOUT = DropoutMasks()


@dataclass(frozen=True)
class RightContext:
    """The text to the right of the symbols that a bidirectional network predicts.

    Attributes:
        ids: (T, B) int64, the symbol after each of those; the last one first.
        states: of the right-to-left stack after reading everything to the right of `ids`.
    """

    ids: Tensor
    states: States


class Network(nn.Module):
    """A character language model with the tensor names of the model file.

    Args:
        options: every `auto` resolved.
        vocab_size: V.
        seed: of the initial weights.
    """

    def __init__(self, options: ModelOptions, vocab_size: int, seed: int = 0) -> None:
        super().__init__()
        self.options = options
        self.vocab_size = vocab_size
        self.cell = cells.of(options)
        self._names = list(parameters.shapes(options, vocab_size))
        self._weights = nn.ParameterDict()
        generator = torch.Generator().manual_seed(seed)
        for name, shape in parameters.shapes(options, vocab_size).items():
            self._weights[_module_key(name)] = nn.Parameter(initial_value(options, name, shape, generator))
        self.backend: recurrence.Backend = "plain"
        self.fused_stack = False

    def to_device(self, device: torch.device, precision: str = "float32") -> "Network":
        """Move to a device and choose the fastest backend there."""
        self.to(device)
        self.backend = recurrence.choose_backend(
            self.cell, device, precision, parameters.input_size(self.options, self.vocab_size)
        )
        self.fused_stack = self.backend == "fused" and device.type == "cuda" and wiring.is_plain_stack(self.options)
        for side in self.sides:
            layers = [self._layer_weights(number, side) for number in range(self.options.layers)]
            # With dropout, training (most of the chunks) runs the layers one by one.
            contiguous = self.fused_stack and not self.options.dropout
            for group in [layers] if contiguous else [[layer] for layer in layers]:
                recurrence.flatten_weights(self.cell, group, self.backend)
        return self

    @property
    def sides(self) -> Sequence[str]:
        """Prefix of the names of each stack's layers."""
        return (FORWARD, REVERSE) if self.options.bidirectional else (FORWARD,)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.weight("readout.bias").device

    def weight(self, name: str) -> Tensor:
        """Return a parameter by its name in the model file."""
        return self._weights[_module_key(name)]

    def named_weights(self) -> dict[str, Tensor]:
        """Return every parameter by its name in the model file, in the file's order."""
        return {name: self.weight(name) for name in self._names}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return a copy of every parameter as a NumPy float32 array."""
        return {
            name: w.detach().to("cpu", torch.float32, copy=True).numpy() for name, w in self.named_weights().items()
        }

    @classmethod
    def from_model(cls, model: Model, device: torch.device, precision: str = "float32") -> "Network":
        """Build the network of a model on a device."""
        return cls(model.options, model.vocabulary.size).load_weights(model.weights).to_device(device, precision)

    def load_weights(self, weights: dict[str, np.ndarray]) -> "Network":
        """Set every parameter from arrays of the same names and shapes."""
        with torch.no_grad():
            for name, weight in self.named_weights().items():
                weight.copy_(torch.from_numpy(weights[name]))
        return self

    def initial_state(self, batch: int) -> States:
        """Return the state of one stack before any text: zeros (B, H)."""
        like = self.weight("readout.bias")
        return [
            tuple(like.new_zeros(batch, self.options.hidden) for _ in self.cell.state)
            for _ in range(self.options.layers)
        ]

    def to_tensor(self, ids: np.ndarray) -> Tensor:
        """Return ids as int64 on the network's device."""
        return torch.from_numpy(ids.astype(np.int64)).to(self.device)

    def forward(
        self, ids: Tensor, states: States, dropout: DropoutMasks = NO_DROPOUT, right_context: RightContext | None = None
    ) -> tuple[Tensor, States]:
        """Read a chunk.

        Args:
            ids: (T, B) int64.
            states: from `initial_state` or from the chunk before; not changed.
            dropout: dropout masks, in training.
            right_context: required by a bidirectional network, None for others.

        Returns:
            Logits (T, B, V), and the states after the chunk.
        """
        top, after = self.run_layers(ids, states, dropout)
        if right_context is not None:
            from_right, _ = self.run_layers(right_context.ids, right_context.states, dropout, REVERSE)
            top = torch.cat([top, from_right.flip(0)], -1)
        return self.logits(top), after

    def logits(self, top: Tensor) -> Tensor:
        """Return the logits (…, V) of the output layer's input (…, R)."""
        weight = self.weight("embedding.weight" if self.options.tied else "readout.weight")
        return ops.linear(top, weight, self.weight("readout.bias"))

    def run_layers(
        self, ids: Tensor, states: States, dropout: DropoutMasks = NO_DROPOUT, side: str = FORWARD
    ) -> tuple[Tensor, States]:
        """Run one stack over a chunk.

        Args:
            ids, states, dropout: as in `forward`; ids in the order in which the stack reads.
            side: which stack.

        Returns:
            Its input to the output layer (T, B, H), or with skip (T, B, L·H), and the states after the chunk.
        """
        bias = self.weight("readout.bias")
        symbol_mask = None if dropout.symbols is None else dropout.symbols(0, bias.new_ones(self.vocab_size, 1))
        weights = {} if wiring.is_plain_stack(self.options) else self._weights_of(side)
        masks = range(self.options.layers) if side == FORWARD else range(self.options.layers, 2 * self.options.layers)
        layers = [
            self._drop_weights(self._layer_weights(number, side), mask, dropout) for number, mask in enumerate(masks)
        ]
        if self.fused_stack and dropout.activations is None:
            return recurrence.run_fused_stack(self.cell, layers, self._input_vectors(ids, symbol_mask), states)
        after: States = []
        outputs: list[Tensor] = []
        below, below_output = None, None
        for number, (p, state, mask) in enumerate(zip(layers, states, masks, strict=True)):
            x = self._layer_input(p, ids, below_output, symbol_mask)
            h, state, below = recurrence.run_layer(self.backend, self.cell.at(number), p, x, below, state)
            after.append(state)
            if self.options.layer_norm:
                h = h.to(bias.dtype)  # bfloat16 would round the mean and the variance
            masked = None if dropout.activations is None else partial(dropout.activations, mask)
            below_output = wiring.layer_output(torch, self.options, weights, number, h, below_output, masked)
            outputs.append(below_output)
        return torch.cat(outputs, -1) if self.options.skip else outputs[-1], after

    def _layer_input(
        self, p: dict[str, Tensor], ids: Tensor, below_output: Tensor | None, symbol_mask: Tensor | None
    ) -> Tensor:
        """Return a layer's input to its backend, from the symbols and the output of the layer below.

        `symbol_mask` (V, 1) is what each symbol's x is multiplied by, None for 1.
        """
        projected = recurrence.takes_projected_input(self.backend)
        if below_output is None:
            if projected:
                return ops.embedding_lookup(self._input_products(p["weight_ih"], symbol_mask) + p["bias_ih"], ids)
            return self._input_vectors(ids, symbol_mask)
        looked_up = projected and self.options.input == "one-hot"
        if self.options.skip and not looked_up:
            below_output = torch.cat([below_output, self._input_vectors(ids, symbol_mask)], -1)
        if not projected:
            return below_output
        if not (self.options.skip and looked_up):
            return ops.linear(below_output, p["weight_ih"], p["bias_ih"])
        of_below, of_symbol = p["weight_ih"].tensor_split([self.options.hidden], 1)
        products = ops.linear(below_output, of_below, p["bias_ih"])
        return products + ops.embedding_lookup(self._input_products(of_symbol, symbol_mask), ids)

    def _input_vectors(self, ids: Tensor, symbol_mask: Tensor | None) -> Tensor:
        """Return x (T, B, E), or (T, B, V) with one-hot input."""
        if self.options.input == "embedding":
            return F.embedding(ids, self._embedding(symbol_mask))
        x = self.weight("readout.bias").new_zeros(*ids.shape, self.vocab_size)
        return x.scatter_(-1, ids[..., None], 1.0 if symbol_mask is None else F.embedding(ids, symbol_mask))

    def _input_products(self, weight: Tensor, symbol_mask: Tensor | None) -> Tensor:
        """Return W x of every symbol (V, G·H), so that a product becomes a look-up; W is (G·H, E), or (G·H, V)."""
        if self.options.input == "embedding":
            return self._embedding(symbol_mask) @ weight.T
        return weight.T if symbol_mask is None else weight.T * symbol_mask

    def _embedding(self, symbol_mask: Tensor | None) -> Tensor:
        embedding = self.weight("embedding.weight")
        return embedding if symbol_mask is None else embedding * symbol_mask

    @staticmethod
    def _drop_weights(p: dict[str, Tensor], mask: int, dropout: DropoutMasks) -> dict[str, Tensor]:
        """Return a layer's parameters, with weight dropout if there is any."""
        return p if dropout.weights is None else {**p, "weight_hh": dropout.weights(mask, p["weight_hh"])}

    def _weights_of(self, side: str) -> dict[str, Tensor]:
        """Return all weights, those of one stack by their names in a network of one direction."""
        return {name.removeprefix(side): weight for name, weight in self.named_weights().items()}

    def _layer_weights(self, number: int, side: str) -> dict[str, Tensor]:
        names = self.cell.at(number).shapes(1, 1)
        return {name: self.weight(f"{side}layers.{number}.{name}") for name in names}


def reset_states(states: States, mask: Tensor) -> States:
    """Return the states with those of the sequences in `mask` (B,) set to zero."""
    return [tuple(tensor.masked_fill(mask[:, None], 0) for tensor in state) for state in states]


def _module_key(name: str) -> str:
    """Replace the dots in a tensor's name, which torch reserves for submodules."""
    return name.replace(".", ":")
