"""`charlm inspect find`, `ablate` and `gates`: what its units remember."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.inspect import app
from charlm.cli.models import AsJson, ModelChoice, TextChoice, load_model
from charlm.cli.options import Invocation, command
from charlm.cli.report_files import HTML, report_path, write_report
from charlm.config import AblateOptions, FindOptions, ReadOptions
from charlm.errors import UsageError
from charlm.show.terminal import result

if TYPE_CHECKING:
    from charlm.evaluation.texts import EvalText
    from charlm.model.checkpoint import Model


@command(app, "inspect find")
def find(
    invocation: Invocation,
    text: TextChoice = None,
    model: ModelChoice = None,
    as_json: AsJson = False,
    html: HTML = None,
) -> None:  # fmt: skip
    """Find units that follow quotes, brackets, indentation and the like, and tell them from chance."""
    from charlm.inspect.passage import passage
    from charlm.inspect.unit_reports import find_report
    from charlm.show import units

    page = report_path(html)
    loaded, options = load_model(invocation, model), FindOptions.of(invocation.values)
    read = passage(loaded, text, options, report=invocation.terminal.say)
    report = find_report(loaded, read, options, invocation.terminal.reading)
    if page is not None:
        _write_found(invocation, page, loaded, read, report)
    if as_json:
        result(json.dumps(report))
    else:
        units.print_table(units.FIND_COLUMNS, units.find_rows(report))


def _write_found(invocation: Invocation, path: Path, model: "Model", text: "EvalText", report: dict[str, Any]) -> None:
    """Write the report of what was found, with the beginning of the half that confirmed it."""
    from charlm.inspect.record import record
    from charlm.inspect.unit_reports import best_of, shown_of
    from charlm.show import units
    from charlm.show.text_view import DEFAULT_LIKELY_SYMBOLS

    best = best_of(report)
    with invocation.terminal.reading("reading again") as progress:
        seen = record(model, shown_of(text.ids), top=DEFAULT_LIKELY_SYMBOLS, units=[unit for unit, _ in best.values()],
                      parts=[part for _, part in best.values()], progress=progress)  # fmt: skip
    named = {feature: f"{unit} {part}" for feature, (unit, part) in best.items()}
    write_report(invocation, path, units.view(report, model.vocabulary, seen, named))


@command(app, "inspect ablate")
def ablate(
    invocation: Invocation,
    text: TextChoice = None,
    model: ModelChoice = None,
    unit: Annotated[list[str] | None, typer.Option("--unit", metavar="LAYER:UNIT", show_default=False,
                                                   help="A unit; may be given more than once.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take units away: bits that are lost, on a feature of the text and off it."""
    from charlm.inspect.passage import passage
    from charlm.inspect.unit_reports import ablate_report
    from charlm.show import units

    if not unit:
        raise UsageError("no unit is named; give one or more, such as --unit 0:17 (charlm inspect find finds some)")
    loaded, options = load_model(invocation, model), AblateOptions.of(invocation.values)
    read = passage(loaded, text, options, report=invocation.terminal.say)
    with invocation.terminal.reading("reading") as progress:
        report = ablate_report(loaded, read, options, unit, progress)
    if as_json:
        result(json.dumps(report))
        return
    invocation.terminal.say(f"with every unit: {report['bits_per_char']:.4f} bits per character")
    units.print_table(units.ABLATION_COLUMNS, units.ablation_rows(report))


@command(app, "inspect gates")
def gates(invocation: Invocation, text: TextChoice = None, model: ModelChoice = None, as_json: AsJson = False) -> None:
    """Say how often gates are shut or open, and outputs at their ends."""
    from charlm.inspect.passage import passage
    from charlm.inspect.unit_reports import gates_report
    from charlm.show import units

    loaded = load_model(invocation, model)
    read = passage(loaded, text, ReadOptions.of(invocation.values), report=invocation.terminal.say)
    with invocation.terminal.reading("reading") as progress:
        report = gates_report(loaded, read, progress)
    if as_json:
        result(json.dumps(report))
        return
    if report["gates"]:
        units.print_table(units.GATE_COLUMNS, units.gate_rows(report))
    units.print_table(units.OUTPUT_COLUMNS, units.output_rows(report))
