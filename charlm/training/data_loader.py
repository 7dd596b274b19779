"""The batches of the train split, as tensors on the network's device.

On the CPU a batch is cut from the memory-mapped text. On a GPU the split is copied there once, if it takes no more
than a quarter of the free memory, and batches are cut there: no step waits for the host.
"""

import numpy as np
import torch
from torch import Tensor

from charlm.data.batches import Batches
from charlm.data.corpus import check_ids
from charlm.data.memmap import PageReleaser
from charlm.tokenizers.vocabulary import BOUNDARY

MAX_DEVICE_SHARE = 0.25
"""Of a GPU's free memory that the text may take."""

COPY_SYMBOLS = 1 << 20
"""Symbols that are copied at a time."""


class DataLoader:
    """Inputs and targets of every step.

    Args:
        batches: of the train split.
        device: that of the network.
        memory_budget: bytes that the text may take there; None asks the device.
    """

    def __init__(self, batches: Batches, device: torch.device, memory_budget: int | None = None) -> None:
        self.batches, self._device, self._pages = batches, device, PageReleaser(batches.ids)
        self._ids: Tensor | None = None
        if device.type == "cuda" and memory_budget is None:
            memory_budget = int(MAX_DEVICE_SHARE * torch.cuda.mem_get_info(device)[0])
        dtype = torch.uint8 if batches.ids.dtype == np.uint8 else torch.int32
        if memory_budget is not None and len(batches.ids) * dtype.itemsize <= memory_budget:
            self._ids = _copy_to_device(batches, self._pages, dtype, device)
            self._positions = torch.from_numpy(batches.positions(0)).to(device)
            self._right_positions = torch.from_numpy(batches.right_positions(0)).to(device)

    @property
    def holds_whole_text(self) -> bool:
        """Whether the text is on the device."""
        return self._ids is not None

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets (T, B) int64 of a step."""
        if self._ids is not None:
            positions = self._positions + self.batches.first_position(step)
            return self._ids[positions].long(), self._ids[positions + 1].long()
        inputs, targets = (torch.from_numpy(array) for array in self.batches.batch_at(step))
        self._pages.advance(inputs.numel())
        return to_device(inputs, self._device), to_device(targets, self._device)

    def right_context(self, step: int) -> tuple[Tensor, Tensor]:
        """The symbols to the right of the targets of a step (2 T, B), and which sequences (B,) reach the end of the
        text there; see `Batches.right_context`."""
        if self._ids is not None:
            positions = self._right_positions + self.batches.first_position(step)
            outside = positions >= len(self._ids)
            ids = self._ids[positions.clamp(max=len(self._ids) - 1)].long()
            return ids.masked_fill(outside, BOUNDARY), outside[0]
        ids, outside = (torch.from_numpy(array) for array in self.batches.right_context(step))
        return to_device(ids, self._device), to_device(outside, self._device)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting for it if that is an NVIDIA GPU."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _copy_to_device(batches: Batches, pages: PageReleaser, dtype: torch.dtype, device: torch.device) -> Tensor:
    """All of a memory-mapped text on the device, by way of a little memory here."""
    ids = batches.ids
    copy = torch.empty(len(ids), dtype=dtype, device=device)
    for first in range(0, len(ids), COPY_SYMBOLS):
        block = np.array(ids[first : first + COPY_SYMBOLS], np.int64)
        if batches.vocab_size is not None:
            check_ids(block, batches.vocab_size)
        copy[first : first + COPY_SYMBOLS] = torch.from_numpy(block).to(dtype)
        pages.advance(block.size)
    return copy
