"""A pass through a window, recorded on an NVIDIA GPU and replayed for every window.

A window of an lstm is some thousand small kernels, and the host takes longer to ask for them, one by one, than the GPU
takes to compute them. All windows of a run have the same shapes; so what the first one asks for is recorded (a CUDA
graph), and from then on asked for at once. The numbers are the same. What is read and made lies in the same places
every time: what is given is copied there, and what is returned holds until the next call.

A recording that misses something fails silently, with the numbers of what it was made from. It is therefore made from
zeros, and replayed for the first window beside the pass itself; where the two differ, or where nothing can be recorded,
passes are asked for as ever.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Output = TypeVar("Output")

CaptureFn = Callable[[Callable[[], Output]], tuple[Callable[[], None], Output]]
"""Given work without arguments: how to have it done again, and what it returns, which lies in the same place then."""

TOLERANCE = 0.01
"""By how much of their size the numbers of a replayed pass may differ: some kernels add in any order, no two passes
of which give the same last bits, while the numbers of another window have hardly anything in common."""

MAX_CAPTURES = 2
"""Passes before the one that is recorded, in which the libraries choose their kernels and take their memory."""


class CapturedGraph(NamedTuple, Generic[Output]):
    """What was recorded: the places of what is given, made and left as gradients, and how to replay it."""

    given: tuple[Any, ...]
    made: Output
    gradients: list[Tensor | None]
    replay: Callable[[], None]


class CudaGraphRunner(Generic[Output]):
    """Work that is recorded when it is first asked for.

    Args:
        weights: in which the work leaves gradients.
        tell: told why the work is not replayed, if it is not.
        record: how to record.
    """

    def __init__(
        self, weights: list[Tensor], tell: Callable[[str], None], record: CaptureFn[Output] | None = None
    ) -> None:
        self._weights, self._tell = weights, tell
        self._record: CaptureFn[Output] = record or capture
        self._taken: CapturedGraph[Output] | None = None
        self._tried = False

    def __call__(self, work: Callable[..., Output], *given: Any) -> Output:
        """The work, which is always the same, for these tensors, whose shapes are always the same.

        Args:
            work: takes tensors, or structures of them, and leaves gradients in the weights; reads no tensor's number.
            given: what it takes.
        """
        if not self._tried:
            self._tried = True
            return self._first(work, given)
        return work(*given) if self._taken is None else self._replay(self._taken, given)

    def _first(self, work: Callable[..., Output], given: tuple[Any, ...]) -> Output:
        """The work itself and, where it can be recorded, replayed; what is recorded is the work for zeros."""
        made = work(*given)
        gradients = self._gradients()
        places = copy.deepcopy(given)
        for place in _tensors(places):
            place.zero_()
        try:
            taken = self._capture(work, places)
            found = self._replay(taken, given)
            again, before = list(_tensors([found, taken.gradients])), list(_tensors([made, gradients]))
            alike = len(again) == len(before) and all(map(_close, again, before))
            why = "" if alike else "gave other numbers when they were replayed"
        except RuntimeError as error:
            told = str(error.__context__ or error).strip() or type(error).__name__
            why = f"could not be recorded ({told.splitlines()[0]})"
        if not why:
            self._taken = taken
            return found
        self._tell(f"the passes through the windows {why}; each is asked for anew, which is slower")
        self._leave(gradients)
        return made

    def _capture(self, work: Callable[..., Output], places: tuple[Any, ...]) -> CapturedGraph[Output]:
        def afresh() -> Output:
            self._leave([None] * len(self._weights))
            return work(*places)

        replay, made = self._record(afresh)
        return CapturedGraph(places, made, self._gradients(), replay)

    def _replay(self, taken: CapturedGraph[Output], given: tuple[Any, ...]) -> Output:
        for place, tensor in zip(_tensors(taken.given), _tensors(given), strict=True):
            place.copy_(tensor)
        taken.replay()
        self._leave(taken.gradients)
        return taken.made

    def _gradients(self) -> list[Tensor | None]:
        return [weight.grad for weight in self._weights]

    def _leave(self, gradients: list[Tensor | None]) -> None:
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient


def capture(work: Callable[[], Output]) -> tuple[Callable[[], None], Output]:
    """Record work on the current GPU.

    Raises:
        RuntimeError: it waits for the GPU, or does something else that cannot be recorded.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # which a failed recording would not leave by itself
        for _ in range(MAX_CAPTURES):
            work()
        with _forbid_synchronization():
            work()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            made = work()
    torch.cuda.current_stream().wait_stream(stream)
    return graph.replay, made


@contextmanager
def _forbid_synchronization() -> Iterator[None]:
    """Fail where the host waits for the GPU. While it records, torch would be left in disorder by that."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says once that it does not find every way of waiting
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _close(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors are the same but for the order of sums, where what is wanted is finite."""
    found, wanted = found.double(), wanted.double()
    difference, size = (found - wanted).norm(), wanted.norm()
    return not bool(torch.isfinite(size)) or bool(difference <= TOLERANCE * size)


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
