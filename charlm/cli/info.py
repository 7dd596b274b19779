"""The commands `charlm info` and `charlm runs`."""

import json
from typing import Annotated

import typer

from charlm.cli.models import AsJson, model_path
from charlm.cli.options import Invocation
from charlm.show.terminal import result


def info(
    invocation: Invocation,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", show_default=False,
                                                help="A model file or a run. Default: the most recent.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say what a model file is, from its header alone."""
    from charlm.model.checkpoint import read_header
    from charlm.show import tables
    from charlm.training.runs import describe

    description = describe(read_header(model_path(invocation, model)))
    if as_json:
        result(json.dumps(description))
    else:
        tables.print_facts(tables.model_facts(description))


def list_runs(invocation: Invocation, as_json: AsJson = False) -> None:
    """List the runs, newest first, with their best loss and size."""
    from charlm.show import tables
    from charlm.training.runs import summarize

    rows = [summary.to_row() for summary in summarize()]
    if as_json:
        for row in rows:
            result(json.dumps(row))
    elif rows:
        tables.print_runs(rows)
    else:
        invocation.terminal.say("there are no runs below runs; train one: charlm train")
