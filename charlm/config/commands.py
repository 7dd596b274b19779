"""The options of each command, and the TOML file that sets them."""

import tomllib
from pathlib import Path
from typing import Any

from charlm.config.inference import CompressOptions, EvalOptions, MeasureOptions, SampleOptions, ScoreOptions
from charlm.config.inspecting import (
    AblateOptions,
    CellsOptions,
    FindOptions,
    GradientOptions,
    LearningOptions,
    ReadOptions,
    SurfaceOptions,
    SurpriseOptions,
)
from charlm.config.texts import CatalogueOptions, GetOptions, PrepareOptions
from charlm.config.training import TrainOptions
from charlm.errors import UsageError
from charlm.files import text_encoding_of
from charlm.spec import Options

COMMANDS: dict[str, type[Options]] = {
    "prepare": PrepareOptions,
    "train": TrainOptions,
    "eval": EvalOptions,
    "sample": SampleOptions,
    "inspect surprise": SurpriseOptions,
    "inspect cells": CellsOptions,
    "inspect gradients": GradientOptions,
    "inspect surface": SurfaceOptions,
    "inspect learning": LearningOptions,
    "inspect find": FindOptions,
    "inspect ablate": AblateOptions,
    "inspect gates": ReadOptions,
    "compare": MeasureOptions,
    "compress": CompressOptions,
    "score": ScoreOptions,
    "corpora list": CatalogueOptions,
    "corpora get": GetOptions,
}
"""The option group of each command that has one; `inspect find` is in the group `inspect`."""

COMMANDS_WITHOUT_OPTIONS = ("decompress", "info", "presets", "runs")
"""The other commands, of which a file may have tables too."""


def read_config(path: Path, command: str, group: type[Options]) -> dict[str, Any]:
    """Read the options of one command from a TOML file.

    Keys are option names with `-` or `_`. The keys in the command's table are read ([inspect.find] for
    `charlm inspect find`), and of those at the top level the command's own, so that commands can share a file.

    Raises:
        UsageError: the file cannot be read, is not TOML, or names an option that no command has.
    """
    try:
        data = path.read_bytes()
        document = tomllib.loads(data.decode(text_encoding_of(data)).replace("\r\n", "\n"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--config {path} cannot be read: {reason}; it must be a TOML file") from None
    names = {name.split()[0] for name in COMMANDS} | set(COMMANDS_WITHOUT_OPTIONS)
    tables = {name for name, value in document.items() if isinstance(value, dict) and name in names}
    values = _option_values({name: value for name, value in document.items() if name not in tables}, path)
    foreign = {name for other in COMMANDS.values() for name in other.specs()} - set(group.specs())
    values = {name: value for name, value in values.items() if name not in foreign}
    values |= _option_values(_command_table(document, command), path)
    group.of(values, where=f" in {path}")
    return values


def _option_values(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Values by option name, which may be written with - or _."""
    values = {name.replace("-", "_"): value for name, value in table.items()}
    if len(values) < len(table):
        name = next(name for name in table if "-" in name and name.replace("-", "_") in table)
        raise UsageError(f"--config {path} has both {name} and {name.replace('-', '_')}; leave one of them out")
    return values


def _command_table(document: dict[str, Any], command: str) -> dict[str, Any]:
    """The table of a command, or an empty one; that of `inspect find` is in that of `inspect`."""
    table: Any = document
    for word in command.split():
        table = table.get(word, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}
