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

import numpy as np
import pytest
from soaking import Soak
from texts import text_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")

MEGABYTE = 1 << 20
COMMAND = """
import re, sys
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
"""
CHARLM = (
    "from charlm.cli.main import run\ncode = run(sys.argv[1:])\nprint('peak', peak(), file=sys.stderr)\nsys.exit(code)"
)
PASS = """
import torch
from charlm.learn.stage import Stage
from charlm.text.corpus import Corpus
from charlm.text.lanes import Lanes
lanes = Lanes(Corpus.load(sys.argv[1]).split("train"), 16, 4096)
stage = Stage(lanes, torch.device("cpu"))
stage.window(0)
before, seen = peak(), 0
for step in range(lanes.windows):
    seen += stage.window(step)[0].numel()
print("peak", peak() - before, "seen", seen, file=sys.stderr)
"""
SPEED = """
import json, statistics, threading, time
from charlm.errors import Interrupted
from charlm.learn.train import train
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
print("peak", peak(), file=sys.stderr)
"""


def measured(program: str, *words: str, cwd: Path) -> tuple[str, str, float]:
    """stdout, stderr and the peak in MB of a process that must end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND + program, *words], cwd=cwd, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, int(re.findall(r"^peak (\d+)", done.stderr, re.MULTILINE)[-1]) / 1024


def write(path: Path, megabytes: int) -> None:
    """A text of random words with a fiftieth of its letters changed, another fiftieth in each megabyte."""
    draws = np.random.default_rng(0)
    words = np.frombuffer(text_of(MEGABYTE).encode(), np.uint8)
    with open(path, "wb") as file:
        for _ in range(megabytes):
            block = words.copy()
            block[draws.integers(0, MEGABYTE, MEGABYTE // 50)] = draws.integers(97, 123, MEGABYTE // 50)
            file.write(block.tobytes())


def prepared(megabytes: int, valid: float, place: Path) -> float:
    """A corpus of so many MB whose valid split has `valid` of them, and the peak of preparing it."""
    text = place / f"text{megabytes}.txt"
    write(text, megabytes)
    words = ("--valid-fraction", f"{valid / megabytes:.6f}", "--test-fraction", "0", "--quiet")
    out, _, peak = measured(CHARLM, "prepare", text.name, *words, cwd=place)
    assert out == f"data/text{megabytes}\n"
    text.unlink()
    return peak


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that is empty again afterwards: pytest would keep the gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def peaks(megabytes: int, valid: float, length: list[str], place: Path) -> dict[str, float]:
    """The peaks in MB of preparing, of reading all windows of a pass, of training and of evaluating."""
    found = {"prepare": prepared(megabytes, valid, place)}
    _, err, found["a pass of windows, above the start"] = measured(PASS, f"data/text{megabytes}", cwd=place)
    seen = int(err.split("seen ")[1])
    assert seen > 0.99 * (megabytes - valid) * MEGABYTE, "the pass did read the text"
    name = f"text{megabytes}"
    small = ("--hidden", "64", "--batch-size", "16", "--seq-len", "64", "--threads", "1")
    _, _, found["train"] = measured(CHARLM, "train", name, *small, *length, "--run", name, cwd=place)
    words = ("eval", "--model", name, "--split", "valid", "--json", "--threads", "1")
    out, _, found["eval"] = measured(CHARLM, *words, cwd=place)
    assert json.loads(out)["characters"] == pytest.approx(valid * MEGABYTE, rel=0.01)
    return found


def compare(small: int, large: int, valid: float, length: list[str], tolerance: float, place: Path) -> str:
    one, other = peaks(small, valid, length, place), peaks(large, valid, length, place)
    told = "; ".join(f"{what} {one[what]:.0f} and {other[what]:.0f} MB" for what in one)
    for what in one:
        assert abs(one[what] - other[what]) < tolerance, told
        assert max(one[what], other[what]) < 1000, told
    return told


def test_memory_does_not_grow_with_the_text(place: Path, soak: Soak) -> None:
    told = compare(30, 120, 0.3, ["--steps", "8"], 40, place)
    soak.saw("peak memory at 30 and 120 MB of text", told)


@pytest.mark.long
def test_five_gigabytes(place: Path, soak: Soak) -> None:
    """A peak below 1 GB, of which the program and its libraries take 350 MB, and the speed of a small text.

    Two runs take turns, step by step, so that other programs slow both alike; speeds are those of the median step.
    """
    free = shutil.disk_usage(place).free
    if free < 12 << 30:
        pytest.skip(f"needs 12 GB of disk, has {free >> 30}")
    began = time.monotonic()
    told = compare(1000, 5000, 20, ["--time", "60s"], 64, place)
    soak.saw("peak memory at 1 and 5 GB of text, a minute of training, 20 MB evaluated", told)
    prepared(2, 0.1, place)
    out, _, _ = measured(SPEED, "3000", "data/text2", "data/text5000", cwd=place)
    small, large = json.loads(out)
    soak.saw(
        "training speed on 2 MB and on 5 GB of text, characters/s, steps in turn",
        f"{small:,.0f} and {large:,.0f}, a ratio of {large / small:.3f}; {time.monotonic() - began:.0f} s in all",
    )
    assert large > 0.95 * small
