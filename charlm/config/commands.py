"""Which options each command has, and a file that sets them."""

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
"""The option group of each command that has one; `inspect find` is a command within another."""

WITHOUT_OPTIONS = ("decompress", "info", "presets", "runs")
"""The other commands, which a file may have tables of all the same."""


def read_config(path: Path, command: str, group: type[Options]) -> dict[str, Any]:
    """Read the options of one command from a TOML file.

    Keys are option names with `-` or `_`. Those in a table named after the command count ([inspect.find] for
    `charlm inspect find`), and those at the top that the command has; what another command has is left alone,
    so that commands can share a file.

    Raises:
        UsageError: the file cannot be read, is not TOML, or names an option that no command has.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--config {path} cannot be read: {reason}; it must be a TOML file") from None
    names = {name.split()[0] for name in COMMANDS} | set(WITHOUT_OPTIONS)
    tables = {name for name, value in document.items() if isinstance(value, dict) and name in names}
    values = _by_name({name: value for name, value in document.items() if name not in tables}, path)
    foreign = {name for other in COMMANDS.values() for name in other.specs()} - set(group.specs())
    values = {name: value for name, value in values.items() if name not in foreign}
    values |= _by_name(_table(document, command), path)
    group.of(values, where=f" in {path}")
    return values


def _by_name(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """The values of options, which may be written with - or _."""
    values = {name.replace("-", "_"): value for name, value in table.items()}
    if len(values) < len(table):
        twice = next(name for name in table if "-" in name and name.replace("-", "_") in table)
        raise UsageError(f"--config {path} has both {twice} and {twice.replace('-', '_')}; leave one of them out")
    return values


def _table(document: dict[str, Any], command: str) -> dict[str, Any]:
    """The table of a command, empty where there is none; that of `inspect find` lies in the one of `inspect`."""
    table: Any = document
    for word in command.split():
        table = table.get(word, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}
