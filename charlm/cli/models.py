"""How every command that has to do with a model takes it."""

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
JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout: one object, a line each.", show_default=False)]


def load_model(invocation: Invocation, word: str | None) -> "Model":
    """The model that is meant, loaded."""
    from charlm.model.checkpoint import load

    return load(model_path(invocation, word))


def model_path(invocation: Invocation, word: str | None) -> Path:
    """The model that is meant; which one was chosen for the user is said."""
    from charlm.training.runs import find_model

    path = find_model(word)
    if word is None:
        invocation.terminal.say(f"model: {path}")
    return path
