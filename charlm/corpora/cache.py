"""Where downloaded texts lie: a folder each, with what was remembered of the download beside the text.

    corpora/NAME/            the text, as one file or a folder of files
    corpora/NAME/.download.json
                             its address, size, SHA-256 and day; hidden, and so no part of the text
    corpora/.NAME.part/      a download that is under way or broke off

A folder without that record is none of ours. What is left out: how a text comes there (`charlm.corpora.download`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charlm.corpora.catalogue import Entry
from charlm.files import write_atomically
from charlm.schema import Schema, check, is_bool, is_count, is_text

ROOT = Path("corpora")
"""Where downloaded texts lie, below the folder in which a command runs."""

RECORD = ".download.json"
MAX_RECORD_BYTES = 1 << 16
"""Bytes that a record may have; ours has a few hundred."""


@dataclass(frozen=True)
class DownloadRecord:
    """What is remembered of a download.

    Attributes:
        address: where it came from.
        bytes, sha256: of the file as it came, before it was unpacked.
        verified: whether the catalogue knew its SHA-256.
        fetched: when, in UTC, ISO 8601.
    """

    address: str
    bytes: int
    sha256: str
    verified: bool
    fetched: str

    def write(self, folder: Path) -> None:
        """Leave it in the folder of its text. Raises `CharlmError` where that fails."""
        write_atomically(folder / RECORD, json.dumps(asdict(self), indent=1) + "\n")


def read_record(folder: Path) -> DownloadRecord | None:
    """What is remembered of the download in a folder; None where there is none, or none that can be read."""
    try:
        values = json.loads(read_short(folder / RECORD))
        check(values, _SCHEMA)
        return DownloadRecord(**{key: values[key] for key in _SCHEMA})
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None


_SCHEMA: Schema = {
    "address": is_text,
    "bytes": is_count,
    "sha256": is_text,
    "verified": is_bool,
    "fetched": is_text,
}


def read_short(path: Path) -> str:
    """The text of a small file. Raises `OSError` or `ValueError` where there is none, or a large one."""
    with path.open("rb") as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(f"{path} has more than {MAX_RECORD_BYTES} bytes")
    return data.decode("utf-8")


def find_cached(name: str, root: Path = ROOT) -> Path | None:
    """The folder of a downloaded text, None where it is not there.

    Args:
        name: as its catalogue has it; anything with a separator is none.
        root: where downloaded texts lie.
    """
    if not name or name in (".", "..") or Path(name).name != name:
        return None
    return root / name if read_record(root / name) is not None else None


def partial_path(path: Path) -> Path:
    """Where the beginning of a download is kept until it is whole: a folder beside the one that it becomes."""
    return path.parent / f".{path.name}.part"


def part_in(place: Path) -> Path:
    """The file with the beginning itself, in that folder."""
    return place / "text"


def state(entry: Entry, root: Path = ROOT) -> str:
    """How far a text is: `built in`, `downloaded`, `begun`, `not yet`, or `elsewhere` where charlm fetches none."""
    if entry.kind == "elsewhere":
        return "elsewhere"
    if entry.kind != "download":
        return "built in"
    if find_cached(entry.name, root) is not None:
        return "downloaded"
    return "begun" if part_in(partial_path(root / entry.name)).is_file() else "not yet"


def listing(entry: Entry, root: Path = ROOT) -> dict[str, Any]:
    """An entry with its state, in plain values: what `charlm corpora list` shows."""
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
