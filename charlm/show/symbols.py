"""Symbols as people see them: by name in lists, and as a text that stays readable.

Shapes: N symbols of a text, V symbols of a model.
"""

import unicodedata

import numpy as np

from charlm.show.format import visible
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, Vocabulary

BOUNDARY_GLYPH, UNKNOWN_GLYPH, PART_GLYPH = "∎\n", "\ufffd", "·"
"""In a text: the boundary, which ends a line; the unknown symbol; a byte that does not yet complete a character."""

_MARKS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def names(vocabulary: Vocabulary) -> list[str]:
    """(V,) what each symbol is called in a list: its visible characters, or a word such as `boundary` or `0xE9`."""
    kind = vocabulary.tokenizer
    called = ("".join(map(_name, kind.text(code))) or f"0x{code:02X}" for code in vocabulary.codes.tolist())
    return ["boundary", "unknown", *called]


def _name(character: str) -> str:
    if character in _MARKS:
        return _MARKS[character]
    if character.isprintable():
        return f"◌{character}" if unicodedata.combining(character) else character
    picture = visible(character)
    return picture if picture.isprintable() and picture != "\ufffd" else f"U+{ord(character):04X}"


def glyphs(vocabulary: Vocabulary, ids: np.ndarray) -> tuple[list[str], np.ndarray]:
    """How a text is written out, control characters made visible, line ends and tabs as they are.

    Returns:
        A table of short texts, and (N,) which of them stands for each symbol. Of bytes, a character stands where its
        last byte does.
    """
    if vocabulary.unit != "byte":
        return [
            BOUNDARY_GLYPH,
            UNKNOWN_GLYPH,
            *map(_glyph, map(vocabulary.tokenizer.text, vocabulary.codes.tolist())),
        ], ids
    table: dict[str, int] = {}
    printer, shown = vocabulary.tokenizer.decoder(), np.empty(len(ids), np.uint32)
    for at, symbol in enumerate(ids.tolist()):
        if symbol >= FIRST_SYMBOL:
            text = _glyph(printer.feed((vocabulary.code(symbol),))) or PART_GLYPH
        else:
            text = _glyph(printer.flush()) + (BOUNDARY_GLYPH if symbol == BOUNDARY else UNKNOWN_GLYPH)
        shown[at] = table.setdefault(text, len(table))
    return list(table), shown.astype(np.min_scalar_type(max(0, len(table) - 1)))


def _glyph(text: str) -> str:
    """Visible, and without halves of surrogate pairs, which no file in UTF-8 can hold."""
    return visible(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
