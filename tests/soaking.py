"""What `make test` leaves to `make soak`: most combinations of parameters, and long counts.

A parametrized test runs in `make test` with a few of its cases, `MAX_CASES` or fewer (`covering`). All of them run in
`make soak`, and if it is marked `every_case`. What is marked `long` runs in `make soak` only. A quick test of many
values goes through them by itself (`for_each`).

A test with a long count asks `soak.count(sample, whole)` how often to try, and tells `soak.saw` what came of it, in
words with numbers. `make soak` gathers that into docs/soak.md, beside the rows of other tests from earlier times.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

MAX_CASES = 3
"""Cases of a test in `make test`, unless it is marked `every_case` or, because it takes seconds, `cases(1)`."""

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


def covering(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Choose the items that `make test` runs: a few cases of each test, with as many values of parameters as can be."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("long") is None:
            tests.setdefault(item.nodeid.split("[")[0], []).append(item)
    return [item for cases in tests.values() for item in _few(cases)]


def _few(cases: list[pytest.Item]) -> list[pytest.Item]:
    """The cases of one test that run: first those that differ in several parameters, then some of the others."""
    if len(cases) == 1 or cases[0].get_closest_marker("every_case") is not None:
        return cases
    mark = cases[0].get_closest_marker("cases")
    most = MAX_CASES if mark is None else mark.args[0]
    values = {case: set(_values(case)) for case in cases}
    seen: set[tuple[str, ...]] = set()
    new_values: dict[pytest.Item, int] = {}
    while gains := {case: len(values[case] - seen) for case in cases if not values[case] <= seen}:
        best = max(gains, key=lambda case: gains[case])
        new_values[best] = gains[best]
        seen |= values[best]
    differing = _spread([case for case in cases if new_values.get(case, 0) > 1], most)
    others = _spread([case for case in cases if new_values.get(case, 0) == 1], most - len(differing))
    return [case for case in cases if case in differing or case in others]


def _values(item: pytest.Item) -> Iterator[tuple[str, ...]]:
    """The parameters of a case; those that are written side by side, as a row of a table, count as one."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return
    params = {name: repr(value) for name, value in callspec.params.items()}
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0].replace(",", " ").split() if isinstance(mark.args[0], str) else mark.args[0]
        yield tuple(f"{name}={params.pop(name)}" for name in names)
    yield from ((f"{name}={value}",) for name, value in params.items())


def _spread(cases: list[pytest.Item], number: int) -> list[pytest.Item]:
    """That many of the cases: the last, the first, and some between them at equal distances."""
    if len(cases) <= number:
        return cases
    return [cases[len(cases) - 1 - round(n * (len(cases) - 1) / max(number - 1, 1))] for n in range(number)]


def for_each(values: Iterable[Any]) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make one test of a test of one value: it goes through all, and a failure names the value."""

    def wrap(check: Callable[[Any], None]) -> Callable[[], None]:
        def test() -> None:
            for value in values:
                try:
                    check(value)
                except BaseException as error:
                    error.add_note(f"with {value!r}")
                    raise

        test.__doc__ = check.__doc__
        return test

    return wrap
