"""The program with all its commands.

Each command parses, calls the library and shows; torch is imported only if it computes.
"""

from typing import Annotated

import typer

from charlm.cli import (  # noqa: F401 - they add commands
    compare,
    compress,
    corpora,
    evaluate,
    info,
    inspect,
    inspect_text,
    inspect_training,
    inspect_units,
    prepare,
    presets,
    sample,
    score,
    train,
)
from charlm.cli.options import command
from charlm.show.terminal import result
from charlm.version import __version__

app = typer.Typer(
    name="charlm",
    help="Character language models with recurrent networks: prepare a text, train, eval, sample.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def _version(requested: bool) -> None:
    if requested:
        result(f"charlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        result(context.get_help())


# In the order in which --help lists them.
command(app, "prepare", plugins=False)(prepare.prepare)
command(app, "train", cls=presets.TrainCommand)(train.train)
command(app, "eval")(evaluate.evaluate)
command(app, "sample")(sample.sample)
command(app, "info")(info.info)
command(app, "runs")(info.list_runs)
command(app, "compare")(compare.compare)
command(app, "compress")(compress.compress)
command(app, "decompress")(compress.decompress)
command(app, "score")(score.score)
command(app, "presets", plugins=False)(presets.presets)
app.add_typer(inspect.app)
app.add_typer(corpora.app)
