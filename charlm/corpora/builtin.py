"""The corpus that needs no download and is made of nothing: this Python's own library.

What is left out: reading files (`charlm.data.sources`), and texts that are drawn (`charlm.synthetic`).
"""

import os
import sys
import sysconfig
from pathlib import Path

from charlm.errors import CorpusError

OUTSIDE = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders of the standard library that hold its test suites, or what others installed."""


def stdlib_files() -> list[tuple[str, Path]]:
    """The source files of this interpreter's standard library: POSIX path within it and path, sorted.

    Test suites, installed packages and files that are not UTF-8 are left out.

    Raises:
        CorpusError: the installation has no sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in OUTSIDE and not name.startswith("config-")]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    named = sorted((path.relative_to(root).as_posix(), path) for path in found)
    kept = [(name, path) for name, path in named if _is_utf8(path)]
    if not kept:
        raise CorpusError(
            f"python-stdlib: {root} has no .py files; Python {sys.version.split()[0]} is installed here without its "
            f"sources, prepare a text of your own instead: charlm prepare FILE"
        )
    return kept


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True
