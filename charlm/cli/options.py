"""Make command-line options of the option groups that `charlm.config` declares."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import ArgumentInfo

from charlm.cells._plugin import plugin
from charlm.config import COMMANDS, read_config
from charlm.errors import UsageError
from charlm.show.terminal import StdoutClosed, Terminal
from charlm.spec import AUTO, Options, Spec, flag

METAVARS = {"integer": "INTEGER", "number": "NUMBER", "count": "COUNT", "duration": "TIME", "text": "TEXT"}

MAX_METAVAR = 60
"""Characters of the choices shown next to a flag; longer lists go into the help text."""


@dataclass(frozen=True)
class Invocation:
    """What every command gets: the options set by flag or file, and the terminal.

    Attributes:
        values: options of the command's group; a flag takes precedence over the configuration file.
        terminal: for notices and progress; results go to stdout.
    """

    values: dict[str, Any]
    terminal: Terminal


def command(
    app: typer.Typer, name: str, *, plugins: bool = True, cls: type[TyperCommand] = TyperCommand
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command with its own, its group's and the common options.

    Args:
        app: the program or a group of commands.
        name: the name of the command, for one in a group both words; its options are those of
            `charlm.config.COMMANDS`, if it has any.
        plugins: whether it has --plugin; plugins are loaded before options are read.
        cls: class of the command, if its help differs.

    The function's first parameter receives an `Invocation`.
    """
    group = COMMANDS.get(name, _NoOptions)

    def register(function: Callable[..., None]) -> Callable[..., None]:
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        ]

        @wraps(function)
        def run(**arguments: Any) -> None:
            quiet, config = arguments.pop("quiet"), arguments.pop("config")
            arguments.pop("debug")
            for source in arguments.pop("plugin", None) or ():
                plugin(source)
            file_values = read_config(Path(config), name, group) if config else {}
            flags = {key: arguments.pop(key) for key in group.specs()}
            flags = {key: value for key, value in flags.items() if value is not None}
            _check_alternatives(group, flags)
            merged = group.merged(file_values, flags)
            options = group.of(merged)
            values = {key: getattr(options, key) for key in merged}
            try:
                function(Invocation(values, Terminal(quiet)), **arguments)
            except BrokenPipeError:
                raise StdoutClosed from None

        derived = [_option_parameter(key, spec, group.default(key)) for key, spec in group.specs().items()]
        arguments = [p for p in parameters if isinstance(p.annotation.__metadata__[0], ArgumentInfo)]
        flags = [p for p in parameters if p not in arguments] + ([_plugin_option()] if plugins else [])
        run.__signature__ = inspect.Signature([*arguments, *derived, *flags, *_common_options()])  # type: ignore[attr-defined]
        run.__annotations__ = {}
        app.command(name.split()[-1], cls=cls)(run)
        return run

    return register


@dataclass(frozen=True)
class _NoOptions(Options):
    """The group of a command without options."""


def _check_alternatives(group: type[Options], flags: dict[str, Any]) -> None:
    """Refuse two flags that exclude each other; a flag replaces an alternative in a file."""
    alternatives = [flag(name) for name in group.alternatives if name in flags]
    if len(alternatives) > 1:
        raise UsageError(f"{' and '.join(alternatives)} each say when to stop; give one of them")


def _plugin_option() -> inspect.Parameter:
    help = "A Python file or module with a cell of your own, which is run; may be given more than once."
    declared = typer.Option("--plugin", metavar="FILE.py|MODULE", help=help, show_default=False)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter("plugin", kind, default=None, annotation=Annotated[list[str] | None, declared])


def _option_parameter(name: str, spec: Spec, default: Any) -> inspect.Parameter:
    """The parameter of one option.

    Typer parses switches only; other values stay strings for `Spec.read`, so that all errors read alike."""
    keywords: dict[str, Any] = {"help": _help(spec, default), "rich_help_panel": spec.panel, "show_default": False}
    if spec.kind == "switch":
        declared = typer.Option(f"{flag(name)}/--no-{name.replace('_', '-')}", **keywords)
        annotation: Any = Annotated[bool | None, declared]
    else:
        words = (*spec.words(), *((AUTO,) if spec.auto and spec.kind == "choice" else ()))
        metavar = "|".join(words) if spec.kind == "choice" else METAVARS[spec.kind]
        if words and len(metavar) > MAX_METAVAR:
            metavar, keywords["help"] = "NAME", f"{keywords['help']} One of {', '.join(words)}."
        complete = (lambda: list(words)) if words else None
        annotation = Annotated[
            str | None, typer.Option(flag(name), metavar=metavar, autocompletion=complete, **keywords)
        ]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(spec: Spec, default: Any) -> str:
    if spec.auto:
        return f"{spec.help} Default auto: {spec.auto}."
    if default is None or spec.kind == "switch":
        return spec.help
    return (
        f"{spec.help} Default: {default:g}." if isinstance(default, int | float) else f"{spec.help} Default: {default}."
    )


def _common_options() -> list[inspect.Parameter]:
    options: dict[str, tuple[Any, Any]] = {
        "config": (
            Annotated[
                str | None,
                typer.Option("--config", metavar="FILE.toml", help="Take options from this file; flags win.",
                             rich_help_panel="Common", show_default=False),
            ],
            None,
        ),
        "quiet": (Annotated[bool, typer.Option("--quiet", help="Say nothing but the result and errors.",
                                               rich_help_panel="Common", show_default=False)], False),
        "debug": (Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.",
                                               rich_help_panel="Common", show_default=False)], False),
    }  # fmt: skip
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
