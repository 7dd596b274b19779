"""A text on a terminal, coloured by a number at every character."""

import numpy as np
from rich.text import Text

from charlm.show.palettes import COLOUR_STEPS, PALETTES, Palette, level, style
from charlm.show.symbols import glyphs
from charlm.show.terminal import Screen, to_stdout
from charlm.show.text_view import Track
from charlm.tokenizers.vocabulary import Vocabulary


def stdout_is_terminal() -> bool:
    """Whether stdout is a terminal, or counts as one because of `FORCE_COLOR`."""
    return Screen().is_terminal


@to_stdout()
def print_coloured(vocabulary: Vocabulary, ids: np.ndarray, track: Track) -> None:
    """Print a legend and the coloured text on stdout.

    Args:
        vocabulary: of the model.
        ids: (N,) the text.
        track: (N,) the values that colour it.
    """
    console = Screen(highlight=False, soft_wrap=True)
    palette = PALETTES[track.palette]
    # Of sixteen colours none is pale: both hues would be the same grey.
    min_level = COLOUR_STEPS // 2 + 1 if console.color_system == "standard" else 1
    console.print(legend(track, palette, min_level))
    texts, indices = glyphs(vocabulary, ids)
    levels = [level(fraction, min_level) for fraction in (track.values / track.full).tolist()]
    line, run, run_level = Text(), "", 0
    for glyph, glyph_level in zip((texts[index] for index in indices.tolist()), levels, strict=True):
        if glyph_level != run_level:
            line.append(run, style(palette, run_level))
            run, run_level = "", glyph_level
        run += "⏎" if glyph == "\n" else glyph.rstrip("\n")
        if glyph.endswith("\n"):
            console.print(line.append(run, style(palette, run_level)))
            line, run = Text(), ""
    if run or line:
        console.print(line.append(run, style(palette, run_level)))


def legend(track: Track, palette: Palette, min_level: int = 1) -> Text:
    """The value of each colour; levels below `min_level` have no colour."""
    signed = palette.signed
    line = Text(f"{track.name}: ")
    for step in range(-COLOUR_STEPS if signed else 0, COLOUR_STEPS + 1):
        fraction = step / COLOUR_STEPS
        value = f"{fraction * track.full:+.3g}" if step and signed else f"{fraction * track.full:.3g}"
        line.append(f" {value} ", style(palette, level(fraction, min_level)))
    return line.append(f" {track.noun}" if track.noun else "")
