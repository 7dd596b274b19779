"""The output of `charlm inspect surprise`: the list, the summary and the report."""

from collections.abc import Iterator, Mapping
from typing import Any

from charlm.inspect.record import Record
from charlm.show.symbols import names
from charlm.show.tables import Grid
from charlm.show.text_view import TextView, surprise
from charlm.tokenizers.vocabulary import Vocabulary

CLASSES_TITLE = "Which characters surprise"
CONTEXT_TITLE = "Does it use long context?"
CONTEXT_NOTE = (
    "The text was read again in stretches that each start from a reset. A row is about characters with so many read "
    "since the reset: their bits, and the bits of the same characters with everything before them read. The "
    "difference is what all context further back is worth to the network, ± its standard error; where it has become "
    "nothing, the network remembers no further."
)


def character_lines(vocabulary: Vocabulary, record: Record) -> Iterator[str]:
    """A line for each character, separated by tabs: position, symbol, bits, likeliest symbols."""
    symbol_names = names(vocabulary)
    for position, (symbol, bits, likely) in enumerate(_predictions(record)):
        candidates = (f"{symbol_names[other]} {share:.4f}" for other, share in likely)
        yield "\t".join((str(position), symbol_names[symbol], f"{bits:.3f}", *candidates))


def character_rows(vocabulary: Vocabulary, record: Record) -> list[dict[str, Any]]:
    """The list as JSON values."""
    symbol_names = names(vocabulary)
    return [
        {
            "id": symbol,
            "symbol": symbol_names[symbol],
            "bits": bits,
            "likely": [[symbol_names[other], p] for other, p in likely],
        }
        for symbol, bits, likely in _predictions(record)
    ]


def _predictions(record: Record) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    """Each character's id and bits, and the likeliest symbols there: ids and probabilities."""
    columns = (record.ids, record.bits, record.top[:-1], record.probabilities[:-1])
    for symbol, bits, likely, shares in zip(*columns, strict=True):
        yield int(symbol), float(bits), list(zip(likely.tolist(), shares.tolist(), strict=True))


def summary(report: Mapping[str, Any]) -> dict[str, str]:
    """Names and values of the summary, from the keys of `--json`."""
    return {
        "model": report["model"],
        "text": report["text"],
        "characters": f"{report['characters']:,}, of which {report['documents']:,} are ends of documents "
        f"and {report['unknown']:,} unknown",
        "surprise": f"{report['bits_per_char']:.4f} bits per character",
    }


def report_grids(report: Mapping[str, Any]) -> tuple[Grid, ...]:
    """The tables, from the keys of `--json`."""
    classes = Grid(
        CLASSES_TITLE,
        ("class", "characters", "share", "bits per character", "share of all bits"),
        [
            (row["name"], f"{row['characters']:,}", f"{row['share']:.1%}", f"{row['bits_per_char']:.3f}",
             f"{row['share_of_bits']:.1%}") for row in report["classes"]
        ],
    )  # fmt: skip
    context = Grid(
        CONTEXT_TITLE,
        ("read since reset", "characters", "bits after reset", "bits with all read", "difference"),
        [_context_row(row) for row in report["context"]],
        CONTEXT_NOTE,
    )
    return (classes, context) if report["context"] else (classes,)


def _context_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    distance = f"{row['least']}" if row["least"] == row["most"] else f"{row['least']}–{row['most']}"
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.4f}"
    return (distance, f"{row['characters']:,}", f"{row['reset_bits_per_char']:.3f}",
            f"{row['carried_bits_per_char']:.3f}", f"{row['worth']:+.4f}{error}")  # fmt: skip


def view(report: Mapping[str, Any], vocabulary: Vocabulary, record: Record) -> TextView:
    """The report, from the keys of `--json`."""
    facts = summary(report)
    return TextView(
        title="What surprises the network",
        about="The stronger the colour, the less the network expected the character.",
        facts={name: facts[name] for name in ("model", "text", "surprise")},
        vocabulary=vocabulary,
        ids=record.ids,
        tracks=(surprise(record.bits),),
        top=record.top,
        probabilities=record.probabilities,
        tables=report_grids(report),
    )
