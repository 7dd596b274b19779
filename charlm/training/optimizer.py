"""The optimizer: torch's own, set up for a network and called; clipping; and its memory as plain arrays."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from charlm.config import TrainOptions
from charlm.errors import CheckpointError
from charlm.model.checkpoint import Arrays
from charlm.model.network import Network

MOMENTS: dict[type[Optimizer], set[str]] = {
    SGD: {"momentum_buffer"},
    RMSprop: {"step", "square_avg"},
    Adagrad: {"step", "sum"},
    Adam: {"step", "exp_avg", "exp_avg_sq"},
    AdamW: {"step", "exp_avg", "exp_avg_sq"},
}
"""What each optimizer keeps of a parameter; sgd without momentum keeps nothing."""


def make_optimizer(network: Network, options: TrainOptions) -> Optimizer:
    """The optimizer that the options name; decay applies to weight matrices, never to biases nor to what is frozen.

    RMSprop keeps 0.95 of its average unless it is told otherwise, as in Graves 2013 and char-rnn; torch's own
    0.99 averages five times longer. Every epsilon is added to the root, not under it.
    """
    weights = [w for w in network.named_weights().values() if w.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
    ]
    lr, eps = options.lr, options.epsilon
    fused = network.device.type in ("cpu", "cuda")
    if options.optimizer == "sgd":
        return SGD(groups, lr=lr, momentum=options.momentum, fused=fused)
    if options.optimizer == "rmsprop":
        return RMSprop(groups, lr=lr, alpha=options.rms_decay, eps=eps)
    if options.optimizer == "adagrad":
        return Adagrad(groups, lr=lr, eps=eps)
    if options.optimizer == "adam":
        return Adam(groups, lr=lr, eps=eps, fused=fused)
    return AdamW(groups, lr=lr, eps=eps, fused=fused)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Use this learning rate from now on; the moments are kept."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradients(gradients: list[Tensor], options: TrainOptions) -> Tensor:
    """Clip in place, each element first, then the whole gradient's norm (Pascanu et al. 2013, Algorithm 1).

    Returns:
        The norm before it was clipped, a scalar; not finite if any element is not.
    """
    norm = _norm(gradients)
    if options.clip_value:
        torch._foreach_clamp_min_(gradients, -options.clip_value)
        torch._foreach_clamp_max_(gradients, options.clip_value)
    if options.clip_norm:
        size = _norm(gradients) if options.clip_value else norm
        if size.device.type != "cpu" or size.item() > options.clip_norm:  # a GPU is not asked, only told
            torch._foreach_mul_(gradients, (options.clip_norm / size.clamp(min=1e-30)).clamp(max=1.0))
    return norm


def _norm(gradients: list[Tensor]) -> Tensor:
    """The norm of all numbers together; torch's own sorts them by device first, which takes as long again."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def state_arrays(optimizer: Optimizer) -> Arrays:
    """The optimizer's moments and counts as arrays named `{parameter}.{moment}`."""
    return {
        f"{index}.{name}": value.detach().cpu().numpy().copy()
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
        if isinstance(value, Tensor)
    }


def load_state_arrays(optimizer: Optimizer, arrays: Arrays, step: int) -> None:
    """Put back what `memory` returned after `step` steps.

    Raises:
        CheckpointError: the arrays are not this optimizer's.
    """
    state: dict[int, dict[str, Any]] = {}
    parameters = [w for group in optimizer.param_groups for w in group["params"]]
    shapes = {str(number): tuple(w.shape) for number, w in enumerate(parameters)}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        if index not in shapes or array.ndim and array.shape != shapes[index]:
            raise CheckpointError(f"the saved optimiser does not fit the network at {key}; start anew with --init-from")
        state.setdefault(int(index), {})[name] = torch.from_numpy(np.array(array))
    plain = isinstance(optimizer, SGD) and optimizer.param_groups[0]["momentum"] == 0
    wanted = set() if plain else MOMENTS[type(optimizer)]
    for number in range(len(parameters)) if step else ():
        if set(state.get(number, ())) != wanted:
            raise CheckpointError(f"the saved optimiser lacks moments of parameter {number}; the progress is damaged")
    if not state:
        return
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
