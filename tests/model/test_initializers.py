"""First weights are distributed as `--init` says, for every matrix and bias, and are the same for the same seed."""

from math import sqrt

import numpy as np
import pytest

from charlm import config
from charlm.cells.gru import GRU
from charlm.config import TrainOptions
from charlm.errors import UsageError
from charlm.model import initializers
from charlm.model.network import Network

V, H, E = 70, 32, 24
INITS = TrainOptions.specs()["init"].words()


def options(**values):
    sizes = {"hidden": H, "embedding": E, "dropout": 0.0, "layers": 2, "input": "embedding"}
    sizes |= {"skip": False, "layer_norm": False}
    return TrainOptions(**{**sizes, **values})


def made(**values):
    """A network with its first weights, as arrays."""
    chosen = options(**values)
    network = Network(chosen, V, chosen.seed)
    initializers.initialize(network.named_weights(), chosen)
    return network.arrays()


def own(**values):
    return Network(options(**values), V, options(**values).seed).arrays()


def is_bias(name):
    return name.rsplit(".", 1)[-1].startswith("bias")


def forget(array):
    """The block of the forget gate of an lstm, i f g o."""
    return array[H : 2 * H]


def without_forget(array):
    return np.concatenate([array[:H], array[2 * H :]])


def assert_uniform(values, bound):
    """A sample of the uniform distribution in ±bound: inside, reaching the ends, with its mean and deviation."""
    n = values.size
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > bound * (1 - 12 / n)
    assert abs(values.mean()) < 5 * bound / sqrt(3 * n)
    assert values.std() == pytest.approx(bound / sqrt(3), rel=4 / sqrt(n))


def assert_normal(values, deviation):
    n = values.size
    assert abs(values.mean()) < 5 * deviation / sqrt(n)
    assert values.std() == pytest.approx(deviation, rel=4 / sqrt(n))
    assert np.abs(values).max() > 2.2 * deviation, "a uniform one would end at 1.73 deviations"


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("scale", [0.08, 3.0])
def test_uniform_with_a_scale_is_of_every_matrix_and_bias(cell, scale):
    for name, array in made(cell=cell, init="uniform", init_scale=scale).items():
        if cell == "lstm" and name.endswith("bias_ih"):
            assert (forget(array) == 1).all()
            array = without_forget(array)
        assert_uniform(array, scale)


def test_uniform_by_itself_is_torch_s_and_leaves_embeddings_as_they_are():
    found = made(cell="gru", init="uniform")
    assert np.array_equal(found["embedding.weight"], own(cell="gru")["embedding.weight"])
    for name, array in found.items():
        if name != "embedding.weight":
            assert_uniform(array, 1 / sqrt(H))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_normal_with_a_scale_has_that_deviation_everywhere_and_no_biases(cell):
    for name, array in made(cell=cell, init="normal", init_scale=0.01).items():
        if not is_bias(name):
            assert_normal(array, 0.01)
        elif cell == "lstm" and name.endswith("bias_ih"):
            assert (forget(array) == 1).all() and not without_forget(array).any()
        else:
            assert not array.any(), name


@pytest.mark.parametrize(("entering", "inputs"), [("one-hot", V), ("embedding", E)])
def test_normal_by_itself_goes_by_the_numbers_that_a_unit_reads(entering, inputs):
    found = made(cell="lstm", init="normal", input=entering)
    for kind in ("weight_ih", "weight_hh"):
        assert_normal(found[f"layers.0.{kind}"], 1 / sqrt(inputs + H))
        assert_normal(found[f"layers.1.{kind}"], 1 / sqrt(2 * H))
    assert_normal(found["readout.weight"], 1 / sqrt(H))
    if entering == "embedding":
        assert np.array_equal(found["embedding.weight"], own(cell="lstm")["embedding.weight"])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_glorot_is_orthonormal_over_all_gates_and_uniform_elsewhere(cell):
    for name, array in made(cell=cell, init="glorot").items():
        if name.endswith("weight_hh"):
            np.testing.assert_allclose(array.astype(float).T @ array, np.eye(H), atol=1e-5)
        elif is_bias(name):
            assert set(np.unique(array)) <= {0.0, 1.0}
        elif name != "embedding.weight":
            assert_uniform(array, sqrt(6 / sum(array.shape)))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_orthogonal_is_the_network_s_own_to_the_bit(cell):
    for name, array in made(cell=cell, seed=5).items():
        assert np.array_equal(array, own(cell=cell, seed=5)[name]), name


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("bias", [0.0, 2.5])
def test_forget_bias_is_set_in_every_layer_and_nothing_else_changes(init, bias):
    found, usual = made(cell="lstm", init=init, forget_bias=bias), made(cell="lstm", init=init)
    for name, array in found.items():
        if name.endswith("bias_ih"):
            assert (forget(array) == bias).all() and (forget(usual[name]) == 1).all()
            array, usual[name] = without_forget(array), without_forget(usual[name])
        assert np.array_equal(array, usual[name]), name


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_forget_bias_does_nothing_where_there_is_no_forget_gate(init, cell):
    usual = made(cell=cell, init=init)
    assert all(np.array_equal(array, usual[name]) for name, array in made(cell=cell, init=init, forget_bias=7).items())


@pytest.mark.parametrize("init", INITS)
def test_the_seed_decides(init):
    first, again, other = (made(init=init, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first if not is_bias(name))


class Gained(GRU):
    """A gru with parameters of its own: a vector that is no bias, and a matrix."""

    name = "gained"
    first_bias = {"z": 3.0}

    def shapes(self, inputs, hidden):
        return {**super().shapes(inputs, hidden), "gain": (hidden,), "weight_more": (hidden, 5)}


@pytest.mark.parametrize("init", ["uniform", "normal", "glorot"])
def test_a_cell_from_outside_keeps_its_vectors_and_has_its_own_bias(monkeypatch, init):
    monkeypatch.setitem(config.PLUGIN_CELLS, "gained", Gained)
    found, before = made(cell="gained", init=init), own(cell="gained")
    for layer in (0, 1):
        assert np.array_equal(found[f"layers.{layer}.gain"], before[f"layers.{layer}.gain"])
        assert not np.array_equal(found[f"layers.{layer}.weight_more"], before[f"layers.{layer}.weight_more"])
        assert (found[f"layers.{layer}.bias_ih"][H : 2 * H] == 3).all()


@pytest.mark.parametrize("init", ["orthogonal", "glorot"])
def test_a_scale_is_refused_where_it_would_do_nothing(init):
    with pytest.raises(UsageError, match=f"--init-scale 0.08 .* --init {init} .*--init-scale auto") as caught:
        made(init=init, init_scale=0.08)
    assert "\n" not in str(caught.value)
    assert made(init=init, init_scale="auto")
