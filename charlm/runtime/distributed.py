"""Several processes that train one network together, each with sequences of its own.

torchrun starts the processes and tells each its number (RANK, WORLD_SIZE and LOCAL_RANK in the environment);
torch.distributed carries the numbers, with gloo between CPUs and NCCL between GPUs. Every process holds the whole
network and makes the same steps with it:

    each reads its own sequences            `charlm.data.batches`
    gradients and losses are averaged   `all_reduce_mean_`, one exchange a step
    what a clock or a signal decides    `broadcast`, `all_reduce_any`: the first process' clock, any signal
    files and reports                   the first process alone

What is left out: the network split among machines; each must hold it whole.
"""

import atexit
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from charlm.errors import CharlmError, UsageError

CONNECT_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others, of which one may be preparing a text; death is noticed at once."""

Result = TypeVar("Result")


class ProcessGroup:
    """A run of one process, in which nothing has to be agreed on.

    Attributes:
        rank: this process, counted from 0.
        world: how many there are.
    """

    rank = 0
    world_size = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def own_slice(self, batch: int) -> slice:
        """The sequences of this process among `batch` in all."""
        share = batch // self.world_size
        return slice(self.rank * share, (self.rank + 1) * share)

    def check_batch_size(self, batch: int) -> None:
        """Raise a `UsageError` where so many sequences cannot be divided evenly."""
        if batch % self.world_size:
            raise UsageError(
                f"--batch-size {batch} cannot be divided among {self.world_size} processes; "
                f"choose a multiple of {self.world_size}"
            )

    def all_reduce_mean_(self, gradients: list[Tensor], loss: Tensor) -> Tensor:
        """Average the gradients of each process' sequences in place; returns the average of their losses, a scalar."""
        return loss.detach()

    def all_reduce_any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return flag

    def broadcast(self, number: float) -> float:
        """The number that the first process has."""
        return number

    def all_reduce_sum(self, numbers: np.ndarray) -> np.ndarray:
        """The sums (K,) over all processes of what each of them has."""
        return numbers

    def all_gather(self, states: Tensor) -> Tensor:
        """All sequences (B, H), from each process' own (B / world, H)."""
        return states

    def on_main(self, make: Callable[[], Result]) -> Result:
        """What the first process makes, or fails with, for all of them."""
        return make()


class _TorchProcessGroup(ProcessGroup):
    """One of several processes."""

    def __init__(self) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()

    def all_reduce_mean_(self, gradients: list[Tensor], loss: Tensor) -> Tensor:
        flat = torch.cat([loss.detach().float().view(1), *(gradient.flatten() for gradient in gradients)])
        with _connection_errors():
            dist.all_reduce(flat)
        flat /= self.world_size
        for gradient, mean in zip(gradients, flat[1:].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        return flat[0]

    def all_reduce_any(self, flag: bool) -> bool:
        return self._sum([float(flag)])[0] > 0

    def broadcast(self, number: float) -> float:
        tensor = torch.tensor([number], dtype=torch.float64)
        with _connection_errors():
            dist.broadcast(tensor, 0)
        return float(tensor)

    def all_reduce_sum(self, numbers: np.ndarray) -> np.ndarray:
        return np.array(self._sum(numbers.tolist()))

    def all_gather(self, states: Tensor) -> Tensor:
        gathered = [torch.empty_like(states) for _ in range(self.world_size)]
        with _connection_errors():
            dist.all_gather(gathered, states.contiguous())
        return torch.cat(gathered)

    def on_main(self, make: Callable[[], Result]) -> Result:
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = make()
            except CharlmError as error:
                outcome[1] = error
        with _connection_errors():
            dist.broadcast_object_list(outcome, 0)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def _sum(self, numbers: list[float]) -> list[float]:
        summed = torch.tensor(numbers, dtype=torch.float64)
        with _connection_errors():
            dist.all_reduce(summed)
        return summed.tolist()


SINGLE_PROCESS = ProcessGroup()
"""The only process."""


def join() -> ProcessGroup:
    """Meet the other processes, if torchrun started several; again and again gives the same.

    Raises:
        CharlmError: they cannot be reached.
    """
    if not dist.is_available() or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return SINGLE_PROCESS
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        # Its functions have the group as a default argument, and would keep one that is older than they are alive.
        importlib.import_module("torch.distributed.nn")
        with _connection_errors():
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=CONNECT_TIMEOUT)
        atexit.register(_destroy_process_group)
    return _TorchProcessGroup()


def _destroy_process_group() -> None:
    """End gloo's threads while there is an interpreter: one that lets go of a tensor later aborts the process."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn the loss of another process into one clear `CharlmError`."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CharlmError(
            f"another process of this run has ended or cannot be reached ({reason:.200}); "
            f"what was saved last is whole: go on from there with --resume"
        ) from error
