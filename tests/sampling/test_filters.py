"""The filters on four numbers that can be worked out by hand, and the draw against its distribution."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from charlm.model.logits import log_softmax
from charlm.sampling.filters import NEG_INF, SamplingParams, apply_temperature, min_p, sample_ids, top_k, top_p

P = np.array([[0.4, 0.1, 0.3, 0.2]])
LOGITS = np.log(P) + 5
EDGES = np.array([0.0, 2.0**-1074, 0.5, 1 - 2**-53])

rows = arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 8)), elements=st.floats(-50, 50))
rules = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 1e-320, 1e-3, 0.7, 1.0, 1e3, 2.0**53]),
    top_k=st.integers(0, 10),
    top_p=st.sampled_from([1e-300, 0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 1e-300, 0.1, 1.0]),
)


def probabilities(logits):
    return np.exp(log_softmax(logits))


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        (apply_temperature(LOGITS, 1.0), [0.4, 0.1, 0.3, 0.2]),
        (apply_temperature(LOGITS, 0.5), [16 / 30, 1 / 30, 9 / 30, 4 / 30]),
        (apply_temperature(LOGITS, 0), [1, 0, 0, 0]),
        (apply_temperature(LOGITS, 1e-3), [1, 0, 0, 0]),
        (top_k(LOGITS, 1), [1, 0, 0, 0]),
        (top_k(LOGITS, 2), [4 / 7, 0, 3 / 7, 0]),
        (top_k(LOGITS, 3), [4 / 9, 0, 3 / 9, 2 / 9]),
        (top_k(LOGITS, 4), [0.4, 0.1, 0.3, 0.2]),
        (top_k(LOGITS, 99), [0.4, 0.1, 0.3, 0.2]),
        (top_p(LOGITS, 0.05), [1, 0, 0, 0]),
        (top_p(LOGITS, 0.39), [1, 0, 0, 0]),
        (top_p(LOGITS, 0.41), [4 / 7, 0, 3 / 7, 0]),
        (top_p(LOGITS, 0.71), [4 / 9, 0, 3 / 9, 2 / 9]),
        (top_p(LOGITS, 0.91), [0.4, 0.1, 0.3, 0.2]),
        (min_p(LOGITS, 0.1), [0.4, 0.1, 0.3, 0.2]),
        (min_p(LOGITS, 0.3), [4 / 9, 0, 3 / 9, 2 / 9]),
        (min_p(LOGITS, 0.6), [4 / 7, 0, 3 / 7, 0]),
        (min_p(LOGITS, 1.0), [1, 0, 0, 0]),
    ],
)
def test_filters_give_the_distributions_worked_out_by_hand(filtered, expected):
    np.testing.assert_allclose(probabilities(filtered)[0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (SamplingParams(), [0.4, 0.1, 0.3, 0.2]),
        (SamplingParams(temperature=0), [1, 0, 0, 0]),
        (SamplingParams(temperature=0, top_k=3, top_p=0.9, min_p=0.1), [1, 0, 0, 0]),
        # Tempered to 16 4 9 1 / 30 before top-p looks: .53 and .3 reach .8, untempered .4 and .3 do not.
        (SamplingParams(temperature=0.5, top_p=0.8), [16 / 25, 0, 9 / 25, 0]),
        # Top-k leaves 4 3 2 / 9, of which 4 and 3 reach .7; of the whole .4 and .3 would not.
        (SamplingParams(top_k=3, top_p=0.72), [4 / 7, 0, 3 / 7, 0]),
        (SamplingParams(top_k=3, min_p=0.7), [4 / 7, 0, 3 / 7, 0]),
    ],
)
def test_filters_apply_in_the_order_temperature_top_k_top_p_min_p(chosen, expected):
    np.testing.assert_allclose(probabilities(chosen.apply(LOGITS))[0], expected, rtol=1e-12, atol=1e-15)


def test_ties_go_to_the_lower_id():
    equal = np.zeros((1, 4))
    assert top_k(equal, 2).tolist() == [[0, 0, NEG_INF, NEG_INF]]
    assert sample_ids(apply_temperature(equal, 0), np.array([1 - 2**-53])).tolist() == [0]


def test_each_row_is_filtered_for_itself():
    both = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]))
    assert np.isfinite(top_k(both, 1)).tolist() == [[True, False, False], [False, False, True]]
    assert np.isfinite(top_p(both, 0.8)).tolist() == [[True, True, False], [False, True, True]]
    assert np.isfinite(min_p(both, 0.5)).tolist() == [[True, False, False], [False, False, True]]


@given(rows, rules)
def test_filters_warn_of_nothing_keep_the_likeliest_and_change_no_input(logits, chosen):
    kept = logits.copy()
    with warnings.catch_warnings(), np.errstate(over="warn", invalid="warn", divide="warn"):
        warnings.simplefilter("error")
        filtered = chosen.apply(logits)
    np.testing.assert_array_equal(logits, kept)
    assert filtered.dtype == np.float64 and not np.isnan(filtered).any()
    warm = apply_temperature(
        logits.astype(np.float64), chosen.temperature
    )  # where a high temperature makes more of them equal
    likeliest = warm == warm.max(axis=-1, keepdims=True)
    assert (np.isfinite(filtered) & likeliest).any(axis=-1).all()
    allowed = np.isfinite(filtered).sum(axis=-1)
    assert not chosen.top_k or (allowed <= chosen.top_k).all()
    np.testing.assert_allclose(probabilities(filtered).sum(axis=-1), 1, rtol=1e-12)


@given(rows, rules, st.sampled_from(list(EDGES)))
def test_nothing_that_was_filtered_out_is_ever_drawn(logits, chosen, uniform):
    filtered = chosen.apply(logits)
    drawn = sample_ids(filtered, np.full(len(logits), uniform))
    assert np.isfinite(np.take_along_axis(filtered, drawn[:, None], axis=-1)).all()


@pytest.mark.parametrize("allowed", [[0], [3], [1, 2], [0, 3]])
def test_impossible_symbols_at_either_end_are_not_drawn_at_the_edges_of_the_unit_interval(allowed):
    logits = np.full((len(EDGES), 4), NEG_INF)
    logits[:, allowed] = [-900.0, 0.0][: len(allowed)] if len(allowed) > 1 else 3.0
    assert set(sample_ids(logits, EDGES).tolist()) <= set(allowed)


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_frequencies_are_the_probabilities(temperature):
    """A grid of uniforms gives each symbol its share to within one draw: the inverse of the distribution is exact."""
    number = 10_000
    logits = SamplingParams(temperature).apply(
        np.array([[3.0, -800.0, 1.5, 0.0, 2.9, 800.0 if temperature > 1 else 2.0]])
    )
    uniforms = (np.arange(number) + 0.5) / number
    counts = np.bincount(sample_ids(logits.repeat(number, 0), uniforms), minlength=6)
    assert np.abs(counts - number * probabilities(logits)[0]).max() <= 1


def test_draw_is_the_inverse_of_the_cumulative_distribution():
    logits = np.log(np.array([[0.25, 0.5, 0.25]])).repeat(6, 0)
    uniforms = np.array([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 0.9999])
    assert sample_ids(logits, uniforms).tolist() == [0, 0, 1, 1, 2, 2]


def test_extreme_logits_and_temperatures_do_not_overflow():
    logits = np.array([[1e4, -1e4, 0.0, 9999.0]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        cold, hot = SamplingParams(1e-3).apply(logits), SamplingParams(1e9).apply(logits)
        np.testing.assert_allclose(probabilities(cold), [[1, 0, 0, 0]], atol=1e-12)
        np.testing.assert_allclose(probabilities(hot), [[0.25] * 4], rtol=1e-4)
