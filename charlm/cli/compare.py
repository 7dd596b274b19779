"""The command that compares models."""

import json
from typing import Annotated

import typer

from charlm.cli.models import AsJson, load_model
from charlm.cli.options import Invocation
from charlm.show.terminal import Terminal, result


def compare(
    invocation: Invocation,
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL MODEL...", show_default=False,
                                  help="Two or more model files or runs."),
    ],
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT|-", show_default=False,
                                             help="A text to score. Default: a split of the models' corpus.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Compare models on one text: which is better, and whether that could be chance."""
    from charlm.evaluation.compare import compare as score
    from charlm.runtime.distributed import join
    from charlm.show import tables

    group = join()
    terminal = invocation.terminal if group.is_main else Terminal(quiet=True)
    loaded = [load_model(invocation, word) for word in models]
    with terminal.scoring() as progress:
        comparison = score(loaded, text, report=terminal.say, progress=progress, **invocation.values).to_json()
    if not group.is_main:
        return
    if as_json:
        result(json.dumps(comparison))
        return
    for line in tables.comparison_lines(comparison):
        result(line)
    if len({row["unknown"] for row in comparison["models"]}) > 1:
        for row in comparison["models"]:
            terminal.say(f"{row['model']} scored {row['unknown']:,} as unknown, which is easier than to name them")
