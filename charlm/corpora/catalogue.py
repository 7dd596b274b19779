"""The catalogue of corpora that charlm knows by name, and catalogues of users.

charlm's own is the file `corpora/catalogue.toml`, inside an installed package and next to it in a checkout;
docs/corpora.md describes the format. What is left out: downloading (`charlm.corpora.download`).
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from charlm.errors import CharlmError, CorpusError, UsageError
from charlm.schema import Schema, is_bool, misfit

PACKAGE = Path(__file__).resolve().parent.parent
CATALOGUE_PATHS = (PACKAGE / "corpora" / "catalogue.toml", PACKAGE.parent / "corpora" / "catalogue.toml")

ARCHIVE_TYPES = ("zip", "tar", "gz", "xz", "bz2")
"""Types of downloads that are unpacked; a `tar` may be compressed."""

MAX_CATALOGUE_BYTES = 1 << 20
"""Bytes that a catalogue may have."""


@dataclass(frozen=True)
class Entry:
    """One corpus of the catalogue.

    Args:
        name: the source of `charlm prepare`.
        kind: `builtin` (needs no download), `download`, or `elsewhere` (its owner's terms require a manual download).
        description: one sentence.
        address: its URL, or that of its owner's page.
        bytes: exact size of the download; None if unknown.
        about: approximate size, if the exact one is unknown.
        characters: of the text.
        sha256: of the download, in hexadecimal.
        verified: whether size and SHA-256 were computed from the file itself; if not, there is no SHA-256.
        licence: terms of use.
        languages, scripts: of the text.
        unpack: type of the archive, one of `ARCHIVE_TYPES`; None if it is not unpacked.
        unpacked: the most bytes of the unpacked files.
        members: patterns of the wanted files of an archive; without any, all.
    """

    name: str
    kind: str
    description: str
    address: str | None = None
    bytes: int | None = None
    about: int | None = None
    characters: int | None = None
    sha256: str | None = None
    verified: bool = True
    licence: str | None = None
    languages: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    unpack: str | None = None
    unpacked: int | None = None
    members: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """Bytes of the download, exact or approximate."""
        return self.bytes if self.bytes is not None else self.about


@cache
def catalogue() -> dict[str, Entry]:
    """Every entry of charlm's own catalogue, by name, in the file's order.

    Raises:
        CharlmError: the file is missing from the installation, or damaged.
    """
    path = next((path for path in CATALOGUE_PATHS if path.is_file()), None)
    if path is None:
        raise CharlmError(f"{CATALOGUE_PATHS[0]} is missing; the installation is incomplete, install charlm again")
    try:
        return read_catalogue(path)
    except CorpusError as error:
        raise CharlmError(f"{error}; install charlm again") from None


def read_catalogue(path: Path) -> dict[str, Entry]:
    """The entries of a catalogue, by name, in the file's order.

    Raises:
        CorpusError: it cannot be read, is not TOML, or an entry is not as docs/corpora.md says.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CATALOGUE_BYTES + 1)
        if len(data) > MAX_CATALOGUE_BYTES:
            raise ValueError(f"it has more than {MAX_CATALOGUE_BYTES:,} bytes")
        tables = tomllib.loads(data.decode("utf-8"))
        return {name: _entry(name, table) for name, table in tables.items()}
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CorpusError(f"the catalogue {path} cannot be used: {reason}") from None


def entries_of(path: str | None) -> dict[str, Entry]:
    """The entries of a user's catalogue, or of charlm's own if `path` is None.

    Raises:
        CorpusError: it cannot be used.
    """
    if path is None:
        return catalogue()
    entries = read_catalogue(Path(path))
    for entry in entries.values():
        if entry.kind not in ("download", "elsewhere"):
            reason = f"[{entry.name}] has kind = {entry.kind!r:.60}, and download or elsewhere is needed"
            raise CorpusError(f"the catalogue {path} cannot be used: {reason}")
    return entries


def find_entry(name: str, path: str | None = None) -> Entry:
    """The entry of that name.

    Args:
        name: as in the catalogue.
        path: of a user's catalogue; None for charlm's own.

    Raises:
        UsageError: there is none; the nearest name is suggested.
        CorpusError: the catalogue cannot be used.
    """
    entries = entries_of(path)
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    whose = "the catalogue" if path is None else f"the catalogue {path}"
    raise UsageError(f"{name!r:.80} is not in {whose}{hint}; charlm corpora list shows what is")


def builtin_names() -> list[str]:
    """The names of the corpora that need no download."""
    return [name for name, entry in catalogue().items() if entry.kind == "builtin"]


def _entry(name: str, table: Any) -> Entry:
    """Convert one table of the file. Raises `ValueError` if something is wrong with it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]{0,99}", name):
        raise ValueError(f"[{name!r:.80}] is no name: small letters, digits and . _ + - are, a letter or digit first")
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} is no table; write [{name}]")
    key = misfit(table, {key: _SCHEMA.get(key, lambda value: False) for key in table})
    if key is not None:
        reason = "is no value for it" if key in _SCHEMA else "is not known"
        raise ValueError(f"[{name}] has {key} = {table[key]!r:.60}, which {reason}")
    for key in ("kind", "description"):
        if key not in table:
            raise ValueError(f"[{name}] has no {key}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    entry = Entry(name=name, **values)
    if entry.kind in ("download", "elsewhere") and (entry.address is None or entry.licence is None):
        raise ValueError(f"[{name}] needs an address and a licence")
    if entry.kind == "download":
        _check_download(entry)
    return entry


def _check_download(entry: Entry) -> None:
    if entry.verified and (entry.sha256 is None or entry.bytes is None):
        raise ValueError(f"[{entry.name}] needs bytes and sha256, or verified = false")
    if not entry.verified and (entry.sha256 is not None or entry.bytes is not None):
        raise ValueError(
            f"[{entry.name}] is not verified and has bytes or sha256; write about for a size, or verify it"
        )
    if (entry.unpack is None) != (entry.unpacked is None):
        raise ValueError(f"[{entry.name}] needs unpack and unpacked, or neither")
    if entry.members and entry.unpack not in ("zip", "tar"):
        raise ValueError(f"[{entry.name}] has members, which only a zip or a tar has")


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_line, value))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= 1 << 50


_SCHEMA: Schema = {
    "kind": _is_line,
    "description": _is_line,
    "address": _is_line,
    "bytes": _is_size,
    "about": _is_size,
    "characters": _is_size,
    "sha256": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None,
    "verified": is_bool,
    "licence": _is_line,
    "languages": _is_lines,
    "scripts": _is_lines,
    "unpack": lambda value: value in ARCHIVE_TYPES,
    "unpacked": _is_size,
    "members": _is_lines,
}
"""What each key of an entry may hold."""
