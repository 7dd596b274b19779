"""What one of several processes that train together does, a child of `tests/runtime/test_distributed.py`.

Each job is a call of `charlm.train` or `charlm.resume`, or a command line. Only the first process may write: in the
others every way to do it fails.
"""

import itertools
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from charlm import files
from charlm.cli import main as entry
from charlm.errors import CharlmError, Interrupted
from charlm.model import checkpoint
from charlm.training import run_folder
from charlm.training.resume import resume
from charlm.training.train import train


def check_no_thread_of_the_group_is_left():
    """One that outlives the interpreter aborts the process now and then."""
    tasks = Path("/proc/self/task")
    names = {(task / "comm").read_text().strip() for task in tasks.iterdir()} if tasks.exists() else set()
    assert not any("gloo" in name for name in names), f"the process ends with {sorted(names)}"


def forbidden(*_arguments, **_more):
    raise AssertionError("a process writes that is not the first")


def forbid_writing():
    files.write_atomically = run_folder.write_atomically = run_folder.write_tensors = checkpoint.write_atomically = (
        forbidden
    )
    run_folder._truncate = run_folder.RunFolder._append = checkpoint.save = forbidden
    Path.mkdir = Path.write_text = Path.write_bytes = forbidden


def stopping(job, rank):
    asked = itertools.count()
    after, stop_rank = job.pop("stop_after", None), job.pop("stop_rank", 0)
    return (lambda: next(asked) >= after) if after is not None and stop_rank == rank else (lambda: False)


def ticking(job, rank):
    """A clock that goes at another pace in each process."""
    pace = 1 + rank * job.pop("clock_skew", 0)
    return lambda: pace * time.perf_counter()


def dying(job, rank):
    """A report is only made by the first process, the stop is asked in all: there one can die."""
    after, die_rank, stop = job.pop("die_after", None), job.pop("die_rank", 1), stopping(job, rank)
    asked = itertools.count()

    def ask():
        if after is not None and die_rank == rank and next(asked) >= after:
            os.kill(os.getpid(), 9)
        return stop()

    return ask


def work(rank, jobs):
    """Do the jobs; the exit code."""
    if rank:
        forbid_writing()
    for job in jobs:
        job = dict(job)
        if "command" in job:
            with open(job["out"], "a", encoding="utf-8") as out, redirect_stdout(out):
                code = entry.run(job["command"])
            if code:
                return code
            continue
        do = {"train": train, "resume": resume}[job.pop("do")]
        what = job.pop("what")
        if isinstance(what, list):
            what = what[rank]
        try:
            do(what, stop=dying(job, rank), clock=ticking(job, rank), **job)
        except Interrupted:
            pass
        except CharlmError as error:
            sys.stderr.write(f"{rank}: {error}\n")
            return error.exit_code
    return 0
