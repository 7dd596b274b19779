"""A pass through a window, recorded on an NVIDIA GPU and replayed for every window.

A window of an lstm is some thousand small kernels, and the host takes longer to ask for them, one by one, than the GPU
takes to compute them. All windows of a run have the same shapes; so what the first one asks for is recorded (a CUDA
graph), and from then on asked for at once. The numbers are the same. What is read and made lies in the same places
every time: what is given is copied there, and what is returned holds until the next call.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")

Record = Callable[[Callable[[], Made]], tuple[Callable[[], None], Made]]
"""Given work without arguments: how to have it done again, and what it returns, which lies in the same place then."""

TRIES = 3
"""Passes before the one that is recorded, in which the libraries choose their kernels and take their memory."""


class Recorded(Generic[Made]):
    """Work that is recorded when it is first asked for.

    Args:
        work: takes tensors, or structures of them, and leaves gradients in the weights; reads no number of a tensor.
        weights: whose gradients those are.
        record: how to record; on the current GPU, unless it is said otherwise.
    """

    def __init__(self, work: Callable[..., Made], weights: list[Tensor], record: Record[Made] | None = None) -> None:
        self._work, self._weights = work, weights
        self._record: Record[Made] = record or on_gpu
        self._replay: Callable[[], None] | None = None

    def __call__(self, *given: Any) -> Made:
        """The work for these tensors, whose shapes are those of the first call."""
        if self._replay is None:
            self._given = copy.deepcopy(given)
            self._replay, self._made = self._record(self._once)
            self._gradients = [weight.grad for weight in self._weights]
        torch._foreach_copy_(list(_tensors(self._given)), list(_tensors(given)))
        self._replay()
        for weight, gradient in zip(self._weights, self._gradients, strict=True):
            weight.grad = gradient
        return self._made

    def _once(self) -> Made:
        for weight in self._weights:
            weight.grad = None
        return self._work(*self._given)


def on_gpu(work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
    """Record work on the current GPU."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(TRIES):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        made = work()
    return graph.replay, made


def _tensors(given: Any) -> Iterator[Tensor]:
    """Every tensor of tuples, lists and dataclasses, in their order."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple | list):
        for part in given:
            yield from _tensors(part)
    elif is_dataclass(given):
        for field in fields(given):
            yield from _tensors(getattr(given, field.name))
