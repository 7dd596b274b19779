"""How far back the loss reaches: gradients through time, measured on a text.

At many places t of a text, L_t is the loss of predicting the symbol after the one at t, and the text is followed
back for k = 0 … window characters:

    loss       ‖∂L_t/∂s_(t-k)‖, for each part s of the state of each layer (h, and c of an lstm)
    left       the same over ‖∂L_t/∂h_t‖ of the layer, place by place: how much of the gradient is left
    own        ‖∂s_t/∂s_(t-k)‖, through the layer's own recurrence
    carousel   the same on the direct path alone, from memory to memory, all other parts of the state held fixed:
               of an lstm the products f_(t-k+1) … f_t, unit by unit (the constant error carousel of Hochreiter &
               Schmidhuber 1997); for parts beside h

The derivative with respect to a part holds the other parts at t-k fixed, and goes through everything that comes
after, higher layers included. (What is left of c_t at k = 0 is therefore 0: h_t is made of it, but is held fixed.)

The norm of a Jacobian J (H, H) is ‖J‖_F / √H, the root mean square of its singular values: 1 for the identity and for
every orthogonal matrix, and never above the largest singular value, so that the bound of `charlm.inspect.spectrum`
holds for it. It is measured as ‖vᵀJ‖ with a vector v of signs ±1/√H drawn for each place: the mean of its square is
that of the norm, and where J is diagonal, as on the carousel of an lstm, it is exact. All is float64.

Numbers of places differ by powers of ten, so that medians and quantiles are given and no means.
What is left out: averages over weights' gradients (`grad_norm` of metrics.jsonl), which sum up all k.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm import cells, memory
from charlm.cells import Cell, Parameters, State
from charlm.errors import CharlmError, UsageError
from charlm.evaluation.warm_up import WARM_UP_SYMBOLS
from charlm.inspect.spectrum import Block, blocks, bound, slope
from charlm.inspect.unrolled import Trail, Unrolled
from charlm.model.checkpoint import Model

BATCH_BYTES = 1 << 28
"""What the graph of the places that are followed side by side may come to, roughly."""

Norms = dict[str, np.ndarray]
"""(K, B) norms by part of the state."""


@dataclass(frozen=True)
class Spread:
    """Some number over the places of a text, for each k = 0 … window.

    Attributes:
        low, median, high: (K,) the 10 %, 50 % and 90 % quantiles; not a number where no place has the number.
    """

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray

    @classmethod
    def over(cls, values: np.ndarray) -> "Spread":
        """Of (K, P) numbers, those that are none left out."""
        known = values[:, ~np.isnan(values).any(0)]
        if not known.shape[1]:
            return cls(*np.full((3, len(values)), np.nan))
        return cls(*np.quantile(known, (0.1, 0.5, 0.9), axis=1))

    def to_json(self) -> dict[str, list[float | None]]:
        """Lists by name, None for what is no finite number."""
        return {name: _listed(getattr(self, name)) for name in ("low", "median", "high")}


@dataclass(frozen=True)
class Layer:
    """The gradients through one layer, by part of the state, and what its weights say.

    Attributes:
        loss, left, own, carousel: see the module.
        recurrent: the blocks of W_hh; none where the cell has no such weights.
        slope: β_h, None for cells of which the bound says nothing.
        bound: (K,) (β_W β_h)^k, None where the slope is.
    """

    loss: dict[str, Spread]
    left: dict[str, Spread]
    own: dict[str, Spread]
    carousel: dict[str, Spread]
    recurrent: list[Block]
    slope: float | None
    bound: np.ndarray | None

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        kinds = ("loss", "left", "own", "carousel")
        return {
            **{kind: {part: of.to_json() for part, of in getattr(self, kind).items()} for kind in kinds},
            "recurrent": [
                {"gate": block.gate, "singular_value": block.singular, "spectral_radius": block.radius}
                for block in self.recurrent
            ],
            "slope": self.slope,
            "bound": None if self.bound is None else _listed(self.bound),
        }


@dataclass(frozen=True)
class Gradients:
    """How far back the loss of a model reaches.

    Attributes:
        places: (P,) the positions t in the ids.
        window: the largest k.
        layers: from the lowest to the highest.
    """

    places: np.ndarray
    window: int
    layers: list[Layer]

    def to_json(self) -> dict[str, Any]:
        """Plain values by name; layers are counted from 0."""
        layers = [{"layer": number, **layer.to_json()} for number, layer in enumerate(self.layers)]
        return {"positions": len(self.places), "window": self.window, "layers": layers}


def gradients(
    model: Model,
    ids: np.ndarray,
    *,
    window: int = 64,
    positions: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Gradients:
    """Measure the gradients of a model on a text.

    Args:
        model: of any cell; its weights may be float64.
        ids: (N + 1,) symbols, the boundary first.
        window: the largest k, at most N - 1.
        positions: how many places, drawn without repetition; where the text has fewer, all of them.
        seed: of the places and of the directions v.
        progress: told how many places are done, of how many.

    Raises:
        UsageError: the text is shorter than the window, or the memory than what is needed.
        CharlmError: the state or a gradient grows beyond float64.
    """
    model.check_one_way("be followed back from character to character")
    random = np.random.default_rng(seed)
    positions_drawn = _places(len(ids) - 1, window, positions, random)
    network = Unrolled(model)
    memory.check(_bytes(model, window), "following one place back", "choose a smaller --window")
    norms: list[list[dict[str, Norms]]] = []
    done = 0
    for batch in _batches(positions_drawn, max(1, BATCH_BYTES // _bytes(model, window))):
        signs = random.choice((-1.0, 1.0), (len(batch), network.hidden)) / np.sqrt(network.hidden)
        norms.append(_measured(network, ids, batch, window, torch.from_numpy(signs)))
        _check_finite(model, norms[-1])
        done += len(batch)
        if progress is not None:
            progress(done, len(positions_drawn))
    layers = [
        _layer(model, number, [layer_norms[number] for layer_norms in norms], window)
        for number in range(len(network.layers))
    ]
    return Gradients(positions_drawn, window, layers)


def own_norms(
    cell: Cell, p: Parameters, inputs: list[Tensor], below: list[State] | None, passed: list[State], part: int,
    direction: Tensor, *, direct: bool = False,
) -> Tensor:  # fmt: skip
    """‖vᵀ ∂s_T/∂s_j‖ (T, B) for each character j, through one layer alone.

    Args:
        cell, p: the layer.
        inputs: T times (B, G·H), what it read.
        below: T times the state of the layer beneath, None for the first.
        passed: T times its state after each character.
        part: which part s of the state.
        direction: (B, H) the vector v of each place.
        direct: hold the other parts of the state fixed on the way.
    """
    state = passed[0]
    nudges = torch.zeros(len(inputs), *state[part].shape, dtype=direction.dtype, requires_grad=True)
    state = _nudged(state, part, nudges[0])
    for t in range(1, len(inputs)):
        if direct:
            state = (*passed[t - 1][:part], state[part], *passed[t - 1][part + 1 :])
        state, _ = cell.step(torch, p, inputs[t], None if below is None else below[t], state)
        state = _nudged(state, part, nudges[t])
    (gradient,) = torch.autograd.grad((direction * state[part]).sum(), nudges, materialize_grads=True)
    return _norm(gradient)


def _measured(
    network: Unrolled, ids: np.ndarray, positions: np.ndarray, window: int, signs: Tensor
) -> list[dict[str, Norms]]:
    """The norms (K, B) by layer, kind and part, for k = 0 … window."""
    at = positions + np.arange(-window, 1)[:, None]
    trail = network.follow(ids[at], network.warm(ids, at[0], WARM_UP_SYMBOLS))
    targets = torch.from_numpy(ids[positions + 1].astype(np.int64))
    loss = F.cross_entropy(trail.logits, targets, reduction="sum")
    gradients = torch.autograd.grad(loss, list(trail.nudges.values()), materialize_grads=True)
    losses = {key: _norm(gradient) for key, gradient in zip(trail.nudges, gradients, strict=True)}
    return [
        {
            "loss": {name: _backwards(losses[layer, name]) for name in network.cell.state},
            **_own(network, trail, layer, signs),
        }
        for layer in range(len(network.layers))
    ]


def _own(network: Unrolled, trail: Trail, layer: int, signs: Tensor) -> dict[str, Norms]:
    """The norms through one layer alone, what it reads held fixed."""

    def states(number: int) -> list[State]:
        return [tuple(part.detach() for part in after[number]) for after in trail.states]

    inputs = [read[layer].detach() for read in trail.inputs]
    below = states(layer - 1) if layer else None
    passed, names = states(layer), network.cell.state

    def norms(part: int, direct: bool) -> np.ndarray:
        weights = network.layers[layer]
        return _backwards(own_norms(network.cell.at(layer), weights, inputs, below, passed, part, signs, direct=direct))

    return {
        "own": {name: norms(part, False) for part, name in enumerate(names)},
        "carousel": {name: norms(part, True) for part, name in enumerate(names) if part},
    }


def _layer(model: Model, number: int, batches: list[dict[str, Norms]], window: int) -> Layer:
    """One layer, its places from all batches put together."""
    joined = {
        kind: {name: np.concatenate([batch[kind][name] for batch in batches], 1) for name in batches[0][kind]}
        for kind in batches[0]
    }
    spread = {kind: {name: Spread.over(values) for name, values in norms.items()} for kind, norms in joined.items()}
    left = {name: Spread.over(_relative(values, joined["loss"]["h"][0])) for name, values in joined["loss"].items()}
    recurrent, steepest = blocks(model, number), slope(model)
    limit = None if steepest is None else bound(recurrent[0].singular, steepest, window)
    return Layer(spread["loss"], left, spread["own"], spread["carousel"], recurrent, steepest, limit)


def _relative(norms: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(K, P) norms over others (P,); no number at a place where that is 0, as after a certain prediction."""
    return norms / np.where(first > 0, first, np.nan)


def _places(characters: int, window: int, positions: int, random: np.random.Generator) -> np.ndarray:
    """Positions t that have `window` symbols before them, sorted."""
    usable = np.arange(window, characters)
    if not len(usable):
        raise UsageError(
            f"--window {window} needs a text of at least {window + 1} characters, and this one has {characters}; "
            f"choose a smaller --window, or a longer text"
        )
    return np.sort(random.choice(usable, min(positions, len(usable)), replace=False))


def _batches(positions: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(positions), size):
        yield positions[first : first + size]


def _bytes(model: Model, window: int) -> int:
    """What the graph of one place comes to: of each character the gates and the state of each layer, some twice."""
    cell = cells.of(model.options)
    rows = model.options.layers * (3 * len(cell.gates) + 4 * len(cell.state))
    return 8 * (window + 1) * rows * model.options.hidden + 8 * 3 * model.vocabulary.size


def _check_finite(model: Model, layers: list[dict[str, Norms]]) -> None:
    for layer in layers:
        for norms in (values for kind in layer.values() for values in kind.values()):
            if not np.isfinite(norms).all():
                raise CharlmError(
                    f"the state of {model.path or 'the model'} or its gradient grows beyond all numbers; "
                    f"choose a smaller --window or --scale-recurrent"
                )


def _nudged(state: State, part: int, nudge: Tensor) -> State:
    return (*state[:part], state[part] + nudge, *state[part + 1 :])


def _norm(values: Tensor) -> Tensor:
    """‖·‖ over the last axis, of numbers whose squares may be too small or too large for float64."""
    largest = values.abs().amax(-1, keepdim=True)
    return (largest * (values / torch.where(largest > 0, largest, 1.0)).norm(dim=-1, keepdim=True))[..., 0]


def _backwards(norms: Tensor) -> np.ndarray:
    """From the order of reading to that of k."""
    return norms.numpy()[::-1]


def _listed(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
