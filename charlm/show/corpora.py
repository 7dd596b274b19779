"""The table of the texts that are known by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from charlm.show.format import line, size
from charlm.show.terminal import Screen, to_stdout

COLUMNS = ("name", "size", "language", "script", "licence", "state")


@to_stdout()
def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of `charlm corpora list` on stdout, from its JSON keys."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        no_wrap = name in ("name", "size", "state")
        grid.add_column(name, justify="right" if name == "size" else "left", no_wrap=no_wrap, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, table_row(row)))
    Screen(highlight=False).print(grid)


def table_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The row of one text: name, size (`~` if approximate), languages, scripts, licence and state."""
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
