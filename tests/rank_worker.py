"""One of several processes that train together; started by `tests/runtime/test_distributed.py`.

    python rank_worker.py JOBS.json

Each job is a call of `charlm.train` or `charlm.resume`. Only the first process may write: in the others every way to do
it fails.
"""

import atexit
import itertools
import json
import os
import sys
import time
from pathlib import Path

import torch

from charlm import files
from charlm.errors import CharlmError, Interrupted
from charlm.model import checkpoint
from charlm.training import run_folder
from charlm.training.resume import resume
from charlm.training.train import train

torch.set_num_threads(1)
RANK = int(os.environ["RANK"])


@atexit.register
def no_thread_of_the_group_is_left():
    """One that outlives the interpreter aborts the process now and then."""
    tasks = Path("/proc/self/task")
    names = {(task / "comm").read_text().strip() for task in tasks.iterdir()} if tasks.exists() else set()
    if any("gloo" in name for name in names):
        sys.stderr.write(f"process {RANK} ends with {sorted(names)}\n")
        sys.stderr.flush()
        os._exit(99)


def forbidden(*_arguments, **_more):
    raise AssertionError(f"process {RANK} writes")


def forbid_writing():
    files.write_atomically = run_folder.write_atomically = run_folder.write_tensors = checkpoint.write_atomically = (
        forbidden
    )
    run_folder._truncate = run_folder.RunFolder._append = checkpoint.save = forbidden
    Path.mkdir = Path.write_text = Path.write_bytes = forbidden


def stopping(job):
    asked = itertools.count()
    after, rank = job.pop("stop_after", None), job.pop("stop_rank", 0)
    return (lambda: next(asked) >= after) if after is not None and rank == RANK else (lambda: False)


def ticking(job):
    """A clock that goes at another pace in each process."""
    pace = 1 + RANK * job.pop("clock_skew", 0)
    return lambda: pace * time.perf_counter()


def dying(job):
    """A report is only made by the first process, the stop is asked in all: there one can die."""
    after, rank, stop = job.pop("die_after", None), job.pop("die_rank", 1), stopping(job)
    asked = itertools.count()

    def ask():
        if after is not None and rank == RANK and next(asked) >= after:
            os.kill(os.getpid(), 9)
        return stop()

    return ask


def main():
    if RANK:
        forbid_writing()
    for job in json.loads(Path(sys.argv[1]).read_text()):
        do = {"train": train, "resume": resume}[job.pop("do")]
        what = job.pop("what")
        if isinstance(what, list):
            what = what[RANK]
        try:
            do(what, stop=dying(job), clock=ticking(job), **job)
        except Interrupted:
            pass
        except CharlmError as error:
            sys.stderr.write(f"{RANK}: {error}\n")
            sys.exit(error.exit_code)


main()
