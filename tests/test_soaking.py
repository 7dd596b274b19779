"""The report of the long counts is kept up to date row by row."""

from pathlib import Path

from soaking import HEAD, Soak


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
