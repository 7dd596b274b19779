"""How much memory it takes to read files: run as a program with their paths, prints a JSON line for each."""

import json
import os
import sys
import time
from pathlib import Path

from charlm.errors import CharlmError
from charlm.model.checkpoint import load, read_tensors


def status(key: str) -> int:
    """A line of what Linux says of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def measured(path: Path) -> dict[str, object]:
    """What reading one file took, at its highest, in a process of its own whose memory is as it began."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest so far
    before, began = status("VmRSS"), time.perf_counter()
    try:
        if path.name.startswith("progress"):
            read_tensors(path, "no advice")
        else:
            load(path)
        outcome = "loaded"
    except CharlmError as error:
        outcome = str(error)
    return {
        "name": path.name,
        "size": path.stat().st_size,
        "peak": status("VmHWM") - before,
        "seconds": time.perf_counter() - began,
        "outcome": outcome,
    }


def main(first: str, *paths: str) -> None:
    """Read one file, so that everything is imported, and then each of the others from the same start."""
    load(first)
    for path in paths:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            sys.stdout.write(json.dumps(measured(Path(path))) + "\n")
            sys.stdout.flush()
            os._exit(0)
        _, code = os.waitpid(child, 0)
        if code:
            sys.stdout.write(json.dumps({"name": Path(path).name, "outcome": f"died with {code}"}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
