"""The cache of downloaded texts: a folder for each, with a record of the download next to the text.

    corpora/NAME/            the text, as one file or a folder of files
    corpora/NAME/.download.json
                             its URL, size, SHA-256 and date; hidden, and so not part of the text
    corpora/.NAME.part/      a partial download

A folder without that record was not downloaded by charlm. What is left out: downloading (`charlm.corpora.download`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charlm.corpora.catalogue import Entry
from charlm.files import write_atomically
from charlm.schema import Schema, check, is_bool, is_count, is_text

ROOT = Path("corpora")
"""Folder of downloaded texts, below the folder in which a command runs."""

RECORD = ".download.json"
MAX_RECORD_BYTES = 1 << 16
"""Bytes that a record may have; one of charlm has a few hundred."""


@dataclass(frozen=True)
class DownloadRecord:
    """The record of a download.

    Attributes:
        address: URL of the file.
        bytes, sha256: of the downloaded file, before it was unpacked.
        verified: whether the catalogue had its SHA-256.
        fetched: time of the download in UTC, ISO 8601.
    """

    address: str
    bytes: int
    sha256: str
    verified: bool
    fetched: str

    def write(self, folder: Path) -> None:
        """Write the record into the folder of its text. Raises `CharlmError` if that fails."""
        write_atomically(folder / RECORD, json.dumps(asdict(self), indent=1) + "\n")


def read_record(folder: Path) -> DownloadRecord | None:
    """The record of the download in a folder; None if there is none, or it is damaged."""
    try:
        values = json.loads(read_short(folder / RECORD))
        check(values, _SCHEMA)
        return DownloadRecord(**{key: values[key] for key in _SCHEMA})
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None


_SCHEMA: Schema = {"address": is_text, "bytes": is_count, "sha256": is_text, "verified": is_bool, "fetched": is_text}


def read_short(path: Path) -> str:
    """The text of a small file. Raises `OSError` or `ValueError` if there is none, or it is large."""
    with path.open("rb") as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(f"{path} has more than {MAX_RECORD_BYTES} bytes")
    return data.decode("utf-8")


def find_cached(name: str, root: Path = ROOT) -> Path | None:
    """The folder of a downloaded text, None if it is not there.

    Args:
        name: as in its catalogue; one with a separator is never found.
        root: folder of downloaded texts.
    """
    if not name or name in (".", "..") or Path(name).name != name:
        return None
    return root / name if read_record(root / name) is not None else None


def partial_path(path: Path) -> Path:
    """The folder of a partial download, next to the one of the complete text."""
    return path.parent / f".{path.name}.part"


def part_in(folder: Path) -> Path:
    """The file of a partial download in its folder."""
    return folder / "text"


def state(entry: Entry, root: Path = ROOT) -> str:
    """State of a text: `built in`, `downloaded`, `begun`, `not yet`, or `elsewhere` if charlm does not download it."""
    if entry.kind == "elsewhere":
        return "elsewhere"
    if entry.kind != "download":
        return "built in"
    if find_cached(entry.name, root) is not None:
        return "downloaded"
    return "begun" if part_in(partial_path(root / entry.name)).is_file() else "not yet"


def listing(entry: Entry, root: Path = ROOT) -> dict[str, Any]:
    """An entry with its state in plain values, for `charlm corpora list`."""
    return {
        "name": entry.name,
        "bytes": entry.size,
        "exact": entry.bytes is not None,
        "languages": list(entry.languages),
        "scripts": list(entry.scripts),
        "licence": entry.licence,
        "state": state(entry, root),
        "verified": entry.kind == "download" and entry.verified,
        "address": entry.address,
        "description": entry.description,
    }
