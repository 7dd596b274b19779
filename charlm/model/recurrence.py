"""The ways of layers through a whole chunk: the plain unrolled loop, BPTT by hand, a scan, cuDNN.

    plain   `cell.step` once per character, gradients by autograd: any cell, the slow twin of the others
    bptt    charlm's own forward and backward pass: rnn and gru on the CPU, and lstm with a large vocabulary
    fused   torch's own kernels, which are cuDNN on a GPU and oneDNN for the lstm on the CPU
    scan    cells that are linear in their state: all coefficients of the chunk at once, then `charlm.model.bptt`
    whole   cells that have a way of their own through a chunk

All compute the same numbers up to rounding. State is passed in and out, never kept.
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
"""Inputs per character beyond which the CPU's fused lstm may lose: it multiplies what `bptt` looks up in a table. By
what was measured on either side, a 1x256 is level here on an Intel server and at some 450 on an AMD one
(docs/notes.md)."""


_FUSED: dict[tuple[str, str], Callable[..., tuple[Tensor, ...]]] = {
    ("rnn", "tanh"): torch.rnn_tanh,
    ("rnn", "relu"): torch.rnn_relu,
    ("lstm", "tanh"): torch.lstm,
    ("gru", "tanh"): torch.gru,
}


def choose_backend(cell: Cell, device: torch.device, precision: str, inputs: int) -> Backend:
    """The quickest path, by what was measured (docs/notes.md).

    Args:
        cell: the equations.
        device: where the weights are.
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
    """Whether `window` takes the input product W_ih x + b_ih (T, B, G·H) instead of x (T, B, in)."""
    return backend != "fused"


def run_layer(
    backend: Backend, cell: Cell, p: Parameters, x: Tensor, below: tuple[Tensor, ...] | None, state: State
) -> tuple[Tensor, State, tuple[Tensor, ...] | None]:
    """Run one layer over a chunk.

    Args:
        path: which way.
        cell: the equations.
        p: the layer's parameters.
        x: (T, B, G·H) input products, or (T, B, in) where `takes_projected_input` is false.
        below: all states of the layer beneath, each part (T, B, H), where the plain path made them.
        state: each part (B, H).

    Returns:
        h (T, B, H), the last state, and on the plain path all states, each part (T, B, H).
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
        beneath = None if below is None else tuple(tensors[t] for tensors in below)
        state, _ = cell.step(torch, p, x[t], beneath, state)
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
    """Run layers, each of which reads the one below as it is, over a chunk by torch's own kernels.

    On a GPU the layers of an lstm take 0.6 of the time at once that they take one by one, when they are recorded
    (docs/notes.md): where a character has left the first, cuDNN runs the second beside it.

    Args:
        cell: the equations, of all layers.
        layers: the parameters of each.
        x: (T, B, in), of the first.
        states: of each, each part (B, H).

    Returns:
        h (T, B, H) of the last layer, and the last state of each.
    """
    run = _FUSED[cell.name, cell.activation]
    kind = x.device.type
    # Autocast would run cuDNN's recurrences in float16, whatever it was asked for; cast here instead.
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    with torch.autocast(kind, enabled=False), _ignore_layout_warning(kind):
        first = tuple(_stack_states(parts).to(dtype) for parts in zip(*states, strict=True))
        weights = [p[name].to(dtype) for p in layers for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        begun = first if len(first) > 1 else first[0]
        training = torch.is_grad_enabled()
        h, *last = run(x.to(dtype), begun, weights, True, len(layers), 0.0, training, False, False)
    return h, list(zip(*(tensor.to(states[0][0].dtype).unbind() for tensor in last), strict=True))


def _stack_states(tensors: Sequence[Tensor]) -> Tensor:
    """(L, B, H) of the parts (B, H) of L layers."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tuple(tensors))


@contextmanager
def _ignore_layout_warning(kind: str) -> Iterator[None]:
    """Keep torch from advising, on a GPU, to lay weights side by side that are made again in every chunk.

    Those are weights in bfloat16, weights of which some are dropped, and layers that run at once in evaluation but one
    by one in training. Their copies take no time worth saving.
    """
    if kind != "cuda":
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        yield


def flatten_weights(cell: Cell, layers: Sequence[Parameters], backend: Backend) -> None:
    """Lay the parameters of layers that run at once side by side on a GPU, as cuDNN wants them; elsewhere nothing
    happens.

    torch does this for its own modules only, so that one is made to hold the parameters for a moment.
    """
    if backend != "fused" or layers[0]["weight_hh"].device.type != "cuda":
        return
    hidden, inputs = layers[0]["weight_hh"].shape[1], layers[0]["weight_ih"].shape[1]
    keywords = {"nonlinearity": cell.activation} if cell.name == "rnn" else {}
    make = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell.name]
    holder = make(inputs, hidden, len(layers), device="meta", **keywords)
    for number, p in enumerate(layers):
        for name, weight in p.items():
            setattr(holder, f"{name}_l{number}", weight)
    holder.flatten_parameters()
