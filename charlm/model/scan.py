"""h_t = a_t h_(t-1) + b_t over a window, where all a_t and b_t are known before: forward and backward by hand.

The products with weights, which cost most, were made for the whole window at once. What is left are T times B·H
multiplications and additions, one call a step, into one buffer. A prefix scan (Blelloch 1990) does them in 2 log2 T
rounds instead, for processors that can do a round at once; on the CPU it gained nothing (docs/notes.md).

Shapes: T time, B batch, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class Scan(Function):
    """All h (T, B, H) from a and b (T, B, H) and the state before, h_0 (B, H)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
        """h_t = a_t h_(t-1) + b_t."""
        states = h0.new_empty(len(a) + 1, *h0.shape)
        states[0] = h0
        h, *after = states.unbind()
        for a_t, b_t, h_t in zip(a.unbind(), b.unbind(), after, strict=True):
            h = torch.addcmul(b_t, a_t, h, out=h_t)
        ctx.save_for_backward(a, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dh_t = what the loss asks of it + a_(t+1) dh_(t+1); da_t = dh_t h_(t-1), db_t = dh_t, dh_0 = a_1 dh_1."""
        a, states = ctx.saved_tensors
        dh_all = torch.empty_like(states[1:])
        dh_all[-1] = given[-1]
        dh, *before = reversed(dh_all.unbind())
        for a_next, given_t, dh_t in zip(reversed(a.unbind()), reversed(given[:-1].unbind()), before, strict=False):
            dh = torch.addcmul(given_t, a_next, dh, out=dh_t)
        return dh_all * states[:-1], dh_all, a[0] * dh
