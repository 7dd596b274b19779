"""Presets on the command line: the command that tells of them, and what they make of the help of `charlm train`."""

import copy
import json
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from charlm.cli.models import JSON
from charlm.cli.options import Invocation
from charlm.show.terminal import result


class TrainCommand(TyperCommand):
    """The command `charlm train`, whose `--help` says what a preset makes of each option where one is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the words: `--help` is answered before the others are read."""
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The usual help; behind an option's default the value that it has in the preset."""
        name = _chosen(ctx.meta.get(__name__, []))
        if name is None:
            return super().format_help(ctx, formatter)
        from charlm.training.presets import load

        usual, values = self.params, load(name).train
        self.params = [_with_value(option, name, values) for option in usual]
        try:
            super().format_help(ctx, formatter)
        finally:
            self.params = usual


def _chosen(words: list[str]) -> str | None:
    """What follows the last `--preset`."""
    preset = None
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--preset":
            preset = after
        elif word.startswith("--preset="):
            preset = word.removeprefix("--preset=")
    return preset


def _with_value(option: Any, preset: str, values: dict[str, Any]) -> Any:
    if option.name not in values:
        return option
    changed = copy.copy(option)
    value = values[option.name]
    changed.help = f"{option.help} With {preset}: {f'{value:g}' if isinstance(value, int | float) else value}."
    return changed


def presets(
    invocation: Invocation,
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False,
                                               help="Show this one as a file for --config. Default: list all.")] = None,
    as_json: JSON = False,
) -> None:  # fmt: skip
    """List the presets of charlm train, with their sources, or show the settings of one."""
    from charlm.show import tables
    from charlm.training.presets import every, load

    chosen = every() if name is None else [load(name)]
    if as_json:
        for preset in chosen:
            result(json.dumps(preset.to_json()))
    elif name is not None:
        result(chosen[0].to_toml())
    else:
        tables.presets([preset.to_json() for preset in chosen])
