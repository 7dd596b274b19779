"""Long counts: the same tests try a sample in `make test` and the whole number in `make soak`.

A test asks `soak.count(sample, whole)` how often to try, and tells `soak.saw` what came of it, in words
with numbers. `make soak` gathers that into docs/soak.md, beside the rows of other tests from earlier times.
"""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

REPORT = Path(__file__).parent.parent / "docs" / "soak.md"


HEAD = """# What long counts have seen

Written by `make soak`, which runs the tests with their full counts; `make test` runs a sample of each. A row is
of the day on which its test last ended.

| what was tried | what came of it | when, with what |
|---|---|---|
"""


@dataclass
class Soak:
    """What a session tries and has seen.

    Args:
        whole: whether this is `make soak`.
    """

    whole: bool
    report: Path = REPORT

    def count(self, sample: int, whole: int) -> int:
        """How often to try."""
        return whole if self.whole else sample

    def saw(self, what: str, outcome: str) -> None:
        """Note what was tried and what came of it: at once, so that a session which is cut short leaves what it saw."""
        if self.whole:
            rows = self._rows() | {what: f"| {what} | {outcome} | {_today()} |"}
            self.report.write_text(HEAD + "\n".join(rows.values()) + "\n", encoding="utf-8")

    def _rows(self) -> dict[str, str]:
        if not self.report.exists():
            return {}
        lines = self.report.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()
        return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def _today() -> str:
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, torch {torch.__version__}"
