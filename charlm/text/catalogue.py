"""The catalogue of corpora that charlm knows by name.

It is the file `corpora/catalogue.toml`, which an installed package carries inside itself and a
checkout has beside it. What is left out: fetching; a catalogued address is for the user.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from charlm.errors import CharlmError

PACKAGE = Path(__file__).resolve().parent.parent
PLACES = (PACKAGE / "corpora" / "catalogue.toml", PACKAGE.parent / "corpora" / "catalogue.toml")


@dataclass(frozen=True)
class Entry:
    """One corpus of the catalogue.

    Args:
        name: what `charlm prepare` takes.
        kind: `builtin` (made on the spot) or `download`.
        description: one sentence.
        address, bytes, characters, sha256, licence: of a download: where it is and how to tell it.
    """

    name: str
    kind: str
    description: str
    address: str | None = None
    bytes: int | None = None
    characters: int | None = None
    sha256: str | None = None
    licence: str | None = None


@cache
def catalogue() -> dict[str, Entry]:
    """Every entry, by name, in the file's order.

    Raises:
        CharlmError: the file is missing from the installation, or damaged.
    """
    place = next((place for place in PLACES if place.is_file()), None)
    if place is None:
        raise CharlmError(f"{PLACES[0]} is missing; the installation is incomplete, install charlm again")
    try:
        tables = tomllib.loads(place.read_text(encoding="utf-8"))
        return {name: Entry(name=name, **table) for name, table in tables.items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        raise CharlmError(f"{place} cannot be read: {error}; install charlm again") from None


def builtin_names() -> list[str]:
    """The names of the corpora that need no download."""
    return [name for name, entry in catalogue().items() if entry.kind == "builtin"]
