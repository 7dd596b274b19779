"""The profile of a unit against its definition."""

import numpy as np
import pytest

from charlm.inspect.cells import profile
from charlm.model.units import HiddenUnit


def test_a_profile_is_what_it_says():
    random = np.random.default_rng(2)
    ids = random.integers(2, 9, 500)
    values = random.normal(size=500).astype(np.float32) + (ids == 4) * 3 - (ids == 7) * 3
    values[0] = 99  # of a symbol that is seen once
    ids[0] = 1
    found = profile(HiddenUnit(0, 1), ids, values)
    assert found.unit == HiddenUnit(0, 1)
    assert found.mean == pytest.approx(values.mean(), abs=1e-5)
    assert found.deviation == pytest.approx(values.std(), abs=1e-5)
    assert (found.lowest, found.highest) == (values.min(), 99)
    means = {symbol: values[ids == symbol].mean() for symbol in range(2, 9)}
    order = sorted(means, key=means.__getitem__)
    assert found.high_on == tuple(order[::-1][:3]) and found.high_on[0] == 4
    assert found.low_on == tuple(order[:3]) and found.low_on[0] == 7


def test_of_a_short_text_the_most_frequent_symbols_count():
    found = profile(HiddenUnit(0, 0), np.array([2, 2, 3, 5]), np.array([0.1, 0.3, 0.9, -1.0]))
    assert found.high_on == (2,) == found.low_on
