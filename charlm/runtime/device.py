"""Where and how torch computes: device, precision and threads, and whether there is memory for it."""

import os

import torch

from charlm import memory
from charlm.errors import UsageError
from charlm.spec import AUTO

MAX_THREADS = 32
"""Threads for each processor. More only wait for one another: with 4,096 on two, scoring 600 characters with 8
hidden units was not done after half a minute."""


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is a GPU, else the CPU. Products are exact from then on.

    torch lets cuDNN round the factors of float32 products to TF32 until it is told not to; `set_precision` may allow
    it.

    Raises:
        UsageError: this machine or this build of torch does not have it.
    """
    _round_products(False)
    if name == AUTO:
        return find_device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        build = "this torch is a CPU build" if torch.version.cuda is None else "no usable GPU was found"
        raise UsageError(f"--device cuda is not available: {build}; use --device cpu, or see the README on CUDA builds")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps is not available on this machine; use --device cpu")
    # Where several processes share a machine, each has a GPU of its own as the current one
    # (`charlm.runtime.distributed`).
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def set_threads(threads: int | str) -> None:
    """Use that many processor threads; `auto` leaves torch's own choice.

    Raises:
        UsageError: they are so many that nothing would ever be done.
    """
    if isinstance(threads, int):
        processors = os.cpu_count() or 1
        if threads > MAX_THREADS * processors:
            raise UsageError(
                f"--threads {threads} is too much for this machine's {processors} processors; "
                f"give one for each, or at most {MAX_THREADS * processors}"
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


def describe_device(device: torch.device, name: str) -> str:
    """One line that says what was chosen and why."""
    if device.type == "cuda":
        return f"device: cuda ({torch.cuda.get_device_name(device)})"
    why = "no usable GPU found, " if name == AUTO and torch.version.cuda else ""
    threads = torch.get_num_threads()
    noun = "thread" if threads == 1 else "threads"
    return f"device: cpu ({why}{threads} {noun})" if device.type == "cpu" else "device: mps"
