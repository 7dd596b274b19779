"""What another process brings: `python -m benchmarks.scale`; docs/scale.md has the figures.

Measured: `charlm train` with one thread, as one process and as two of them by torchrun, which take turns on the same
global batch; a process each needs a core of its own. Computed: what a step sends against what it computes, for
networks that need more machines than are at hand.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.contests import LETTERS, random_corpus
from benchmarks.results import describe_machine
from charlm.config import ModelOptions
from charlm.model import parameters

MEASURED = (("lstm", 1, 256, 32, 64), ("lstm", 3, 512, 48, 100), ("gru", 1, 256, 32, 64))
"""Cell, layers, hidden, batch (of all processes together) and window."""

COMPUTED = ((3, 512), (4, 2048))
GPUS = (1, 2, 4, 8, 16, 32, 64)
LANES, WINDOW = 128, 128
"""Lanes of each GPU, and characters of a window, in what is computed."""

ARITHMETIC = 1e13
"""Operations a second that a GPU is taken to do."""

WIRE = 12.5e9
"""Bytes a second that a GPU is taken to send: 100 Gbit/s."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of training in each turn, about")
    asked = parser.parse_args()
    print(describe_machine().split(". Medians")[0])
    print("\n| cell, shape | one process | two processes | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        corpus = random_corpus(Path(folder))
        for cell, layers, hidden, batch, seq_len in MEASURED:
            sizes = {"cell": cell, "layers": layers, "hidden": hidden, "batch-size": batch, "seq-len": seq_len}
            steps = max(8, int(asked.seconds * _speed(corpus, 1, sizes, 5) / (batch * seq_len)))
            rounds = [[_speed(corpus, world, sizes, steps) for world in (1, 2)] for _ in range(asked.rounds)]
            one, two = (median(times) for times in zip(*rounds, strict=True))
            ratio = median(both / alone for alone, both in rounds)
            shape = f"{cell} {layers}x{hidden}, {batch} x {seq_len}"
            print(f"| {shape} | {one:,.0f} chars/s | {two:,.0f} chars/s | {ratio:.2f} |", flush=True)
    computed()


def _speed(corpus: Path, world: int, sizes: dict[str, object], steps: int) -> float:
    """Characters a second of all processes together, as the run's metrics have it."""
    with tempfile.TemporaryDirectory() as place:
        options = {**sizes, "steps": steps, "report-every": steps, "eval-every": 0, "sample-every": 0, "threads": 1}
        options |= {"eval-chars": 1000, "dropout": 0}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world), "-m", "--"]
        command = [sys.executable, *(several if world > 1 else ["-m"]), "charlm", "train", str(corpus), *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, check=True, cwd=place, capture_output=True, env=environment)
        (metrics,) = Path(place).glob("runs/*/metrics.jsonl")
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        return float(rows[-1]["chars_per_second"])


def computed() -> None:
    """Print what a step sends and computes: both are arithmetic, nothing of it is measured."""
    print(
        "\n| network | GPUs | sent and received by each | computed by each | sending takes | computing takes | share |"
    )
    print("|---|---|---|---|---|---|---|")
    for layers, hidden in COMPUTED:
        options = ModelOptions(cell="lstm", layers=layers, hidden=hidden)
        numbers = parameters.count(options, LETTERS + 2)
        for gpus in GPUS:
            sent = 2 * (gpus - 1) / gpus * 4 * numbers
            operations = 6 * numbers * LANES * WINDOW
            sending, computing = sent / WIRE * 1e3, operations / ARITHMETIC * 1e3
            print(
                f"| {layers}x{hidden} | {gpus} | {sent / 1e6:,.0f} MB | {operations / 1e12:.2f} T | {sending:.1f} ms "
                f"| {computing:,.0f} ms | {computing / (computing + sending):.0%} |"
            )


if __name__ == "__main__":
    main()
