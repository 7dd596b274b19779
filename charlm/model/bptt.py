"""Back-propagation through time written out by hand for rnn, lstm and gru (Werbos 1990).

The equations are those of `charlm.cells`, the reference; the tests compare the two.

Autograd of the unrolled loop spends most of its time in bookkeeping. By hand, a chunk of T characters
costs one small product per step and direction, into buffers allocated once:

- forward: the gates of step t are x_t + W_hh h_(t-1) + b_hh, with W_hh packed once for the chunk;
- every factor of the backward pass that does not depend on the gradient (σ', tanh', the gates) is
  computed for the whole chunk in a few large operations;
- backward: one product dh_(t-1) += da_t W_hh per step;
- the weights' gradient is one large product over the whole chunk at the end;
- the loops run in inference mode and write in place, which saves half a µs of autograd's bookkeeping per step.

Not here: other cells, which take the plain loop in `charlm.model.recurrence`.

Shapes: T time, B batch, H hidden, G gates. `x` (T, B, G·H) is the input product W_ih x_t + b_ih. `da` is the gradient
of the gates' arguments, `dh` and `dc` those of the states.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from charlm.model.ops import PackedLinear, linear_grads, mkl_preferred


def _allocate_states(first: Tensor, steps: int) -> Tensor:
    """A buffer (T + 1, B, H) for the state before the chunk, `first` (B, H), and after each of its steps."""
    states = first.new_empty(steps + 1, *first.shape)
    states[0] = first
    return states


def _loss_gradients_before(dh_all: Tensor) -> tuple[Tensor, ...]:
    """The loss' own gradient of each step's first state: 0, dh_1, …, dh_(T-1), each a buffer (B, H) to add to."""
    return torch.zeros_like(dh_all[0]), *dh_all[:-1].clone(memory_format=torch.contiguous_format).unbind()


def _weight_gradients(da: Tensor, h_before: Tensor) -> tuple[Tensor, Tensor]:
    """dW_hh (G·H, H) and db_hh (G·H) from all steps' gate gradients (T, B, G·H) and h_(t-1) (T, B, H)."""
    return linear_grads(da.flatten(0, 1), h_before.flatten(0, 1))


@cache
def _constant(value: float) -> Tensor:
    """A scalar tensor, the first argument of `torch.add` and `torch.addcmul`: a + b x in one pass."""
    return torch.tensor(value, dtype=torch.float32, device="cpu")


def _tanh_(a: Tensor) -> Tensor:
    """tanh a = 2 σ(2a) - 1, in place; on some processors torch's σ takes a tenth of the time of its tanh."""
    return from_half_(a.add_(a).sigmoid_())


def from_half_(s: Tensor) -> Tensor:
    """h = 2 s - 1, in place: tanh a from s = σ(2a)."""
    return torch.add(_constant(-1.0), s, alpha=2, out=s)


def _to_half(h: Tensor) -> Tensor:
    """s = (h + 1) / 2, which is in (0, 1) as h is in (-1, 1)."""
    return torch.add(_constant(0.5), h, alpha=0.5)


def _times_complement_(a: Tensor, gate: Tensor) -> Tensor:
    """a (1 - gate), in place."""
    return a.addcmul_(a, gate, value=-1)


def _sigmoid_derivative(y: Tensor) -> Tensor:
    """σ' = y (1 - y) from y = σ(a)."""
    return torch.addcmul(y, y, y, value=-1)


def _tanh_derivative(y: Tensor) -> Tensor:
    """tanh' = 1 - y² from y = tanh(a)."""
    return torch.addcmul(_constant(1.0).to(y.dtype), y, y, value=-1)


class RNNFunction(Function):
    """h_t = f(x_t + W_hh h_(t-1) + b_hh) over a chunk; see `charlm.cells.rnn`.

    tanh a is 2 σ(2a) - 1. With s = (h + 1) / 2 the recurrence of the tanh cell is therefore one of σ alone,
    s_t = σ(2 x_t + 4 W_hh s_(t-1) + 2 (b_hh - W_hh 1)), and h = 2 s - 1 is computed for the whole chunk at the end:
    on some processors torch's σ takes a tenth of the time of its tanh. If MKL is preferred, its tanh is faster.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        """Returns h (T, B, H) and the last h (B, H)."""
        as_half = activation == "tanh" and not mkl_preferred()
        states = _allocate_states(_to_half(h0) if as_half else h0, len(x))
        recurrent = PackedLinear(4 * weight_hh if as_half else weight_hh, len(h0))
        activate_ = torch.sigmoid_ if as_half else _ACTIVATE_[activation]
        if as_half:
            torch.add(2 * (bias_hh - weight_hh.sum(1)), x, alpha=2, out=states[1:])
        else:
            torch.add(x, bias_hh, out=states[1:])
        s, *s_after = states.unbind()
        with torch.inference_mode():
            for s_t in s_after:  # s_t is the product's addend until it is overwritten
                s = activate_(recurrent.add_(s_t, s))
        if as_half:
            from_half_(states)
        ctx.save_for_backward(states, weight_hh)
        ctx.activation = activation
        return states[1:], states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor) -> tuple[Tensor | None, ...]:
        """da_t = f'(a_t) dh_t; dh_(t-1) = the loss' own gradient of h_(t-1) + W_hhᵀ da_t."""
        states, weight_hh = ctx.saved_tensors
        backward_linear = PackedLinear(weight_hh.T, states.shape[1])
        da = _activation_derivative(states[1:], ctx.activation)
        dh = dh_last + dh_all[-1]
        steps = zip(reversed(da.unbind()), reversed(_loss_gradients_before(dh_all)), strict=True)
        with torch.inference_mode():
            for da_t, dh_before in steps:
                dh = backward_linear.add_(dh_before, da_t.mul_(dh))
        return da, *_weight_gradients(da, states[:-1]), dh, None


def _identity(a: Tensor) -> Tensor:
    return a


_ACTIVATE_: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "relu": torch.relu_,
    "linear": _identity,
}
"""f, in place."""


def _activation_derivative(h: Tensor, activation: str) -> Tensor:
    """f'(a) from h = f(a)."""
    if activation == "tanh":
        return _tanh_derivative(h)
    if activation == "relu":
        return (h > 0).to(h.dtype)
    return _sigmoid_derivative(h) if activation == "sigmoid" else torch.ones_like(h)


class LSTMFunction(Function):
    """The long short-term memory over a chunk; see `charlm.cells.lstm`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor, c0: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns h (T, B, H) and the last h and c (B, H)."""
        recurrent = PackedLinear(weight_hh, len(h0), bias_hh)
        h_states, c_states = _allocate_states(h0, len(x)), _allocate_states(c0, len(x))
        gates, tanh_c = torch.empty_like(x), torch.empty_like(h_states[1:])
        h, *h_after = h_states.unbind()
        c, *c_after = c_states.unbind()
        gates_by_step = (gate.unbind() for gate in gates.chunk(4, 2))
        steps = zip(x.unbind(), gates.unbind(), *gates_by_step, tanh_c.unbind(), h_after, c_after, strict=True)
        with torch.inference_mode():
            for x_t, gates_t, i, f, g, o, tanh_c_t, h_t, c_t in steps:
                a = recurrent.add(x_t, h)
                a_g = a.chunk(4, 1)[2]
                a_g.add_(a_g)  # tanh a = 2 σ(2a) - 1, so that one σ serves all gates
                torch.sigmoid(a, out=gates_t)
                torch.add(_constant(-1.0), g, alpha=2, out=g)
                c = torch.mul(f, c, out=c_t).addcmul_(i, g)
                h = torch.mul(o, _tanh_(tanh_c_t.copy_(c)), out=h_t)
        ctx.save_for_backward(gates, h_states, c_states, tanh_c, weight_hh)
        return h_states[1:], h.clone(), c.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor, dc_last: Tensor) -> tuple[Tensor | None, ...]:
        """dc_t = o tanh'(c) dh_t + f_(t+1) dc_(t+1); da_i, da_f, da_g are their factors times dc_t, da_o times dh_t."""
        gates, h_states, c_states, tanh_c, weight_hh = ctx.saved_tensors
        i, f, g, o = gates.chunk(4, 2)
        hidden = weight_hh.shape[1]
        backward_linear = PackedLinear(weight_hh.T, h_states.shape[1])
        derivatives = _sigmoid_derivative(gates).chunk(4, 2)
        da = torch.empty_like(gates)
        da_i, da_f, da_g, da_o = da.chunk(4, 2)
        torch.mul(g, derivatives[0], out=da_i)
        torch.mul(c_states[:-1], derivatives[1], out=da_f)
        torch.mul(i, _tanh_derivative(g), out=da_g)
        torch.mul(tanh_c, derivatives[3], out=da_o)
        dc_by_dh = o * _tanh_derivative(tanh_c)
        dh, dc = dh_last + dh_all[-1], dc_last.clone()
        da_ifg = da.view(*da.shape[:2], 4, hidden)[:, :, :3]
        steps = zip(
            *(reversed(tensor.unbind()) for tensor in (da, da_ifg, da_o, f, dc_by_dh)),
            reversed(_loss_gradients_before(dh_all)),
            strict=True,
        )
        with torch.inference_mode():
            for da_t, da_ifg_t, da_o_t, f_t, dc_by_dh_t, dh_before in steps:
                dc.addcmul_(dh, dc_by_dh_t)
                da_ifg_t.mul_(dc[:, None])
                da_o_t.mul_(dh)
                dc.mul_(f_t)
                dh = backward_linear.add_(dh_before, da_t)
        return da, *_weight_gradients(da, h_states[:-1]), dh, dc


RecurrentProductFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(s, x_rz_t, rz_t) -> W_n s + b_n (B, H) of the candidate; the arguments of gates r and z (B, 2 H) go into `rz_t`."""


def _one_product(weight: Tensor, bias: Tensor, x_rz: Tensor) -> tuple[Tensor, RecurrentProductFn]:
    """A buffer of both gates (T, B, 2 H), and a gru's recurrent products as one: every call of oneDNN costs time."""
    recurrent, gates = PackedLinear(weight, x_rz.shape[1], bias), x_rz.shape[2]

    def multiply(s: Tensor, x_rz_t: Tensor, rz_t: Tensor) -> Tensor:
        a_rz, a_n = recurrent(s).split([gates, len(bias) - gates], 1)
        torch.add(x_rz_t, a_rz, out=rz_t)
        return a_n

    return x_rz.new_empty(x_rz.shape), multiply


def _two_products(weight: Tensor, bias: Tensor, x_rz: Tensor) -> tuple[Tensor, RecurrentProductFn]:
    """The same as two products; that of the gates is added to x in place, which saves a pass if calls cost little."""
    gates = x_rz.shape[2]
    recurrent_rz = PackedLinear(weight[:gates], x_rz.shape[1])
    recurrent_n = PackedLinear(weight[gates:], x_rz.shape[1], bias[gates:])

    def multiply(s: Tensor, x_rz_t: Tensor, rz_t: Tensor) -> Tensor:
        recurrent_rz.add_(rz_t, s)
        return recurrent_n(s)

    return x_rz + bias[:gates], multiply


class GRUFunction(Function):
    """The gated recurrent unit over a chunk; see `charlm.cells.gru`.

    As in `RNNFunction`, the forward pass carries s = (h + 1) / 2 instead of h, so that σ alone is needed: with
    m = (n + 1) / 2 = σ(2 a_n), a_n the candidate's argument,

        W_hh h + b_hh = 2 W_hh s + (b_hh - W_hh 1)           as h = 2 s - 1
        2 a_n = 2 x_n + r (4 W_hn s + 2 (b_hn - W_hn 1))     the candidate's rows are doubled once more
        s_t = (1 - z) m + z s_(t-1)                          as h_t = (1 - z) n + z h_(t-1)

    h = 2 s - 1 and n = 2 m - 1 are computed for the whole chunk at the end.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
        """Returns h (T, B, H) and the last h (B, H)."""
        hidden = h0.shape[1]
        row_scale = torch.ones_like(bias_hh)
        row_scale[2 * hidden :] = 2  # the candidate's rows
        weight, bias = weight_hh * (2 * row_scale)[:, None], (bias_hh - weight_hh.sum(1)) * row_scale
        states = _allocate_states(_to_half(h0), len(x))  # of s, until they are turned into h
        s, *s_after = states.unbind()
        x_rz, x_n = x.split(2 * hidden, 2)
        rz, multiply = (_two_products if mkl_preferred() else _one_product)(weight, bias, x_rz)
        candidate, reset_product = x_n + x_n, torch.empty_like(states[1:])  # `candidate`: 2 x_n, then m, then n
        steps = zip(
            *(tensor.unbind() for tensor in (x_rz, rz, *rz.chunk(2, 2), candidate, reset_product)), s_after, strict=True
        )
        with torch.inference_mode():
            for x_rz_t, rz_t, r, z, m, reset_product_t, s_t in steps:
                product_n = multiply(s, x_rz_t, rz_t)  # 2 (W_hn h + b_hn)
                rz_t.sigmoid_()
                m.add_(torch.mul(r, product_n, out=reset_product_t)).sigmoid_()
                s = torch.lerp(m, s, z, out=s_t)
        from_half_(states)
        ctx.save_for_backward(rz, from_half_(candidate), reset_product, states, weight_hh)
        return states[1:], states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor) -> tuple[Tensor | None, ...]:
        """Every gate's gradient is dh_t times a factor that is known before the backward loop begins."""
        rz, n, reset_product, states, weight_hh = ctx.saved_tensors
        r, z = rz.chunk(2, 2)
        hidden, h_before = n.shape[2], states[:-1]
        backward_linear = PackedLinear(weight_hh.T, states.shape[1])
        dx_n = _times_complement_(_tanh_derivative(n), z)
        da = n.new_empty(*n.shape[:2], 3 * hidden)
        da_r, da_z, da_n = da.chunk(3, 2)
        torch.addcmul(_constant(0.0), dx_n, reset_product, value=0.5, out=da_r)  # of 2 r (W_hn h + b_hn)
        _times_complement_(da_r, r)
        torch.mul(h_before - n, _sigmoid_derivative(z), out=da_z)
        torch.mul(dx_n, r, out=da_n)
        dh = dh_last + dh_all[-1]
        gates = da.view(*da.shape[:2], 3, hidden)
        steps = zip(
            *(reversed(tensor.unbind()) for tensor in (da, gates, dx_n, z)),
            reversed(_loss_gradients_before(dh_all)),
            strict=True,
        )
        with torch.inference_mode():
            for da_t, gates_t, dx_n_t, z_t, dh_before in steps:
                gates_t.mul_(dh[:, None])
                dx_n_t.mul_(dh)
                dh = backward_linear.add_(dh_before.addcmul_(dh, z_t), da_t)
        weight_gradients = _weight_gradients(da, h_before)
        da_n.copy_(dx_n)  # x enters the candidate without the reset gate
        return da, *weight_gradients, dh


BPTT_FUNCTIONS: dict[str, type[Function]] = {"rnn": RNNFunction, "lstm": LSTMFunction, "gru": GRUFunction}
"""Cells with a hand-written backward pass, by name."""


class ScanFunction(Function):
    """h_t = a_t h_(t-1) + b_t over a chunk: all h (T, B, H) from a and b (T, B, H) and h_0 (B, H).

    The products with weights, which cost most, are computed for the whole chunk before. What is left are T times B·H
    multiplications and additions, one call a step, into one buffer. A prefix scan (Blelloch 1990) needs only 2 log2 T
    parallel rounds; on the CPU it was no faster (docs/notes.md).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
        """h_t = a_t h_(t-1) + b_t."""
        states = _allocate_states(h0, len(a))
        h, *h_after = states.unbind()
        for a_t, b_t, h_t in zip(a.unbind(), b.unbind(), h_after, strict=True):
            h = torch.addcmul(b_t, a_t, h, out=h_t)
        ctx.save_for_backward(a, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_loss: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dh_t = the loss' own gradient + a_(t+1) dh_(t+1); da_t = dh_t h_(t-1), db_t = dh_t, dh_0 = a_1 dh_1."""
        a, states = ctx.saved_tensors
        dh_all = torch.empty_like(states[1:])
        dh_all[-1] = dh_loss[-1]
        dh, *dh_before = reversed(dh_all.unbind())
        steps = zip(reversed(a.unbind()), reversed(dh_loss[:-1].unbind()), dh_before, strict=False)
        for a_next, dh_loss_t, dh_t in steps:
            dh = torch.addcmul(dh_loss_t, a_next, dh, out=dh_t)
        return dh_all * states[:-1], dh_all, a[0] * dh
