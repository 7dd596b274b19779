"""Dynamic evaluation: the weights follow the text, a step of gradient descent after each window was scored.

Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models", in the form that did best
there, an RMSprop with a fixed scale and a decay towards the weights θ₀ that the model came with:

    θ ← θ - η g / (r + ε) + λ min(r / mean r, 1 / λ) (θ₀ - θ)        r = sqrt of the mean of g²

g is the gradient of a window's mean loss and r its size for each weight, as it is before any text was read. The
paper takes r from gradients on the training text. Here it is taken on text that the model writes itself, so that the
model alone is needed, and the same text gives the same number everywhere; ε is a share of the mean of r.

A window is scored with the weights as they were when it began, so that every character is predicted before any
weight has seen it. What is left out: which text (`charlm.evaluation.evaluate`); the model itself never changes.

Shapes: T symbols of a window, H hidden.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from charlm.callbacks import ScoreProgressFn
from charlm.data.memmap import PageReleaser
from charlm.evaluation.scoring import Score, symbol_losses
from charlm.model.checkpoint import Model
from charlm.model.network import Network, States
from charlm.model.stepper import Stepper
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import generate, random_streams
from charlm.tokenizers.vocabulary import BOUNDARY

SAMPLES, LENGTH = 16, 640
"""Texts that the model writes for the scale of its gradients, and the symbols of each."""

SOFTEN = 0.1
"""ε over the mean of r: no weight moves more than 1 + 1 / SOFTEN times as far for its gradient as one of mean r."""


@dataclass(frozen=True)
class DynamicUpdate:
    """How the weights follow.

    Attributes:
        window: symbols between two steps.
        rate: η.
        decay: λ, the share of the way back to the model's own weights at each step.
    """

    window: int
    rate: float
    decay: float


def score(
    model: Model, ids: np.ndarray, rule: DynamicUpdate, device: torch.device, progress: ScoreProgressFn | None = None
) -> Score:
    """Score a text in one pass, with weights that follow it.

    Args:
        model: not changed.
        ids: (N + 1,) symbols, the boundary first; each of the N that follow is scored once.
        rule: how the weights follow.
        device: where to compute.
        progress: told how many characters are done, and their nats.

    Returns:
        The score; not finite where the weights ran away.

    Raises:
        CharlmError: the model cannot write, as its output is not finite.
    """
    nats, done, pages = 0.0, 0, PageReleaser(ids)
    for losses in windows(model, ids, rule, device):
        nats += float(losses.double().sum())
        done += losses.numel()
        pages.advance(losses.numel())
        if not isfinite(nats):
            break
        if progress is not None:
            progress(done, nats)
    return Score(nats, len(ids) - 1)


def windows(model: Model, ids: np.ndarray, rule: DynamicUpdate, device: torch.device) -> Iterator[Tensor]:
    """The nats (T,) of each window of a text; as `score`."""
    network = Network.from_model(model, device)
    weights: list[Tensor] = list(network.parameters())
    with torch.no_grad():
        first = [weight.clone() for weight in weights]
        size = _sizes(network, model, rule.window)
        mean = sum(float(tensor.sum()) for tensor in size) / sum(tensor.numel() for tensor in size)
        steps = [-rule.rate / (tensor + SOFTEN * mean) for tensor in size]
        back = [(rule.decay / mean * tensor).clamp(max=1) for tensor in size]
    states = network.initial_state(1)
    for at in range(0, len(ids) - 1, rule.window):
        window = ids[at : at + rule.window + 1]
        losses, gradients, states = _gradients(network, weights, window, states)
        yield losses.cpu()
        with torch.no_grad():
            moved = torch._foreach_sub(first, weights)  # before the step: both terms are of the same θ
            torch._foreach_addcmul_(weights, gradients, steps)
            torch._foreach_addcmul_(weights, moved, back)


def _gradients(
    network: Network, weights: list[Tensor], ids: np.ndarray, states: States
) -> tuple[Tensor, list[Tensor], States]:
    """The nats (T,) of a window (T + 1,), the gradients of their mean, and the states after it."""
    column = ids[:, None]
    states, losses = symbol_losses(network, column[:-1], column[1:], states)
    gradients = torch.autograd.grad(losses.mean(), weights)
    after = [tuple(tensor.detach() for tensor in state) for state in states]
    return losses.detach()[:, 0], list(gradients), after


def _sizes(network: Network, model: Model, window: int) -> list[Tensor]:
    """r: the root of the mean square of each weight's gradient, on windows of text that the model writes."""
    weights: list[Tensor] = list(network.parameters())
    squares, count = [torch.zeros_like(weight) for weight in weights], 0
    for ids in _written(model).T:
        states = network.initial_state(1)
        for at in range(0, len(ids) - 1, window):
            with torch.enable_grad():
                _, gradients, states = _gradients(network, weights, ids[at : at + window + 1], states)
            torch._foreach_addcmul_(squares, gradients, gradients)
            count += 1
    return [(square / count).sqrt() for square in squares]


def _written(model: Model) -> np.ndarray:
    """Texts (LENGTH + 1, SAMPLES) of the model's own, each from a boundary; the same at every call."""
    drawn = generate(
        Stepper(model), np.zeros(0, np.int64), SamplingParams(1.0, 0, 1.0, 0.0), random_streams(0, SAMPLES)
    )
    return np.array([[BOUNDARY] * SAMPLES, *islice(drawn, LENGTH)], np.int64)
