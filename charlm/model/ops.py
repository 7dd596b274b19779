"""Matrix products on the CPU, by the faster of torch's two libraries on the processor at hand.

`torch.mm` calls MKL, which uses its widest instructions on Intel's own processors only, and packs a weight again for
every product. oneDNN uses the same instructions everywhere, and a weight is packed once for a whole chunk
(`PackedLinear`). On an AMD Zen 5, 16 x 256 times 256 x 1024 took 145 µs on one core by `addmm_`, and 50 µs by oneDNN.
On an Intel of 2.6 GHz MKL took 24 µs on two cores and oneDNN 42, so MKL computes all products there (docs/notes.md).

    linear(x, W, b)               x Wᵀ + b, with a gradient
    PackedLinear(W, rows, b)      x ↦ x Wᵀ + b for many x
    linear_grads(a, b)            aᵀ b and the sum of a: the gradients of W and b over a whole chunk
    embedding_lookup(table, ids)  W x for one-hot x: rows of a table, with a gradient

float64, in which the tests compare, and machines without oneDNN use torch's own product. Which library is used
depends on the processor's maker and on sizes, never on a measurement, so that a run repeats bit for bit.

Shapes: N rows, I inputs, O outputs, V symbols, T time, B batch.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

try:
    # These are internals of torch's compiler; another version may have others, or none.
    _pack_weight = torch.ops.mkldnn._reorder_linear_weight.default
    _linear = torch.ops.mkldnn._linear_pointwise.default
    _HAS_OPERATORS = True
except (AttributeError, RuntimeError):
    _HAS_OPERATORS = False


@cache
def has_onednn() -> bool:
    """Whether oneDNN's linear operators exist and work.

    Tried once, at the first product: no module may make a tensor while it is imported, see
    `charlm.runtime.malloc.use_huge_pages`.
    """
    if not _HAS_OPERATORS:
        return False
    ones = torch.ones(2, 2, dtype=torch.float32, device="cpu")  # whatever torch's default dtype and device are
    try:
        product = _linear(ones, _pack_weight(ones, 2), None, "none", [], "")
    except (RuntimeError, TypeError, NotImplementedError):
        return False
    return bool((product == 2).all())


def onednn_available(x: Tensor) -> bool:
    """Whether oneDNN can compute products with `x`."""
    return has_onednn() and bool(torch.backends.mkldnn.enabled) and x.device.type == "cpu" and x.dtype == torch.float32


@cache
def mkl_preferred() -> bool:
    """Whether MKL exists and uses the widest instructions, as on Intel's own processors."""
    return bool(torch.backends.mkl.is_available()) and "GenuineIntel" in _processor()


def _processor() -> str:
    """The system's description of the processor, including its maker."""
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor()  # on Windows such as `Intel64 Family 6 Model 143 Stepping 8, GenuineIntel`


CPUINFO = Path("/proc/cpuinfo")
"""Linux' description of all processors."""


def _use_onednn(x: Tensor) -> bool:
    """Whether to compute products with `x` by oneDNN."""
    return onednn_available(x) and not mkl_preferred()


def matmul(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b (N, O), from x (N, I), W (O, I) and b (O); no gradient."""
    return onednn_matmul(x, weight, bias) if _use_onednn(x) else torch.nn.functional.linear(x, weight, bias)


def onednn_matmul(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same by oneDNN, in float32, even if it is slower."""
    return _linear(x, _without_gaps(weight), bias, "none", [], "")


def _without_gaps(weight: Tensor) -> Tensor:
    """Make a weight contiguous by rows or columns: with gaps, oneDNN takes a thousand times as long."""
    return weight if weight.is_contiguous() or weight.T.is_contiguous() else weight.contiguous()


def linear_grads(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of W and b over N rows: aᵀ b (O, I) and the sum of a (O,), from a (N, O) and b (N, I).

    A linear layer is a convolution with a kernel of one point along the rows, and oneDNN's gradient of a convolution
    transposes neither a nor b. If torch would not use oneDNN for it, or if it is small, a matrix product is used.
    """
    if not _use_onednn(a):
        return torch.mm(a.T, b), a.sum(0)
    if not _use_convolution(a, b):
        return matmul(a.T, b.T), a.sum(0)
    images = [rows[None, None].permute(0, 3, 1, 2) for rows in (a, b)]  # (1, O, 1, N) and (1, I, 1, N)
    filters = a.new_empty(a.shape[1], b.shape[1], 1, 1)
    _, weight, bias = torch.ops.aten.convolution_backward(
        *images, filters, [a.shape[1]], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, True]
    )
    return weight.view(filters.shape[:2]), bias


def _use_convolution(a: Tensor, b: Tensor) -> bool:
    """Whether to compute `linear_grads` as a convolution's gradient, for which torch uses oneDNN if multithreaded."""
    large = b.numel() > MIN_PARALLEL_COPY and a.numel() * b.shape[1] >= MIN_CONVOLUTION_GRADIENT
    return large and torch.get_num_threads() > 1


MIN_PARALLEL_COPY = 20480
"""Elements of an input up to which torch's convolution does not use oneDNN."""

MIN_CONVOLUTION_GRADIENT = 1 << 25
"""Multiplications from which `linear_grads` is a convolution's gradient. A step of an rnn or gru of 2x128, 50 x 50,
takes 6 % less time with it, one of 1x256, 16 x 64, as much as without; smaller ones would take longer."""


MIN_ONEDNN_PRODUCT = 1 << 20
"""Multiplications up to which torch's own product is used: a call of oneDNN's operator alone takes some 12 µs.
On two cores of a Zen 5, torch and oneDNN took 19 and 21 µs for 16 x 256 x 256, 14 and 19 for 50 x 128 x 128,
30 and 26 for 32 x 256 x 256."""


MAX_UNPACKED_WEIGHT = 1 << 16
"""Elements up to which a weight is not packed for oneDNN. Packing 256 x 256 takes 0.1 to 0.2 ms, most of it overhead;
a product with 32 rows then takes 1 µs less, and a chunk has some 60 products (docs/notes.md)."""


class PackedLinear:
    """A weight prepared once for many products with few rows: x ↦ x Wᵀ + b; packed for oneDNN if that pays.

    Args:
        weight: W (O, I).
        rows: N of the products to come.
        bias: b (O).
    """

    def __init__(self, weight: Tensor, rows: int, bias: Tensor | None = None) -> None:
        self._bias = bias
        self._onednn = _use_onednn(weight) and rows * weight.numel() > MIN_ONEDNN_PRODUCT
        if self._onednn and weight.numel() > MAX_UNPACKED_WEIGHT:
            self._weight = _pack_weight(weight.contiguous(), rows)
        else:
            transposed = weight.T.contiguous()  # a transposed view would halve the speed of torch's own product
            self._weight = transposed.T if self._onednn else transposed

    def __call__(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b (N, O) from x (N, I)."""
        if self._onednn:
            return _linear(x, self._weight, self._bias, "none", [], "")
        return x @ self._weight if self._bias is None else torch.addmm(self._bias, x, self._weight)

    def add(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y + x Wᵀ + b (N, O), from y (N, O) and x (N, I)."""
        if self._onednn:
            return self(x).add_(y)  # oneDNN's operator with an addend takes longer than both
        sum_ = torch.addmm(y, x, self._weight)
        return sum_ if self._bias is None else sum_.add_(self._bias)

    def add_(self, y: Tensor, x: Tensor) -> Tensor:
        """Compute the same in place of y."""
        if self._onednn:
            return y.add_(self(x))
        y.addmm_(x, self._weight)
        return y if self._bias is None else y.add_(self._bias)


class _Linear(Function):
    """x Wᵀ + b with its gradient; x (N, I)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return matmul(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """dx = dy W, dW = dyᵀ x, db = the sum of dy."""
        x, weight = ctx.saved_tensors
        dx = matmul(dy, weight.T) if ctx.needs_input_grad[0] else None
        return dx, *linear_grads(dy, x)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x Wᵀ + b, (…, O) from (…, I), differentiable once; by torch's own `linear` if oneDNN is not used."""
    if not _use_onednn(x) or x.dim() < 2 or torch.is_autocast_enabled("cpu"):
        return torch.nn.functional.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x.flatten(0, -2), weight, bias)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)


class _EmbeddingLookup(Function):
    """Rows of a table (V, O) by ids (T, B), with its gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.symbols = len(table)
        return table.index_select(0, ids.flatten()).view(*ids.shape, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        """Every row of the table gets the sum of its gradients, in the order of the ids."""
        (ids,) = ctx.saved_tensors
        return dy.new_zeros(ctx.symbols, dy.shape[-1]).index_add_(0, ids.flatten(), dy.flatten(0, -2)), None


def embedding_lookup(table: Tensor, ids: Tensor) -> Tensor:
    """Return row s of a table (V, O) for each id s of (T, B): (T, B, O), differentiable once.

    The table is made contiguous first: on the CPU, a look-up in a transposed one takes five times as long. On a GPU
    there is no sum in the order of the ids, so torch's own gradient is used.
    """
    table = table.contiguous()
    if table.device.type != "cpu":
        return torch.nn.functional.embedding(ids, table)
    y: Tensor = _EmbeddingLookup.apply(table, ids)  # type: ignore[no-untyped-call]
    return y
