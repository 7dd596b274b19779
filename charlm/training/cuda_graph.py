"""A training step captured as a CUDA graph on an NVIDIA GPU, and replayed for every batch.

A step of an lstm is some thousand small kernels, and the host takes longer to launch them, one by one, than the GPU
takes to compute them. All steps of a run have the same shapes, so the launches of the first are captured, and from then
on launched at once. The numbers are the same. Inputs and outputs have the same addresses every time: inputs are copied
there, and outputs hold until the next call.

A capture that misses something fails silently, with the numbers of what it was captured from. It is therefore captured
with zeros, and replayed for the first batch and compared with the step itself. If the two differ, or nothing can be
captured, steps are launched as usual.
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
of which give the same last bits, while the numbers of another chunk have hardly anything in common."""

MAX_CAPTURES = 2
"""Passes before the one that is recorded, in which the libraries choose their kernels and take their memory."""


class CapturedGraph(NamedTuple, Generic[Output]):
    """A captured step: its tensors, which keep their addresses, and how to replay it."""

    inputs: tuple[Any, ...]
    outputs: Output
    gradients: list[Tensor | None]
    replay: Callable[[], None]


class CudaGraphRunner(Generic[Output]):
    """Runs a step, which is captured at the first call and replayed from then on.

    Args:
        weights: in which the step leaves gradients.
        notify: called with the reason if the step is not replayed.
        record: how to capture.
    """

    def __init__(
        self, weights: list[Tensor], notify: Callable[[str], None], record: CaptureFn[Output] | None = None
    ) -> None:
        self._weights, self._notify = weights, notify
        self._record: CaptureFn[Output] = record or capture
        self._graph: CapturedGraph[Output] | None = None
        self._tried = False

    def __call__(self, step: Callable[..., Output], *inputs: Any) -> Output:
        """The step, always the same one, for these inputs, whose shapes are always the same.

        Args:
            step: takes tensors, or structures of them, and leaves gradients in the weights; reads no tensor's number.
            inputs: what it takes.
        """
        if not self._tried:
            self._tried = True
            return self._run_and_capture(step, inputs)
        return step(*inputs) if self._graph is None else self._replay(self._graph, inputs)

    def _run_and_capture(self, step: Callable[..., Output], inputs: tuple[Any, ...]) -> Output:
        """Run the step itself; then capture it with zeros, and keep the graph if its replay gives the same."""
        outputs = step(*inputs)
        gradients = self._gradients()
        try:
            graph = self._capture(step, inputs)
            replayed = self._replay(graph, inputs)
            actual, expected = list(_tensors([replayed, graph.gradients])), list(_tensors([outputs, gradients]))
            equal = len(actual) == len(expected) and all(map(_close, actual, expected))
            problem = "" if equal else "gave other numbers when they were replayed"
        except RuntimeError as error:
            reason = str(error.__context__ or error).strip() or type(error).__name__
            problem = f"could not be recorded ({reason.splitlines()[0]})"
        if not problem:
            self._graph = graph
            return replayed
        self._notify(f"the passes through the windows {problem}; each is asked for anew, which is slower")
        self._set_gradients(gradients)
        return outputs

    def _capture(self, step: Callable[..., Output], inputs: tuple[Any, ...]) -> CapturedGraph[Output]:
        zeros = copy.deepcopy(inputs)
        for tensor in _tensors(zeros):
            tensor.zero_()

        def from_zero_gradients() -> Output:
            self._set_gradients([None] * len(self._weights))
            return step(*zeros)

        replay, outputs = self._record(from_zero_gradients)
        return CapturedGraph(zeros, outputs, self._gradients(), replay)

    def _replay(self, graph: CapturedGraph[Output], inputs: tuple[Any, ...]) -> Output:
        for target, tensor in zip(_tensors(graph.inputs), _tensors(inputs), strict=True):
            target.copy_(tensor)
        graph.replay()
        self._set_gradients(graph.gradients)
        return graph.outputs

    def _gradients(self) -> list[Tensor | None]:
        return [weight.grad for weight in self._weights]

    def _set_gradients(self, gradients: list[Tensor | None]) -> None:
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


def _close(actual: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are the same but for the order of sums, where what is wanted is finite."""
    actual, expected = actual.double(), expected.double()
    difference, size = (actual - expected).norm(), expected.norm()
    return not bool(torch.isfinite(size)) or bool(difference <= TOLERANCE * size)


def _tensors(structure: Any) -> Iterator[Tensor]:
    """Every tensor of tuples, lists and dataclasses, in their order."""
    if isinstance(structure, Tensor):
        yield structure
    elif isinstance(structure, tuple | list):
        for element in structure:
            yield from _tensors(element)
    elif is_dataclass(structure):
        for field in fields(structure):
            yield from _tensors(getattr(structure, field.name))
