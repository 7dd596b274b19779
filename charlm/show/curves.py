"""Learning curves of one or several runs, as a plot and in a few lines of a terminal."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.text import Text

from charlm.show.format import count, duration, line, visible
from charlm.show.plots import FAINT, colour, label, logarithmic, short_numbers, svg
from charlm.show.sparkline import sparkline
from charlm.show.terminal import Screen, to_stdout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Run = Mapping[str, Any]
"""The keys of a run in `charlm inspect learning --json`."""

MAX_LEGEND_ENTRIES = 12
"""Runs named in a legend; further ones are drawn without a name."""


@to_stdout()
def print_curves(runs: Sequence[Run], x: str) -> None:
    """Print the numbers and sparklines of runs on stdout."""
    console = Screen(highlight=False, soft_wrap=True)
    for run in runs:
        console.print(Text.assemble((line(run["run"]), "bold"), f"  {headline(run)}"))
        for split in ("train", "valid"):
            console.print(Text(f"  {split}  {_curve_line(run, split)}"))
        if run["clipped"] is not None:
            clipping = f"above {run['clip_norm']:g} in {run['clipped']:.0%} of the rows, and clipped there"
            console.print(Text(f"  gradient norm  {clipping}"))
    console.print(Text(f"over {x}; nats per character", style="dim"))


def headline(run: Run) -> str:
    """A run in one line: `lstm 1x128, 6,887 steps, 7.05M characters, 1:30`."""
    facts = [
        line(run["network"]),
        f"{run['steps']:,.0f} steps",
        *([f"{count(run['characters'])} characters"] if run["characters"] is not None else []),
        *([duration(run["seconds"])] if run["seconds"] is not None else []),
    ]
    return ", ".join(fact for fact in facts if fact)


def report(runs: Sequence[Run], samples: Sequence[Sequence[Mapping[str, Any]]], x: str) -> dict[str, Any]:
    """The variables of `learning.html`, with the samples to show of each run."""
    return {
        "title": "Learning",
        "about": line(", ".join(run["run"] for run in runs), 1000),
        "x": x,
        "runs": [_report_run(run, run_samples) for run, run_samples in zip(runs, samples, strict=True)],
    }


def _report_run(run: Run, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    train, valid = run["train_nats"], run["valid_nats"]
    return {
        "run": line(run["run"]),
        "network": line(run["network"]),
        "steps": f"{run['steps']:,.0f}",
        "characters": "" if run["characters"] is None else count(run["characters"]),
        "time": "" if run["seconds"] is None else duration(run["seconds"]),
        "train": _nats(train["last"]),
        "valid": _nats(valid["last"]),
        "best": _nats(valid["best"]),
        "best_step": "" if valid["best_step"] is None else f"{valid['best_step']:,}",
        "made": len(run["samples"]),
        "samples": [
            {"step": f"{sample['step']:,}", "nats": _nats(sample["valid_nats"]), "text": visible(sample["text"])}
            for sample in samples
        ],
    }


def _nats(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _curve_line(run: Run, split: str) -> str:
    numbers, curve = run[f"{split}_nats"], run["curves"][f"{split}_nats"]
    if numbers["last"] is None or not curve["y"]:
        return "not measured"
    spark = sparkline(curve["x"], curve["y"], high=_axis_top(curve["y"]))
    best = f"best {numbers['best']:.4f} at step {numbers['best_step']:,}"
    return f"{numbers['first']:.4f} {spark} {numbers['last']:.4f}  {best}"


def _axis_top(values: Sequence[float]) -> float:
    """Upper end of an axis of losses: a huge first loss must not flatten the curve."""
    return min(max(values), 2.4 * median(values))


def plot(runs: Sequence[Run], x: str) -> str:
    """Losses, learning rate and gradient norm of runs over x (steps, characters or seconds), as SVG."""

    def draw(figure: "Figure") -> None:
        losses, rate, norm = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1.4))
        for number, run in enumerate(runs):
            _draw_run(losses, rate, norm, run, number, alone=len(runs) == 1)
        curves = [run["curves"][f"{split}_nats"]["y"] for run in runs for split in ("train", "valid")]
        losses.set(ylabel="nats per character")
        if any(curves):
            top, bottom = (
                max(_axis_top(curve) for curve in curves if curve),
                min(min(curve) for curve in curves if curve),
            )
            margin = 0.04 * (top - bottom) or 0.1
            losses.set_ylim(bottom - margin, top + margin)
        rate.set(ylabel="learning rate", ylim=(0, None))
        norm.set(ylabel="gradient norm", xlabel=x)
        short_numbers(norm.xaxis)
        _legend(losses, runs)
        _thresholds(norm, runs)
        figure.align_ylabels()

    return svg(draw, 8, 6.6)


def _draw_run(losses: "Axes", rate: "Axes", norm: "Axes", run: Run, number: int, *, alone: bool) -> None:
    (tone, style), other = colour(number), colour(1)[0]
    curves = run["curves"]
    points = [curves[name] for name in ("train_nats", "valid_nats", "learning_rate", "grad_norm")]
    train, valid, rates, norms = ((curve["x"], curve["y"]) for curve in points)
    losses.plot(*train, color=tone, linestyle=style, linewidth=1.0, alpha=0.9 if alone else 0.45)
    losses.plot(
        *valid, color=other if alone else tone, linestyle=style, marker="o", markersize=3 if len(valid[0]) < 60 else 0
    )
    rate.plot(*rates, color=tone, linestyle=style)
    norm.plot(*norms, color=tone, linestyle=style, linewidth=1.0)


def _legend(axes: "Axes", runs: Sequence[Run]) -> None:
    """Name the splits of one run, or the runs if there are several."""
    from matplotlib.lines import Line2D

    if len(runs) == 1:
        handles = [
            Line2D([], [], color=colour(0)[0], linewidth=1.0),
            Line2D([], [], color=colour(1)[0], marker="o", markersize=3),
        ]
        names = ["train", "valid"]
        axes.set_title(label(f"{runs[0]['run']}: {headline(runs[0])}", 100))
    else:
        tones = [colour(number) for number in range(len(runs))][:MAX_LEGEND_ENTRIES]
        handles = [Line2D([], [], color=tone, linestyle=style) for tone, style in tones]
        names = [label(run["run"], 40) for run in runs][:MAX_LEGEND_ENTRIES]
        axes.set_title("valid thick, train thin", color=FAINT, fontsize=9)
    axes.legend(handles, names, loc="upper right")


def _thresholds(axes: "Axes", runs: Sequence[Run]) -> None:
    """Draw the clipping thresholds; the axis is logarithmic if any norm is above 0."""
    for threshold in sorted({run["clip_norm"] for run in runs if run["clip_norm"] is not None}):
        axes.axhline(threshold, color=FAINT, linestyle="--", linewidth=1.0)
        axes.annotate(
            f"clipped above {threshold:g}", (1, threshold), xycoords=("axes fraction", "data"), xytext=(0, 2),
            textcoords="offset points", ha="right", va="bottom", fontsize=8, color=FAINT,
        )  # fmt: skip
    norms = [value for run in runs for value in (*run["curves"]["grad_norm"]["y"], run["clip_norm"] or 0) if value > 0]
    if norms:
        logarithmic(axes, min(norms), max(norms))
