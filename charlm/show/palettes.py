"""The colours of texts: one list of hues, for terminals and reports.

A value is drawn by its fraction of the largest one, from -1 to 1; around 0 there is no colour. A terminal shows the
colours behind black letters, so that they are readable on dark and on light backgrounds. The strongest are bold or
underlined too, which remains if `NO_COLOR` is set.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Two hues, as `#rrggbb`.

    Attributes:
        low, high: of -1 and 1 behind dark letters; `low` is empty if no value is negative.
        dark_low, dark_high: the same behind light letters.
    """

    low: str
    high: str
    dark_low: str
    dark_high: str

    @property
    def signed(self) -> bool:
        """Whether values can be negative."""
        return self.low != ""


PALETTES = {
    "surprise": Palette("", "#ff7b3d", "", "#c2410c"),
    "blog": Palette("#4dabf7", "#51cf66", "#1864ab", "#237032"),
    "paper": Palette("#ff6b6b", "#4dabf7", "#b02525", "#1864ab"),
}
"""By name: bits per character; and the two of --palette: blue and green as in Karpathy's "The unreasonable
effectiveness of recurrent neural networks" (2015), red and blue as in the figures of Karpathy, Johnson & Fei-Fei
(2016, arXiv 1506.02078)."""

COLOUR_STEPS = 4
"""Levels of colour of each hue, on a terminal."""


def level(fraction: float, min_level: int = 1) -> int:
    """The nearest level from -`COLOUR_STEPS` to `COLOUR_STEPS`; 0, which is no colour, below `min_level`."""
    size = min(COLOUR_STEPS, int(abs(fraction) * COLOUR_STEPS + 0.5))
    return 0 if size < min_level else -size if fraction < 0 else size


def style(palette: Palette, level: int) -> str:
    """The rich style of a level."""
    if level == 0:
        return ""
    share = 0.3 + 0.7 * abs(level) / COLOUR_STEPS  # not paler: on a dark background that would be the brightest
    hue = palette.high if level > 0 else palette.low
    rgb = [round(255 + (int(hue[start : start + 2], 16) - 255) * share) for start in (1, 3, 5)]
    mark = "" if abs(level) < COLOUR_STEPS else "bold " if level > 0 else "underline "
    return f"{mark}#000000 on #{''.join(f'{channel:02x}' for channel in rgb)}"
