"""More text than memory: what a command holds does not grow with the text, and training is as fast.

Each command is a process of its own that says its peak at the end. `VmHWM` counts the pages of mapped files too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from soaking import Soak
from texts import text_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")

MEGABYTE = 1 << 20
PROGRAM = """
import re, sys
from pathlib import Path
def peak(what):
    '''Say the peak in kB since the last time.'''
    found = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)
    print("peak", found, what, file=sys.stderr)
    Path("/proc/self/clear_refs").write_text("5")
"""
PREPARE = """
from charlm.cli.main import run
code = run(sys.argv[1:])
peak("prepare")
sys.exit(code)
"""
USE = """
from charlm.cli.main import run
name, *length = sys.argv[1:]
small = ["--hidden", "64", "--batch-size", "16", "--seq-len", "64", "--threads", "1"]
assert run(["train", name, *small, *length, "--run", name, "--quiet"]) == 0
peak("train")
assert run(["eval", "--model", name, "--split", "valid", "--json", "--threads", "1", "--quiet"]) == 0
peak("eval")
import torch
from charlm.training.data_loader import DataLoader
from charlm.data.corpus import Corpus
from charlm.data.batches import Batches
batches = Batches(Corpus.load(f"data/{name}").split("train"), 16, 4096)
loader = DataLoader(batches, torch.device("cpu"))
seen = sum(loader.batch(step)[0].numel() for step in range(batches.batches_per_epoch))
peak("windows")
print(seen)
"""
SPEED = """
import json, statistics, threading, time
from charlm.errors import Interrupted
from charlm.training.train import train
steps, corpora = int(sys.argv[1]), sys.argv[2:]
turns = [threading.Semaphore(rank == 0) for rank in range(2)]
times = [[], []]
def run(me):
    began = None
    def stop():
        nonlocal began
        if began is not None:
            times[me].append(time.perf_counter() - began)
            turns[1 - me].release()
        turns[me].acquire()
        began = time.perf_counter()
        return len(times[me]) > steps
    try:
        train(corpora[me], run=f"speed{me}", root="runs", hidden=64, batch_size=16, seq_len=64, threads=1, stop=stop,
              sample_every=0, eval_every=0, report_every=0)
    except Interrupted:
        turns[1 - me].release()
threads = [threading.Thread(target=run, args=(me,)) for me in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([16 * 64 / statistics.median(found[50:]) for found in times]))
"""


def measured(program: str, *words: str, cwd: Path) -> tuple[list[str], dict[str, float]]:
    """Lines of stdout and the peaks in MB of a process that must end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, *words], cwd=cwd, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    peaks = re.findall(r"^peak (\d+) (.*)$", done.stderr, re.MULTILINE)
    return done.stdout.splitlines(), {what: int(kilobytes) / 1024 for kilobytes, what in peaks}


def write(path: Path, megabytes: int) -> None:
    """A text of random words with a fiftieth of its letters changed, another fiftieth in each megabyte."""
    draws = np.random.default_rng(0)
    words = np.frombuffer(text_of(MEGABYTE).encode(), np.uint8)
    with open(path, "wb") as file:
        for _ in range(megabytes):
            block = words.copy()
            block[draws.integers(0, MEGABYTE, MEGABYTE // 50)] = draws.integers(97, 123, MEGABYTE // 50)
            file.write(block.tobytes())


def prepared(megabytes: int, valid: float, place: Path) -> dict[str, float]:
    """Make a corpus of so many MB whose valid split has `valid` of them; the peak of preparing it."""
    text = place / f"text{megabytes}.txt"
    write(text, megabytes)
    words = ("--valid-fraction", f"{valid / megabytes:.6f}", "--test-fraction", "0", "--quiet")
    lines, found = measured(PREPARE, "prepare", text.name, *words, cwd=place)
    assert lines == [f"data/text{megabytes}"]
    text.unlink()
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that is empty again afterwards: pytest would keep the gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def peaks(megabytes: int, valid: float, length: list[str], place: Path) -> dict[str, float]:
    """The peaks in MB of preparing, of training, of evaluating, and of cutting all windows of a pass."""
    found = prepared(megabytes, valid, place)
    (_, evaluated, seen), more = measured(USE, f"text{megabytes}", *length, cwd=place)
    assert json.loads(evaluated)["characters"] == pytest.approx(valid * MEGABYTE, rel=0.01)
    assert int(seen) > 0.98 * (megabytes - valid) * MEGABYTE, "the pass did read the text"
    return {**found, **more}


def compare(small: int, large: int, valid: float, length: list[str], tolerance: float, place: Path) -> str:
    one, other = peaks(small, valid, length, place), peaks(large, valid, length, place)
    told = "; ".join(f"{what} {one[what]:.0f} and {other[what]:.0f} MB" for what in one)
    for what in one:
        assert abs(one[what] - other[what]) < tolerance, told
        assert max(one[what], other[what]) < 1000, told
    return told


def test_memory_does_not_grow_with_the_text(place: Path, soak: Soak) -> None:
    small, large = soak.count(20, 30), soak.count(80, 120)
    told = compare(small, large, 0.1, ["--steps", "8"], 40, place)
    soak.saw(f"peak memory at {small} and {large} MB of text", told)


@pytest.mark.long
def test_five_gigabytes(place: Path, soak: Soak) -> None:
    """A peak below 1 GB, of which the program and its libraries take 350 MB, and the speed of a small text.

    Two runs take turns, step by step, so that other programs slow both alike; speeds are those of the median step, and
    the ratio is the median of several processes, in each of which memory lies differently.
    """
    free = shutil.disk_usage(place).free
    if free < 12 << 30:
        pytest.skip(f"needs 12 GB of disk, has {free >> 30}")
    began = time.monotonic()
    told = compare(1000, 5000, 20, ["--time", "60s"], 64, place)
    soak.saw("peak memory at 1 and 5 GB of text, a minute of training, 20 MB evaluated", told)
    prepared(2, 0.1, place)
    ratios, speeds = [], []
    for rank in range(6):
        corpora = ("data/text2", "data/text5000") if rank % 2 else ("data/text5000", "data/text2")
        (line,), _ = measured(SPEED, "1000", *corpora, cwd=place)
        shutil.rmtree(place / "runs")
        found = dict(zip(corpora, json.loads(line), strict=True))
        speeds.append(found["data/text2"])
        ratios.append(found["data/text5000"] / found["data/text2"])
    ratio = median(ratios)
    soak.saw(
        "training speed on 5 GB of text over that on 2 MB, steps in turn, six times",
        f"{ratio:.3f} (from {min(ratios):.3f} to {max(ratios):.3f}) at some {median(speeds):,.0f} characters/s; "
        f"{time.monotonic() - began:.0f} s in all",
    )
    assert ratio > 0.95
