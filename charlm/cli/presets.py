"""The command `charlm presets`, and `charlm train --help` with a preset."""

import copy
import json
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from charlm.cli.models import AsJson
from charlm.cli.options import Invocation
from charlm.show.terminal import result


class TrainCommand(TyperCommand):
    """The command `charlm train`; with `--preset`, its `--help` shows the preset's values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Store the arguments: `--help` is answered before the others are parsed."""
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the usual help, with the preset's value after an option's default."""
        name = _chosen_preset(ctx.meta.get(__name__, []))
        if name is None:
            return super().format_help(ctx, formatter)
        from charlm.training.presets import load

        usual, values = self.params, load(name).train
        self.params = [_with_preset_value(option, name, values) for option in usual]
        try:
            super().format_help(ctx, formatter)
        finally:
            self.params = usual


def _chosen_preset(arguments: list[str]) -> str | None:
    """The value of the last `--preset`."""
    preset = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--preset":
            preset = following
        elif argument.startswith("--preset="):
            preset = argument.removeprefix("--preset=")
    return preset


def _with_preset_value(option: Any, preset: str, values: dict[str, Any]) -> Any:
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
    as_json: AsJson = False,
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
        tables.print_presets([preset.to_json() for preset in chosen])
