"""A text on a terminal, coloured by a number at every character.

What is left out: the list of characters and everything else that is not about colours (`charlm.show.surprise`).
"""

import numpy as np
from rich.text import Text

from charlm.show.palettes import COLOUR_STEPS, PALETTES, Palette, level, style
from charlm.show.symbols import glyphs
from charlm.show.terminal import Screen, to_stdout
from charlm.show.text_view import Track
from charlm.tokenizers.vocabulary import Vocabulary


def on_terminal() -> bool:
    """Whether stdout is a terminal that can be coloured, or says so by `FORCE_COLOR`."""
    return Screen().is_terminal


@to_stdout()
def coloured(vocabulary: Vocabulary, ids: np.ndarray, track: Track) -> None:
    """A legend in one line, and the text, on stdout.

    Args:
        symbols: of the model.
        ids: (N,) the text.
        track: (N,) what colours it.
    """
    console = Screen(highlight=False, soft_wrap=True)
    palette = PALETTES[track.palette]
    # Sixteen colours have no pale ones: both hues would be the same grey.
    least = COLOUR_STEPS // 2 + 1 if console.color_system == "standard" else 1
    console.print(legend(track, palette, least))
    table, shown = glyphs(vocabulary, ids)
    levels = [level(fraction, least) for fraction in (track.values / track.full).tolist()]
    line, run, before = Text(), "", 0
    for glyph, now in zip((table[symbol] for symbol in shown.tolist()), levels, strict=True):
        if now != before:
            line.append(run, style(palette, before))
            run, before = "", now
        run += "⏎" if glyph == "\n" else glyph.rstrip("\n")
        if glyph.endswith("\n"):
            console.print(line.append(run, style(palette, before)))
            line, run = Text(), ""
    if run or line:
        console.print(line.append(run, style(palette, before)))


def legend(track: Track, palette: Palette, least: int = 1) -> Text:
    """What each colour stands for; levels below `least` have none."""
    signed = palette.signed
    line = Text(f"{track.name}: ")
    for step in range(-COLOUR_STEPS if signed else 0, COLOUR_STEPS + 1):
        fraction = step / COLOUR_STEPS
        value = f"{fraction * track.full:+.3g}" if step and signed else f"{fraction * track.full:.3g}"
        line.append(f" {value} ", style(palette, level(fraction, least)))
    return line.append(f" {track.noun}" if track.noun else "")
