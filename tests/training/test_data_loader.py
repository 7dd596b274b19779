"""A window cut on the device is the window cut from the text."""

import numpy as np
import pytest
import torch

from charlm.data.batches import Batches
from charlm.training import data_loader
from charlm.training.data_loader import DataLoader

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("block", [100, 1 << 20])
def test_window_is_the_same_wherever_the_text_lies(monkeypatch, dtype, rank, world, block):
    monkeypatch.setattr(data_loader, "COPY_SYMBOLS", block)
    ids = np.random.default_rng(0).integers(0, 250, 1003).astype(dtype)
    ids.flags.writeable = False  # as a memory-mapped text is not
    lanes = Batches(ids, 6, 16, rank, world)
    there, here = DataLoader(lanes, CPU, memory_budget=1 << 20), DataLoader(lanes, CPU)
    assert there.holds_whole_text and not here.holds_whole_text
    for step in range(2 * lanes.batches_per_epoch + 1):
        for found, also, wanted in zip(there.batch(step), here.batch(step), lanes.batch_at(step), strict=True):
            assert found.dtype == also.dtype == torch.int64
            np.testing.assert_array_equal(found.numpy(), wanted)
            np.testing.assert_array_equal(also.numpy(), wanted)
        for found, also, wanted in zip(
            there.right_context(step), here.right_context(step), lanes.right_context(step), strict=True
        ):
            assert found.dtype == also.dtype
            np.testing.assert_array_equal(found.numpy(), wanted)
            np.testing.assert_array_equal(also.numpy(), wanted)


def test_text_that_takes_too_much_room_stays_where_it_is():
    lanes = Batches(np.zeros(1000, np.uint16), 2, 10)
    assert DataLoader(lanes, CPU, memory_budget=4000).holds_whole_text, "two bytes a symbol, which torch keeps in four"
    assert not DataLoader(lanes, CPU, memory_budget=3999).holds_whole_text
