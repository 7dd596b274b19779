"""How much memory is available, and a refusal of what needs more, before any is allocated.

Otherwise a network of a terabyte would end in a traceback, or the system would kill this process or another one.
Only arrays are counted, not the memory that libraries need themselves.
"""

import os
from pathlib import Path

from charlm.errors import UsageError

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""The memory limit of a container on Linux (cgroups v2, v1)."""


def available() -> int | None:
    """Available bytes: on Linux those that the system reports, elsewhere all that are installed.

    None if they cannot be determined.
    """
    limits = [bytes for bytes in (_free_bytes(), *map(_limit_bytes, CGROUP_LIMITS)) if bytes is not None]
    return min(limits) if limits else _installed_bytes()


def check(needed: int, what: str, advice: str, limit: int | None = None) -> None:
    """Refuse what does not fit into memory.

    Args:
        needed: bytes.
        what: the work that needs them.
        advice: what the user can do.
        limit: available bytes, if not those of the main memory.

    Raises:
        UsageError: fewer are available.
    """
    limit = available() if limit is None else limit
    if limit is not None and needed > limit:
        raise UsageError(f"{what} needs about {_size(needed)} of memory, and {_size(limit)} are available; {advice}")


def _free_bytes() -> int | None:
    """Available memory and free swap on Linux."""
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return 1024 * sum(int(lines[key].split()[0]) for key in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _limit_bytes(path: Path) -> int | None:
    """The limit in a file; None without one, which is written `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _installed_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _size(bytes: int) -> str:
    return f"{bytes / 1e12:,.1f} TB" if bytes >= 1e12 else f"{bytes / 1e9:.1f} GB"
