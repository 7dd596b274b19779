"""How the memory that a chunk takes is kept for the next one, instead of being given back and mapped again.

Blocks of up to 32 MB stay with the C library's heap; a large fused lstm asks for larger ones, which are laid in large
pages. Nothing here changes a result, and elsewhere than on Linux nothing happens.
"""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import torch

MAX_KEPT_BYTES = 32 << 20
"""Bytes of a block, the most that glibc can be told to keep."""

FLOAT_BYTES = 4
"""Bytes of a number."""

LARGE_BLOCK_BYTES = 1 << 24
"""Bytes of all gates of a chunk from which large pages pay."""

HUGE_PAGE_BYTES = 2 << 20
"""Bytes of a large page, and of the smallest tensor that torch lays in one."""

HUGE_PAGES_FROM_BYTES = 1 << 25
"""Bytes of all gates of all layers from which what has large pages is given back after each step, for the gaps that it
would leave. At 2x256, 64 x 64, and at 3x512 that is at most a tenth of a step's time for a fifth to a quarter of its
memory; at 1x512, 32 x 64, which has half as much to hold, it would be a sixth (docs/notes.md)."""

HUGE_PAGES_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Where Linux says who has large pages: all, whoever asks, or nobody."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""


def configure_malloc(cell: str, hidden: int, characters: int, held_layers: int) -> None:
    """Have the memory that a chunk takes kept for the next one, in the way that is best for the network.

    Args:
        cell, hidden: of the network.
        characters: of a chunk, in all sequences.
        held: layers whose gates wait for the backward pass; none in evaluation.
    """
    gates = 4 * hidden * characters * FLOAT_BYTES
    large = cell == "lstm" and gates >= LARGE_BLOCK_BYTES and use_huge_pages()
    keep_freed_memory(HUGE_PAGE_BYTES if large and held_layers * gates >= HUGE_PAGES_FROM_BYTES else MAX_KEPT_BYTES)


def keep_freed_memory(max_block_bytes: int = MAX_KEPT_BYTES) -> None:
    """Let the C library keep the memory that is freed, for the next chunk's buffers of the same sizes.

    glibc gives blocks back to the system as soon as they are free; at each step they would be mapped and
    zeroed again, page by page, which took up to a third of it (docs/notes.md). The largest are given back still, or
    else the gaps between them would cost half the memory again. Elsewhere than in glibc nothing happens.

    Args:
        most: bytes of a block from which it is given back; glibc takes no more than `MAX_KEPT_BYTES`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, max_block_bytes)
        mallopt(_M_TRIM_THRESHOLD, -1)


def use_huge_pages() -> bool:
    """Have torch lay large tensors in large pages; returns whether it does.

    It pays with a large fused lstm, whose kernel asks for more than `MAX_KEPT_BYTES` at once. To map that again at each
    step is a five-hundredth of the work in large pages, and a step takes a fifth less time. Kept memory falls into
    pieces by them, with gaps of a third of it all; elsewhere large pages take memory and no less time (docs/notes.md).

    torch decides at a process's first tensor, and a user's own setting stands, so that it is seen what became of it:
    tensors in large pages begin at a page, as others do by a chance of one in 64.
    """
    if not _huge_pages_available():
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    some = [torch.empty(HUGE_PAGE_BYTES + 64 * number, dtype=torch.uint8, device="cpu") for number in range(1, 5)]
    return all(tensor.data_ptr() % mmap.PAGESIZE == 0 for tensor in some)


def _huge_pages_available() -> bool:
    """Whether the system has large pages for whoever asks."""
    try:
        return "[never]" not in HUGE_PAGES_SETTING.read_text(encoding="ascii")
    except OSError:
        return False
