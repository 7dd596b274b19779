"""The built-in text that needs no download: the standard library of this Python.

What is left out: reading files (`charlm.data.sources`), and texts that are drawn (`charlm.synthetic`).
"""

import os
import sys
import sysconfig
from pathlib import Path

from charlm.errors import CorpusError

EXCLUDED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders of the standard library with its test suites and with installed packages."""


def stdlib_files() -> list[tuple[str, Path]]:
    """The source files of this interpreter's standard library: POSIX path within it and path, sorted.

    Test suites, installed packages and files that are not UTF-8 are left out.

    Raises:
        CorpusError: the installation has no sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in EXCLUDED_FOLDERS and not name.startswith("config-")]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    named = sorted((path.relative_to(root).as_posix(), path) for path in paths)
    sources = [(name, path) for name, path in named if _is_utf8(path)]
    if not sources:
        raise CorpusError(
            f"python-stdlib: {root} has no .py files; Python {sys.version.split()[0]} is installed here without its "
            f"sources, prepare a text of your own instead: charlm prepare FILE"
        )
    return sources


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True
