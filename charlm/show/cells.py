"""The output of `charlm inspect cells`: tracks of units, their table, and the report."""

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
    """A track for each unit, with full colour at 1, or at its largest value if that is more.

    Args:
        units: U names such as `0:17`.
        values: (N, U) of the N characters.
        part: of the state, such as `h`.
        palette: `blog` or `paper`.
    """
    return tuple(
        Track(f"{_quantity_name(part)} of {unit}", column, palette, max(1.0, float(np.abs(column).max())))
        for unit, column in zip(units, values.T, strict=True)
    )


def report_values(
    model: str, text: str, part: str, vocabulary: Vocabulary, profiles: Sequence[Profile]
) -> dict[str, Any]:
    """The keys of `charlm inspect cells --json`, except `each`, the values of every character."""
    symbol_names = names(vocabulary)
    return {
        "model": model,
        "text": text,
        "part": part,
        "units": [
            {
                "unit": str(row.unit),
                **{key: getattr(row, key) for key in ("mean", "deviation", "lowest", "highest")},
                "high_after": [symbol_names[symbol] for symbol in row.high_on],
                "low_after": [symbol_names[symbol] for symbol in row.low_on],
            }
            for row in profiles
        ],
    }


def character_rows(vocabulary: Vocabulary, record: Record) -> list[dict[str, Any]]:
    """A row for each character: id, symbol, bits, and the values of the units."""
    symbol_names = names(vocabulary)
    columns = (record.ids.tolist(), record.bits.tolist(), record.values.tolist())
    return [
        {"id": symbol, "symbol": symbol_names[symbol], "bits": bits, "values": values}
        for symbol, bits, values in zip(*columns, strict=True)
    ]


def grid(report: Mapping[str, Any]) -> Grid:
    """The table of the units, a row each, from the keys of `--json`."""
    return Grid(
        f"Units by {_quantity_name(report['part'])}",
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
    """The report, from the keys of `--json`; its last track is the surprise."""
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


def _quantity_name(part: str) -> str:
    """The name of the shown quantity: `h`, or `tanh(c)` for other parts of the state."""
    return part if part == "h" else f"tanh({part})"
