"""Presets: the settings of systems that people know, one TOML file a system in `charlm/presets`.

    about     what it was, in a sentence
    source    where the figures are from
    differs   what charlm does in another way, and what could not be verified
    [train]   options of `charlm train`
    [prepare] what it asks of the corpus, which is not in the hands of `charlm train`

The default of an option is the last that is asked: what a preset says stands above it, a `--config` file above
that, and flags above all. What is left out: the options themselves (`charlm.config`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import tomli_w

from charlm.config import PRESETS_FOLDER, PrepareOptions, TrainOptions, preset_names
from charlm.errors import CharlmError
from charlm.spec import flag


@dataclass(frozen=True)
class Preset:
    """What a file says.

    Attributes:
        name: as `--preset` takes it.
        about, source, differs: as above, in words.
        train, prepare: options by name, in range.
    """

    name: str
    about: str
    source: str
    differs: tuple[str, ...]
    train: dict[str, Any]
    prepare: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm presets --json`."""
        return {
            "name": self.name,
            "about": self.about,
            "source": self.source,
            "differs": list(self.differs),
            "train": self.train,
            "prepare": self.prepare,
        }

    def to_toml(self) -> str:
        """A file for `--config`, of `charlm prepare` and of `charlm train`, which says in comments what it is."""
        head = [f"{self.name}: {self.about}", f"source: {self.source}", *(f"differs: {line}" for line in self.differs)]
        tables = {name: table for name, table in (("prepare", self.prepare), ("train", self.train)) if table}
        return "".join(f"# {line}\n" for line in head) + tomli_w.dumps(tables).rstrip("\n")


@cache
def load(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none; the message lists those that there are.
        CharlmError: its file is missing from the installation, or damaged.
    """
    TrainOptions.specs()["preset"].read("preset", name)
    path = PRESETS_FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        train, prepare = table["train"], table.get("prepare", {})
        TrainOptions.of(train, where=f" in {path}")
        PrepareOptions.of(prepare, where=f" in {path}")
        return Preset(name, table["about"], table["source"], tuple(table["differs"]), train, prepare)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, CharlmError) as error:
        raise CharlmError(f"{path} cannot be used: {error}; install charlm again") from None


def every() -> list[Preset]:
    """All of them, by name."""
    return [load(name) for name in preset_names()]


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run, with those of the preset that they name for what they leave out.

    One of `--epochs`, `--steps` and `--time` among them takes the place of the preset's length.

    Raises:
        UsageError: there is no such preset.
    """
    name = values.get("preset")
    if name is None:
        return dict(values)
    lengths = TrainOptions.alternatives
    return TrainOptions.merged(
        load(name).train, {key: value for key, value in values.items() if value is not None or key not in lengths}
    )


def corpus_notices(name: str | None, corpus: PrepareOptions) -> list[str]:
    """In words what a preset asks of a corpus that was prepared with these options, where that differs."""
    if name is None:
        return []
    asked = {key: PrepareOptions.specs()[key].read(key, value) for key, value in load(name).prepare.items()}
    differ = {key: value for key, value in asked.items() if getattr(corpus, key) != value}
    if not differ:
        return []
    wanted = " ".join(f"{flag(key)} {_word(value)}" for key, value in differ.items())
    actual = ", ".join(_word(getattr(corpus, key)) for key in differ)
    return [f"the preset {name} is for a corpus prepared with {wanted}, and this one has {actual}"]


def departures(name: str, options: Mapping[str, Any]) -> list[str] | None:
    """The names of a preset's settings that a model's options do not have; None where there is no such preset."""
    if name not in preset_names():
        return None
    specs = TrainOptions.specs()
    return [key for key, value in load(name).train.items() if specs[key].read(key, value) != options.get(key)]


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
