"""The parameters by which commands take a model and a text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.options import Invocation

if TYPE_CHECKING:
    from charlm.model.checkpoint import Model

ModelChoice = Annotated[
    str | None,
    typer.Option("--model", metavar="FILE|RUN", help="A model file or a run. Default: the most recent run's best.",
                 show_default=False),
]  # fmt: skip
TextChoice = Annotated[
    str | None,
    typer.Argument(metavar="TEXT|-", show_default=False,
                   help="A text to read. Default: the test split of the model's corpus."),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout: one object, a line each.", show_default=False)]


def load_model(invocation: Invocation, name: str | None) -> "Model":
    """Load a model file or the model of a run; by default that of the most recent run."""
    from charlm.model.checkpoint import load

    return load(model_path(invocation, name))


def model_path(invocation: Invocation, name: str | None) -> Path:
    """Path of a model file or of the model of a run; a default is reported on stderr."""
    from charlm.training.runs import find_model

    path = find_model(name)
    if name is None:
        invocation.terminal.say(f"model: {path}")
    return path
