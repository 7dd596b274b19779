"""The error surface of one unit: its gradient is exact, its wall is where theory has it, and clipping is what helps."""

import numpy as np
import pytest

from charlm.config import SurfaceOptions
from charlm.errors import CharlmError, UsageError
from charlm.inspect.surface import error_and_gradient, surface


def by_hand(w, b, options):
    """E in plain Python, written from the paper."""
    h = options.first
    for _ in range(options.length):
        h = w / (1 + np.exp(-h)) + b
    return (1 / (1 + np.exp(-h)) - options.target) ** 2


@pytest.mark.parametrize("options", [SurfaceOptions(), SurfaceOptions(length=7, first=-1.0, target=0.2)])
def test_error_and_gradient_are_those_of_the_definition_and_of_differences(options):
    random = np.random.default_rng(1)
    for _ in range(30):
        w, b = random.uniform(3, 6), random.uniform(-3, -1.5)
        error, by_w, by_b = error_and_gradient(np.array(w), np.array(b), options)
        assert error == pytest.approx(by_hand(w, b, options), rel=1e-9, abs=1e-15)
        size = 1e-7
        for found, step in ((by_w, (size, 0)), (by_b, (0, size))):
            above, under = (by_hand(w + sign * step[0], b + sign * step[1], options) for sign in (1, -1))
            assert found == pytest.approx((above - under) / (2 * size), rel=2e-4, abs=1e-8)


def test_the_grid_is_the_function_point_by_point():
    options = SurfaceOptions(points=5, steps=2)
    found = surface(options)
    for i, b in enumerate(found.b):
        for j, w in enumerate(found.w):
            error, by_w, by_b = error_and_gradient(w, b, options)
            assert (found.error[i, j], found.norm[i, j]) == pytest.approx((float(error), float(np.hypot(by_w, by_b))))


def test_the_wall_is_where_the_first_state_is_an_unstable_fixed_point():
    """h_0 = w σ(h_0) + b: on one side of that line the high state is reached, on the other the low one."""
    options = SurfaceOptions()
    for w in (4.8, 5.0, 5.5):
        edge = options.first - w / (1 + np.exp(-options.first))
        below, _, _ = error_and_gradient(np.array(w), np.array(edge - 0.02), options)
        above, _, _ = error_and_gradient(np.array(w), np.array(edge + 0.02), options)
        assert below > 0.25 and above < 0.06
        _, by_w, by_b = error_and_gradient(np.array(w), edge + np.linspace(-0.02, 0.02, 2001), options)
        assert np.hypot(by_w, by_b).max() > 300
    found = surface(options).to_json()["steepest"]
    assert found["norm"] > 100
    assert found["b"] == pytest.approx(0.5 - found["w"] / (1 + np.exp(-0.5)), abs=0.03)


def test_the_wall_is_higher_the_longer_the_network_is():
    steepest = [surface(SurfaceOptions(length=length, steps=1)).norm.max() for length in (5, 20, 50)]
    assert steepest[0] * 10 < steepest[1] < steepest[2] / 5


def test_clipping_keeps_the_descent_that_is_thrown_away_without_it():
    found = surface()
    plain, clipped = found.plain, found.clipped
    step = int(plain.norm.argmax())
    assert plain.norm[step] > 100
    thrown = np.hypot(plain.w[step + 1] - plain.w[step], plain.b[step + 1] - plain.b[step])
    assert thrown == pytest.approx(0.1 * plain.norm[step]) and thrown > 10
    assert plain.error[-1] > 0.05 > 0.01 > clipped.error[-1] and clipped.error.min() < 1e-3
    moves = np.hypot(np.diff(clipped.w), np.diff(clipped.b))
    assert moves.max() == pytest.approx(0.1, rel=1e-9) and clipped.norm.max() > 1
    same = int((clipped.norm > 1).argmax())
    np.testing.assert_array_equal(plain.w[: same + 1], clipped.w[: same + 1])


def test_a_threshold_that_is_never_reached_changes_nothing():
    found = surface(SurfaceOptions(clip_norm=1e9, points=2))
    np.testing.assert_array_equal(found.plain.w, found.clipped.w)


def test_extreme_weights_give_numbers():
    options = SurfaceOptions(w_low=-100, w_high=100, b_low=-100, b_high=100, points=31, steps=5)
    with np.errstate(over="raise", invalid="raise"):
        found = surface(options)
    assert np.isfinite(found.error).all() and np.isfinite(found.norm).all()


def test_a_gradient_beyond_all_numbers_is_an_error():
    """h = 0 stays where it is, and its derivative is multiplied by w / 4 in every step."""
    options = SurfaceOptions(length=1000, first=0, w_low=40, w_high=42, b_low=-21, b_high=-20, points=3, steps=1)
    with pytest.raises(CharlmError, match="beyond all numbers"):
        surface(options)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(UsageError, match="--w-low 6 must be below --w-high 5.6"):
        SurfaceOptions(w_low=6)
    with pytest.raises(UsageError, match="--b-low"):
        SurfaceOptions(b_low=-1.0, b_high=-1.0)
