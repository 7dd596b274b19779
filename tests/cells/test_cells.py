"""The cells are their papers' equations: equal to torch's own, or to a loop over plain numbers."""

import math
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm import cells
from charlm.cells._cell import sigmoid, split
from charlm.errors import UsageError

pytestmark = pytest.mark.every_case
KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
TORCH = {
    ("rnn", "tanh"): lambda i, h: torch.nn.RNN(i, h, nonlinearity="tanh"),
    ("rnn", "relu"): lambda i, h: torch.nn.RNN(i, h, nonlinearity="relu"),
    ("lstm", "tanh"): torch.nn.LSTM,
    ("gru", "tanh"): torch.nn.GRU,
}


@pytest.mark.parametrize("kind", TORCH, ids="-".join)
def test_unrolled_step_equals_torch_in_outputs_and_all_gradients(layer, kind):
    ours = layer(*kind)
    theirs = TORCH[kind](ours.x.shape[-1], ours.state[0].shape[-1]).double()
    with torch.no_grad():
        for name, weight in ours.p.items():
            getattr(theirs, f"{name}_l0").copy_(weight)
    x = ours.x.detach().clone().requires_grad_()
    first = [part.detach().clone().requires_grad_() for part in ours.state]

    h, last = ours.unroll()
    batched = [part[None] for part in first]
    their_h, their_last = theirs(x, tuple(batched) if len(first) > 1 else batched[0])
    their_last = their_last if isinstance(their_last, tuple) else (their_last,)

    random = torch.Generator().manual_seed(8)
    weights = [torch.randn(part.shape, generator=random, dtype=torch.float64) for part in (h, *last)]
    loss = sum((w * part).sum() for w, part in zip(weights, (h, *last), strict=True))
    their_loss = sum((w * p).sum() for w, p in zip(weights, (their_h, *(p[0] for p in their_last)), strict=True))

    torch.testing.assert_close(h, their_h, rtol=0, atol=1e-12)
    for part, their_part in zip(last, their_last, strict=True):
        torch.testing.assert_close(part, their_part[0], rtol=0, atol=1e-12)
    their_leaves = [*(getattr(theirs, f"{name}_l0") for name in ours.p), x, *first]
    gradients = torch.autograd.grad(loss, ours.leaves)
    for got, wanted in zip(gradients, torch.autograd.grad(their_loss, their_leaves), strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("activation", "f"),
    [("sigmoid", lambda a: 1 / (1 + math.exp(-a))), ("linear", lambda a: a)],
    ids=["sigmoid", "linear"],
)
def test_simple_network_without_a_torch_twin_equals_a_loop_over_plain_numbers(layer, activation, f):
    ours = layer("rnn", activation)
    p, x, (h,) = ours.numpy()
    steps, batch, inputs = x.shape
    hidden = h.shape[1]
    slow = np.zeros((steps, batch, hidden))
    for b in range(batch):
        before = [float(value) for value in h[b]]
        for t in range(steps):
            after = []
            for k in range(hidden):
                a = float(p["bias_ih"][k]) + float(p["bias_hh"][k])
                for j in range(inputs):
                    a += float(p["weight_ih"][k, j]) * float(x[t, b, j])
                for j in range(hidden):
                    a += float(p["weight_hh"][k, j]) * before[j]
                after.append(f(a))
            slow[t, b], before = after, after
    np.testing.assert_allclose(ours.unroll()[0].detach().numpy(), slow, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_numpy_computes_what_torch_computes_gates_included(layer, kind):
    ours = layer(*kind)
    p, x, state = ours.numpy()
    tensors = ours.state
    for t in range(len(x)):
        state, gates = ours.cell.step(np, p, x[t] @ p["weight_ih"].T + p["bias_ih"], ours.below_as_arrays(t), state)
        product = ours.x[t] @ ours.p["weight_ih"].T + ours.p["bias_ih"]
        tensors, torch_gates = ours.cell.step(torch, ours.p, product, ours.below[t], tensors)
        assert list(gates) == list(torch_gates)
        for array, tensor in zip((*state, *gates.values()), (*tensors, *torch_gates.values()), strict=True):
            assert array.dtype == np.float64 and array.shape == tuple(tensor.shape)
            np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_step_stays_in_float32_and_changes_nothing_that_it_reads(layer, kind):
    ours = layer(*kind)
    p, x, state = ours.numpy()
    p = {name: weight.astype(np.float32) for name, weight in p.items()}
    state = tuple(part.astype(np.float32) for part in state)
    product = (x[0] @ p["weight_ih"].T + p["bias_ih"]).astype(np.float32)
    kept = [array.copy() for array in (*p.values(), product, *state)]
    below = ours.below_as_arrays(0)
    below = below and tuple(part.astype(np.float32) for part in below)
    after, gates = ours.cell.step(np, p, product, below, state)
    assert {array.dtype for array in (*after, *gates.values())} == {np.dtype(np.float32)}
    for array, copy in zip((*p.values(), product, *state), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_what_a_cell_says_of_itself_is_what_it_computes(layer, kind):
    ours = layer(*kind)
    p, x, state = ours.numpy()
    product = x[0] @ p["weight_ih"].T + p["bias_ih"]
    after, gates = ours.cell.step(np, p, product, ours.below_as_arrays(0), state)
    assert (ours.cell.name, ours.cell.activation) == kind
    assert ours.cell.state[0] == "h" and len(after) == len(ours.cell.state)
    assert tuple(gates) == ours.cell.gates
    assert set(ours.cell.first_bias) <= set(ours.cell.gates)
    assert {array.shape for array in (*after, *gates.values())} == {state[0].shape}


@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
def test_sigmoid_is_the_logistic_function_and_overflows_nowhere(xp):
    make = np.array if xp is np else torch.tensor
    for dtype in (xp.float32, xp.float64):
        far = make([-1000.0, -100.0, 0.0, 100.0, 1000.0], dtype=dtype)
        with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
            warnings.simplefilter("error")
            assert sigmoid(xp, far).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    near = np.linspace(-20, 20, 401)
    got = np.asarray(sigmoid(xp, make(near, dtype=xp.float64)))
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-near)), rtol=0, atol=1e-15)


def test_split_cuts_the_gates_in_the_order_they_are_stacked():
    stacked = np.arange(12).reshape(2, 6)
    assert [block.tolist() for block in split(stacked, 3)] == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]


def test_names_are_the_files_of_the_folder():
    folder = Path(cells.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert list(cells.names()) == sorted(name.replace("_", "-") for name in files)
    assert {"rnn", "lstm", "gru"} <= set(cells.names())
    assert all(cells.make(name).name == name for name in cells.names())


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_cites_its_paper_and_writes_its_equations(name):
    kind = type(cells.make(name))
    module = sys.modules[kind.__module__].__doc__ or ""
    assert re.search(r"\b(19[89]|20[0-9])\d\b", module + (kind.__doc__ or "")), "no year of a paper"
    assert re.search(r"^\s+h_t = ", kind.__doc__ or "", re.MULTILINE), "no equation of h_t"


@pytest.mark.parametrize("name", cells.names())
def test_activation_that_does_not_fit_is_a_usage_error(name):
    wrong = sorted({"tanh", "relu", "sigmoid", "linear", "swish"} - set(cells.make(name).activations))
    for activation in wrong:
        with pytest.raises(UsageError, match=f"--activation {activation} does not fit --cell {name}") as caught:
            cells.make(name, activation)
        assert "\n" not in str(caught.value)


def test_unknown_cell_is_a_usage_error_that_lists_the_cells():
    with pytest.raises(UsageError, match=r"--cell must be one of .*gru.*lstm.*rnn.*'lsmt'"):
        cells.make("lsmt")


def test_forget_gate_passes_the_memory_on_unchanged_where_it_is_open():
    """The constant error carousel: f = 1 and i = 0 keep c to the last bit."""
    cell = cells.make("lstm")
    hidden = 3
    p = {name: np.zeros(shape) for name, shape in cell.shapes(2, hidden).items()}
    p["bias_hh"][:hidden] = -1000
    p["bias_hh"][hidden : 2 * hidden] = 1000
    c = np.array([[0.3, -2.0, 7.0]])
    state = (np.zeros((1, hidden)), c)
    for _ in range(100):
        state, _ = cell.step(np, p, np.zeros((1, 4 * hidden)), None, state)
    np.testing.assert_array_equal(state[1], c)


def test_update_gate_of_the_gru_keeps_the_state_where_it_is_one():
    cell = cells.make("gru")
    p = {name: np.zeros(shape) for name, shape in cell.shapes(2, 2).items()}
    p["bias_ih"][2:4] = 1000
    product = np.ones((1, 6)) + p["bias_ih"]
    h = np.array([[0.25, -0.75]])
    ((after,), _) = cell.step(np, p, product, None, (h,))
    np.testing.assert_array_equal(after, h)
