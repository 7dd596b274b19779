"""Synthetic sources: texts of known distribution, for which the distance of a model from a perfect one is known.

One file a source: its distribution, and with it the text, the entropy rate and the predictions of a perfect model
(`charlm.synthetic._source`). A source's parameters are the fields of its class; all but the seed are options of
`charlm prepare`. Adding a source is adding a file here that ends in `SOURCE = TheClass`, its parameters to
`charlm.config.PrepareOptions`, and its name to the catalogue.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from charlm.config import PrepareOptions
from charlm.errors import UsageError
from charlm.synthetic._source import Entropy, Expected, Source

__all__ = ["SIZE", "Entropy", "Expected", "Source", "make", "names", "parameters", "settings", "takers"]

SIZE = 2_000_000
"""Characters of a synthetic text, if no size is given."""


@cache
def _sources() -> dict[str, type[Source]]:
    files = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    classes = [import_module(f"charlm.synthetic.{stem}").SOURCE for stem in files]
    return {source.name: source for source in classes}


def names() -> tuple[str, ...]:
    """Every source, sorted by the name that `charlm prepare` takes."""
    return tuple(sorted(_sources()))


def parameters(name: str) -> tuple[str, ...]:
    """The options of a source besides its seed and size."""
    return tuple(field.name for field in fields(_sources()[name]) if field.name != "seed")  # type: ignore[arg-type]


def make(name: str, seed: int = 0, **values: Any) -> Source:
    """A source.

    Args:
        name: of `names()`.
        seed: decides every draw.
        values: of its `parameters`; what is left out has its default.

    Raises:
        UsageError: there is no such source, it has no such parameter, or a value is out of range.
    """
    if name not in _sources():
        raise UsageError(f"{name} is no synthetic source; there are {', '.join(names())}")
    for value in values:
        if value not in parameters(name):
            raise UsageError(f"{name} has no parameter {value!r}; it has {', '.join(('seed', *parameters(name)))}")
    options = PrepareOptions.of({"seed": seed, **values})
    parameters_set = {key: getattr(options, key) for key in ("seed", *values)}
    return _sources()[name](**{key: value for key, value in parameters_set.items() if value is not None})


def takers(option: str) -> tuple[str, ...]:
    """The sources that take an option; all of them take a size and a seed."""
    return tuple(name for name in names() if option in ("size", "seed", *parameters(name)))


def settings(source: Source) -> Mapping[str, Any]:
    """Every parameter of a source but its seed, defaults included."""
    return {name: getattr(source, name) for name in parameters(source.name)}
