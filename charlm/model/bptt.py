"""Back-propagation through time written out by hand, for the three cells we know best (Werbos 1990).

An automatic gradient of the unrolled loop spends most of its time in bookkeeping. By hand, a
window costs one small product per step and direction, into buffers made once:

- forward: the gates of step t are x_t + W_hh h_(t-1), computed in place of x_t;
- every factor of the backward pass that does not depend on the gradient (σ', tanh', the gates) is
  computed for the whole window in a few large operations;
- backward: one product dh_(t-1) += da_t W_hh per step;
- the weights' gradient is one large product over the whole window at the end.

Shapes: T time, B batch, H hidden, G gates. `x` (T, B, G·H) is the input product W_ih x_t + b_ih.
What is left out: other cells, which take the plain loop in `charlm.model.recurrence`; the tests
hold the two against each other.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def _weight_gradients(da: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """dW_hh (G·H, H) and db_hh (G·H) from all steps' gate gradients (T, B, G·H) and states before (T, B, H)."""
    flat = da.flatten(0, 1)
    return flat.T @ before.flatten(0, 1), flat.sum(0)


def _shifted(first: Tensor, sequence: Tensor) -> Tensor:
    """The states before each step (T, B, H): `first` (B, H), then all but the last of `sequence`."""
    return torch.cat([first[None], sequence[:-1]])


class RNNWindow(Function):
    """h_t = f(x_t + W_hh h_(t-1) + b_hh) over a window; see `charlm.cells.rnn`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        """Returns h (T, B, H) and the last h (B, H)."""
        into = weight_hh.T.contiguous()
        h = x + bias_hh
        previous = h0
        for h_t in h:
            h_t.addmm_(previous, into)
            _activate(h_t, activation)
            previous = h_t
        ctx.save_for_backward(h, weight_hh, h0)
        ctx.activation = activation
        return h, h[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor) -> tuple[Tensor | None, ...]:
        """da_t = f'(a_t) dh_t; dh_(t-1) = dh_(t-1) from above + W_hhᵀ da_t."""
        h, weight_hh, h0 = ctx.saved_tensors
        da = _slope(h, ctx.activation)
        dh = dh_last + dh_all[-1]
        for t in range(len(h) - 1, -1, -1):
            da[t].mul_(dh)
            dh = torch.addmm(dh_all[t - 1], da[t], weight_hh) if t else da[0] @ weight_hh
        return da, *_weight_gradients(da, _shifted(h0, h)), dh, None


def _activate(a: Tensor, activation: str) -> None:
    if activation == "tanh":
        a.tanh_()
    elif activation == "relu":
        a.relu_()
    elif activation == "sigmoid":
        a.sigmoid_()


def _slope(h: Tensor, activation: str) -> Tensor:
    """f'(a) from h = f(a)."""
    if activation == "tanh":
        return 1 - h * h
    if activation == "relu":
        return (h > 0).to(h.dtype)
    if activation == "sigmoid":
        return h * (1 - h)
    return torch.ones_like(h)


class LSTMWindow(Function):
    """The long short-term memory over a window; see `charlm.cells.lstm`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor, c0: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns h (T, B, H) and the last h and c (B, H)."""
        hidden = h0.shape[-1]
        into = weight_hh.T.contiguous()
        gates = x + bias_hh
        h, c, tanh_c = (x.new_empty(*x.shape[:2], hidden) for _ in range(3))
        h_before, c_before = h0, c0
        for t, a in enumerate(gates):
            a.addmm_(h_before, into)
            a[:, : 2 * hidden].sigmoid_()
            a[:, 2 * hidden : 3 * hidden].tanh_()
            a[:, 3 * hidden :].sigmoid_()
            i, f, g, o = a.chunk(4, 1)
            torch.mul(f, c_before, out=c[t]).addcmul_(i, g)
            torch.tanh(c[t], out=tanh_c[t])
            torch.mul(o, tanh_c[t], out=h[t])
            h_before, c_before = h[t], c[t]
        ctx.save_for_backward(gates, h, c, tanh_c, weight_hh, h0, c0)
        return h, h[-1].clone(), c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor, dc_last: Tensor) -> tuple[Tensor | None, ...]:
        """dc_t gathers o tanh'(c) dh_t and f_(t+1) dc_(t+1); i, f and g take their share of dc_t, o of dh_t."""
        gates, h, c, tanh_c, weight_hh, h0, c0 = ctx.saved_tensors
        i, f, g, o = gates.chunk(4, 2)
        hidden = h0.shape[-1]
        da = torch.empty_like(gates)
        into_i, into_f, into_g, into_o = da.chunk(4, 2)
        torch.mul(g * i, 1 - i, out=into_i)
        torch.mul(_shifted(c0, c) * f, 1 - f, out=into_f)
        torch.mul(i, 1 - g * g, out=into_g)
        torch.mul(tanh_c * o, 1 - o, out=into_o)
        through_c = o * (1 - tanh_c * tanh_c)
        dh, dc = dh_last + dh_all[-1], dc_last.clone()
        for t in range(len(h) - 1, -1, -1):
            dc.addcmul_(dh, through_c[t])
            da[t].view(-1, 4, hidden)[:, :3].mul_(dc[:, None])
            into_o[t].mul_(dh)
            dc.mul_(f[t])
            dh = torch.addmm(dh_all[t - 1], da[t], weight_hh) if t else da[0] @ weight_hh
        return da, *_weight_gradients(da, _shifted(h0, h)), dh, dc


class GRUWindow(Function):
    """The gated recurrent unit over a window; see `charlm.cells.gru`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
        """Returns h (T, B, H) and the last h (B, H)."""
        hidden = h0.shape[-1]
        into = weight_hh.T.contiguous()
        gates = x.clone()
        recurrent = bias_hh.expand(*x.shape[:2], -1).contiguous()
        h = x.new_empty(*x.shape[:2], hidden)
        before = h0
        for t, a in enumerate(gates):
            recurrent[t].addmm_(before, into)
            a_rz, n = a[:, : 2 * hidden], a[:, 2 * hidden :]
            a_rz.add_(recurrent[t, :, : 2 * hidden]).sigmoid_()
            r, z = a_rz.chunk(2, 1)
            n.addcmul_(r, recurrent[t, :, 2 * hidden :]).tanh_()
            torch.lerp(n, before, z, out=h[t])
            before = h[t]
        ctx.save_for_backward(gates, recurrent[:, :, 2 * hidden :], h, weight_hh, h0)
        return h, h[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor) -> tuple[Tensor | None, ...]:
        """Every gate's gradient is dh_t times a factor that is known before the pass back begins."""
        gates, recurrent_n, h, weight_hh, h0 = ctx.saved_tensors
        r, z, n = gates.chunk(3, 2)
        hidden = h0.shape[-1]
        before = _shifted(h0, h)
        da = torch.empty_like(gates)
        into_r, into_z, into_n = da.chunk(3, 2)
        slope_n = (1 - z) * (1 - n * n)
        torch.mul(slope_n * recurrent_n, r * (1 - r), out=into_r)
        torch.mul(before - n, z * (1 - z), out=into_z)
        torch.mul(slope_n, r, out=into_n)
        dh = dh_last + dh_all[-1]
        for t in range(len(h) - 1, -1, -1):
            da[t].view(-1, 3, hidden).mul_(dh[:, None])
            slope_n[t].mul_(dh)
            kept = dh * z[t]
            if t:
                kept += dh_all[t - 1]
            dh = kept.addmm_(da[t], weight_hh)
        dx = da.clone()
        dx[:, :, 2 * hidden :] = slope_n
        return dx, *_weight_gradients(da, before), dh


WINDOWS: dict[str, type[Function]] = {"rnn": RNNWindow, "lstm": LSTMWindow, "gru": GRUWindow}
"""The cells that have a backward pass of their own."""
