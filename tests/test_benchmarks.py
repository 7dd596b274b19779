"""The benchmarks run: contenders take their turns, and a table comes of it. How fast anything is, no test asks."""

from pathlib import Path

import pytest

from benchmarks import wiring
from benchmarks.contest import Contender, Outcome, hold, ratios
from benchmarks.results import Row, write
from charlm.text.corpus import Corpus

TINY = {"cell": "gru", "layers": 1, "hidden": 4, "vocabulary": 5, "length": 3}


def test_contenders_take_turns_in_processes_of_their_own() -> None:
    outcomes = hold(
        [Contender("module", "peers:Sampling", TINY), Contender("cells", "peers:CellSampling", TINY)], rounds=2
    )
    for outcome in outcomes.values():
        assert len(outcome.speeds) == 2 and min(outcome.speeds) > 0 and outcome.megabytes >= 0
    assert ratios(outcomes, "module", "cells") > 0


def test_a_contender_that_dies_ends_the_contest() -> None:
    with pytest.raises(SystemExit, match="a contender died"):
        hold([Contender("none", "peers:Preparing", {"path": "/nowhere"})], rounds=1)


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    outcomes = {"ours": Outcome([10.0, 20.0, 90.0], 0), "theirs": Outcome([10.0, 10.0, 30.0], 0)}
    assert ratios(outcomes, "ours", "theirs") == 2
    assert outcomes["ours"].median == 20


def test_the_table_has_a_line_for_every_row(tmp_path: Path) -> None:
    rows = [
        Row("training", "a step", "10 chars/s", "5 chars/s", 0.031, 2.0, "≥ 1.8", "more"),
        Row("starting", "x", "1 s"),
    ]
    write(tmp_path / "RESULTS.md", rows)
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "## training" in text and "| a step | 10 chars/s | ±3 % | 5 chars/s | 2.00 | ≥ 1.8 | more |" in text
    assert "| x | 1 s |" in text


def test_wirings_are_compared_at_equal_numbers_of_parameters() -> None:
    plain = {"cell": "lstm", "layers": 3, "hidden": 64}
    wanted, found = wiring.count(plain, 67), dict(wiring.jobs(plain, list(wiring.WIRINGS), 67))
    assert {name for name in found if "," not in name} <= set(wiring.WIRINGS) <= set(found)
    for name, values in found.items():
        if name.endswith("as many parameters"):
            assert abs(wiring.count(values, 67) / wanted - 1) <= 0.02, name
    assert "residual, as many parameters" not in found, "it has none of its own"
    assert all(found[f"{name}, as many parameters"]["hidden"] < 64 for name in ("skip", "highway", "embedding"))


def test_a_wiring_becomes_a_row(small_corpus: Corpus) -> None:
    values = {"layers": 2, "hidden": 8, "steps": 3, "batch_size": 4, "seq_len": 16, "skip": True}
    row = wiring.run(small_corpus, "skip", values)
    assert row.cells()[:2] == ("skip", "2 x 8") and (row.characters, row.steps) == (192, 3) and 0 < row.nats < 10
