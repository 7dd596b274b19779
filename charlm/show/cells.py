"""What `charlm inspect cells` shows: tracks of units, a table of them, and the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from charlm.inspect.cells import Profile
from charlm.inspect.record import Record
from charlm.show.symbols import names
from charlm.show.tables import Grid
from charlm.show.text_view import TextView, Track, surprise
from charlm.tokenizers.vocabulary import Vocabulary


def tracks(units: Sequence[str], values: np.ndarray, part: str, palette: str) -> tuple[Track, ...]:
    """A track for each unit, coloured from -1 to 1, or as far as a unit without bounds goes.

    Args:
        units: U names such as `0:17`.
        values: (N, U).
        part: of the state.
        palette: `blog` or `paper`.
    """
    return tuple(
        Track(f"{_called(part)} of {unit}", column, palette, max(1.0, float(np.abs(column).max())))
        for unit, column in zip(units, values.T, strict=True)
    )


def found(model: str, text: str, part: str, vocabulary: Vocabulary, profiles: Sequence[Profile]) -> dict[str, Any]:
    """The keys of `charlm inspect cells --json`, but for the values of every character (`each`)."""
    called = names(vocabulary)
    return {
        "model": model,
        "text": text,
        "part": part,
        "units": [
            {
                "unit": str(row.unit),
                **{key: getattr(row, key) for key in ("mean", "deviation", "lowest", "highest")},
                "high_after": [called[symbol] for symbol in row.high_on],
                "low_after": [called[symbol] for symbol in row.low_on],
            }
            for row in profiles
        ],
    }


def each(vocabulary: Vocabulary, record: Record) -> list[dict[str, Any]]:
    """Every character with the values of the units, in their order."""
    called = names(vocabulary)
    columns = (record.ids.tolist(), record.bits.tolist(), record.values.tolist())
    return [
        {"id": symbol, "symbol": called[symbol], "bits": bits, "values": values}
        for symbol, bits, values in zip(*columns, strict=True)
    ]


def grid(report: Mapping[str, Any]) -> Grid:
    """The units in a row each, from the keys of `--json`."""
    return Grid(
        f"Units by {_called(report['part'])}",
        ("unit", "mean", "deviation", "lowest", "highest", "high after", "low after"),
        [
            (
                row["unit"],
                f"{row['mean']:+.3f}",
                f"{row['deviation']:.3f}",
                f"{row['lowest']:+.3f}",
                f"{row['highest']:+.3f}",
                " ".join(row["high_after"]),
                " ".join(row["low_after"]),
            )
            for row in report["units"]
        ],
        "High after and low after: the symbols after which the unit is highest and lowest in the mean.",
    )


def view(report: Mapping[str, Any], vocabulary: Vocabulary, record: Record, palette: str) -> TextView:
    """The report, from the keys of `--json`. The surprise is the last of its tracks."""
    units = [row["unit"] for row in report["units"]]
    return TextView(
        title="What units of the network do",
        about="A character has the colour of a unit after it was read.",
        facts={"model": report["model"], "text": report["text"]},
        vocabulary=vocabulary,
        ids=record.ids,
        tracks=(*tracks(units, record.values, report["part"], palette), surprise(record.bits)),
        top=record.top,
        probabilities=record.probabilities,
        tables=(grid(report),),
    )


def _called(part: str) -> str:
    """A part of the state, as its values are shown."""
    return part if part == "h" else f"tanh({part})"
