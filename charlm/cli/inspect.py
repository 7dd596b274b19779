"""The group `charlm inspect`; its commands are in `inspect_text`, `inspect_training` and `inspect_units`."""

import typer

from charlm.show.terminal import result

app = typer.Typer(
    name="inspect", help="See inside a model: surprise, cells, gates, gradients, learning.", invoke_without_command=True
)


@app.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        result(context.get_help())
