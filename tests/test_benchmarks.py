"""The benchmarks run: contenders take their turns, and a table comes of it. How fast anything is, no test asks."""

import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import contest, gaps, task_page, tasks, vectors, wiring, worth
from benchmarks.contest import Contender, Outcome, hold, ratios, weigh
from benchmarks.kept import Rows
from benchmarks.results import Row, write
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.model import checkpoint
from charlm.training.train import train

MAPS_CODE = platform.system() == "Linux" and tuple(map(int, platform.release().split(".")[:2])) >= (5, 14)
TINY = {"cell": "gru", "layers": 1, "hidden": 4, "vocabulary": 5, "length": 3}


def test_contenders_take_turns_in_processes_of_their_own() -> None:
    outcomes = hold(
        [Contender("module", "peers:Sampling", TINY), Contender("cells", "peers:CellSampling", TINY)], rounds=2
    )
    for outcome in outcomes.values():
        assert len(outcome.speeds) == 2 and min(outcome.speeds) > 0
    assert ratios(outcomes, "module", "cells") > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is counted on Linux")
def test_memory_is_counted_from_what_the_process_held_itself() -> None:
    held = np.ones(300_000_000, np.uint8)  # a child of this process would begin with it, by `ru_maxrss`
    found = weigh([Contender("module", "peers:Sampling", TINY)], processes=1)
    assert 0 < found["module"] < 200 and held[-1]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is counted on Linux")
def test_memory_is_that_of_the_work_and_counted_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Counted(contest._Runner):
        def __init__(self, contender: Contender) -> None:
            started.append(contender.name)
            super().__init__(contender)

    monkeypatch.setattr(contest, "_Runner", Counted)
    sizes = {"small": 4, "large": 2000}  # whose weights take 48 MB
    found = weigh([Contender(name, "peers:Sampling", {**TINY, "hidden": h}) for name, h in sizes.items()], processes=2)
    assert found["large"] - found["small"] > 40 and started == ["small", "large"] * 2


@pytest.mark.skipif(not MAPS_CODE, reason="code is mapped beforehand by Linux 5.14 and later")
def test_code_of_libraries_is_there_before_memory_is_counted() -> None:
    script = """
import torch
from benchmarks import contest
before = contest._held()
contest._map_code()
there = contest._held()
torch.lstm(torch.ones(2, 1, 3), [torch.ones(1, 1, 3)] * 2, [torch.ones(12, 3)] * 2, False, 1, 0.0, False, False, False)
print(there - before, contest._held() - there)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=contest.ROOT)
    code, step = map(float, done.stdout.split())
    assert code > 50 > 10 > step


def test_a_contender_that_dies_ends_the_contest() -> None:
    with pytest.raises(SystemExit, match="a contender died"):
        hold([Contender("none", "peers:Preparing", {"path": "/nowhere"})], rounds=1)


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    outcomes = {"ours": Outcome([10.0, 20.0, 90.0]), "theirs": Outcome([10.0, 10.0, 30.0])}
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


def test_every_cell_gets_as_many_parameters_as_the_others() -> None:
    for vocabulary in (5, 12, 16):
        for name, options in tasks.contenders().items():
            _, count = tasks.fitting(options, vocabulary, tasks.PARAMETERS)
            assert abs(count / tasks.PARAMETERS - 1) < 0.02, name


def test_the_table_of_tasks_comes_of_runs_and_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tasks, "TESTED", 500)
    task = tasks.Task("anbn", "anbn", {"mean": 2}, 8)
    corpus = tasks.prepared(task, tmp_path / "data", 1)
    rows = Rows(tmp_path / "results.jsonl", tasks.told)
    key = {"task": "anbn", "cell": "n-gram", "steps": 1}
    rows.add(key, lambda: tasks.counted(task, corpus))
    assert rows.found[0]["order"] >= 4 and rows.found[0]["memory"] < 0.01  # a^3 b^3 is the longest line
    for rate in (0.01, 0.02):
        key = {"task": "anbn", "cell": "gru", "hidden": 3, "parameters": 99, "rate": rate, "steps": 1, "batch": 9}
        rows.add(key, lambda rate=rate: tasks.run(task, {"cell": "gru"}, 3, rate, 1, corpus.path))
    again = Rows(tmp_path / "results.jsonl", tasks.told)
    assert again.found == rows.found and len(again.found) == 3 and again.get(key)
    again.add(key, lambda: pytest.fail("it was there already"))
    assert again.get(key | {"rate": 0.03}) is None
    task_page.write(tmp_path / "tasks.md", again.found)
    page = (tmp_path / "tasks.md").read_text(encoding="utf-8")
    best = min(again.found[1:], key=lambda row: row["valid"])
    assert page.count("| gru |") == 2 and f"| 3 | 99 | {best['rate']:g} | {best['all']['excess']:.4f} |" in page
    assert "0.01" in page and "seconds (from" in page
    failed = {
        "task": "anbn",
        "cell": "rnn-relu",
        "hidden": 3,
        "parameters": 99,
        "rate": 0.1,
        "steps": 1,
        "batch": 9,
        "failed": "x",
    }
    task_page.write(tmp_path / "tasks.md", [*again.found, failed])
    assert "| rnn-relu | diverged |" in (tmp_path / "tasks.md").read_text(encoding="utf-8")


def test_wirings_are_compared_at_equal_numbers_of_parameters() -> None:
    plain = {"cell": "lstm", "layers": 3, "hidden": 64}
    wanted, found = wiring.count(plain, 67), dict(wiring.jobs(plain, wiring.WIRINGS, 67))
    assert {name for name in found if "," not in name} <= set(wiring.WIRINGS) <= set(found)
    for name, values in found.items():
        if name.endswith("as many parameters"):
            assert abs(wiring.count(values, 67) / wanted - 1) <= 0.02, name
    assert "residual, as many parameters" not in found, "it has none of its own"
    assert all(found[f"{name}, as many parameters"]["hidden"] < 64 for name in ("skip", "highway", "embedding"))


def test_an_embedding_can_come_from_another_model(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"hidden": 4, "input": "embedding", "embedding": 3, "steps": 1, "batch_size": 4, "seq_len": 16}
    model = train(small_corpus, root=tmp_path / "runs", **sizes).model
    monkeypatch.setattr("sys.argv", ["vectors", str(model)])
    vectors.main()
    file = tmp_path / "vectors.txt"
    file.write_text(capsys.readouterr().out)
    plain = {"cell": "lstm", "layers": 1, "hidden": 40}
    assert set(wiring.loaded(None)) == set() and not set(wiring.loaded(file)) & set(wiring.WIRINGS)
    for name, values in wiring.jobs(plain, wiring.loaded(file), small_corpus.vocabulary.size):
        if "parameters" not in name:
            frozen = {**values, "freeze_embeddings": True, "steps": 1, "batch_size": 4, "seq_len": 16}
            other = train(small_corpus, root=tmp_path / "runs", run=name.replace(", ", "-"), **frozen).model
            table = checkpoint.load(other).weights["embedding.weight"]
            assert np.array_equal(table, checkpoint.load(model).weights["embedding.weight"])
    bare = train(small_corpus, root=tmp_path / "runs", run="bare", **sizes | {"input": "one-hot", "embedding": "auto"})
    monkeypatch.setattr("sys.argv", ["vectors", str(bare.model)])
    with pytest.raises(SystemExit, match="no embedding"):
        vectors.main()


def test_networks_of_equal_parameters_train_for_equal_times_and_for_equal_characters(
    small_corpus: Corpus, tmp_path: Path
) -> None:
    first = {"cell": "lstm", "layers": 1, "hidden": 32, "batch_size": 4, "seq_len": 16, "lr": 0.01}
    networks = worth.all_of("cells", first, ["lstm", "gru", "window-mlp"], small_corpus.vocabulary.size)
    assert networks["lstm"]["hidden"] == 32 < networks["gru"]["hidden"]
    speeds = Rows(tmp_path / "speeds.jsonl", lambda row: row["network"])
    plans = worth.measured(small_corpus, first, networks, "1m", speeds)
    counts = [plan["parameters"] for plan in plans.values()]
    assert len(counts) == 3 and max(counts) <= 1.04 * min(counts)
    assert worth.measured(small_corpus, first, networks, "1m", speeds) == plans, "kept, not measured again"
    for name, plan in plans.items():
        plan["speed"] = 64 * (2 + len(name)) / 60  # steps a minute
    keys = list(worth.of_characters(plans, 640, [1.0, 0.5]))
    assert [key["values"]["lr"] for key in keys] == [0.01, 0.005] * 3 and {key["values"]["steps"] for key in keys} == {
        10
    }
    found = [key | worth.run(small_corpus.path, tmp_path / "models", key["values"]) for key in keys]
    assert all(0 < row["bits"] < 10 for row in found) and not list((tmp_path / "models").iterdir())
    found[0] = keys[0] | {"failed": "the loss is nan"}
    trials = worth.best(found)
    assert trials[keys[0]["network"]] == found[1], "the other rate diverged"
    assert worth.best(found[:1]) == {keys[0]["network"]: found[0]}
    timed = list(worth.of_time(small_corpus, plans, trials, "1m"))
    assert {key["network"]: key["values"]["steps"] for key in timed} == {"lstm": 6, "gru": 5, "window-mlp": 12}
    assert timed[0]["values"]["lr"] == found[1]["values"]["lr"] and "weight_decay" in timed[0]["values"]
    rows = [key | {"bits": 2.0} for key in timed[1:]] + [timed[0] | {"failed": "the loss is nan"}]
    lines = list(worth.table(plans, trials, rows, "1m", 640))
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert lines[-1].endswith("| diverged |") and timed[0]["network"] in lines[-1], "the worst is the last"


def test_a_network_that_diverges_in_its_time_is_run_at_smaller_rates(small_corpus: Corpus, tmp_path: Path) -> None:
    decided = {"lr": 0.1, "dropout": 0.0, "weight_decay": 0.0, "epsilon": 1e-8, "warmup": 0}
    values = {"cell": "rnn", "layers": 1, "hidden": 4, "batch_size": 4, "seq_len": 16}
    plans = {name: {"values": values, "corpus": "c", "speed": 64.0, "decided": decided} for name in ("one", "other")}
    keys = worth.of_characters(plans, 640, [1.0, 0.3, 0.1])
    trials = [key | {"bits": 3 - key["values"]["lr"]} for key in keys]  # the largest rate was the best
    calls: list[list[float]] = []

    def finished(keys: list[dict]) -> list[dict]:
        calls.append([key["values"]["lr"] for key in keys])
        calm = [key["network"] == "one" or key["values"]["lr"] < 0.02 for key in keys]
        return [key | ({"bits": 2.0} if ok else {"failed": "inf"}) for key, ok in zip(keys, calm, strict=True)]

    found = worth.in_time(small_corpus, plans, trials, "10s", finished)
    assert calls == [[0.1, 0.1], [pytest.approx(0.03)], [pytest.approx(0.01)]]
    assert [(row["network"], row["bits"]) for row in found] == [("one", 2.0), ("other", 2.0)]
    del trials[-1]
    assert "failed" in worth.in_time(small_corpus, plans, trials, "10s", finished)[1]
    failed = worth.run(
        small_corpus.path, tmp_path, values | {"activation": "linear", "lr": 1000, "clip_norm": 0.0, "steps": 20}
    )
    assert set(failed) == {"failed"} and "diverged" in failed["failed"]


def test_what_is_finished_is_kept_when_a_run_fails(tmp_path: Path) -> None:
    rows, keys = Rows(tmp_path / "rows.jsonl", str), [{"values": number} for number in (4, 0, 2)]
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ZeroDivisionError):
            worth.carried_out(pool, lambda number: {"bits": 8 / number}, rows, keys)
        assert [row["bits"] for row in Rows(rows.path, str).found] == [2.0, 4.0]
        found = worth.carried_out(pool, lambda number: {"bits": -1.0}, rows, keys)
    assert [row["bits"] for row in found] == [2.0, -1.0, 4.0], "what there was is not made again"


def test_lines_get_one_gap_each_and_documents_are_lines_apart(tmp_path: Path) -> None:
    text = tmp_path / "lines"
    text.write_text(
        "".join(f"line {number} of some length\n{'short' if number % 3 else 'a_b' * 9}\n" for number in range(900))
    )
    for documents in ("file", "line"):
        corpus = prepare(text, out=str(tmp_path / "data"), name=documents, documents=documents, valid_fraction=0.2)
        whole, gapped = gaps.lines_of(corpus, 50)
        assert len(whole) == 50 and all(
            line.startswith("line ") and line.endswith("of some length") for line in whole[1:]
        )
        for line, gap in zip(whole, gapped, strict=True):
            assert len(line) == len(gap) and gap.count("_") == 1 and "_" not in line
            assert sum(one != other for one, other in zip(line, gap, strict=True)) == 1


def test_gaps_are_counted_for_models_of_one_corpus_alone(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gaps, "SHORTEST", 5)
    sizes = {"hidden": 4, "steps": 1, "batch_size": 4, "seq_len": 16}
    models = [
        str(train(small_corpus, root=tmp_path / "runs", run=way, direction=way, **sizes).model)
        for way in ("forward", "bidirectional")
    ]
    data = ["--data", str(small_corpus.path.parent), "--lines", "4"]
    monkeypatch.setattr("sys.argv", ["gaps", *models, *data])
    gaps.main()
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == models
    (tmp_path / "other").write_text("another text " * 400)
    other = prepare(tmp_path / "other", out=str(tmp_path / "data"))
    models.append(str(train(other, root=tmp_path / "runs", run="other", **sizes).model))
    monkeypatch.setattr("sys.argv", ["gaps", *models, *data])
    with pytest.raises(SystemExit, match="of one corpus"):
        gaps.main()
