"""What each cell is where the answer is known: another cell, a closed form, a memory that ends where it must."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from charlm import cells
from charlm.cells.min_lstm import _shares
from charlm.model.bptt import ScanFunction

H, T, B = 4, 9, 3


def drawn(cell, inputs=5, seed=2):
    """Parameters of a layer, float64."""
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape) for name, shape in cell.shapes(inputs, H).items()}


def run(cell, p, xs, state=None, below=None):
    """h (T, B, H) and the states after each character, from inputs (T, B, in)."""
    state = tuple(np.zeros((xs.shape[1], H)) for _ in cell.state) if state is None else state
    passed = []
    for t, x in enumerate(xs):
        beneath = None if below is None else below[t]
        state, _ = cell.step(np, p, x @ p["weight_ih"].T + p["bias_ih"], beneath, state)
        passed.append(state)
    return np.array([state[0] for state in passed]), passed


def inputs(seed=1, steps=T):
    return np.random.default_rng(seed).normal(size=(steps, B, 5))


def test_without_peepholes_it_is_the_lstm():
    cell, lstm = cells.make("peephole-lstm"), cells.make("lstm")
    p = drawn(cell)
    seeing = run(cell, p, inputs())[0]
    blind = {name: weight * (not name.startswith("peephole")) for name, weight in p.items()}
    np.testing.assert_array_equal(run(cell, blind, inputs())[0], run(lstm, p, inputs())[0])
    assert np.abs(seeing - run(lstm, p, inputs())[0]).max() > 0.1


def test_the_output_gate_sees_the_new_memory_and_the_others_the_old_one():
    cell = cells.make("peephole-lstm")
    p = {name: np.zeros(shape) for name, shape in cell.shapes(1, 1).items()}
    p["peephole_i"][:], p["peephole_f"][:], p["peephole_o"][:] = 2, 3, 5
    ((h, c), gates) = cell.step(np, p, np.array([[0.0, 0.0, 1.0, 0.0]]), None, (np.zeros((1, 1)), np.full((1, 1), 0.5)))
    logistic = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    new = logistic(1.5) * 0.5 + logistic(1.0) * np.tanh(1.0)
    assert (gates["i"], gates["f"], c) == pytest.approx((logistic(1.0), logistic(1.5), new))
    assert (gates["o"], h) == pytest.approx((logistic(5 * new), logistic(5 * new) * np.tanh(new)))


def test_with_the_depth_gate_shut_it_is_the_lstm_and_open_it_adds_the_memory_beneath():
    cell, lstm = cells.make("depth-gated-lstm"), cells.make("lstm")
    assert type(cell.at(0)) is type(lstm) and cell.at(1) is cell
    p = drawn(cell)
    p["depth_c"][:] = p["depth_below"][:] = 0
    random = np.random.default_rng(4)
    below = [tuple(random.normal(size=(B, H)) for _ in "hc") for _ in range(T)]
    plain = {name: weight[: 4 * H] for name, weight in p.items()}
    for bias, share in ((-1000.0, 0), (1000.0, 1)):
        p["bias_ih"][4 * H :] = bias
        (_, first), *_ = run(cell, p, inputs(), below=below)[1]
        (_, without), *_ = run(lstm, plain, inputs())[1]
        np.testing.assert_allclose(first, without + share * below[0][1], rtol=0, atol=1e-12)
        if not share:
            shut, wanted = run(cell, p, inputs(), below=below)[0], run(lstm, plain, inputs())[0]
            np.testing.assert_allclose(shut, wanted, rtol=0, atol=1e-12)


def test_a_depth_gate_without_a_layer_beneath_is_refused():
    cell = cells.make("depth-gated-lstm")
    with pytest.raises(ValueError, match="layer beneath"):
        run(cell, drawn(cell), inputs())


def test_the_memory_is_an_lstm_whose_gates_are_all_open():
    cell, lstm = cells.make("memory"), cells.make("lstm")
    p = drawn(cell)
    wide = {name: np.zeros(shape) for name, shape in lstm.shapes(5, H).items()}
    for name, weight in p.items():
        wide[name][2 * H : 3 * H] = weight
    for gate in (0, 1, 3):
        wide["bias_ih"][gate * H : (gate + 1) * H] = 1000
    np.testing.assert_allclose(run(cell, p, inputs())[0], run(lstm, wide, inputs())[0], rtol=0, atol=1e-12)


def test_the_sum_does_not_know_the_order_of_what_it_read():
    cell = cells.make("sum")
    p, xs = drawn(cell), inputs()
    turned = xs[np.random.default_rng(0).permutation(T)]
    np.testing.assert_allclose(run(cell, p, xs)[0][-1], run(cell, p, turned)[0][-1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        run(cell, p, xs)[0][-1], np.tanh(xs @ p["weight_ih"].T + p["bias_ih"]).sum(0), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_before_or_after_the_nonlinearity_is_the_same_network_from_a_state_that_corresponds(activation):
    cell, rnn = cells.make("preactivation-rnn", activation), cells.make("rnn", activation)
    p = drawn(cell)
    a = np.random.default_rng(6).normal(size=(B, H))
    corresponding = (rnn._f(np, a),)
    one, passed = run(cell, p, inputs(), (np.full((B, H), np.nan), a))
    np.testing.assert_allclose(one, run(rnn, p, inputs(), corresponding)[0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(passed[-1][0], rnn._f(np, passed[-1][1]))
    zero = np.array_equal(run(cell, p, inputs())[0], run(rnn, p, inputs())[0])
    assert zero == (activation != "sigmoid")


def test_a_linear_network_is_a_weighted_sum_of_everything_it_read():
    """h_t = the sum over k of W_hh^k (W_ih x_(t-k) + b), so that two texts add up."""
    cell = cells.make("rnn", "linear")
    p, xs = drawn(cell), inputs()
    h = run(cell, p, xs)[0]
    entering = xs @ p["weight_ih"].T + p["bias_ih"] + p["bias_hh"]
    powers = [np.linalg.matrix_power(p["weight_hh"], k) for k in range(T)]
    for t in range(T):
        np.testing.assert_allclose(
            h[t], sum(entering[t - k] @ powers[k].T for k in range(t + 1)), rtol=1e-10, atol=1e-10
        )
    for name in ("bias_ih", "bias_hh"):
        p[name][:] = 0
    other = inputs(seed=8)
    both = run(cell, p, xs)[0] + run(cell, p, other)[0]
    np.testing.assert_allclose(run(cell, p, xs + other)[0], both, rtol=1e-10, atol=1e-10)


def test_a_minimal_gru_that_writes_everything_forgets_everything_and_one_that_writes_nothing_nothing():
    cell = cells.make("min-gru")
    p, state = drawn(cell), (np.random.default_rng(3).normal(size=(B, H)),)
    p["weight_ih"][:H] = 0
    p["bias_ih"][:H] = 1000
    h, _ = run(cell, p, inputs(), state)
    np.testing.assert_array_equal(h, inputs() @ p["weight_ih"][H:].T + p["bias_ih"][H:])  # the candidate is linear
    p["bias_ih"][:H] = -1000
    np.testing.assert_array_equal(run(cell, p, inputs(), state)[0][-1], state[0])


@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gates_of_a_minimal_lstm_share_one_between_them_even_where_both_are_shut(xp, dtype):
    values = [-1e4, -200.0, -30.0, -1.0, 0.0, 0.5, 30.0, 1e4]
    pairs = np.array([(f, i) for f in values for i in values])
    made = [xp.asarray(column.copy()) if xp is np else torch.from_numpy(column.copy()) for column in pairs.T]
    made = [column.astype(dtype) if xp is np else column.to(getattr(torch, dtype)) for column in made]
    with np.errstate(all="raise", under="ignore"):
        f, i = (np.asarray(part) for part in _shares(xp, *made))
    assert f.dtype == i.dtype == np.dtype(dtype)
    np.testing.assert_allclose(f + i, 1, rtol=0, atol=1e-6)
    log_f, log_i = (-np.logaddexp(0, -column) for column in pairs.T)
    np.testing.assert_allclose(f, 1 / (1 + np.exp(np.minimum(log_i - log_f, 700))), rtol=0, atol=1e-6)


@pytest.mark.parametrize("context", [1, 2, 4, 9])
def test_a_window_forgets_what_is_outside_to_the_last_bit_and_nothing_within(context):
    cell = cells.make("window-mlp", context=context)
    p, xs = drawn(cell), inputs(steps=14)
    h = run(cell, p, xs)[0]
    for changed in range(14):
        other = xs.copy()
        other[changed] += 1
        differs = [t for t in range(14) if not np.array_equal(h[t], run(cell, p, other)[0][t])]
        assert differs == list(range(changed, min(14, changed + context)))


def test_windows_of_layers_one_above_the_other_add_up():
    """Two layers of N characters see 2 N - 1."""
    cell = cells.make("window-mlp", context=3)
    low, high = drawn(cell), drawn(cell, H, seed=9)

    def top(xs):
        return run(cell, high, run(cell, low, xs)[0])[0]

    xs = inputs(steps=12)
    h, other = top(xs), xs.copy()
    other[2] += 1
    assert [t for t in range(12) if not np.array_equal(h[t], top(other)[t])] == [2, 3, 4, 5, 6]


def test_what_a_window_was_handed_counts_as_given():
    """The gradient over a second window of text is that of W x, the share of earlier characters held fixed."""
    cell = cells.make("window-mlp", context=4)
    p = {name: torch.from_numpy(weight).requires_grad_() for name, weight in drawn(cell).items()}
    xs = torch.from_numpy(inputs(steps=10))
    product = xs @ p["weight_ih"].T + p["bias_ih"]
    state = tuple(torch.zeros(B, H, dtype=torch.float64) for _ in cell.state)
    _, state = cell.window(torch, p, product[:5].detach(), state)
    h, _ = cell.window(torch, p, product[5:], state)
    got = torch.autograd.grad(h.square().sum(), p["weight_ih"], retain_graph=True)[0]

    fixed = {name: weight.detach() for name, weight in p.items()}
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(5, 10):
        a = torch.zeros(B, H, dtype=torch.float64)
        for k in range(4):
            q = p if t - k >= 5 else fixed
            a = a + xs[t - k] @ q["weight_ih"][k * H : (k + 1) * H].T + q["bias_ih"][k * H : (k + 1) * H]
        loss = loss + a.tanh().square().sum()
    wanted = torch.autograd.grad(loss, p["weight_ih"])[0]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)
    whole, _ = cell.window(torch, p, product, tuple(torch.zeros_like(part) for part in state))
    full = torch.autograd.grad(whole[5:].square().sum(), p["weight_ih"])[0]
    torch.testing.assert_close(got[:H], full[:H], rtol=0, atol=1e-10)  # W_0 misses nothing
    assert (got - full)[H:].abs().max() > 0.1


@pytest.mark.parametrize("steps", [1, 2, 7, 64])
def test_scan_is_the_loop_and_its_gradient_that_of_finite_differences(steps):
    random = torch.Generator().manual_seed(steps)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

    a, b, first = normal(steps, 2, 3), normal(steps, 2, 3), normal(2, 3)
    h, slow = first, []
    for t in range(steps):
        h = a[t] * h + b[t]
        slow.append(h)
    slow, found = torch.stack(slow), ScanFunction.apply(a, b, first)
    torch.testing.assert_close(found, slow, rtol=0, atol=1e-10 * float(slow.detach().abs().max()))
    weights = normal(steps, 2, 3).detach()
    for got, wanted in zip(
        torch.autograd.grad((found * weights).sum(), (a, b, first)),
        torch.autograd.grad((slow * weights).sum(), (a, b, first)), strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)
    if steps < 10:
        assert gradcheck(ScanFunction.apply, (a, b, first))
