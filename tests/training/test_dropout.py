"""A mask follows from seed, step and layer, and keeps what it lets through in expectation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.training.dropout import RESET_DRAW_STEPS, StateResets, StepRandom, dropout_masks

T, B, H = 16, 8, 64
ONES = torch.ones(T, B, H)


def kept(rate, seed=0, step=0, layer=0, x=ONES):
    return dropout_masks(rate, StepRandom(seed, step))(layer, x)


def test_mask_follows_from_seed_step_and_layer_alone():
    wanted = kept(0.5, seed=3, step=7, layer=1)
    drop = dropout_masks(0.5, StepRandom(3, 7))
    torch.manual_seed(99)
    drop(0, ONES)
    torch.rand(100)
    assert torch.equal(drop(1, ONES), wanted) and torch.equal(drop(1, ONES), wanted)


def test_a_mask_that_moved_on_is_that_of_the_new_step_and_lies_where_the_old_one_lay():
    noise = StepRandom(3, 7)
    drop, purposes = dropout_masks(0.5, noise), ("0", "1")
    first = [drop(layer, ONES) for layer in (0, 1)]
    places = [noise.bytes(purpose, ONES.numel(), ONES.device).data_ptr() for purpose in purposes]
    for step in (8, 7):
        noise.seek(step)
        assert all(torch.equal(drop(layer, ONES), kept(0.5, seed=3, step=step, layer=layer)) for layer in (0, 1))
        assert places == [noise.bytes(purpose, ONES.numel(), ONES.device).data_ptr() for purpose in purposes]
    assert all(torch.equal(drop(layer, ONES), first[layer]) for layer in (0, 1))


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 1}, {"layer": 1}])
def test_another_seed_step_or_layer_drops_others(other):
    one, two = kept(0.5) > 0, kept(0.5, **other) > 0
    assert 0.45 < (one == two).float().mean() < 0.55


def test_weights_are_dropped_apart_from_activations():
    one, other = (
        dropout_masks(0.5, StepRandom(0))(0, ONES) > 0,
        dropout_masks(0.5, StepRandom(0), "weights ")(0, ONES) > 0,
    )
    assert 0.45 < (one == other).float().mean() < 0.55


def test_step_and_layer_do_not_run_into_each_other():
    """(step 1, layer 11) and (step 11, layer 1) read alike without a separator."""
    assert not torch.equal(kept(0.5, step=1, layer=11), kept(0.5, step=11, layer=1))
    assert not torch.equal(kept(0.5, seed=1, step=11), kept(0.5, seed=11, step=1))


def test_drawing_a_mask_takes_no_number_from_torch_s_generator():
    before = torch.get_rng_state()
    kept(0.5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.5, 0.9])
def test_share_that_is_dropped_is_the_rate_and_what_stays_is_scaled_up(rate):
    found = torch.cat([kept(rate, step=step).flatten() for step in range(8)])
    dropped = found == 0
    level = round(rate * 256) / 256
    assert abs(level - rate) <= 1 / 512
    assert abs(dropped.double().mean() - level) < 5 * (level * (1 - level) / found.numel()) ** 0.5
    torch.testing.assert_close(found[~dropped], torch.full_like(found[~dropped], 1 / (1 - level)))


@given(st.floats(1 / 256, 1, exclude_max=True))
def test_expectation_is_kept_at_every_rate(rate):
    """However high the rate, something stays: the mean over many draws is that of the input."""
    found = torch.cat([kept(rate, step=step).flatten() for step in range(4)]).double()
    scale = float(found.max())
    assert scale > 1 and float(found.mean()) == pytest.approx(1, abs=6 * (scale / found.numel()) ** 0.5)


@pytest.mark.parametrize("rate", [0.0, 1 / 1024])
def test_nothing_is_dropped_at_rate_zero_or_below_half_a_level(rate):
    assert dropout_masks(rate, StepRandom(0)) is None


def test_units_columns_and_steps_in_time_are_dropped_independently():
    mask = (kept(0.5) > 0).float()
    for dimension in range(3):
        others = [d for d in range(3) if d != dimension]
        assert (mask.mean(others) - 0.5).abs().max() < 0.25
        one, two = mask.select(dimension, 0), mask.select(dimension, 1)
        assert 0.3 < (one == two).float().mean() < 0.7


def test_a_locked_mask_is_the_same_at_all_steps_of_a_window_and_another_in_the_next():
    found, after = (dropout_masks(0.5, StepRandom(0, step), locked=True)(0, ONES) for step in (0, 1))
    assert (found == found[:1]).all() and 0.3 < (found > 0).float().mean() < 0.7
    assert 0.3 < (found[0] == after[0]).float().mean() < 0.7
    one, other = found[0, 0] > 0, found[0, 1] > 0
    assert 0.25 < (one == other).float().mean() < 0.75, "lanes are dropped by themselves"
    share = (
        torch.stack([dropout_masks(0.25, StepRandom(0, step), locked=True)(0, ONES)[0] == 0 for step in range(40)])
        .double()
        .mean()
    )
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / (40 * B * H)) ** 0.5


def test_symbols_are_dropped_as_a_whole_and_scaled_up():
    found = torch.stack(
        [dropout_masks(0.25, StepRandom(1, step), "symbols ")(0, torch.ones(200, 1)) for step in range(40)]
    )
    assert found.shape == (40, 200, 1) and abs((found == 0).double().mean() - 0.25) < 5 * (0.25 * 0.75 / 8000) ** 0.5
    torch.testing.assert_close(found[found > 0], torch.full_like(found[found > 0], 4 / 3))


def test_gradient_passes_where_the_activation_did():
    x = torch.randn(T, B, H, generator=torch.Generator().manual_seed(1)).requires_grad_()
    dropout_masks(0.5, StepRandom(0))(0, x).sum().backward()
    assert torch.equal(x.grad, kept(0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_type_of_the_activations_is_kept_and_the_input_is_not_changed(dtype):
    x = torch.ones(3, 1, 5, dtype=dtype)
    found = kept(0.5, x=x)
    assert found.dtype == dtype and (x == 1).all()
    assert set(found.flatten().tolist()) == {0.0, 2.0}


def cold(share, seed, step, batch=64, **more):
    """The lanes that begin cold at one step, by an object that was asked for no other."""
    found = StateResets(share, seed, batch, **more).at(step)
    return torch.zeros(batch, dtype=torch.bool)[more.get("own", slice(None))] if found is None else found


def test_lanes_start_cold_as_often_as_asked_and_whatever_else_is_drawn():
    found = torch.stack([cold(0.25, 3, step) for step in range(200)])
    assert abs(found.double().mean() - 0.25) < 5 * (0.25 * 0.75 / found.numel()) ** 0.5
    torch.rand(10)
    assert torch.equal(cold(0.25, 3, 7), found[7])
    assert not torch.equal(cold(0.25, 4, 7), found[7])
    assert not torch.equal(cold(0.25, 3, 7, side="reverse "), found[7])
    assert not cold(0.0, 3, 7).any() and cold(1.0, 3, 7).all()


def test_lanes_that_start_cold_hang_on_the_step_and_not_on_what_was_asked_before():
    lanes = StateResets(0.01, 3, 16)
    steps = np.random.default_rng(0).integers(0, 1000, 300).tolist()
    for step in [*range(2 * RESET_DRAW_STEPS + 3), *steps]:
        found = lanes.at(step)
        assert torch.equal(torch.zeros(16, dtype=torch.bool) if found is None else found, cold(0.01, 3, step, 16)), step
        assert found is None or found.any()


def test_a_process_has_its_own_part_of_the_lanes_that_start_cold():
    for step in range(20):
        parts = [cold(0.2, 3, step, own=slice(first, first + 16)) for first in range(0, 64, 16)]
        assert torch.equal(torch.cat(parts), cold(0.2, 3, step))
