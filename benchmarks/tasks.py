"""What each network can remember: every cell on every synthetic source, `python -m benchmarks.tasks` or `make tasks`.

Every cell has as many parameters as the others, within two per cent, learns for as many steps of as many characters,
at each of some learning rates, and is judged by its best one (by the valid split; the table is of the test split).
What is reported is the distance from a perfect model, which knows the source's law, in the situations that need
memory and over all. Steps, and not seconds, so that a busy machine gives the same table.

Runs are kept in a folder, a line of JSON each: a second call goes on where the first was stopped, and the page is
written anew after each run.

    python -m benchmarks.tasks --tasks copy-20 anbn --cells lstm rnn-relu     only these
    python -m benchmarks.tasks --steps 3000 --folder runs/long --page long.md   longer
"""

import argparse
import shutil
import time
from bisect import bisect_left
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from math import log
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import charlm
from benchmarks.excess import by_situation, together
from benchmarks.kept import Rows
from benchmarks.task_page import write
from charlm import cells, synthetic
from charlm.config import ModelOptions
from charlm.evaluation import ngrams
from charlm.model import parameters
from charlm.tokenizers.vocabulary import FIRST_SYMBOL

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tasks.md"

STEPS, BATCH, PARAMETERS = 1500, 16, 10_000
RATES = (0.01, 0.03, 0.003)
TESTED = 20_000
"""Characters of the test split that a model is judged by."""

COUNTED, LONGEST = 300_000, 12
"""Characters that n-grams are counted in, and their highest order."""

RNNS = ("tanh", "relu", "linear")
"""The nonlinearities that the rnn runs with; the other cells have one."""


@dataclass(frozen=True, eq=False)
class Task:
    """A source, and the window that its memory fits into.

    Attributes:
        name: in the table.
        source: of `charlm.synthetic`.
        values: its parameters.
        seq_len: characters of a window; the state is carried on to the next.
    """

    name: str
    source: str
    values: dict[str, Any]
    seq_len: int

    def make(self) -> synthetic.Source:
        """The source, of seed 0."""
        return synthetic.make(self.source, **self.values)


LETTER = {"copied": 1, "alphabet": 4}
"""What is to be copied: longer strings want more steps than there are here, whatever the delay."""

TASKS = [
    Task("copy-5", "copy", {"delay": 5} | LETTER, 32),
    Task("copy-20", "copy", {"delay": 20} | LETTER, 48),
    Task("anbn", "anbn", {}, 48),
    Task("brackets", "brackets", {}, 32),
    Task("hidden-markov", "hidden-markov", {}, 32),
    Task("markov", "markov", {}, 32),
    Task("copy-60", "copy", {"delay": 60} | LETTER, 96),
]


def contenders() -> dict[str, dict[str, str]]:
    """Every cell that there is, by its name in the table; the rnn with each of its nonlinearities."""
    found = {}
    for cell in cells.names():
        kinds = [kind for kind in RNNS if kind in cells.make(cell).activations] if cell == "rnn" else []
        found |= {f"{cell}-{kind}": {"cell": cell, "activation": kind} for kind in kinds} or {cell: {"cell": cell}}
    return found


def fitting(options: dict[str, str], vocabulary: int, wanted: int) -> tuple[int, int]:
    """The number of hidden units whose network comes nearest to so many parameters, and how many it has."""

    def count(hidden: int) -> int:
        return parameters.count(ModelOptions.of({**options, "hidden": hidden, "embedding": hidden}), vocabulary)

    over = 1 + bisect_left(range(1, wanted), wanted, key=count)  # every unit has a parameter at least
    hidden = min((max(over - 1, 1), over), key=lambda h: abs(count(h) - wanted))
    return hidden, count(hidden)


def prepared(task: Task, folder: Path, steps: int) -> charlm.Corpus:
    """A corpus in which no window is read twice, with lines as documents where the source has lines."""
    size = int(steps * BATCH * task.seq_len / 0.9) + 100_000
    source = task.make()
    documents = "line" if source.lines else "file"
    name = f"{task.name}-{size}"
    return charlm.prepare(task.source, out=str(folder), name=name, size=size, documents=documents, **task.values)


def run(task: Task, options: dict[str, str], hidden: int, rate: float, steps: int, folder: Path) -> dict[str, Any]:
    """Train one network and hold it against the perfect model."""
    corpus = charlm.Corpus.load(folder)
    place = folder.parent.parent / "models" / f"{task.name}-{'-'.join(options.values())}-{rate}-{steps}"
    shutil.rmtree(place, ignore_errors=True)
    began = time.process_time()
    try:
        done = charlm.train(
            corpus, run=place, steps=steps, batch_size=BATCH, seq_len=task.seq_len, hidden=hidden, lr=rate, threads=1,
            dropout=0.0, weight_decay=0.0, device="cpu", eval_every=0, sample_every=0, report_every=0, **options,
        )  # fmt: skip
        model = charlm.load(done.model)
        rows = by_situation(model, task.make(), corpus.split("test")[: TESTED + 1])
    except charlm.CharlmError as error:
        return {"failed": str(error), "processor_seconds": time.process_time() - began}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return {
        "valid": done.valid_nats / log(2),
        "all": together(rows, "all").to_json(),
        "memory": together([row for row in rows if row.memory], "memory").to_json(),
        "situations": [row.to_json() for row in rows],
        "processor_seconds": time.process_time() - began,
    }


def counted(task: Task, corpus: charlm.Corpus) -> dict[str, Any]:
    """The best n-gram of the beginning of the same training text, by its bits over all."""
    source, ids = task.make(), np.asarray(corpus.split("test")[: TESTED + 1])
    codes = np.append([10, 0], corpus.vocabulary.codes)[ids[1:].astype(np.int64)]
    expected = source.expect(codes.astype(np.uint8).tobytes())
    memory = np.isin(expected.situations, [source.situations.index(name) for name in source.memory])
    best: dict[str, Any] = {}
    orders = islice(ngrams.surprises(corpus.split("train")[:COUNTED], ids, corpus.vocabulary.size), LONGEST)
    for order, nats in enumerate(orders, 1):
        excess = (nats - expected.nats) / log(2)
        if not best or excess.mean() < best["all"]:
            best = {"order": order, "all": float(excess.mean()), "memory": float(excess[memory].mean())}
    return best | about(task, corpus)


def main() -> None:
    """Run what is left to run, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=[task.name for task in TASKS], default=[t.name for t in TASKS])
    parser.add_argument("--cells", nargs="+", choices=list(contenders()), default=list(contenders()))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    rows = Rows(asked.folder / "results.jsonl", told)
    chosen = [task for task in TASKS if task.name in asked.tasks]
    corpora = {task: prepared(task, asked.folder / "data", asked.steps) for task in chosen}
    for task, corpus in corpora.items():
        key = {"task": task.name, "cell": "n-gram", "steps": asked.steps}
        rows.add(key, partial(counted, task, corpus))
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {}
        for rate, (task, corpus), name in product(asked.rates, corpora.items(), asked.cells):
            options = contenders()[name]
            hidden, count = fitting(options, corpus.vocabulary.size, asked.parameters)
            key = {"task": task.name, "cell": name, "hidden": hidden, "parameters": count, "rate": rate,
                   "steps": asked.steps, "batch": BATCH}  # fmt: skip
            if rows.get(key) is None:
                waiting[pool.submit(run, task, options, hidden, rate, asked.steps, corpus.path)] = key
        for done in as_completed(waiting):
            rows.add(waiting[done], done.result)
            write(asked.page, rows.found)
    write(asked.page, rows.found)


def about(task: Task, corpus: charlm.Corpus) -> dict[str, Any]:
    """What the page says of a source."""
    source = task.make()
    return {
        "example": next(source.blocks(4000)).decode().split("\n")[0][:60],
        "entropy": source.entropy().to_json(),
        "memory_situation": ", ".join(source.memory),
        "symbols": corpus.vocabulary.size - FIRST_SYMBOL,
        "characters": int(corpus.info["splits"]["train"]["symbols"]),
        "seq_len": task.seq_len,
    }


def told(row: dict[str, Any]) -> str:
    """A line of the terminal."""
    names = [row["task"], row["cell"], f"{row.get('rate', '')}"]
    if "failed" in row:
        return " ".join([*names, row["failed"]])
    if row["cell"] == "n-gram":
        return " ".join([*names, f"order {row['order']}: {row['all']:+.4f} bits, memory {row['memory']:+.4f}"])
    memory = row["memory"]
    return " ".join(
        [*names, f"hidden {row['hidden']}: {row['all']['excess']:+.4f} bits, memory {memory['excess']:+.4f},",
         f"{memory['agreement']:.1%}, {row['processor_seconds']:.1f} s"]
    )  # fmt: skip


if __name__ == "__main__":
    main()
