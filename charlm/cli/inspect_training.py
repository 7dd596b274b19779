"""`charlm inspect gradients`, `surface` and `learning`: how it learns."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.inspect import app
from charlm.cli.models import AsJson, load_model
from charlm.cli.options import Invocation, command
from charlm.cli.report_files import HTML, SVG, PlotFiles
from charlm.config import GradientOptions, LearningOptions, SurfaceOptions
from charlm.show.terminal import result

if TYPE_CHECKING:
    from charlm.data.sources import Source
    from charlm.model.checkpoint import Model


@command(app, "inspect gradients")
def gradients(
    invocation: Invocation,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT|-", show_default=False,
                                   help="A text to follow. Default: the test split of each model's corpus."),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", metavar="FILE|RUN", show_default=False,
                                       help="A model file or a run; again for another one beside it. "
                                            "Default: the most recent run's best."),
    ] = None,
    html: HTML = None,
    svg: SVG = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """How far back the loss reaches: gradients through time, vanishing or exploding."""
    from charlm.evaluation.texts import find_text
    from charlm.inspect.gradients import gradients as measure
    from charlm.inspect.passage import beginning
    from charlm.inspect.spectrum import scaled
    from charlm.show import gradients as show

    drawing = PlotFiles(invocation, html, svg)
    options = GradientOptions.of(invocation.values)
    words: list[str | None] = [*models] if models else [None]
    loaded = [load_model(invocation, word) for word in words]
    text_of = _read_once(text) if len(loaded) > 1 and options.split is None else text
    factors = (1.0,) if options.scale_recurrent == 1 else (1.0, options.scale_recurrent)
    reports: list[dict[str, Any]] = []
    for model in loaded:
        read = find_text(model, text_of, split=options.split, report=invocation.terminal.say)
        for factor in factors:
            name = _run_name(model) + ("" if factor == 1 else f", W_hh x {factor:g}")
            with invocation.terminal.counting(f"following {name}") as counter:
                measured = measure(
                    scaled(model, factor), beginning(model, read, options.chars).ids, window=options.window,
                    positions=options.positions, seed=options.seed, progress=partial(counter, unit="places"),
                )  # fmt: skip
            reports.append(
                {"name": name, "model": str(model.path), "text": read.name, "cell": model.options.cell,
                 "activation": model.options.activation, "scale_recurrent": factor, **measured.to_json()}
            )  # fmt: skip
    _name_apart(reports, "name", "model")
    drawing.write(lambda: show.plot(reports), "gradients.html", lambda: show.report(reports, options.seed))
    if as_json:
        result(json.dumps({"seed": options.seed, "models": reports}))
    else:
        show.print_gradients(reports)


@command(app, "inspect surface", plugins=False)
def surface(invocation: Invocation, html: HTML = None, svg: SVG = None, as_json: AsJson = False) -> None:
    """Why gradients are clipped: the error surface of one unit, and descents on it."""
    from charlm.inspect.surface import surface as compute
    from charlm.show import surface as show
    from charlm.show import tables

    drawing = PlotFiles(invocation, html, svg)
    computed = compute(SurfaceOptions.of(invocation.values))
    report = computed.to_json()
    plot = (report, computed.w, computed.b, computed.error)
    drawing.write(lambda: show.plot(*plot), "surface.html", lambda: show.report(report))
    if as_json:
        result(json.dumps(report))
    else:
        tables.print_facts(show.facts(report))


@command(app, "inspect learning", plugins=False)
def learning(
    invocation: Invocation,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", show_default=False,
                                         help="Runs, by name or folder. Default: the most recent."),
    ] = None,
    html: HTML = None,
    svg: SVG = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """How runs learned: their losses side by side, and samples as a function of training."""
    from charlm.inspect.run_log import find_runs, read_run, spread_out
    from charlm.show import curves

    drawing = PlotFiles(invocation, html, svg)
    options = LearningOptions.of(invocation.values)
    paths = find_runs(runs or ())
    if not runs:
        invocation.terminal.say(f"run: {paths[0]}")
    runs_read: list[dict[str, Any]] = []
    for path in paths:
        course = read_run(path)
        for notice in course.notices:
            invocation.terminal.say(notice)
        runs_read.append(course.to_json(options.x))
    _name_apart(runs_read, "run", "path")
    samples = [spread_out(run["samples"], options.samples) for run in runs_read]
    drawing.write(
        lambda: curves.plot(runs_read, options.x), "learning.html", lambda: curves.report(runs_read, samples, options.x)
    )
    if as_json:
        result(json.dumps({"x": options.x, "runs": runs_read}))
    else:
        curves.print_curves(runs_read, options.x)


def _read_once(text: str | None) -> "str | Source | None":
    """A text that several models read, which as a pipe or stdin could be opened only once."""
    from charlm.data.sources import open_sources
    from charlm.files import present

    return text if text is None or present(Path(text) / "corpus.json") else open_sources([text])


def _run_name(model: "Model") -> str:
    """What to call a model: its run, or its file."""
    path = model.path or Path("model")
    return path.resolve().parent.name if path.name == "model.safetensors" else path.name


def _name_apart(rows: list[dict[str, Any]], name: str, path: str) -> None:
    """Put the path behind names that occur more than once."""
    times = Counter(one[name] for one in rows)
    for one in rows:
        if times[one[name]] > 1:
            one[name] = f"{one[name]} ({one[path]})"
