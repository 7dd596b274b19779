"""The logs of runs, whole, torn or hostile: what can be read is, and what cannot is said."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_values import HOSTILE
from running import TINY, interrupted

from charlm.data.corpus import Corpus
from charlm.errors import RunError
from charlm.inspect import run_log as module
from charlm.inspect.run_log import find_runs, read_run, spread_out, thinned
from charlm.training.train import train


def a_run(folder: Path, rows: str, samples: str | None = None, config: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(rows, encoding="utf-8")
    for name, text in (("samples.txt", samples), ("config.toml", config)):
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_run_is_read_as_it_was_written(small_corpus: Corpus, tmp_path: Path) -> None:
    texts: dict[int, str] = {}
    done = train(
        small_corpus, root=tmp_path, run="one", **{**TINY, "steps": 12, "sample_every": 4, "clip_norm": 0.25},
        report=lambda event: texts.update({event.step: event.text}) if type(event).__name__ == "Sampled" else None,
    )  # fmt: skip
    rows = [json.loads(line) for line in (done.path / "metrics.jsonl").read_text().splitlines()]
    course = read_run(done.path)
    assert (course.name, course.network, course.clip_norm, course.notices) == ("one", "lstm 1x8", 0.25, [])
    for name, column in course.columns.items():
        assert [value if np.isfinite(value) else None for value in column] == [row.get(name) for row in rows], name
    assert {sample.step: sample.text for sample in course.samples} == texts and list(texts) == [4, 8, 12]
    for sample in course.samples:
        known = [row["valid_nats"] for row in rows if "valid_nats" in row and row["step"] <= sample.step]
        assert sample.valid_nats == known[-1]
    found = course.to_json("characters")
    valid = [row for row in rows if "valid_nats" in row]
    best = min(valid, key=lambda row: row["valid_nats"])
    assert found["valid_nats"] == {
        "first": valid[0]["valid_nats"], "last": valid[-1]["valid_nats"],
        "best": best["valid_nats"], "best_step": best["step"],
    }  # fmt: skip
    assert found["curves"]["valid_nats"]["x"] == [row["characters"] for row in valid]
    assert found["clipped"] == pytest.approx(np.mean([row["grad_norm"] > 0.25 for row in rows]))
    assert (found["steps"], found["characters"]) == (12, rows[-1]["characters"])


def test_runs_are_found_by_name_folder_and_age(small_corpus: Corpus, tmp_path: Path) -> None:
    for age, name in enumerate(("old", "new")):
        path = interrupted(small_corpus, tmp_path, name, 4, **TINY)
        for file in path.glob("*.safetensors"):
            os.utime(file, (age + 1, age + 1))
    assert find_runs([], tmp_path) == [tmp_path / "new"]
    assert find_runs(["old", tmp_path / "new"], tmp_path) == [tmp_path / "old", tmp_path / "new"]
    with pytest.raises(RunError, match=r"'odl' is no run with a metrics.jsonl; did you mean old\?"):
        find_runs(["odl"], tmp_path)
    with pytest.raises(RunError, match="there is no run with a metrics.jsonl below"):
        find_runs([], tmp_path / "nothing")
    with pytest.raises(RunError, match="is no run"):
        find_runs(["a\0b"], tmp_path)


def test_a_row_torn_at_the_end_is_left_out_and_said(tmp_path: Path) -> None:
    whole = "".join(json.dumps({"step": step, "train_nats": 3.0 - step}) + "\n" for step in (1, 2))
    course = read_run(a_run(tmp_path / "torn", whole + '{"step": 3, "tra'))
    assert course.columns["step"].tolist() == [1, 2]
    assert course.notices == [f"{tmp_path / 'torn' / 'metrics.jsonl'}: 1 row cannot be read, and are left out"]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_hostile_values_are_no_numbers(tmp_path: Path, value: Any) -> None:
    rows = [{"step": 1, "train_nats": 2.5}, value]
    rows += [{"step": 2 + n, key: value} for n, key in enumerate(module.COLUMNS) if key != "step"]
    rows += [{"step": value, "train_nats": 1.0}, {"step": 10**6, "grad_norm": 1.0}]
    text = "\n".join(json.dumps(row) for row in rows) + "\n"
    course = read_run(a_run(tmp_path / "hostile", text, config=None))
    for column in course.columns.values():
        assert not np.isinf(column).any()
    assert (np.diff(course.columns["step"]) > 0).all()
    json.dumps(course.to_json(), allow_nan=False)


def test_rows_of_any_shape_are_survived(tmp_path: Path) -> None:
    deep, long = "[" * 100_000, '{"step": 5, "x": "' + "y" * 200_000 + '"}'
    digits = '{"step": ' + "9" * 6000 + "}"
    backwards = '{"step": 3}\n{"step": 2}\n{"step": 3}'
    course = read_run(a_run(tmp_path / "odd", "\n".join(["\x00", deep, digits, long, "", backwards, "null"]) + "\n"))
    assert course.columns["step"].tolist() == [3]
    assert len(course.notices) == 1


def test_a_log_without_rows_or_beyond_size_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="has no row that can be read"):
        read_run(a_run(tmp_path / "empty", ""))
    with pytest.raises(RunError, match="is missing"):
        read_run(tmp_path)
    (tmp_path / "folder" / "metrics.jsonl").mkdir(parents=True)
    with pytest.raises(RunError, match="is missing"):
        read_run(tmp_path / "folder")
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 10)
    with pytest.raises(RunError, match="more than the 10 that are read"):
        read_run(a_run(tmp_path / "long", '{"step": 1}\n' * 2))


def test_samples_begin_at_heads_whose_steps_rise(tmp_path: Path) -> None:
    text = "before\n--- step 4 ---\none\n--- step 2 ---\nstill one\n\n--- step 8 ---\n\n--- step x ---\n"
    course = read_run(a_run(tmp_path / "s", '{"step": 4, "valid_nats": 2.0}\n{"step": 9, "valid_nats": 1}\n', text))
    assert [(sample.step, sample.valid_nats) for sample in course.samples] == [(4, 2.0), (8, 2.0)]
    assert course.samples[0].text == "one\n--- step 2 ---\nstill one\n"
    assert course.samples[1].text == "\n--- step x ---"
    early = read_run(a_run(tmp_path / "e", '{"step": 5, "valid_nats": 2.0}\n', "--- step 4 ---\nx\n"))
    assert early.samples[0].valid_nats is None


@pytest.mark.parametrize("config", ["[train]\nclip", "train = 3", "[other]\nx = 1", '[train]\ncell = "rnn"', "\x00"])
def test_a_damaged_config_costs_the_threshold_only(tmp_path: Path, config: str) -> None:
    course = read_run(a_run(tmp_path / "c", '{"step": 4, "grad_norm": 2.0}\n', config=config))
    assert (course.network, course.clip_norm) == ("", None) and len(course.notices) == 1
    assert course.to_json()["clipped"] is None


def test_a_threshold_of_nothing_is_none(tmp_path: Path) -> None:
    config = '[train]\ncell = "rnn"\nlayers = 2\nhidden = 3\nclip_norm = 0.0\n'
    course = read_run(a_run(tmp_path / "c", '{"step": 4, "grad_norm": 2.0}\n', config=config))
    assert (course.network, course.clip_norm, course.notices) == ("rnn 2x3", None, [])


def test_long_curves_are_thinned_to_means_of_neighbours() -> None:
    x = np.arange(10_007.0)
    y = np.sin(x / 500)
    few, means = thinned(x, y, 100)
    assert len(few) == 100 and (np.diff(few) > 0).all()
    np.testing.assert_allclose(means, np.sin(few / 500), atol=0.01)
    assert thinned(x[:5], y[:5], 100)[0].tolist() == [0, 1, 2, 3, 4]


def test_samples_are_chosen_from_first_to_last_and_none_twice() -> None:
    for length in range(1, 60):
        for most in range(1, 20):
            chosen = spread_out(range(length), most)
            assert len(chosen) == min(length, most) and sorted(set(chosen)) == chosen
            assert chosen[-1] == length - 1 and (most == 1 or chosen[0] == 0)
    many = spread_out(range(1000), 8)
    assert np.diff(many)[0] < np.diff(many)[-1] / 10
