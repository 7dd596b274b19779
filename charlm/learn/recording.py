"""A pass through a window, recorded on an NVIDIA GPU and replayed for every window.

A window of an lstm is some thousand small kernels, and the host takes longer to ask for them, one by one, than the GPU
takes to compute them. All windows of a run have the same shapes; so what the first one asks for is recorded (a CUDA
graph), and from then on asked for at once. The numbers are the same. What is read and made lies in the same places
every time: what is given is copied there, and what is returned holds until the next call.

A recording that misses something fails silently, with the numbers of a window that is long past. The second window is
therefore passed through both ways; where they differ, or where nothing can be recorded, passes are asked for as ever.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")

Record = Callable[[Callable[[], Made]], tuple[Callable[[], None], Made]]
"""Given work without arguments: how to have it done again, and what it returns, which lies in the same place then."""

ALIKE = 0.01
"""By how much of their size the numbers of a replayed pass may differ: some kernels add in any order, no two passes
of which give the same last bits, while the numbers of another window have hardly anything in common."""

TRIES = 3
"""Passes before the one that is recorded, in which the libraries choose their kernels and take their memory."""


class _Taken(NamedTuple, Generic[Made]):
    """What was recorded: the places of what is given, made and left as gradients, and how to replay it."""

    given: tuple[Any, ...]
    made: Made
    gradients: list[Tensor | None]
    replay: Callable[[], None]


class Recorded(Generic[Made]):
    """Work that is recorded when it is first asked for.

    Args:
        work: takes tensors, or structures of them, and leaves gradients in the weights; reads no number of a tensor.
        weights: whose gradients those are.
        tell: told why the work is not replayed, if it is not.
        record: how to record; on the current GPU, unless it is said otherwise.
    """

    def __init__(
        self,
        work: Callable[..., Made],
        weights: list[Tensor],
        tell: Callable[[str], None],
        record: Record[Made] | None = None,
    ) -> None:
        self._work, self._weights, self._tell = work, weights, tell
        self._record: Record[Made] = record or on_gpu
        self._taken: _Taken[Made] | None = None
        self._calls = 0

    def __call__(self, *given: Any) -> Made:
        """The work for these tensors, whose shapes are those of the first call."""
        self._calls += 1
        if self._calls == 1:
            self._taken = self._take(given)
        elif self._calls == 2 and self._taken is not None:
            return self._compared(self._taken, given)
        return self._work(*given) if self._taken is None else self._replayed(self._taken, given)

    def _take(self, given: tuple[Any, ...]) -> _Taken[Made] | None:
        places = copy.deepcopy(given)
        try:
            replay, made = self._record(lambda: self._afresh(places))
        except RuntimeError as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            self._give_up(f"could not be recorded ({reason[0]})")
            return None
        return _Taken(places, made, [weight.grad for weight in self._weights], replay)

    def _afresh(self, given: tuple[Any, ...]) -> Made:
        for weight in self._weights:
            weight.grad = None
        return self._work(*given)

    def _replayed(self, taken: _Taken[Made], given: tuple[Any, ...]) -> Made:
        torch._foreach_copy_(list(_tensors(taken.given)), list(_tensors(given)))
        taken.replay()
        for weight, gradient in zip(self._weights, taken.gradients, strict=True):
            weight.grad = gradient
        return taken.made

    def _compared(self, taken: _Taken[Made], given: tuple[Any, ...]) -> Made:
        """The work both ways, the plain one first: what is given may lie where the replay puts what it makes."""
        wanted = self._afresh(given)
        gradients = [weight.grad for weight in self._weights]
        found = self._replayed(taken, given)
        if all(map(_alike, _tensors([found, taken.gradients]), _tensors([wanted, gradients]))):
            return found
        self._taken = None
        self._give_up("gave other numbers when they were replayed")
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        return wanted

    def _give_up(self, why: str) -> None:
        for weight in self._weights:
            weight.grad = None
        self._tell(f"the passes through the windows {why}; each is asked for anew, which is slower")


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


def _alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors are the same but for the order of sums; what is not finite is like anything."""
    found, wanted = found.double(), wanted.double()
    difference, size = (found - wanted).norm(), wanted.norm()
    return not bool(difference > ALIKE * size)


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
