"""A curve in one line of characters."""

import sys
from collections.abc import Sequence
from math import isfinite

BAR_CHARACTERS = "▁▂▃▄▅▆▇█"
ASCII_BAR_CHARACTERS = "_.-~=+*#"
"""The same heights in ASCII."""


def can_show(text: str) -> bool:
    """Whether the encoding of stdout has these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(
    x: Sequence[float], y: Sequence[float], *, width: int = 40, low: float | None = None, high: float | None = None
) -> str:
    """Draw a curve in `width` characters, each the mean of its interval of x.

    Args:
        x: ascending.
        y: as many; points that are not finite are left out.
        width: characters; one whose interval has no points repeats the one before.
        low, high: values of the lowest and the highest character; by default the range of y.
    """
    points = [(a, b) for a, b in zip(x, y, strict=True) if isfinite(a) and isfinite(b)]
    if not points:
        return " " * width
    left, right = points[0][0], points[-1][0]
    intervals: list[list[float]] = [[] for _ in range(width)]
    for a, b in points:
        share = (a - left) / (right - left) if right > left else 0.0
        intervals[min(int(share * width), width - 1)].append(b)
    bottom = min(b for _, b in points) if low is None else low
    top = max(b for _, b in points) if high is None else high
    bars, curve = BAR_CHARACTERS if can_show(BAR_CHARACTERS) else ASCII_BAR_CHARACTERS, ""
    for values in intervals:
        if not values:
            curve += curve[-1]  # the first interval contains the first point
            continue
        height = (sum(values) / len(values) - bottom) / (top - bottom) if top > bottom else 0.0
        curve += bars[min(max(int(height * len(bars)), 0), len(bars) - 1)]
    return curve
