"""`charlm inspect surprise` and `cells`: what a network reads."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.inspect import app
from charlm.cli.models import AsJson, ModelChoice, TextChoice, load_model
from charlm.cli.options import Invocation, command
from charlm.cli.report_files import HTML, report_path, write_report
from charlm.config import CellsOptions, ReadOptions, SurpriseOptions
from charlm.errors import UsageError
from charlm.show.terminal import result

if TYPE_CHECKING:
    from charlm.evaluation.texts import EvalText
    from charlm.model.checkpoint import Model


@command(app, "inspect surprise")
def surprise(
    invocation: Invocation,
    text: TextChoice = None,
    model: ModelChoice = None,
    html: HTML = None,
    as_json: AsJson = False,
) -> None:
    """See how surprised a model is by each character, by which characters, and after how much context."""
    from charlm.inspect.record import record
    from charlm.inspect.surprise import summarize
    from charlm.show import surprise as showing
    from charlm.show import tables
    from charlm.show.coloured import print_coloured, stdout_is_terminal
    from charlm.show.text_view import DEFAULT_LIKELY_SYMBOLS
    from charlm.show.text_view import surprise as track

    options = SurpriseOptions.of(invocation.values)
    page = report_path(html)
    loaded, chosen = _reading(invocation, model, text, options)
    top = options.top or (DEFAULT_LIKELY_SYMBOLS if page else 0)
    if page is not None:
        _check_room(chosen, loaded, tracks=1, top=top)
    with invocation.terminal.reading("reading") as progress:
        seen = record(loaded, chosen.ids, top=top, progress=progress)
    needed = as_json or page is not None or options.top == 0
    summary = summarize(loaded, chosen, seen).to_json() if needed else {}
    if page is not None:
        write_report(invocation, page, showing.view(summary, loaded.vocabulary, seen))
    if as_json:
        each = {"each": showing.character_rows(loaded.vocabulary, seen)} if options.top else {}
        result(json.dumps(summary | each))
    elif options.top:
        for line in showing.character_lines(loaded.vocabulary, seen):
            result(line)
    else:
        if page is None and stdout_is_terminal():
            print_coloured(loaded.vocabulary, seen.ids, track(seen.bits))
            result("")
        tables.print_facts(showing.summary(summary))
        tables.print_grids(showing.report_grids(summary))


@command(app, "inspect cells")
def cells(
    invocation: Invocation,
    text: TextChoice = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="LAYER:UNIT", show_default=False,
                     help="A unit, both numbers counted from 0, such as 0:17; may be given more than once."),
    ] = None,
    model: ModelChoice = None,
    html: HTML = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """See what single units do: the text coloured by their values."""
    from charlm.inspect.cells import profile
    from charlm.inspect.record import record
    from charlm.model.units import check_part, parse_unit
    from charlm.show import cells as showing
    from charlm.show import tables
    from charlm.show.coloured import print_coloured, stdout_is_terminal
    from charlm.show.text_view import DEFAULT_LIKELY_SYMBOLS

    if not unit:
        raise UsageError("which unit? give --unit LAYER:UNIT at least once, both counted from 0, such as --unit 0:17")
    options = CellsOptions.of(invocation.values)
    page = report_path(html)
    loaded, chosen = _reading(invocation, model, text, options)
    units = list(dict.fromkeys(parse_unit(word, loaded) for word in unit))
    part = check_part(options.part, loaded)
    if page is not None:
        _check_room(chosen, loaded, tracks=len(units) + 1, top=DEFAULT_LIKELY_SYMBOLS)
    with invocation.terminal.reading("reading") as progress:
        top = DEFAULT_LIKELY_SYMBOLS if page else 0
        seen = record(loaded, chosen.ids, top=top, units=units, parts=[part] * len(units), progress=progress)
    profiles = [profile(one, seen.ids, values) for one, values in zip(units, seen.values.T, strict=True)]
    report = showing.report_values(str(loaded.path), chosen.name, part, loaded.vocabulary, profiles)
    if page is not None:
        write_report(invocation, page, showing.view(report, loaded.vocabulary, seen, options.palette))
    if as_json:
        result(json.dumps(report | {"each": showing.character_rows(loaded.vocabulary, seen)}))
        return
    if page is None and stdout_is_terminal():
        for track in showing.tracks([str(one) for one in units], seen.values, part, options.palette):
            print_coloured(loaded.vocabulary, seen.ids, track)
            result("")
    tables.print_facts({name: report[name] for name in ("model", "text")})
    tables.print_grids((showing.grid(report),))


def _reading(
    invocation: Invocation, model: str | None, text: str | None, options: ReadOptions
) -> "tuple[Model, EvalText]":
    """The model and the text that are meant."""
    from charlm.inspect.passage import passage

    loaded = load_model(invocation, model)
    return loaded, passage(loaded, text, options, report=invocation.terminal.say)


def _check_room(text: "EvalText", model: "Model", *, tracks: int, top: int) -> None:
    """Refuse a report that would be too large, before anything is computed."""
    from charlm.show.text_view import plan

    plan(len(text.ids) - 1, model.vocabulary, tracks, min(top, model.vocabulary.size))
