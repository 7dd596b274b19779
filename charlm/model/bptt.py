"""Back-propagation through time written out by hand, for the three cells we know best (Werbos 1990).

An automatic gradient of the unrolled loop spends most of its time in bookkeeping. By hand, a
chunk costs one small product per step and direction, into buffers made once:

- forward: the gates of step t are x_t + W_hh h_(t-1) + b_hh, with W_hh laid out once for the chunk;
- every factor of the backward pass that does not depend on the gradient (σ', tanh', the gates) is
  computed for the whole chunk in a few large operations;
- backward: one product dh_(t-1) += da_t W_hh per step;
- the weights' gradient is one large product over the whole chunk at the end;
- the loops are in inference mode and write in place, which spares a step half a µs of what autograd would note.

Shapes: T time, B batch, H hidden, G gates. `x` (T, B, G·H) is the input product W_ih x_t + b_ih.
What is left out: other cells, which take the plain loop in `charlm.model.recurrence`; the tests
hold the two against each other.
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
    """Room for a state before the chunk and after each of its steps (T + 1, B, H), begun with `first` (B, H)."""
    states = first.new_empty(steps + 1, *first.shape)
    states[0] = first
    return states


def _loss_gradients_before(dh_all: Tensor) -> tuple[Tensor, ...]:
    """What the loss of the step before asks of each step's first state: 0, dh_1, …, dh_(T-1), (B, H) to add to."""
    return torch.zeros_like(dh_all[0]), *dh_all[:-1].clone(memory_format=torch.contiguous_format).unbind()


def _weight_gradients(da: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """dW_hh (G·H, H) and db_hh (G·H) from all steps' gate gradients (T, B, G·H) and states before (T, B, H)."""
    return linear_grads(da.flatten(0, 1), before.flatten(0, 1))


@cache
def _constant(value: float) -> Tensor:
    """A number as what `torch.add` and `torch.addcmul` begin with: a + b x in one pass."""
    return torch.tensor(value, dtype=torch.float32, device="cpu")


def _tanh_(a: Tensor) -> Tensor:
    """tanh a = 2 σ(2a) - 1, in place: on some processors torch's σ takes a tenth of the time of its tanh."""
    return from_half_(a.add_(a).sigmoid_())


def from_half_(s: Tensor) -> Tensor:
    """2 s - 1, in place: what tanh is of the σ of the doubled argument."""
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
    s_t = σ(2 x_t + 4 W_hh s_(t-1) + 2 (b_hh - W_hh 1)), and h is made of s for the whole chunk at the end:
    on some processors torch's σ takes a tenth of the time of its tanh. Where MKL is wide, its tanh is the quicker.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        """Returns h (T, B, H) and the last h (B, H)."""
        halved = activation == "tanh" and not mkl_preferred()
        states = _allocate_states(_to_half(h0) if halved else h0, len(x))
        into = PackedLinear(4 * weight_hh if halved else weight_hh, len(h0))
        activate_ = torch.sigmoid_ if halved else _ACTIVATE_[activation]
        if halved:
            torch.add(2 * (bias_hh - weight_hh.sum(1)), x, alpha=2, out=states[1:])
        else:
            torch.add(x, bias_hh, out=states[1:])
        s, *after = states.unbind()
        with torch.inference_mode():
            for s_t in after:  # which holds, until it is written, what is added to the product
                s = activate_(into.add_(s_t, s))
        if halved:
            from_half_(states)
        ctx.save_for_backward(states, weight_hh)
        ctx.activation = activation
        return states[1:], states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor) -> tuple[Tensor | None, ...]:
        """da_t = f'(a_t) dh_t; dh_(t-1) = dh_(t-1) from above + W_hhᵀ da_t."""
        states, weight_hh = ctx.saved_tensors
        into = PackedLinear(weight_hh.T, states.shape[1])
        da = _activation_derivative(states[1:], ctx.activation)
        dh = dh_last + dh_all[-1]
        steps = zip(reversed(da.unbind()), reversed(_loss_gradients_before(dh_all)), strict=True)
        with torch.inference_mode():
            for da_t, above in steps:
                dh = into.add_(above, da_t.mul_(dh))
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
        into = PackedLinear(weight_hh, len(h0), bias_hh)
        h_states, c_states = _allocate_states(h0, len(x)), _allocate_states(c0, len(x))
        gates, tanh_c = torch.empty_like(x), torch.empty_like(h_states[1:])
        h, *h_after = h_states.unbind()
        c, *c_after = c_states.unbind()
        gates_by_step = (gate.unbind() for gate in gates.chunk(4, 2))
        steps = zip(x.unbind(), gates.unbind(), *gates_by_step, tanh_c.unbind(), h_after, c_after, strict=True)
        with torch.inference_mode():
            for x_t, gates_t, i, f, g, o, tanh_c_t, h_t, c_t in steps:
                a = into.add(x_t, h)
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
        """dc_t gathers o tanh'(c) dh_t and f_(t+1) dc_(t+1); i, f and g take their share of dc_t, o of dh_t."""
        gates, h_states, c_states, tanh_c, weight_hh = ctx.saved_tensors
        i, f, g, o = gates.chunk(4, 2)
        hidden = weight_hh.shape[1]
        into = PackedLinear(weight_hh.T, h_states.shape[1])
        slopes = _sigmoid_derivative(gates).chunk(4, 2)
        da = torch.empty_like(gates)
        da_i, da_f, da_g, da_o = da.chunk(4, 2)
        torch.mul(g, slopes[0], out=da_i)
        torch.mul(c_states[:-1], slopes[1], out=da_f)
        torch.mul(i, _tanh_derivative(g), out=da_g)
        torch.mul(tanh_c, slopes[3], out=da_o)
        through_c = o * _tanh_derivative(tanh_c)
        dh, dc = dh_last + dh_all[-1], dc_last.clone()
        of_c = da.view(*da.shape[:2], 4, hidden)[:, :, :3]
        steps = zip(
            *(reversed(tensor.unbind()) for tensor in (da, of_c, da_o, f, through_c)),
            reversed(_loss_gradients_before(dh_all)),
            strict=True,
        )
        with torch.inference_mode():
            for da_t, of_c_t, da_o_t, f_t, through_c_t, above in steps:
                dc.addcmul_(dh, through_c_t)
                of_c_t.mul_(dc[:, None])
                da_o_t.mul_(dh)
                dc.mul_(f_t)
                dh = into.add_(above, da_t)
        return da, *_weight_gradients(da, h_states[:-1]), dh, dc


RecurrentProductFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From s, x_t of both gates and room for their arguments, which are left there, W_n s + b_n (B, H) of the candidate."""


def _one_product(weight: Tensor, bias: Tensor, x_rz: Tensor) -> tuple[Tensor, RecurrentProductFn]:
    """Room for both gates (T, B, 2 H), and the recurrent products of a gru as one: each call of oneDNN's costs."""
    into, gates = PackedLinear(weight, x_rz.shape[1], bias), x_rz.shape[2]

    def multiply(s: Tensor, x_rz_t: Tensor, rz_t: Tensor) -> Tensor:
        a_rz, a_n = into(s).split([gates, len(bias) - gates], 1)
        torch.add(x_rz_t, a_rz, out=rz_t)
        return a_n

    return x_rz.new_empty(x_rz.shape), multiply


def _two_products(weight: Tensor, bias: Tensor, x_rz: Tensor) -> tuple[Tensor, RecurrentProductFn]:
    """The same as two products, of which the gates' adds itself to x: where a call costs little, a pass less."""
    gates = x_rz.shape[2]
    into_rz, into_n = (
        PackedLinear(weight[:gates], x_rz.shape[1]),
        PackedLinear(weight[gates:], x_rz.shape[1], bias[gates:]),
    )

    def multiply(s: Tensor, x_rz_t: Tensor, rz_t: Tensor) -> Tensor:
        into_rz.add_(rz_t, s)
        return into_n(s)

    return x_rz + bias[:gates], multiply


class GRUFunction(Function):
    """The gated recurrent unit over a chunk; see `charlm.cells.gru`.

    As in `RNNWindow` the state is carried as s = (h + 1) / 2: with n = 2 m - 1, m = σ of the candidate's doubled
    argument, the new state (1 - z) n + z h is (1 - z) m + z s. What multiplies h is made to multiply 2 s - 1.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
        """Returns h (T, B, H) and the last h (B, H)."""
        hidden = h0.shape[1]
        twice = torch.ones_like(bias_hh)
        twice[2 * hidden :] = 2  # the candidate's rows
        weight, bias = weight_hh * (2 * twice)[:, None], (bias_hh - weight_hh.sum(1)) * twice
        states = _allocate_states(_to_half(h0), len(x))
        s, *after = states.unbind()
        x_rz, x_n = x.split(2 * hidden, 2)
        rz, multiply = (_two_products if mkl_preferred() else _one_product)(weight, bias, x_rz)
        candidate, recurrent = x_n + x_n, torch.empty_like(states[1:])
        steps = zip(
            *(tensor.unbind() for tensor in (x_rz, rz, *rz.chunk(2, 2), candidate, recurrent)), after, strict=True
        )
        with torch.inference_mode():
            for x_rz_t, rz_t, r, z, m, recurrent_t, s_t in steps:
                a_n = multiply(s, x_rz_t, rz_t)
                rz_t.sigmoid_()
                m.add_(torch.mul(r, a_n, out=recurrent_t)).sigmoid_()
                s = torch.lerp(m, s, z, out=s_t)
        from_half_(states)
        ctx.save_for_backward(rz, from_half_(candidate), recurrent, states, weight_hh)
        return states[1:], states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, dh_last: Tensor) -> tuple[Tensor | None, ...]:
        """Every gate's gradient is dh_t times a factor that is known before the pass back begins."""
        rz, n, recurrent, states, weight_hh = ctx.saved_tensors
        r, z = rz.chunk(2, 2)
        hidden, before = n.shape[2], states[:-1]
        into = PackedLinear(weight_hh.T, states.shape[1])
        dx_n = _times_complement_(_tanh_derivative(n), z)
        da = n.new_empty(*n.shape[:2], 3 * hidden)
        da_r, da_z, da_n = da.chunk(3, 2)
        torch.addcmul(_constant(0.0), dx_n, recurrent, value=0.5, out=da_r)  # `recurrent` is 2 r (W_hn h + b_hn)
        _times_complement_(da_r, r)
        torch.mul(before - n, _sigmoid_derivative(z), out=da_z)
        torch.mul(dx_n, r, out=da_n)
        dh = dh_last + dh_all[-1]
        gates = da.view(*da.shape[:2], 3, hidden)
        steps = zip(
            *(reversed(tensor.unbind()) for tensor in (da, gates, dx_n, z)),
            reversed(_loss_gradients_before(dh_all)),
            strict=True,
        )
        with torch.inference_mode():
            for da_t, gates_t, dx_n_t, z_t, above in steps:
                gates_t.mul_(dh[:, None])
                dx_n_t.mul_(dh)
                dh = into.add_(above.addcmul_(dh, z_t), da_t)
        weights = _weight_gradients(da, before)
        da_n.copy_(dx_n)  # x's share of the candidate goes past the reset gate
        return da, *weights, dh


BPTT_FUNCTIONS: dict[str, type[Function]] = {"rnn": RNNFunction, "lstm": LSTMFunction, "gru": GRUFunction}
"""The cells that have a backward pass of their own."""


class ScanFunction(Function):
    """h_t = a_t h_(t-1) + b_t over a chunk: all h (T, B, H) from a and b (T, B, H) and h_0 (B, H).

    The products with weights, which cost most, are made for the whole chunk before. What is left are T times B·H
    multiplications and additions, one call a step, into one buffer. A prefix scan (Blelloch 1990) does them in 2 log2 T
    rounds instead, for processors that can do a round at once; on the CPU it gained nothing (docs/notes.md).
    """

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
    def backward(ctx: Any, dh_given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dh_t = what the loss asks of it + a_(t+1) dh_(t+1); da_t = dh_t h_(t-1), db_t = dh_t, dh_0 = a_1 dh_1."""
        a, states = ctx.saved_tensors
        dh_all = torch.empty_like(states[1:])
        dh_all[-1] = dh_given[-1]
        dh, *before = reversed(dh_all.unbind())
        for a_next, given_t, dh_t in zip(reversed(a.unbind()), reversed(dh_given[:-1].unbind()), before, strict=False):
            dh = torch.addcmul(given_t, a_next, dh, out=dh_t)
        return dh_all * states[:-1], dh_all, a[0] * dh
