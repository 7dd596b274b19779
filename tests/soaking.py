"""Long counts: the same tests try a sample in `make test` and the whole number in `make soak`.

A test asks `soak.count(sample, whole)` how often to try, and tells `soak.saw` what came of it, in words
with numbers. `make soak` gathers that into docs/soak.md.
"""

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

import charlm

REPORT = Path(__file__).parent.parent / "docs" / "soak.md"


@dataclass
class Soak:
    """What a session tries and has seen.

    Args:
        whole: whether this is `make soak`.
    """

    whole: bool
    seen: dict[str, str] = field(default_factory=dict)

    def count(self, sample: int, whole: int) -> int:
        """How often to try."""
        return whole if self.whole else sample

    def saw(self, what: str, outcome: str) -> None:
        """Note what was tried and what came of it."""
        self.seen[what] = outcome

    def write(self, outcome: str) -> None:
        """Write docs/soak.md, if this is `make soak`."""
        if not self.whole:
            return
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
        versions = f"Python {platform.python_version()}, torch {torch.__version__}, charlm {charlm.__version__}"
        lines = [
            "# What long counts have seen",
            "",
            "Written by `make soak`, which runs the tests with their full counts; `make test` runs a sample of each.",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {machine}; {versions}. Closing: {outcome}.",
            "",
            "| what was tried | what came of it |",
            "|---|---|",
            *(f"| {what} | {came} |" for what, came in self.seen.items()),
        ]
        REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
