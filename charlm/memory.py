"""How much memory there is, and one clear refusal of what needs more, before any of it is taken.

Without it a network of a terabyte ends in a traceback, or in the system killing the process, or another one.
What is needed is what the arrays come to; what libraries take beside it is not counted.
"""

import os
from pathlib import Path

from charlm.errors import UsageError

MEMINFO = Path("/proc/meminfo")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says what a container may take."""


def available() -> int | None:
    """Bytes that can be taken without driving anything out: on Linux as the system says, elsewhere all there are.

    None where the system does not tell.
    """
    limits = [bytes for bytes in (_free(), *map(_number, LIMITS)) if bytes is not None]
    return min(limits) if limits else _installed()


def check(needed: int, what: str, advice: str, room: int | None = None) -> None:
    """Refuse what does not fit.

    Args:
        needed: bytes.
        what: needs them.
        advice: what to do about it.
        room: bytes that there are, where they are not those of this machine's main memory.

    Raises:
        UsageError: less is available.
    """
    room = available() if room is None else room
    if room is not None and needed > room:
        raise UsageError(f"{what} needs about {_size(needed)} of memory, and {_size(room)} are available; {advice}")


def _free() -> int | None:
    """What Linux counts as available, and room to swap."""
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return 1024 * sum(int(lines[key].split()[0]) for key in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _number(path: Path) -> int | None:
    """The limit in a file; None where there is none, which is written as `max` or as a huge number."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _size(bytes: int) -> str:
    return f"{bytes / 1e12:,.1f} TB" if bytes >= 1e12 else f"{bytes / 1e9:.1f} GB"
