"""The texts that are known by name, as a table, from plain values."""

from collections.abc import Mapping, Sequence
from typing import Any

from charlm.show.tables import Grid, grids
from charlm.show.words import line, size

HEAD = ("name", "size", "language", "script", "licence", "state")


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of `charlm corpora list` on a terminal, from the keys of its JSON."""
    grids([Grid("", HEAD, [words(row) for row in rows])])


def words(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of one text: name, size (`~` before a rough one), languages, scripts, licence and state."""
    about = "" if row["exact"] else "~"
    columns = (
        row["name"],
        "" if row["bytes"] is None else f"{about}{size(row['bytes'])}",
        ", ".join(row["languages"]),
        ", ".join(row["scripts"]),
        row["licence"] or "",
        row["state"],
    )
    return tuple(line(column) for column in columns)
