"""Log-probabilities sum to one for logits of any size, and a loss is the negative log-probability of its symbol."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from charlm.model.logits import cross_entropy, log_softmax

logits_rows = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 8)), elements=st.floats(-50, 50, width=32)
)


@given(logits_rows)
def test_log_softmax_normalises_and_keeps_differences(logits):
    log_probabilities = log_softmax(logits)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(log_probabilities - log_probabilities[:, :1], logits - logits[:, :1], atol=1e-12)


@given(st.floats(-1e300, 1e300), st.floats(-1e4, 1e4))
def test_log_softmax_depends_on_differences_alone(shift, gap):
    log_probabilities = log_softmax(np.array([[shift, shift + gap]]))
    assert np.isfinite(log_probabilities).all() and log_probabilities.max() <= 0
    if abs(shift) < 1e4:
        np.testing.assert_allclose(log_probabilities, log_softmax(np.array([[0.0, gap]])), rtol=1e-9, atol=1e-9)


@given(logits_rows, st.randoms(use_true_random=False))
def test_loss_is_the_negative_log_probability_of_the_symbol(logits, random):
    ids = np.array([random.randrange(logits.shape[1]) for _ in logits])
    losses = cross_entropy(logits, ids)
    assert losses.tolist() == [-log_softmax(logits)[row, symbol] for row, symbol in enumerate(ids)]


def test_loss_of_a_certain_symbol_is_positive_zero():
    assert str(cross_entropy(np.array([[0.0, -1e5]], np.float32), np.array([0]))[0]) == "0.0"
