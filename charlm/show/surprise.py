"""What `charlm inspect surprise` shows: the list, the summary and the report."""

from collections.abc import Iterator, Mapping
from typing import Any

from charlm.inspect.record import Record
from charlm.show.symbols import names
from charlm.show.tables import Grid
from charlm.show.text_view import TextView, surprise
from charlm.tokenizers.vocabulary import Vocabulary

CLASSES = "Which characters surprise"
CONTEXT = "Does it use long context?"
HOW_TO_READ = (
    "The text was read again in stretches that each start from a reset. A row is about characters with so many read "
    "since the reset: their bits, and the bits of the same characters with everything before them read. The "
    "difference is what all context further back is worth to the network, ± its standard error; where it has become "
    "nothing, the network remembers no further."
)


def listed(vocabulary: Vocabulary, record: Record) -> Iterator[str]:
    """A line for each character: position, symbol, bits, and what was held likeliest in its place, tabs between."""
    called = names(vocabulary)
    for at, (symbol, bits, likely) in enumerate(_rows(record)):
        words = (f"{called[other]} {share:.4f}" for other, share in likely)
        yield "\t".join((str(at), called[symbol], f"{bits:.3f}", *words))


def each(vocabulary: Vocabulary, record: Record) -> list[dict[str, Any]]:
    """The list as plain values, for `--json`."""
    called = names(vocabulary)
    return [
        {"id": symbol, "symbol": called[symbol], "bits": bits, "likely": [[called[other], p] for other, p in likely]}
        for symbol, bits, likely in _rows(record)
    ]


def _rows(record: Record) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    """Each character's id and bits, and the ids and probabilities of what was held likeliest in its place."""
    columns = (record.ids, record.bits, record.top[:-1], record.probabilities[:-1])
    for symbol, bits, likely, shares in zip(*columns, strict=True):
        yield int(symbol), float(bits), list(zip(likely.tolist(), shares.tolist(), strict=True))


def summary(report: Mapping[str, Any]) -> dict[str, str]:
    """Names and values, from the keys of `--json`."""
    return {
        "model": report["model"],
        "text": report["text"],
        "characters": f"{report['characters']:,}, of which {report['documents']:,} are ends of documents "
        f"and {report['unknown']:,} unknown",
        "surprise": f"{report['bits_per_char']:.4f} bits per character",
    }


def grids(report: Mapping[str, Any]) -> tuple[Grid, ...]:
    """The tables, from the keys of `--json`."""
    classes = Grid(
        CLASSES,
        ("class", "characters", "share", "bits per character", "share of all bits"),
        [
            (row["name"], f"{row['characters']:,}", f"{row['share']:.1%}", f"{row['bits_per_char']:.3f}",
             f"{row['share_of_bits']:.1%}") for row in report["classes"]
        ],
    )  # fmt: skip
    context = Grid(
        CONTEXT,
        ("read since reset", "characters", "bits after reset", "bits with all read", "difference"),
        [_context(row) for row in report["context"]],
        HOW_TO_READ,
    )
    return (classes, context) if report["context"] else (classes,)


def _context(row: Mapping[str, Any]) -> tuple[str, ...]:
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
        tables=grids(report),
    )
