"""docs/tasks.md from the results: how to read each task, what a perfect model scores, and the tables."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import describe_machine

HEAD = """# What each network can remember

Texts whose law is known, and every cell beside a model that knows the law. `make tasks` writes this
page again.

{machine}

    python -m benchmarks.tasks

**How.** Each network has one layer and as many units as give it the same number of parameters,
{parameters} within {spread}, and learns for {steps} steps of {batch} lanes from a text that is long
enough never to be read twice, with AdamW, no decay and no dropout, at each of the rates {rates},
whose best by the valid split is shown: {share}. The state is carried from window to window, and a
window holds more than what is to be remembered. One seed each: what differs by a tenth or so may be
chance. Steps and not seconds are equal, so that another machine gives the same table up to
rounding. A run takes {took} of one core; {runs} of {wanted} runs are in the table.

**What is shown.** *Excess* is what a model needs in bits per character above the perfect one, on
the first 20,000 characters of the test split: 0 is perfect. Most characters of these texts are easy
or pure chance, so that the mean over all hides what memory is worth; therefore it stands also for
the *situation that needs memory* alone, which follows from what stands before and not from what
comes. *Agreement* is the share of those characters for which the symbol that the model holds
likeliest is the one the perfect model does. The *n-gram* row is the best of the Kneser-Ney n-grams
of the first 300,000 characters of that text. In Python,
`benchmarks.excess.by_situation(model, source, ids)` gives these numbers for any model.

## Excess bits where memory is needed, and agreement

"""

TOLD = {
    "copy": """Each line is one letter of four, fillers, a mark, and the letter again. Nothing but the first letter is
chance: two bits a line. The copy is asked for `delay` + 2 characters after the letter was seen, and whoever has
forgotten it pays 2 bits and is right once in four times. The mark says when to copy, so that counting the fillers
is another task (the situation *mark*). An n-gram sees as far back as its order.""",
    "anbn": """As many b as there were a, n being 1 to 19 with equal chances. Until the first b comes nothing can
be known but the chances, which grow with n; from then on everything can, by whoever has counted.
Most of the b are easy, as one usually follows another: what tells is the last b, and the excess has
most of its bits there.""",
    "brackets": """Nested pairs of three kinds, and quotes with letters in them. At every place within a pair the
likeliest symbol is the closing bracket of the innermost one, with probability 1/2: agreement is the
share of places where the network knows which kind that is. The depth falls off geometrically; a
pair holds ten characters on average.""",
    "hidden-markov": """Eight states that nobody sees, each of which goes on with a probability of 0.9 or more
and writes some letters more often than others. A perfect model weighs everything that was written: the
evidence for a state adds up over some ten characters and fades. There is no closed form of the
entropy; it is an estimate with its standard error, and between the two bounds for certain.""",
    "markov": """Each letter depends on the two before it and on nothing else. It needs hardly any memory: who is bad
here learned badly, or has not learned for long enough, which is the measure of how much of an
excess elsewhere is no matter of memory.""",
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The whole page, from what results there are."""
    best = chosen(rows)
    if not best:
        return
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    names = list(dict.fromkeys(row["cell"] for row in rows if row["cell"] != "n-gram"))
    page = _head(rows, best) + _summary(best, tasks, sorted(names))
    for task in tasks:
        about = next((row for row in rows if row["task"] == task and row["cell"] == "n-gram"), None)
        if about is not None:
            page += _section(task, about, [best[key] for key in best if key[0] == task])
    path.write_text(page, encoding="utf-8")


def chosen(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The run of the best rate, by task and cell; failures only where nothing else is."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["task"], row["cell"]
        if row["cell"] == "n-gram":
            continue
        if key not in found or row.get("valid", float("inf")) < found[key].get("valid", float("inf")):
            found[key] = row
    return found


def _head(rows: list[dict[str, Any]], best: dict[tuple[str, str], dict[str, Any]]) -> str:
    runs = [row for row in rows if row["cell"] != "n-gram"]
    counts = [row["parameters"] for row in runs]
    middle = (min(counts) + max(counts)) / 2
    rates = sorted({row["rate"] for row in runs})
    shares = {rate: sum(row["rate"] == rate for row in best.values()) for rate in rates}
    return HEAD.format(
        machine=describe_machine().split(" Medians")[0].strip(),
        took=_took(runs),
        runs=len(runs),
        wanted=len(best) * len(rates),
        batch=", ".join(sorted({str(row["batch"]) for row in runs})),
        parameters=f"{middle:,.0f}",
        spread=f"{(max(counts) - min(counts)) / 2 / middle:.1%}",
        steps=", ".join(f"{steps:,}" for steps in sorted({row["steps"] for row in runs})),
        rates=", ".join(f"{rate:g}" for rate in rates),
        share=", ".join(f"{rate:g} in {times} of {len(best)}" for rate, times in shares.items()),
    )


def _took(runs: list[dict[str, Any]]) -> str:
    times = [row["processor_seconds"] for row in runs if "processor_seconds" in row and "failed" not in row]
    return f"{median(times):.1f} seconds (from {min(times):.1f} to {max(times):.1f})" if times else "some seconds"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _summary(best: dict[tuple[str, str], dict[str, Any]], tasks: list[str], names: list[str]) -> str:
    return _table(
        ["cell", *tasks], [[name, *(_brief(best.get((task, name))) for task in tasks)] for name in names]
    ) + "\n"  # fmt: skip


def _brief(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if "failed" in row:
        return "diverged"
    return f"{row['memory']['excess']:.3f}, {row['memory']['agreement']:.0%}"


def _section(task: str, about: dict[str, Any], best: list[dict[str, Any]]) -> str:
    entropy = about["entropy"]
    known = f"{entropy['entropy_bits_per_char']:.4f}"
    if "entropy_error_bits_per_char" in entropy:
        low, high = entropy["entropy_bounds_bits_per_char"]
        known += f" ± {entropy['entropy_error_bits_per_char']:.4f} (between {low:.4f} and {high:.4f})"
    kind = next(name for name in TOLD if task.startswith(name))
    rows = [
        [row["cell"], *(["", "", "", "diverged", "", ""] if "failed" in row else _numbers(row))]
        for row in sorted(best, key=lambda row: row.get("all", {}).get("excess", float("inf")))
    ]
    rows.append([f"{about['order']}-gram", "", "", "", f"{about['all']:.4f}", f"{about['memory']:.4f}", ""])
    head = ["cell", "hidden", "parameters", "rate", "excess over all", f"excess in *{about['memory_situation']}*",
            "agreement"]  # fmt: skip
    return (
        f"## {task}\n\n    {about['example']}\n\n{TOLD[kind]}\n\n"
        f"A perfect model needs {known} bits per character over all; trained on {about['characters']:,} "
        f"characters in windows of {about['seq_len']}.\n\n{_table(head, rows)}\n"
    )


def _numbers(row: dict[str, Any]) -> list[str]:
    memory = row["memory"]
    return [
        str(row["hidden"]),
        f"{row['parameters']:,}",
        f"{row['rate']:g}",
        f"{row['all']['excess']:.4f}",
        f"{memory['excess']:.4f}",
        f"{memory['agreement']:.1%}",
    ]
