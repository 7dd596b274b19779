"""`charlm inspect surprise` and `cells`: what a network reads."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.inspect import app
from charlm.cli.models import JSON, ModelChoice, TextChoice, load_model
from charlm.cli.options import Given, command
from charlm.config import CellsOptions, ReadOptions, SurpriseOptions
from charlm.errors import UsageError
from charlm.show.terminal import result

if TYPE_CHECKING:
    from charlm.model.checkpoint import Model
    from charlm.show.view import TextView
    from charlm.use.texts import Text


HTML = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", show_default=False, help="Write a report that opens in a browser."),
]


@command(app, SurpriseOptions, "inspect surprise")
def surprise(
    given: Given,
    text: TextChoice = None,
    model: ModelChoice = None,
    html: HTML = None,
    as_json: JSON = False,
) -> None:
    """See how surprised a model is by each character, by which characters, and after how much context."""
    from charlm.inspect.record import record
    from charlm.inspect.surprise import summarize
    from charlm.show import surprise as showing
    from charlm.show import tables
    from charlm.show.coloured import coloured, on_terminal
    from charlm.show.view import LIKELY
    from charlm.show.view import surprise as track

    options = SurpriseOptions.of(given.values)
    loaded, chosen = _reading(given, model, text, options, html)
    top = options.top or (LIKELY if html else 0)
    if html is not None:
        _check_room(chosen, loaded, tracks=1, top=top)
    with given.terminal.counting("reading") as counter:
        seen = record(loaded, chosen.ids, top=top, progress=lambda done, total: counter(done, total, "chars"))
    needed = as_json or html is not None or options.top == 0
    found = summarize(loaded, chosen, seen).to_json() if needed else {}
    if html is not None:
        _write(given, html, showing.view(found, loaded.symbols, seen))
    if as_json:
        each = {"each": showing.each(loaded.symbols, seen)} if options.top else {}
        result(json.dumps(found | each))
    elif options.top:
        for line in showing.listed(loaded.symbols, seen):
            result(line)
    else:
        if html is None and on_terminal():
            coloured(loaded.symbols, seen.ids, track(seen.bits))
            result("")
        tables.facts(showing.summary(found))
        tables.grids(showing.grids(found))


@command(app, CellsOptions, "inspect cells")
def cells(
    given: Given,
    text: TextChoice = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="LAYER:UNIT", show_default=False,
                     help="A unit, both numbers counted from 0, such as 0:17; may be given more than once."),
    ] = None,
    model: ModelChoice = None,
    html: HTML = None,
    as_json: JSON = False,
) -> None:  # fmt: skip
    """See what single units do: the text coloured by their values."""
    from charlm.inspect.cells import profile
    from charlm.inspect.record import record
    from charlm.model.units import check_part, parse_unit
    from charlm.show import cells as showing
    from charlm.show import tables
    from charlm.show.coloured import coloured, on_terminal
    from charlm.show.view import LIKELY

    if not unit:
        raise UsageError("which unit? give --unit LAYER:UNIT at least once, both counted from 0, such as --unit 0:17")
    options = CellsOptions.of(given.values)
    loaded, chosen = _reading(given, model, text, options, html)
    units = list(dict.fromkeys(parse_unit(word, loaded) for word in unit))
    part = check_part(options.part, loaded)
    if html is not None:
        _check_room(chosen, loaded, tracks=len(units) + 1, top=LIKELY)
    with given.terminal.counting("reading") as counter:
        seen = record(loaded, chosen.ids, top=LIKELY if html else 0, units=units, parts=[part] * len(units),
                      progress=lambda done, total: counter(done, total, "chars"))  # fmt: skip
    profiles = [profile(one, seen.ids, values) for one, values in zip(units, seen.values.T, strict=True)]
    found = showing.found(str(loaded.path), chosen.name, part, loaded.symbols, profiles)
    if html is not None:
        _write(given, html, showing.view(found, loaded.symbols, seen, options.palette))
    if as_json:
        result(json.dumps(found | {"each": showing.each(loaded.symbols, seen)}))
        return
    if html is None and on_terminal():
        for track in showing.tracks([str(one) for one in units], seen.values, part, options.palette):
            coloured(loaded.symbols, seen.ids, track)
            result("")
    tables.facts({name: found[name] for name in ("model", "text")})
    tables.grids((showing.grid(found),))


def _reading(
    given: Given, model: str | None, text: str | None, options: ReadOptions, html: Path | None
) -> "tuple[Model, Text]":
    """The model and the text that are meant; a report's name is checked before anything is read."""
    from charlm.inspect.passage import passage

    if html is not None:
        from charlm.show.html import check_name

        check_name(html)
    loaded = load_model(given, model)
    return loaded, passage(loaded, text, options, report=given.terminal.say)


def _check_room(text: "Text", model: "Model", *, tracks: int, top: int) -> None:
    """Refuse a report that would be too large, before anything is computed."""
    from charlm.show.view import plan

    plan(len(text.ids) - 1, model.symbols, tracks, min(top, model.symbols.size))


def _write(given: Given, path: Path, view: "TextView") -> None:
    """Write a report and say where it is."""
    from charlm.show.html import save
    from charlm.show.view import report

    save(path, report(view))
    given.terminal.say(f"report: {path}")
