"""The table, on the terminal and as benchmarks/RESULTS.md."""

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy
import torch

import charlm


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        contest: its heading in the file.
        what: what was done, at which size.
        ours, theirs: medians, with their unit.
        spread: half the distance between the quartiles, of ours.
        ratio: the median of ours over theirs, round by round; None where there is no peer.
        wanted: what we ask of ourselves, in words.
        more: shares and other remarks.
    """

    contest: str
    what: str
    ours: str
    theirs: str = ""
    spread: float | None = None
    ratio: float | None = None
    wanted: str = ""
    more: str = ""

    def cells(self) -> list[str]:
        """As text."""
        spread = "" if self.spread is None else f"±{100 * self.spread:.0f} %"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return [self.what, self.ours, spread, self.theirs, ratio, self.wanted, self.more]


HEADINGS = ["what", "charlm", "spread", "peer", "ratio", "wanted", "more"]
WIDTHS = [34, 18, 6, 18, 6, 16, 0]


def show(row: Row) -> None:
    """A line on the terminal, as soon as it is known."""
    print(
        f"{row.contest:12}", *(cell.ljust(width) for cell, width in zip(row.cells(), WIDTHS, strict=True)), flush=True
    )


def write(path: Path, rows: Iterable[Row]) -> None:
    """The whole table as Markdown."""
    lines = [
        "# Measured",
        "",
        "Written by `make bench`; `benchmarks/` says what each line does.",
        "",
        describe_machine(),
    ]
    contest = None
    for row in rows:
        if row.contest != contest:
            contest = row.contest
            lines += ["", f"## {contest}", "", f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
        lines.append(f"| {' | '.join(row.cells())} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def describe_machine() -> str:
    """The machine, the day and the versions."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {numpy.__version__}, "
        f"charlm {charlm.__version__}, {sys.platform}. Medians; the spread is half the distance between the quartiles; "
        f"the ratio is the median of the ratios of the rounds, in which charlm and the peer took turns."
    )


def _processor() -> str:
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"model name\s*:\s*(.*)", known)
    family = re.search(r"cpu family\s*:\s*(\d+)", known)
    return f"{model[1] if model else platform.machine()}, family {family[1] if family else '?'}"
