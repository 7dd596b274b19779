"""The HTML viewer of a text with numbers at every character.

    view = TextView(
        title="...", facts={"model": "..."}, vocabulary=model.vocabulary, ids=ids,
        tracks=(surprise(bits), Track("unit 0:17", values, "blog")),
        top=top, probabilities=probabilities, tables=(Grid("Units", ("unit", "score"), rows),),
    )
    save(path, report(view))

A *track* is a number for each character that can colour the text. The reader chooses a track, and sees the values of
all of them at the character under the pointer. An analysis adds a track for each of its results, and a `Grid` that
explains them. `plan` checks before anything is computed that a report stays below `MAX_REPORT_BYTES`; a long text
gets fewer likely symbols, which the report says. Shapes: N characters, K likely symbols.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charlm.errors import UsageError
from charlm.show.format import line
from charlm.show.html import base64_bytes, page
from charlm.show.palettes import PALETTES
from charlm.show.symbols import glyphs, names
from charlm.show.tables import Grid
from charlm.tokenizers.vocabulary import Vocabulary

MAX_REPORT_BYTES = 20_000_000
"""Bytes of a report, about, that a browser opens without delay."""

_PAGE_BYTES, _SYMBOL_BYTES = 500_000, 40
"""Bytes of the page without its arrays, and of each symbol's name."""

DEFAULT_LIKELY_SYMBOLS = 5
"""Likely symbols in a report by default."""

FULL_COLOUR_BITS = 8.0
"""Bits at which the colour is strongest."""


@dataclass(frozen=True)
class Track:
    """A number for each character.

    Attributes:
        name: by which the reader chooses it.
        values: (N,) finite.
        palette: of `charlm.show.palettes.PALETTES`.
        full: the absolute value at which the colour is strongest; negative values have the palette's other hue.
        noun: the unit of the values, such as bits.
    """

    name: str
    values: np.ndarray
    palette: str
    full: float = 1.0
    noun: str = ""


def surprise(bits: np.ndarray) -> Track:
    """The track of the surprise (N,), in bits."""
    return Track("surprise", bits, "surprise", FULL_COLOUR_BITS, "bits")


@dataclass(frozen=True)
class TextView:
    """A text and the values at its characters.

    Attributes:
        title: of the report.
        about: what the report shows, in a sentence.
        facts: names and values, such as the model and the text.
        vocabulary: of the model.
        ids: (N,) the text, without the boundary before it.
        tracks: at least one.
        top, probabilities: (N + 1, K) the likeliest symbols at each position and after the last one, the likeliest
            first, and their probabilities; K may be 0.
        tables: shown above the text.
        shown: index of the track that colours the text at first.
    """

    title: str
    about: str
    facts: Mapping[str, str]
    vocabulary: Vocabulary
    ids: np.ndarray
    tracks: tuple[Track, ...]
    top: np.ndarray
    probabilities: np.ndarray
    tables: tuple[Grid, ...] = field(default=())
    shown: int = 0


@dataclass(frozen=True)
class Packing:
    """How much of a text fits into a report.

    Attributes:
        top: likely symbols at each character.
        width: bytes of a value of a track.
    """

    top: int
    width: int


def plan(characters: int, vocabulary: Vocabulary, tracks: int, top: int) -> Packing:
    """Choose how many likely symbols fit into a report, at least one, and the width of values.

    Raises:
        UsageError: the text does not fit at all; the message says how much of it does.
    """
    id_bytes = vocabulary.dtype.itemsize + (4 if vocabulary.unit == "byte" else 0)
    available = (
        (MAX_REPORT_BYTES - _PAGE_BYTES - _SYMBOL_BYTES * vocabulary.size) * 3 // 4
    )  # base64 writes three bytes as four

    def size(top: int, width: int) -> int:
        return id_bytes + tracks * width + top * (vocabulary.dtype.itemsize + 2)

    for width in (2, 1):
        for likely in range(top, min(top, 1) - 1, -1):
            if characters * size(likely, width) <= available:
                return Packing(likely, width)
    max_characters = max(0, available) // size(min(top, 1), 1)
    if not max_characters:
        raise UsageError(
            f"a report names the model's {vocabulary.size:,} symbols, which alone would make it larger than "
            f"{MAX_REPORT_BYTES // 10**6} MB, more than a browser likes; leave out --html"
        )
    raise UsageError(
        f"a report of {characters:,} characters would be larger than {MAX_REPORT_BYTES // 10**6} MB, "
        f"more than a browser likes; give --chars {max_characters} or fewer"
    )


def report(view: TextView) -> str:
    """Render the HTML page of a view.

    Raises:
        UsageError: it would be too large (see `plan`).
    """
    likeliest = view.top.shape[1]
    packing = plan(len(view.ids), view.vocabulary, len(view.tracks), likeliest)
    facts = {**view.facts, "characters": f"{len(view.ids):,}"}
    if packing.top < likeliest:
        facts["likely symbols"] = (
            f"{packing.top} of {likeliest} at each character, so that the file stays below "
            f"{MAX_REPORT_BYTES // 10**6} MB; fewer --chars have room for more"
        )
    return page(
        "text.html",
        title=line(view.title),
        about=view.about,
        facts={name: line(value, 1000) for name, value in facts.items()},
        tables=view.tables,
        data=_data(view, packing),
        tracks=[line(track.name) for track in view.tracks],
        shown=view.shown,
        palettes=PALETTES,
    )


def _data(view: TextView, packing: Packing) -> dict[str, Any]:
    """The data that the script of the page reads."""
    texts, indices = glyphs(view.vocabulary, view.ids)
    columns = slice(0, packing.top)
    return {
        "names": names(view.vocabulary),
        "glyphs": texts,
        "ids": _array(view.ids.astype(view.vocabulary.dtype)),
        "shown": None if indices is view.ids else _array(indices),
        "tracks": [_track(track, packing.width) for track in view.tracks],
        "top": _array(view.top[:, columns].astype(view.vocabulary.dtype)),
        "probabilities": _array(np.rint(view.probabilities[:, columns] * 65535).astype(np.uint16)),
        "likely": packing.top,
    }


def _track(track: Track, width: int) -> dict[str, Any]:
    """A track, its values quantised to integers of `width` bytes."""
    values = np.asarray(track.values, np.float64)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    steps = 256**width - 1
    step = (high - low) / steps or 1.0
    levels = np.rint((values - low) / step).astype(np.uint16 if width == 2 else np.uint8)
    return {
        "name": line(track.name),
        "noun": track.noun,
        "palette": track.palette,
        "full": track.full,
        "signed": PALETTES[track.palette].signed,
        "low": low,
        "step": step,
        "values": _array(levels),
    }


def _array(array: np.ndarray) -> dict[str, str]:
    """An array for the script: its type, and its bytes in base64."""
    return {"type": array.dtype.name, "bytes": base64_bytes(array)}
