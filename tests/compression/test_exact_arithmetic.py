"""The network's exact arithmetic: products without rounding, functions of basic operations, the same in any company."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm import cells
from charlm.compression import exact_arithmetic as made
from charlm.compression.exact_arithmetic import ExactWeight, exact_stepper, frequencies


def whole_numbers(x: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(float(number)) for number in row] for row in x]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    columns=st.integers(1, 40),
    spread=st.sampled_from([0.01, 1.0, 8.0]),
    size=st.sampled_from([1e-25, 1e-3, 1.0, 1e20]),
    h=st.sampled_from([1e-9, 1.0, 5.0, 1e12]),
)
def test_a_product_is_that_of_fractions(seed: int, columns: int, spread: float, size: float, h: float) -> None:
    """Rounded factors, multiplied and added in exact fractions, give every bit of the product."""
    random = np.random.default_rng(seed)
    raw = random.normal(size=(3, columns)) * np.exp(spread * random.normal(size=(3, columns))) * size
    weight = ExactWeight(raw.astype(np.float32))
    left = random.normal(size=(2, columns)) * h
    found = left @ weight
    rows = whole_numbers(made._round(left, made._step_size(np.maximum(np.abs(left).max(1, keepdims=True), 0.5), 24)))
    for b, row in enumerate(rows):
        for r, other in enumerate(whole_numbers(weight._rounded)):
            assert Fraction(float(found[b, r])) == sum(x * y for x, y in zip(row, other, strict=True))
            # and no partial sum, in whatever order, can be beyond what float64 holds
            grain = abs(min((x * y for x, y in zip(row, other, strict=True) if x * y), key=abs, default=Fraction(1)))
            assert sum(abs(x * y) for x, y in zip(row, other, strict=True)) < 2**54 * max(grain, Fraction(1, 2**400))


def test_rounding_changes_less_than_float32_would() -> None:
    random = np.random.default_rng(0)
    raw, left = random.normal(size=(50, 256)).astype(np.float32) / 8, np.tanh(random.normal(size=(20, 256)))
    exact = left @ raw.T.astype(np.float64)
    # Summed one after the other: how a library sums, and so what it loses, hangs on the processor.
    single = np.cumsum(left.astype(np.float32)[:, None] * raw, axis=2, dtype=np.float32)[..., -1]
    assert np.abs(left @ ExactWeight(raw) - exact).max() < np.abs(single - exact).max() < 1e-5


def test_functions() -> None:
    xp = made._Functions("lstm")
    x = np.concatenate([np.linspace(-43, 43, 50001), [0.0, 1e-30, -1e-12]])
    np.testing.assert_allclose(xp.tanh(x), np.tanh(x), rtol=0, atol=2e-10)
    x = np.linspace(-700, 700, 50001)
    np.testing.assert_allclose(xp.exp(x), np.exp(x), rtol=1e-8)
    assert xp.tanh(np.array([-1e300, np.inf])).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize("entering", ["one-hot", "embedding"])
def test_logits_are_those_of_the_slow_twin(make_model, slow_logits, cell: str, entering: str) -> None:
    model = make_model(cell, layers=3, input=entering)
    ids = np.random.default_rng(2).integers(0, model.vocabulary.size, (30, 4))
    expected, _ = slow_logits(model, ids)
    stepper = exact_stepper(model)
    states = stepper.start(4)
    for row, logits in zip(ids, expected, strict=True):
        found, states = stepper.step(row, states)
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5 if cell == "sum" else 2e-6)  # its logits grow


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "linear"])
def test_a_stream_does_not_notice_the_others(make_model, activation: str) -> None:
    model = make_model("rnn", activation, hidden=33, layers=2)
    ids = np.random.default_rng(2).integers(0, model.vocabulary.size, (20, 17))
    stepper = exact_stepper(model)
    together, alone = stepper.start(17), [stepper.start(1) for _ in range(17)]
    for row in ids:
        logits, together = stepper.step(row, together)
        for stream in range(17):
            own, alone[stream] = stepper.step(row[stream : stream + 1], alone[stream])
            assert np.array_equal(own[0], logits[stream])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), symbols=st.sampled_from([3, 67, 2000, 12000]), spread=st.sampled_from([0.0, 3, 300]))
def test_frequencies(seed: int, symbols: int, spread: float) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, (2, symbols))
    counts = frequencies(logits)
    assert np.array_equal(counts, np.rint(counts)) and counts.min() >= 1 and counts.sum(1).max() < 2**53
    wanted = np.exp(logits - logits.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    share = 1 - 2.0**-made.MIN_SYMBOL_BITS
    wanted = (wanted + share / symbols) / (1 + share)
    off = np.abs(counts - wanted * counts.sum(1, keepdims=True))
    rounded = 1 + symbols * wanted
    assert (off <= rounded + 1e-8 * counts).all(), "two roundings of it, one of every symbol, and e^x to nine digits"


PROGRAM = "from benchmarks.arithmetic import digests; print(digests(cells=('lstm',), steps=10)['portable'])"


def test_other_kernels_make_the_same_bits() -> None:
    """What a processor without AVX would compute, as far as OpenBLAS can be told to."""
    changes: tuple[dict[str, str], ...] = ({}, {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2"})
    children = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], env={**os.environ, **change}, stdout=subprocess.PIPE)
        for change in changes
    ]
    one, other = (child.communicate(timeout=120)[0] for child in children)
    assert one == other and len(one) > 10
