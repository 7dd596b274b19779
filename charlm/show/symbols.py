"""Printable names of symbols, and a text of symbols in visible characters.

Shapes: N symbols of a text, V of the vocabulary.
"""

import unicodedata

import numpy as np

from charlm.show.format import visible
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, Vocabulary

BOUNDARY_GLYPH, UNKNOWN_GLYPH, PART_GLYPH = "∎\n", "\ufffd", "·"
"""In a text: a document boundary, which ends a line; an unknown symbol; a byte that does not complete a character."""

_MARKS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def names(vocabulary: Vocabulary) -> list[str]:
    """(V,) names of the symbols: their characters, made visible, or a word such as `boundary` or `0xE9`."""
    tokenizer = vocabulary.tokenizer
    symbol_names = ("".join(map(_name, tokenizer.text(code))) or f"0x{code:02X}" for code in vocabulary.codes.tolist())
    return ["boundary", "unknown", *symbol_names]


def _name(character: str) -> str:
    if character in _MARKS:
        return _MARKS[character]
    if character.isprintable():
        return f"◌{character}" if unicodedata.combining(character) else character
    picture = visible(character)
    return picture if picture.isprintable() and picture != "\ufffd" else f"U+{ord(character):04X}"


def glyphs(vocabulary: Vocabulary, ids: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The text of each symbol, control characters made visible, line ends and tabs as they are.

    Returns:
        A list of short texts, and (N,) the index in it of each symbol's text. Of bytes, the last one of a character
        has the character, the others have none.
    """
    if vocabulary.unit != "byte":
        return [
            BOUNDARY_GLYPH,
            UNKNOWN_GLYPH,
            *map(_glyph, map(vocabulary.tokenizer.text, vocabulary.codes.tolist())),
        ], ids
    texts: dict[str, int] = {}
    decoder, indices = vocabulary.tokenizer.decoder(), np.empty(len(ids), np.uint32)
    for position, symbol in enumerate(ids.tolist()):
        if symbol >= FIRST_SYMBOL:
            text = _glyph(decoder.feed((vocabulary.code(symbol),))) or PART_GLYPH
        else:
            text = _glyph(decoder.flush()) + (BOUNDARY_GLYPH if symbol == BOUNDARY else UNKNOWN_GLYPH)
        indices[position] = texts.setdefault(text, len(texts))
    return list(texts), indices.astype(np.min_scalar_type(max(0, len(texts) - 1)))


def _glyph(text: str) -> str:
    """Make a text visible, and replace lone surrogates, which UTF-8 cannot encode."""
    return visible(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
