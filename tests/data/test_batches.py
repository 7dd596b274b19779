"""Lanes read a text once, in order, and none reads what another reads."""

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charlm.data.batches import Batches, too_short
from charlm.errors import CorpusError

sizes = st.tuples(st.integers(2, 400), st.integers(1, 12), st.integers(1, 30))


def places(symbols: int) -> np.ndarray:
    """A text in which every symbol is its own place."""
    return np.arange(symbols, dtype=np.uint16)


def lanes_of(size) -> Batches:
    """Lanes of a text that is long enough."""
    symbols, batch, seq_len = size
    assume((symbols - 1) // batch >= seq_len)
    return Batches(places(symbols), batch, seq_len)


@given(sizes)
def test_every_target_is_the_symbol_after_its_input(size):
    lanes = lanes_of(size)
    for step in range(lanes.batches_per_epoch):
        inputs, targets = lanes.batch_at(step)
        assert inputs.shape == targets.shape == (lanes.seq_len, lanes.batch_size)
        assert inputs.dtype == targets.dtype == np.int64
        np.testing.assert_array_equal(targets, inputs + 1)
        np.testing.assert_array_equal(np.diff(inputs, axis=0), 1)


@given(sizes)
def test_what_stands_behind_the_targets_is_read_from_its_end(size):
    lanes = lanes_of(size)
    text = np.append(lanes.ids, np.zeros(2 * lanes.seq_len, np.uint16))  # beyond the text is the boundary
    for step in range(lanes.batches_per_epoch):
        ids, ends = lanes.right_context(step)
        _, targets = lanes.batch_at(step)
        assert ids.shape == (2 * lanes.seq_len, lanes.batch_size) and ids.dtype == np.int64
        for lane in range(lanes.batch_size):
            first = targets[0, lane] + 1
            assert ids[::-1, lane].tolist() == text[first : first + 2 * lanes.seq_len].tolist()
            assert ends[lane] == (first + 2 * lanes.seq_len > len(lanes.ids))


def test_a_symbol_that_the_table_lacks_is_found_behind_the_last_window_too():
    ids = np.array([2] * 42 + [9], np.uint8)
    lanes = Batches(ids, 2, 10, vocab_size=5)
    for step in range(lanes.batches_per_epoch):
        lanes.batch_at(step)
    with pytest.raises(CorpusError, match="the id 9, and its table only 5 symbols"):
        lanes.right_context(lanes.batches_per_epoch - 1)


@given(sizes)
def test_windows_of_a_lane_follow_one_another_without_a_gap(size):
    lanes = lanes_of(size)
    whole = np.concatenate([lanes.batch_at(step)[0] for step in range(lanes.batches_per_epoch)])
    for lane, column in enumerate(whole.T):
        np.testing.assert_array_equal(
            column, lane * lanes.row_length + np.arange(lanes.batches_per_epoch * lanes.seq_len)
        )


@given(sizes)
def test_lanes_share_no_character_and_used_and_left_over_are_the_text(size):
    lanes = lanes_of(size)
    targets = np.concatenate([lanes.batch_at(step)[1].ravel() for step in range(lanes.batches_per_epoch)])
    assert np.unique(targets).size == targets.size == lanes.used
    assert targets.min() >= 1 and targets.max() < size[0]
    assert lanes.used + lanes.dropped == size[0] - 1
    assert 0 <= lanes.dropped < lanes.batch_size * (lanes.seq_len + 1)


@given(sizes, st.integers(0, 3), st.integers(0, 50))
def test_epochs_repeat_and_only_their_first_window_starts_one(size, epoch, step):
    lanes = lanes_of(size)
    step %= lanes.batches_per_epoch
    later = epoch * lanes.batches_per_epoch + step
    for one, other in zip(lanes.batch_at(step), lanes.batch_at(later), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lanes.starts_epoch(later) == (step == 0)


@given(sizes, st.integers(1, 4))
def test_columns_of_all_processes_are_those_of_the_whole_batch(size, world):
    symbols, batch, seq_len = size
    whole = lanes_of((symbols, batch * world, seq_len))
    for step in range(min(whole.batches_per_epoch, 3)):
        for part, wanted in zip(range(2), whole.batch_at(step), strict=True):
            columns = [
                Batches(whole.ids, batch * world, seq_len, rank, world).batch_at(step)[part] for rank in range(world)
            ]
            np.testing.assert_array_equal(np.concatenate(columns, axis=1), wanted)


@given(sizes)
def test_text_is_refused_exactly_where_batch_times_window_exceed_it(size):
    symbols, batch, seq_len = size
    if batch * seq_len <= symbols - 1:
        assert Batches(places(symbols), batch, seq_len).batches_per_epoch >= 1
    else:
        with pytest.raises(CorpusError):
            Batches(places(symbols), batch, seq_len)


@given(st.integers(2, 3000), st.integers(1, 4000), st.integers(1, 4000))
def test_sizes_that_a_refusal_suggests_are_the_largest_that_fit(symbols, batch, seq_len):
    assume(batch * seq_len > symbols - 1)
    with pytest.raises(CorpusError) as caught:
        Batches(places(symbols), batch, seq_len)
    message = str(caught.value)
    assert "\n" not in message and f"{symbols - 1:,} characters" in message and f"{batch * seq_len:,}" in message
    advice = message.split("at most ")[1]
    both = re.fullmatch(r"--batch-size (\d+) --seq-len (\d+) fits", advice)
    if both:
        suggested = [(int(both[1]), int(both[2]))]
    else:
        suggested = [
            (int(number), seq_len) for number in re.findall(r"--batch-size (\d+) fits with this window", advice)
        ]
        suggested += [(batch, int(number)) for number in re.findall(r"--seq-len (\d+) with this batch", advice)]
    assert suggested
    for fitting_batch, fitting_window in suggested:
        assert Batches(places(symbols), fitting_batch, fitting_window).batches_per_epoch >= 1
        if fitting_batch != batch:
            with pytest.raises(CorpusError):
                Batches(places(symbols), fitting_batch + 1, fitting_window)
        if fitting_window != seq_len:
            with pytest.raises(CorpusError):
                Batches(places(symbols), fitting_batch, fitting_window + 1)


@pytest.mark.parametrize("symbols", [0, 1])
def test_empty_text_is_refused_with_the_only_remedy(symbols):
    with pytest.raises(CorpusError, match="empty; prepare a longer text"):
        Batches(places(symbols), 1, 1)
    assert "--batch-size" not in too_short(symbols - 1, 4, 4)


def test_text_itself_is_not_copied_and_may_be_read_only():
    ids = places(1000)
    ids.flags.writeable = False
    lanes = Batches(ids, 4, 5)
    assert lanes.ids is ids
    inputs, _ = lanes.batch_at(0)
    inputs += 1
    assert (ids == np.arange(1000)).all()
