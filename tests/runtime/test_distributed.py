"""Several processes that train together do what one does."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rank_worker
import torch
from processes import ended, fork, forks
from running import TINY, interrupted, rows
from soaking import Soak

from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import UsageError
from charlm.evaluation.evaluate import evaluate
from charlm.model import checkpoint
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.training import dropout
from charlm.training.resume import resume
from charlm.training.train import train

pytestmark = forks
PATIENT = 120
STEPS = {**TINY, "steps": 50, "report_every": 1, "eval_every": 20, "seed": 3}
KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm", "layers": 2, "dropout": 0.3, "input": "embedding"},
    "wired": {
        "cell": "lstm",
        "layers": 3,
        "input": "embedding",
        "tied": True,
        "skip": True,
        "between": "highway",
        "layer_norm": True,
        "dropout": 0.4,
        "dropout_kind": "locked",
        "embedding_dropout": 0.3,
    },
    "both sides": {"cell": "gru", "layers": 2, "dropout": 0.4, "cold_starts": 0.3, "direction": "bidirectional"},
    "rnn": {"cell": "rnn", "layers": 2},
    "relu": {"cell": "rnn", "activation": "relu", "optimizer": "rmsprop"},
    "gru": {"cell": "gru", "layers": 2, "dropout": 0.4, "weight_drop": 0.2, "cold_starts": 0.3},
}


class Several:
    """Processes that were started together, children of this one."""

    def __init__(self, folder: Path, world: int, jobs: list[dict]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.errors = [folder / f"stderr-{time.monotonic_ns()}-{rank}" for rank in range(world)]
        self.processes = [fork(partial(self._work, rank, common, jobs)) for rank in range(world)]

    def _work(self, rank: int, common: dict[str, str], jobs: list[dict]) -> None:
        """As a process of its own would, which ends with what was registered for its end."""
        atexit._clear()
        sys.stderr = self.errors[rank].open("w", encoding="utf-8", buffering=1)
        os.dup2(sys.stderr.fileno(), 2)
        os.environ |= {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        code = 1
        try:
            code = rank_worker.work(rank, jobs)
            atexit._run_exitfuncs()
            rank_worker.check_no_thread_of_the_group_is_left()
        except Exception:
            traceback.print_exc()
            code = 99
        finally:
            sys.stderr.flush()
            os._exit(code)

    def ended(self) -> tuple[list[int], list[str]]:
        """Exit codes and what was written to stderr; none may hang."""
        deadline = threading.Timer(PATIENT, self._kill)
        deadline.start()
        try:
            codes = [ended(process) for process in self.processes]
        finally:
            deadline.cancel()
        return codes, [path.read_text(encoding="utf-8") for path in self.errors]

    def _kill(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def together(place: Path, world: int, *jobs: dict) -> None:
    codes, said = Several(place, world, list(jobs)).ended()
    assert codes == [0] * world, said


def assert_close(one: Path, other: Path) -> None:
    first, second = rows(one), rows(other)
    assert [row["step"] for row in first] == [row["step"] for row in second]
    for mine, theirs in zip(first, second, strict=True):
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert mine[key] == pytest.approx(theirs[key], rel=1e-5, abs=1e-5), (mine["step"], key)
    for name in ("model", "last"):
        mine, theirs = (checkpoint.load(run / f"{name}.safetensors").weights for run in (one, other))
        for key in mine:
            np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-3, atol=1e-4)


def test_two_processes_learn_what_one_learns_and_only_the_first_writes(
    small_corpus: Corpus, tmp_path: Path, soak: Soak
) -> None:
    kinds = dict(list(KINDS.items())[: soak.count(3, len(KINDS))])
    jobs = [
        {"do": "train", "what": str(small_corpus.path), "root": str(tmp_path), "run": f"two-{name}", **STEPS, **kind}
        for name, kind in kinds.items()
    ]
    together(tmp_path, 2, *jobs)
    for name, kind in kinds.items():
        train(small_corpus, root=tmp_path, run=name, **STEPS, **kind)
        assert_close(tmp_path / name, tmp_path / f"two-{name}")


def test_a_run_goes_on_with_another_number_of_processes(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**STEPS, **KINDS["gru"]}
    train(small_corpus, root=tmp_path, run="never-stopped", **values)
    interrupted(small_corpus, tmp_path, "one-then-two", 17, **values)
    many = {"root": str(tmp_path)}
    corpus = str(small_corpus.path)
    together(
        tmp_path,
        2,
        {"do": "resume", "what": "one-then-two", **many},
        # The signal comes to the second process only, and stops both.
        {"do": "train", "what": corpus, "run": "two-then-one", "stop_after": 23, "stop_rank": 1, **many, **values},
        {"do": "train", "what": corpus, "run": "two-then-four", "stop_after": 31, **many, **values},
    )
    resume("two-then-one", root=tmp_path)
    together(tmp_path, 4, {"do": "resume", "what": "two-then-four", **many})
    for name in ("one-then-two", "two-then-one", "two-then-four"):
        assert_close(tmp_path / "never-stopped", tmp_path / name)


def test_the_first_process_clock_decides_for_all(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "time": 1, "clock_skew": 1.5, "root": str(tmp_path), "run": "timed"}
    together(tmp_path, 2, {"do": "train", "what": str(small_corpus.path), **values})
    last = rows(tmp_path / "timed")[-1]
    assert last["step"] >= 1 and "valid_nats" in last


def test_a_step_that_diverges_anywhere_ends_all(small_corpus: Corpus, tmp_path: Path) -> None:
    wild = {**TINY, "cell": "rnn", "activation": "linear", "optimizer": "sgd", "lr": 1000, "clip_norm": 0, "steps": 400}
    job = {"do": "train", "what": str(small_corpus.path), "root": str(tmp_path), "run": "wild", **wild}
    codes, said = Several(tmp_path, 2, [job]).ended()
    assert codes == [3, 3], said


@pytest.mark.cases(1)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_run_at_once_and_it_can_be_resumed(
    small_corpus: Corpus, tmp_path: Path, victim: int
) -> None:
    values = {**TINY, "steps": 60, "save_every": 10}
    job = {"do": "train", "what": str(small_corpus.path), "root": str(tmp_path), "run": "hurt", **values}
    codes, said = Several(tmp_path, 2, [{**job, "die_after": 25, "die_rank": victim}]).ended()
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == 1
    lines = [line for line in said[1 - victim].splitlines() if line.startswith(f"{1 - victim}: ")]
    assert len(lines) == 1 and "another process of this run has ended" in lines[0] and "--resume" in lines[0], said
    resume("hurt", root=tmp_path)
    train(small_corpus, root=tmp_path, run="unhurt", **values)
    assert_close(tmp_path / "unhurt", tmp_path / "hurt")


def test_the_processes_must_read_the_same_corpus(small_corpus: Corpus, tmp_path: Path) -> None:
    text = tmp_path / "other.txt"
    text.write_text("another text altogether " * 300)
    other = prepare(text, out=str(tmp_path / "data"))
    job = {"do": "train", "what": [str(small_corpus.path), str(other.path)], "root": str(tmp_path), **TINY, "steps": 3}
    codes, said = Several(tmp_path, 2, [job]).ended()
    assert codes == [1, 2]
    assert "is not the corpus that the first process reads" in said[1]


def test_lanes_that_cannot_be_divided_are_refused_by_all(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "batch_size": 5, "steps": 3}
    job = {"do": "train", "what": str(small_corpus.path), "root": str(tmp_path), "run": "odd", **values}
    codes, said = Several(tmp_path, 2, [job]).ended()
    assert codes == [2, 2]
    assert all("--batch-size 5 cannot be divided among 2 processes" in text for text in said)
    assert not (tmp_path / "odd").exists()


def torchrun(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "charlm", *words]
    done = subprocess.run(
        [sys.executable, *started],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENT,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_torchrun_starts_the_commands_and_one_result_is_printed(small_corpus: Corpus, tmp_path: Path) -> None:
    sizes = "--hidden 8 --batch-size 4 --seq-len 16 --steps 5 --run told".split()
    trained = torchrun(tmp_path, "train", str(small_corpus.path), *sizes)
    model = tmp_path / "runs" / "told" / "model.safetensors"
    assert trained.stdout.splitlines() == [str(model.relative_to(tmp_path))]
    assert trained.stderr.count("done in") == 1, "one process reports"
    words = ["eval", str(small_corpus.path), "--model", str(model), "--split", "train", "--json"]
    together(tmp_path, 2, {"command": words, "out": str(tmp_path / "scored")})
    found = evaluate(checkpoint.load(model), small_corpus.path, split="train").to_json()
    (line,) = (tmp_path / "scored").read_text(encoding="utf-8").splitlines()
    told = json.loads(line)
    assert told["characters"] == found["characters"]
    for key in ("nats_per_char", "nats_per_char_low", "nats_per_char_high"):
        assert told[key] == pytest.approx(found[key], rel=1e-6)


class Third(ProcessGroup):
    rank, world_size = 2, 4


def test_every_lane_belongs_to_one_process() -> None:
    assert Third().own_slice(12) == slice(6, 9)
    assert SINGLE_PROCESS.own_slice(12) == slice(0, 12)
    SINGLE_PROCESS.check_batch_size(7)
    with pytest.raises(UsageError, match="choose a multiple of 4"):
        Third().check_batch_size(6)


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_masks_of_the_parts_are_those_of_the_whole(world: int, locked: bool) -> None:
    x = torch.ones(5, 12, 7)
    whole = dropout.dropout_masks(0.5, dropout.StepRandom(1, 9), locked=locked)
    parts = [
        dropout.dropout_masks(0.5, dropout.StepRandom(1, 9), part=(rank, world), locked=locked) for rank in range(world)
    ]
    assert whole is not None
    found = torch.cat([part(3, own) for part, own in zip(parts, x.chunk(world, 1), strict=True) if part], 1)
    assert torch.equal(found, whole(3, x))
