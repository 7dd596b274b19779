"""A matrix times a vector is that, whichever way it takes, and the way hangs on nothing that changes."""

import os
import subprocess
import sys

import numpy as np
import pytest
from wirings import slow_wired

from charlm.sampling import gemv
from charlm.sampling.gemv import (
    CACHE_LINE_BYTES,
    FEWEST,
    MOST_PROCESSORS,
    SHARED,
    by_pairs,
    complex_are_shared,
    make_gemv,
)
from charlm.sampling.single_stream import SingleStream
from charlm.sampling.wired_single_stream import WiredSingleStream

PRODUCT = """
import hashlib
import numpy as np
from charlm.sampling import gemv as vectors
vectors.complex_are_shared = lambda: True
random, result = np.random.default_rng(0), np.empty(1024, np.float32)
weight, x = random.standard_normal((1024, 257)).astype(np.float32), random.standard_normal(257).astype(np.float32)
assert vectors.by_pairs(*weight.shape)
vectors.make_gemv(weight, x, result)()
print(hashlib.sha256(result.tobytes()).hexdigest())
"""


@pytest.fixture
def paired(monkeypatch):
    """All matrices with an even number of rows are multiplied in pairs, on any machine."""
    monkeypatch.setattr(gemv, "FEWEST", 1)
    monkeypatch.setattr(gemv, "complex_are_shared", lambda: True)


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be one, of so many processors and with such a library."""

    def pretend(processors, blas):
        monkeypatch.setattr(os, "cpu_count", lambda: processors)
        monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {"blas": {"name": blas}}})
        complex_are_shared.cache_clear()

    yield pretend
    complex_are_shared.cache_clear()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (4, 7), (512, 129)])
@pytest.mark.parametrize("pairs", [False, True], ids=["one by one", "in pairs"])
def test_a_matrix_is_laid_out_from_a_cache_line_on(request, monkeypatch, pairs, shape, dtype):
    if pairs:
        request.getfixturevalue("paired")
    made, lay_out = [], gemv._laid_out
    monkeypatch.setattr(gemv, "_laid_out", lambda matrix: made.append(lay_out(matrix)) or made[-1])
    make_gemv(np.ones(shape, dtype), np.ones(shape[1], dtype), np.ones(shape[0], dtype))
    (matrix,) = made
    assert matrix.ctypes.data % CACHE_LINE_BYTES == 0 and matrix.flags.c_contiguous
    assert np.iscomplexobj(matrix) == (pairs and shape[0] % 2 == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 7), (4, 7), (512, 129)])
@pytest.mark.parametrize("pairs", [False, True], ids=["one by one", "in pairs"])
def test_each_call_multiplies_what_the_vector_holds_by_then(request, pairs, shape, dtype):
    if pairs:
        request.getfixturevalue("paired")
    random = np.random.default_rng(0)
    weight, x = random.standard_normal(shape).astype(dtype), random.standard_normal(shape[1]).astype(dtype)
    room = np.full(shape[0] + 2, 7, dtype)
    times = make_gemv(weight, x, room[1:-1])
    for _ in range(3):
        times()
        exact = weight.astype(np.float64) @ x
        np.testing.assert_allclose(room[1:-1], exact, rtol=0, atol=50 * np.finfo(dtype).eps * (1 + abs(exact).max()))
        assert room[0] == room[-1] == 7
        x[:] = random.standard_normal(shape[1])


def test_the_matrix_is_a_copy(paired):
    weight, x, result = np.ones((4, 3)), np.ones(3), np.empty(4)
    times = make_gemv(weight, x, result)
    weight[:] = 0
    times()
    assert result.tolist() == [3] * 4


@pytest.mark.parametrize("wiring", [{}, {"skip": True, "layer_norm": True}], ids=["plain", "wired"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [("rnn", "tanh"), ("rnn", "sigmoid"), ("lstm",), ("gru",)], ids="-".join)
def test_a_network_reads_in_pairs_what_the_equations_say(paired, make_model, kind, layers, wiring):
    model = make_model(*kind, layers=layers, hidden=6, scale=0.3, **wiring)
    ids = np.random.default_rng(2).integers(0, 10, 40)
    wanted, _ = slow_wired(model, ids[:, None])
    lean = (WiredSingleStream if wiring else SingleStream)(model, np.float64)
    found = [lean.step(symbol).copy() for symbol in ids]
    np.testing.assert_allclose(found, wanted[:, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((768, 256), True),  # FEWEST
        ((766, 256), False),
        ((1024, 256), True),
        ((1800, 256), False),  # SHARED
        ((1798, 256), True),
        ((1023, 256), False),  # one row would be alone
    ],
)
def test_pairs_are_for_middling_matrices(machine, shape, expected):
    machine(2, "scipy-openblas")
    assert (FEWEST, SHARED) == (768 * 256, 1800 * 256)
    assert by_pairs(*shape) == expected


@pytest.mark.parametrize("processors", [None, 1, 2, MOST_PROCESSORS, MOST_PROCESSORS + 1])
@pytest.mark.parametrize("blas", ["openblas", "scipy-openblas", "accelerate", "mkl"])
def test_pairs_are_for_openblas_with_a_few_processors(machine, processors, blas):
    machine(processors, blas)
    assert complex_are_shared() == ("openblas" in blas and processors in (2, MOST_PROCESSORS))


def test_pairs_have_the_same_bits_with_any_number_of_threads():
    found = {
        subprocess.run(
            [sys.executable, "-c", PRODUCT],
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 2, 3)
    }
    assert len(found) == 1
