"""What each cell, or each wiring, is worth on a text: `python -m benchmarks.worth cells data/shakespeare`.

    python -m benchmarks.worth cells data/shakespeare --time 10m --hidden 256
    python -m benchmarks.worth wirings data/shakespeare --time 1m --layers 2 --hidden 128 --set dropout=0.2

All networks have as many parameters as the first, within 2 %; wirings are tried with as many units as the plain
network too, and with `--vectors` also embeddings that come from a file (`python -m benchmarks.vectors`). What else
`charlm train --time` leaves `auto` it decides, but all have the batch and the window of the first. Two lengths:

    equal characters    `--characters` for each, at several learning rates; reported is the best
    equal time          as many steps as fit into `--time` on a quiet machine with its threads, at the rate that was the
                        best before; where that diverges, at the smaller ones. The speeds are measured beforehand, in
                        rounds in which all networks take turns; their medians are kept

Runs are of steps, one thread each, so that a busy machine gives the same table. Results are kept in `--folder`, a line
of JSON each: a second call goes on where the first was stopped. Reported are bits per character of the whole valid
split. `--set` gives options of every run; `--only` names the networks; `--rates` are multiples of auto's.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from functools import partial
from math import inf, log
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import charlm
from benchmarks import tasks, wiring
from benchmarks.kept import Result, Rows
from benchmarks.results import describe_machine
from charlm.config import TrainOptions
from charlm.data.corpus import find_corpus
from charlm.errors import DivergedError
from charlm.model import parameters
from charlm.training import auto

ROUNDS, STEPS = 3, 20
"""Of measuring speed: how often each network has its turn, and how many steps that is."""

STILL = {"lr": 1e-9, "epochs": 1}
"""While speed is measured nothing is learned: no network gets so far as to diverge."""

DECIDED = ("lr", "dropout", "weight_decay", "epsilon", "warmup")
"""What depends on how long a run is, and is decided by its time."""

HEAD = ("network", "layers x hidden", "parameters", "characters/s")


def main() -> None:
    """Run what is left to run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cells", "wirings"))
    parser.add_argument("corpus")
    parser.add_argument("--time", default="10m")
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.3])
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs/worth"))
    asked = parser.parse_args()
    corpus = charlm.Corpus.load(find_corpus(asked.corpus))
    first = {"cell": "lstm", "layers": asked.layers, "hidden": asked.hidden}
    first |= dict(pair.split("=", 1) for pair in asked.set)
    networks = all_of(asked.what, first, asked.only, corpus.vocabulary.size, asked.vectors)
    speeds = Rows(asked.folder / "speeds.jsonl", lambda row: f"{row['network']}: {row['speed']:,.0f} characters/s")
    plans = measured(corpus, first, networks, asked.time, speeds)
    rows = Rows(asked.folder / "results.jsonl", told)
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        finished = partial(carried_out, pool, partial(run, corpus.path, asked.folder / "models"), rows)
        trials = finished(list(of_characters(plans, asked.characters, asked.rates)))
        timed = in_time(corpus, plans, trials, asked.time, finished)
    print(describe_machine().split(". Medians")[0])
    print("\n".join(table(plans, best(trials), timed, asked.time, asked.characters)))


def all_of(
    what: str, first: Result, only: list[str], vocabulary: int, vectors: Path | None = None
) -> dict[str, Result]:
    """Options of every network, by its name in the table."""
    if what == "wirings":
        found = dict(wiring.jobs(first, wiring.WIRINGS | wiring.loaded(vectors), vocabulary))
    else:
        wanted = wiring.count(first, vocabulary)
        kinds = {name: {**first, **options} for name, options in tasks.contenders().items()}
        found = {name: {**kind, "hidden": wiring.equal(kind, vocabulary, wanted)} for name, kind in kinds.items()}
    return {name: values for name, values in found.items() if not only or name in only}


def decided(corpus: charlm.Corpus, time: str, values: Result) -> TrainOptions:
    """The options of a run of that time, without any `auto`."""
    sizes = [len(corpus.split(part)) - 1 for part in ("train", "valid")]
    return auto.resolve(TrainOptions.of(values | {"time": time}), corpus.vocabulary.size, *sizes)[0]


def measured(
    corpus: charlm.Corpus, first: Result, networks: dict[str, Result], time: str, speeds: Rows
) -> dict[str, Result]:
    """What is decided for each network, its parameters and its speed; measured in rounds, unless it is known."""
    like = decided(corpus, time, first)
    size = {"batch_size": like.batch_size, "seq_len": like.seq_len}
    text = {"time": time, "corpus": corpus.identity()["sha256"]}
    keys = {name: {"network": name, "values": values | size, **text} for name, values in networks.items()}
    unknown = [name for name, key in keys.items() if speeds.get(key) is None]
    turns: dict[str, list[float]] = {name: [] for name in unknown}
    for _ in range(ROUNDS):
        for name in unknown:
            values = keys[name]["values"] | {"dropout": decided(corpus, time, keys[name]["values"]).dropout}
            _, milliseconds = charlm.plan(corpus, measure=STEPS, **(values | STILL))
            turns[name].append(1000 * like.batch_size * like.seq_len / milliseconds)
    for name in unknown:
        options = decided(corpus, time, keys[name]["values"])
        row = {
            "decided": {option: getattr(options, option) for option in DECIDED},
            "parameters": parameters.count(options, corpus.vocabulary.size),
            "speed": median(turns[name]),
        }
        speeds.add(keys[name], partial(dict, row))
    return {name: speeds.get(key) or {} for name, key in keys.items()}


def of_characters(plans: dict[str, Result], characters: int, rates: list[float]) -> Iterator[Result]:
    """What is to be run for so many characters: the network, and the options."""
    for name, plan in plans.items():
        values = plan["values"]
        steps = max(1, round(characters / (values["batch_size"] * values["seq_len"])))
        for rate in rates:
            yield {
                "network": name,
                "corpus": plan["corpus"],
                "values": values | {"lr": rate * plan["decided"]["lr"], "steps": steps},
            }


def carried_out(pool: Executor, work: Callable[[Result], Result], rows: Rows, keys: list[Result]) -> list[Result]:
    """The results of some runs, those that there are not yet made side by side; where one fails the others are kept."""
    left = [key for key in keys if rows.get(key) is None]
    waiting = {pool.submit(work, key["values"]): key for key in left}
    for done in as_completed(waiting):
        if done.exception() is None:
            rows.add(waiting[done], done.result)
    for done in waiting:
        done.result()
    return [rows.get(key) or {} for key in keys]


def best(rows: list[Result]) -> dict[str, Result]:
    """The best result of each network; any one, where all diverged."""
    ranked = sorted(rows, key=lambda row: row.get("bits", inf), reverse=True)
    return {row["network"]: row for row in ranked}


def in_time(
    corpus: charlm.Corpus,
    plans: dict[str, Result],
    trials: list[Result],
    time: str,
    finished: Callable[[list[Result]], list[Result]],
) -> list[Result]:
    """Each network in the time it has, at the rate that was its best; where that diverges, at the smaller ones."""
    timed: dict[str, Result] = {}
    while calm := best(trials):
        timed |= {row["network"]: row for row in finished(list(of_time(corpus, plans, calm, time)))}
        limits = {name: row["values"]["lr"] for name, row in timed.items() if "failed" in row}
        trials = [row for row in trials if row["values"]["lr"] < limits.get(row["network"], 0.0)]
    return list(timed.values())


def of_time(corpus: charlm.Corpus, plans: dict[str, Result], trials: dict[str, Result], time: str) -> Iterator[Result]:
    """What is to be run for as many steps as there is time for, at the rates of `trials`."""
    for name in trials:
        plan = plans[name]
        values = plan["values"] | {"lr": trials[name]["values"]["lr"]}
        options = decided(corpus, time, values)
        steps = max(1, round((options.time or 0.0) * plan["speed"] / (options.batch_size * options.seq_len)))
        yield {
            "network": name,
            "corpus": plan["corpus"],
            "values": values | {option: getattr(options, option) for option in DECIDED} | {"steps": steps},
        }


def run(corpus: Path, folder: Path, values: Result) -> Result:
    """Train one network in one thread; its loss on the whole valid split."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        try:
            done = charlm.train(charlm.Corpus.load(corpus), root=place, threads=1, device="cpu", **values)
        except DivergedError as error:
            return {"failed": str(error)}
    if done.valid_nats is None:
        raise SystemExit(f"{corpus} has no valid split to judge by; prepare it with --valid-fraction 0.1")
    return {"bits": done.valid_nats / log(2), "best_step": done.best_step}


def told(row: Result) -> str:
    """A line of the terminal."""
    values = row["values"]
    return f"{row['network']}, {values['steps']:,} steps, rate {values['lr']:g}: {bits(row)}"


def bits(row: Result) -> str:
    """Bits per character of a result, or why there are none."""
    return f"{row['bits']:.3f}" if "bits" in row else "diverged"


def table(
    plans: dict[str, Result], trials: dict[str, Result], timed: list[Result], time: str, characters: int
) -> Iterator[str]:
    """The table in Markdown, the best at equal time first."""
    heads = [*HEAD, "rate", f"after {characters / 1e6:g} M characters", f"characters in {time}", f"after {time}"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in sorted(timed, key=lambda row: row.get("bits", inf)):
        values, plan = row["values"], plans[row["network"]]
        seen = values["steps"] * values["batch_size"] * values["seq_len"]
        cells = [row["network"], f"{values['layers']} x {values['hidden']}", f"{plan['parameters']:,}"]
        cells += [f"{plan['speed']:,.0f}", f"{values['lr']:g}", bits(trials[row["network"]])]
        yield f"| {' | '.join([*cells, f'{seen / 1e6:.1f} M', bits(row)])} |"


if __name__ == "__main__":
    main()
