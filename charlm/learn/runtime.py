"""Where and how torch computes: device, precision, threads, and how memory is had and kept."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import torch

from charlm import memory
from charlm.errors import UsageError
from charlm.spec import AUTO

MOST_THREADS = 32
"""Threads for each processor. More only wait for one another: with 4,096 on two, scoring 600 characters with 8
hidden units was not done after half a minute."""

MOST_KEPT = 32 << 20
"""Bytes of a block, the most that glibc can be told to keep."""


def find_device(wanted: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is a GPU, else the CPU. Products are exact from then on.

    torch lets cuDNN round the factors of float32 products to TF32 until it is told not to; `set_precision` may allow
    it.

    Raises:
        UsageError: this machine or this build of torch does not have it.
    """
    _round_products(False)
    if wanted == AUTO:
        return find_device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        build = "this torch is a CPU build" if torch.version.cuda is None else "no usable GPU was found"
        raise UsageError(f"--device cuda is not available: {build}; use --device cpu, or see the README on CUDA builds")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps is not available on this machine; use --device cpu")
    # Where several processes share a machine, each has a GPU of its own as the current one (`charlm.learn.ranks`).
    return torch.device("cuda", torch.cuda.current_device()) if wanted == "cuda" else torch.device(wanted)


def set_threads(threads: int | str) -> None:
    """Use that many processor threads; `auto` leaves torch's own choice.

    Raises:
        UsageError: they are so many that nothing would ever be done.
    """
    if isinstance(threads, int):
        processors = os.cpu_count() or 1
        if threads > MOST_THREADS * processors:
            raise UsageError(
                f"--threads {threads} is too much for this machine's {processors} processors; "
                f"give one for each, or at most {MOST_THREADS * processors}"
            )
        torch.set_num_threads(threads)


def check_memory(needed: int, device: torch.device) -> None:
    """Refuse training that does not fit.

    Raises:
        UsageError: it needs more bytes than are available where it computes.
    """
    room = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    advice = "choose a smaller --hidden, --layers, --embedding, --batch-size or --seq-len"
    memory.check(needed, "training this network", advice, room)


def arrange_memory(cell: str, hidden: int, characters: int, held: int) -> None:
    """Have the memory that a window takes kept for the next one, in the way that is best for the network.

    Args:
        cell, hidden: of the network.
        characters: of a window, in all lanes.
        held: layers whose gates wait for the backward pass; none in evaluation.
    """
    gates = 4 * hidden * characters * FLOAT
    large = cell == "lstm" and gates >= LARGE and large_pages()
    keep_memory(LARGE_PAGE if large and held * gates >= MUCH else MOST_KEPT)


def keep_memory(most: int = MOST_KEPT) -> None:
    """Let the C library keep the memory that is freed, for the next window's buffers of the same sizes.

    glibc gives blocks back to the system as soon as they are free; at each step they would be mapped and
    zeroed again, page by page, which took up to a third of it (docs/notes.md). The largest are given back still, or
    else the gaps between them would cost half the memory again. Elsewhere than in glibc nothing happens.

    Args:
        most: bytes of a block from which it is given back; glibc takes no more than `MOST_KEPT`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, most)
        mallopt(_M_TRIM_THRESHOLD, -1)


def large_pages() -> bool:
    """Have torch lay large tensors in large pages; returns whether it does.

    It pays with a large fused lstm, whose kernel asks for more than `MOST_KEPT` at once. To map that anew at each step
    is a five-hundredth of the work in large pages, and a step takes a fifth less time. Kept memory falls into pieces by
    them, with gaps of a third of it all; elsewhere large pages take memory and no less time (docs/notes.md).

    torch decides at a process's first tensor, and a user's own setting stands, so that it is seen what became of it:
    tensors in large pages begin at a page, as others do by a chance of one in 64.
    """
    if not _offered():
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    some = [torch.empty(LARGE_PAGE + 64 * more, dtype=torch.uint8, device="cpu") for more in range(1, 5)]
    return all(tensor.data_ptr() % mmap.PAGESIZE == 0 for tensor in some)


def _offered() -> bool:
    """Whether the system has large pages for whoever asks."""
    try:
        return "[never]" not in LARGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return False


FLOAT = 4
"""Bytes of a number."""

LARGE = 1 << 24
"""Bytes of all gates of a window from which large pages pay."""

LARGE_PAGE = 2 << 20
"""Bytes of a large page, and of the smallest tensor that torch lays in one."""

MUCH = 1 << 25
"""Bytes of all gates of all layers from which what has large pages is given back after each step, for the gaps that it
would leave. At 2x256, 64 x 64, and at 3x512 that is at most a tenth of a step's time for a fifth to a quarter of its
memory; at 1x512, 32 x 64, which has half as much to hold, it would be a sixth (docs/notes.md)."""

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Where Linux says who has large pages: all, whoever asks, or nobody."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""


def set_precision(precision: str, device: torch.device) -> None:
    """Allow or forbid TF32 products on CUDA.

    Raises:
        UsageError: tf32 was asked for and the device has none.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(f"--precision tf32 exists on CUDA only, the device is {device.type}; leave it out")
    _round_products(precision == "tf32")


def _round_products(to_tf32: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = to_tf32
    torch.backends.cudnn.allow_tf32 = to_tf32


def describe(device: torch.device, wanted: str) -> str:
    """One line that says what was chosen and why."""
    if device.type == "cuda":
        return f"device: cuda ({torch.cuda.get_device_name(device)})"
    why = "no usable GPU found, " if wanted == AUTO and torch.version.cuda else ""
    threads = torch.get_num_threads()
    noun = "thread" if threads == 1 else "threads"
    return f"device: cpu ({why}{threads} {noun})" if device.type == "cpu" else "device: mps"
