"""Backends that run layers over a chunk of T characters: unrolled loop, hand-written BPTT, scan, fused kernels.

    plain   `cell.step` once per character, gradients by autograd: any cell, the reference of the others
    bptt    charlm's own forward and backward pass: rnn and gru on the CPU, and lstm with a large vocabulary
    fused   torch's own kernels, which are cuDNN on a GPU and oneDNN for the lstm on the CPU
    scan    cells that are linear in their state: all coefficients of the chunk at once, then `charlm.model.bptt`
    whole   cells that compute a chunk in their own way

All compute the same numbers up to rounding. State is passed in and returned, never stored.

Shapes: T time, B batch, H hidden, G gates, L layers.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn

from charlm.cells import Cell, LinearCell, Parameters, State, WindowCell
from charlm.model import bptt
from charlm.model.bptt import ScanFunction

Backend = Literal["plain", "bptt", "fused", "scan", "whole"]

MAX_FUSED_INPUT = 288
"""Inputs per character beyond which the CPU's fused lstm may be slower: it multiplies what `bptt` looks up in a table.
Measured with 1x256, both are equally fast here on an Intel server, and at some 450 on an AMD one (docs/notes.md)."""


_FUSED: dict[tuple[str, str], Callable[..., tuple[Tensor, ...]]] = {
    ("rnn", "tanh"): torch.rnn_tanh,
    ("rnn", "relu"): torch.rnn_relu,
    ("lstm", "tanh"): torch.lstm,
    ("gru", "tanh"): torch.gru,
}


def choose_backend(cell: Cell, device: torch.device, precision: str, inputs: int) -> Backend:
    """Choose the fastest backend, as measured (docs/notes.md).

    Args:
        cell: the cell.
        device: of the weights.
        precision: bfloat16 is left to torch's own kernels and to autograd.
        inputs: numbers per character that the first layer reads, E or V.
    """
    if isinstance(cell, LinearCell):
        return "scan"
    if isinstance(cell, WindowCell):
        return "whole"
    fusible = (cell.name, cell.activation) in _FUSED
    if device.type == "cuda":
        return "fused" if fusible else "plain"
    if device.type != "cpu" or precision == "bfloat16" or cell.name not in bptt.BPTT_FUNCTIONS:
        return "plain"
    if cell.name == "lstm" and inputs <= MAX_FUSED_INPUT:
        return "fused"
    return "bptt"


def takes_projected_input(backend: Backend) -> bool:
    """Whether `run_layer` takes the input product W_ih x + b_ih (T, B, G·H) instead of x (T, B, in)."""
    return backend != "fused"


def run_layer(
    backend: Backend, cell: Cell, p: Parameters, x: Tensor, below: tuple[Tensor, ...] | None, state: State
) -> tuple[Tensor, State, tuple[Tensor, ...] | None]:
    """Run one layer over a chunk.

    Args:
        backend: the implementation to use.
        cell: of the layer.
        p: the layer's parameters.
        x: (T, B, G·H) input products, or (T, B, in) if `takes_projected_input` is false.
        below: all states of the layer below, each part (T, B, H); None in the first layer and if not `plain`.
        state: each part (B, H).

    Returns:
        h (T, B, H), the last state, and in the plain backend all states, each part (T, B, H).
    """
    if backend == "plain":
        return _plain(cell, p, x, below, state)
    if backend == "bptt":
        return *_bptt(cell, p, x, state), None
    if backend == "scan":
        return *_scan(cast(LinearCell, cell), p, x, state), None
    if backend == "whole":
        return *_whole(cast(WindowCell, cell), p, x, state), None
    h, (after,) = run_fused_stack(cell, [p], x, [state])
    return h, after, None


def _plain(
    cell: Cell, p: Parameters, x: Tensor, below: tuple[Tensor, ...] | None, state: State
) -> tuple[Tensor, State, tuple[Tensor, ...]]:
    states = []
    for t in range(len(x)):
        below_t = None if below is None else tuple(tensors[t] for tensors in below)
        state, _ = cell.step(torch, p, x[t], below_t, state)
        states.append(state)
    all_states = tuple(torch.stack(tensors) for tensors in zip(*states, strict=True))
    return all_states[0], state, all_states


def _bptt(cell: Cell, p: Parameters, x: Tensor, state: State) -> tuple[Tensor, State]:
    activation = (cell.activation,) if len(cell.activations) > 1 else ()
    h, *last = bptt.BPTT_FUNCTIONS[cell.name].apply(x, p["weight_hh"], p["bias_hh"], *state, *activation)
    return h, tuple(last)


def _scan(cell: LinearCell, p: Parameters, x: Tensor, state: State) -> tuple[Tensor, State]:
    a, b, _ = cell.coefficients(torch, p, x)
    a, b = torch.broadcast_tensors(a, b)
    h = ScanFunction.apply(a.to(state[0].dtype), b.to(state[0].dtype), state[0])  # type: ignore[no-untyped-call]
    return h, (h[-1].clone(),)


def _whole(cell: WindowCell, p: Parameters, x: Tensor, state: State) -> tuple[Tensor, State]:
    return cell.window(torch, p, x.to(state[0].dtype), state)


def run_fused_stack(
    cell: Cell, layers: Sequence[Parameters], x: Tensor, states: Sequence[State]
) -> tuple[Tensor, list[State]]:
    """Run layers, each of which reads the output of the one below unchanged, over a chunk by torch's own kernels.

    On a GPU the layers of an lstm take 0.6 of the time together that they take one by one, in a CUDA graph
    (docs/notes.md): once the first layer has read a character, cuDNN runs the second at the same time.

    Args:
        cell: of all layers.
        layers: the parameters of each.
        x: (T, B, in), of the first.
        states: of each, each part (B, H).

    Returns:
        h (T, B, H) of the last layer, and the last state of each.
    """
    run = _FUSED[cell.name, cell.activation]
    device_type = x.device.type
    # Autocast would run cuDNN's recurrences in float16, whatever dtype it has; cast here instead.
    dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else x.dtype
    with torch.autocast(device_type, enabled=False), _ignore_layout_warning(device_type):
        first = tuple(_stack_states(parts).to(dtype) for parts in zip(*states, strict=True))
        weights = [p[name].to(dtype) for p in layers for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        initial = first if len(first) > 1 else first[0]
        training = torch.is_grad_enabled()
        h, *last = run(x.to(dtype), initial, weights, True, len(layers), 0.0, training, False, False)
    return h, list(zip(*(tensor.to(states[0][0].dtype).unbind() for tensor in last), strict=True))


def _stack_states(tensors: Sequence[Tensor]) -> Tensor:
    """Stack one part of the state (B, H) of L layers as (L, B, H)."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tuple(tensors))


@contextmanager
def _ignore_layout_warning(device_type: str) -> Iterator[None]:
    """Silence torch's advice, on a GPU, to make weights contiguous that are computed again in every chunk.

    Those are weights in bfloat16, weights with dropout, and layers that run together in evaluation but one
    by one in training. Copying them takes little time.
    """
    if device_type != "cuda":
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        yield


def flatten_weights(cell: Cell, layers: Sequence[Parameters], backend: Backend) -> None:
    """Make the parameters of layers that run together contiguous on a GPU, as cuDNN needs them; no effect elsewhere.

    torch does this only for its own modules, so a temporary one holds the parameters.
    """
    if backend != "fused" or layers[0]["weight_hh"].device.type != "cuda":
        return
    hidden, inputs = layers[0]["weight_hh"].shape[1], layers[0]["weight_ih"].shape[1]
    keywords = {"nonlinearity": cell.activation} if cell.name == "rnn" else {}
    module_class = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell.name]
    module = module_class(inputs, hidden, len(layers), device="meta", **keywords)
    for number, p in enumerate(layers):
        for name, weight in p.items():
            setattr(module, f"{name}_l{number}", weight)
    module.flatten_parameters()
