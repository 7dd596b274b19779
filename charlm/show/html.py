"""Reports as one HTML file that opens from the disk and needs no network.

Templates lie in `templates/`; whatever is put into them is escaped, a text that contains `<script>` too.
Numbers of every character go in as base64, which a script of the page unpacks when it draws them.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from charlm.errors import UsageError
from charlm.files import check_place, write_atomically

MARK = b'<meta name="generator" content="charlm">'
"""In the head of every report."""


def page(template: str, **values: Any) -> str:
    """A whole page from a template and what it names; nothing in `values` is taken for markup."""
    return _templates().get_template(template).render(**values)


def packed(array: np.ndarray) -> str:
    """An array's bytes, little-endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def check_name(path: Path) -> Path:
    """A report takes the place of an earlier one, and of nothing else.

    Raises:
        UsageError: the name is not one of an HTML file.
        InputError: another file is there, or no file can be.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {path} is not the name of a report; give a name that ends in .html")
    check_place(path, "--html", MARK)
    return path


def save(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    write_atomically(path, text.encode("utf-8", "replace"))


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
