"""A matrix times a vector, which is read at each call."""

import numpy as np
import pytest

from charlm.sampling import gemv
from charlm.sampling.gemv import CACHE_LINE_BYTES, make_gemv


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (512, 129)])
def test_a_matrix_is_laid_out_from_a_cache_line_on(monkeypatch, shape, dtype):
    made, align = [], gemv._aligned
    monkeypatch.setattr(gemv, "_aligned", lambda matrix: made.append(align(matrix)) or made[-1])
    make_gemv(np.ones(shape, dtype), np.ones(shape[1], dtype), np.ones(shape[0], dtype))
    (matrix,) = made
    assert matrix.ctypes.data % CACHE_LINE_BYTES == 0 and matrix.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 7), (512, 129)])
def test_each_call_multiplies_what_the_vector_holds_by_then(shape, dtype):
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


def test_the_matrix_is_a_copy():
    weight, x, result = np.ones((4, 3)), np.ones(3), np.empty(4)
    times = make_gemv(weight, x, result)
    weight[:] = 0
    times()
    assert result.tolist() == [3] * 4
