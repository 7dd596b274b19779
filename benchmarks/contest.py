"""Contenders that take turns, each in a process of its own: neither's memory or threads help or hinder the other.

A contender is a class `Work(**arguments)` with `turn() -> float`, which returns work done per second. Its process
waits on a pipe between turns and costs nothing there. All contenders of a contest take one turn each, round after
round, so that whatever else the machine does meets all of them; what is compared is the median over the rounds.

Memory is counted, on Linux, from when the modules that the class names in `imports` are loaded and the libraries' code
is mapped, to the end of a first turn: our trainings are made anew for each, and no user's process holds what the heap
keeps of ten. The heap of one process has a quarter more than that of the next, so that it is the mean of some.
"""

import ctypes
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ROUNDS = 11

PROCESSES = 5
"""Of which memory is the mean."""

QUIET = 0.5
"""Seconds between two turns. The threads that a library has started wait for more work by spinning, a fifth of a second
and longer, and would take a processor from whoever comes next."""

ROOT = Path(__file__).parent.parent


class Work(Protocol):
    """What a contender does."""

    def turn(self) -> float:
        """Do some of it; returns the work done per second."""


@dataclass(frozen=True)
class Contender:
    """Who takes part.

    Attributes:
        name: in the results.
        work: `module:Class` below `benchmarks`.
        arguments: for the class; must be JSON.
    """

    name: str
    work: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one contender did.

    Attributes:
        speeds: work per second, one a round.
    """

    speeds: list[float]

    @property
    def median(self) -> float:
        """Work per second."""
        return statistics.median(self.speeds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        low, _, high = statistics.quantiles(self.speeds, n=4)
        return (high - low) / 2 / self.median


def hold(contenders: list[Contender], rounds: int = ROUNDS) -> dict[str, Outcome]:
    """Let every contender take a turn in each round, after one that does not count."""
    runners = [_Runner(contender) for contender in contenders]
    names = [contender.name for contender in contenders]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name, runner in zip(names, runners, strict=True):
            time.sleep(QUIET)
            speed = runner.ask("turn")
            if number:
                speeds[name].append(speed)
    for runner in runners:
        runner.leave()
    return {name: Outcome(speeds[name]) for name in names}


def weigh(contenders: list[Contender], processes: int = PROCESSES) -> dict[str, float]:
    """Megabytes of each: the most that a process of its own held by the end of its first turn, above what it held
    before the work was made; the mean of so many, in turns."""
    megabytes: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(processes):
        for contender in contenders:
            runner = _Runner(contender)
            runner.ask("turn")
            megabytes[contender.name].append(runner.ask("memory"))
            runner.leave()
    return {name: statistics.mean(found) for name, found in megabytes.items()}


def ratios(outcomes: dict[str, Outcome], ours: str, theirs: str) -> float:
    """The median over the rounds of our speed over theirs in the same round."""
    pairs = zip(outcomes[ours].speeds, outcomes[theirs].speeds, strict=True)
    return statistics.median(our / their for our, their in pairs)


class _Runner:
    """The near end of a contender's process."""

    def __init__(self, contender: Contender) -> None:
        described = json.dumps([contender.work, contender.arguments])
        command = [sys.executable, "-m", "benchmarks.contest", described]
        # What a large lstm has set here (`charlm.runtime.malloc`) is not what a user of torch has.
        environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )

    def ask(self, what: str) -> float:
        """Send a word, wait for a number."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a contender has no pipes")
        print(what, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            self._process.communicate()
            raise SystemExit(f"a contender died: {self._process.args}")
        return float(answer)

    def leave(self) -> None:
        """End the process."""
        self._process.communicate()


def _held() -> float:
    """The most that this process held, in megabytes; `ru_maxrss` would begin with what its parent held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _map_code() -> None:
    """Map all code of the loaded libraries: else what of it a contender is the first to run counts as its memory."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    for line in maps.read_text(encoding="utf-8").splitlines():
        place, rights, *_, file = line.split(maxsplit=5)
        if file.startswith("/") and "w" not in rights:
            first, end = (int(address, 16) for address in place.split("-"))
            madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _MADV_POPULATE_READ)


_MADV_POPULATE_READ = 22
"""Of Linux's mman.h, since 5.14; an older one refuses, and nothing is mapped."""


def _take_turns(work: str, arguments: dict[str, Any]) -> None:
    """The far end: answer each line with a number."""
    module, _, name = work.partition(":")
    make: Callable[..., Work] = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    for needed in getattr(make, "imports", ()):
        importlib.import_module(needed)
    _map_code()
    before = _held()
    made = make(**arguments)
    for line in sys.stdin:
        print(made.turn() if line.strip() == "turn" else _held() - before, flush=True)
        gc.collect()  # what a turn left behind must not hinder the next one


if __name__ == "__main__":
    _take_turns(*json.loads(sys.argv[1]))
