"""`make test` runs a few cases, `make soak` all; the report of long counts is kept up to date row by row."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from soaking import HEAD, Soak, covering, for_each


def test_a_later_session_replaces_its_own_rows_and_leaves_the_others(tmp_path: Path) -> None:
    report = tmp_path / "soak.md"
    first = Soak(whole=True, report=report)
    first.saw("kills", "50 of 50")
    first.saw("files", "refused")
    Soak(whole=True, report=report).saw("kills", "7 of 7")
    text = report.read_text()
    assert text.startswith(HEAD)
    rows = text.removeprefix(HEAD).splitlines()
    assert [row.split(" | ")[:2] for row in rows] == [["| kills", "7 of 7"], ["| files", "refused"]]


def test_a_sample_writes_no_report(tmp_path: Path) -> None:
    sample = Soak(whole=False, report=tmp_path / "soak.md")
    sample.saw("kills", "1 of 1")
    assert not sample.report.exists() and sample.count(1, 50) == 1


def test_a_test_of_many_values_names_the_one_that_fails() -> None:
    seen = []

    @for_each([1, 2, 3])
    def check(value: int) -> None:
        seen.append(value)
        assert value < 2

    with pytest.raises(AssertionError) as caught:
        check()
    assert seen == [1, 2] and caught.value.__notes__ == ["with 2"]


class Case:
    """What `covering` asks of a collected item."""

    def __init__(self, name: str, params: dict[str, int], *marks: pytest.Mark) -> None:
        self.nodeid = f"test.py::{name}[{params}]"
        self.marks = marks
        if params:
            self.callspec = SimpleNamespace(params=params)

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [mark for mark in self.marks if mark.name == name]

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next(iter(self.iter_markers(name)), None)


def test_a_few_cases_run_or_every_one_that_is_marked() -> None:
    mark = pytest.mark
    product = [Case("few", {"a": a, "b": b}) for a in range(9) for b in range(3)]
    rows = [Case("row", {"a": a, "b": b}, mark.parametrize("a, b", []).mark) for a, b in ((1, 1), (1, 2), (2, 1))]
    every = [Case("every", {"a": a}, mark.every_case.mark) for a in range(9)]
    rest = [Case("one", {}), Case("long", {}, mark.long.mark)]
    found = Counter(item.nodeid.split("[")[0] for item in covering([*product, *rows, *every, *rest]))
    assert found == {"test.py::few": 3, "test.py::row": 3, "test.py::every": 9, "test.py::one": 1}
