"""Reports as one HTML file that opens from the disk and needs no network.

The templates are in `templates/`; all values put into them are escaped, such as a text that contains `<script>`.
Numbers of every character are encoded in base64, which a script of the page decodes.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from charlm.errors import UsageError
from charlm.files import check_place, write_atomically

REPORT_MARK = b'<meta name="generator" content="charlm">'
"""Marks a file as a report of charlm, which the next one may replace."""


def page(template: str, **values: Any) -> str:
    """Render a page from a template and its variables, which are escaped."""
    return _templates().get_template(template).render(**values)


def base64_bytes(array: np.ndarray) -> str:
    """The bytes of an array, little-endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def check_name(path: Path) -> Path:
    """Refuse a path that is not that of a report: it may replace an earlier report, but no other file.

    Raises:
        UsageError: the name does not end in .html or .htm.
        InputError: another file is there, or none can be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {path} is not the name of a report; give a name that ends in .html")
    check_place(path, "--html", REPORT_MARK)
    return path


def save(path: Path, text: str) -> None:
    """Write a page atomically."""
    write_atomically(path, text.encode("utf-8", "replace"))


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
