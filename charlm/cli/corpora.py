"""`charlm corpora`: the texts that are known by name, and how to get one."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from charlm.cli.models import AsJson
from charlm.cli.options import Invocation, command
from charlm.config import CatalogueOptions
from charlm.show.terminal import result

app = typer.Typer(name="corpora", help="Texts that are known by name: list them, get one.", invoke_without_command=True)


@app.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        result(context.get_help())


@command(app, "corpora list", plugins=False)
def list_texts(invocation: Invocation, as_json: AsJson = False) -> None:
    """List the texts: size, language, licence, and which are here."""
    from charlm.corpora.cache import listing
    from charlm.corpora.catalogue import entries_of
    from charlm.show import corpora

    options = CatalogueOptions.of(invocation.values)
    rows = [listing(entry, Path(options.out)) for entry in entries_of(options.catalogue).values()]
    if as_json:
        for row in rows:
            result(json.dumps(row))
    elif sys.stdout.isatty():
        corpora.print_table(rows)
    else:
        for row in rows:
            result("\t".join(corpora.table_row(row)))


@command(app, "corpora get", plugins=False)
def get(
    invocation: Invocation,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False,
                                               help="Texts of the catalogue.")],
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is here.", show_default=False)] = False,
) -> None:  # fmt: skip
    """Download a text, which charlm prepare NAME then takes."""
    from charlm.corpora.download import check

    check(names, **invocation.values)
    for name in names:
        result(str(_get(invocation, name, force)))


def _get(invocation: Invocation, name: str, force: bool) -> Path:
    from charlm.corpora.download import download

    with invocation.terminal.counting(f"getting {name}") as counter:
        callbacks: dict[str, Any] = {
            "report": invocation.terminal.say,
            "progress": lambda done, total, before: counter(done, total, "B", before=before),
        }
        return download(name, force=force, **callbacks, **invocation.values)
