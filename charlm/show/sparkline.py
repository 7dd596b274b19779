"""A curve in one line of a terminal."""

import sys
from collections.abc import Sequence
from math import isfinite

BAR_CHARACTERS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-~=+*#"
"""The same heights, for a terminal that knows only ASCII."""


def can_show(text: str) -> bool:
    """Whether stdout can write these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(
    x: Sequence[float], y: Sequence[float], *, width: int = 40, low: float | None = None, high: float | None = None
) -> str:
    """A curve as `width` characters, each the mean of its stretch of x; one without points repeats the one before.

    Args:
        x: ascending.
        y: as long; what is no finite number is left out.
        width: characters of the curve.
        low, high: what the lowest and the highest character stand for, where that is not the curve's own range.
    """
    points = [(a, b) for a, b in zip(x, y, strict=True) if isfinite(a) and isfinite(b)]
    if not points:
        return " " * width
    left, right = points[0][0], points[-1][0]
    stretches: list[list[float]] = [[] for _ in range(width)]
    for a, b in points:
        share = (a - left) / (right - left) if right > left else 0.0
        stretches[min(int(share * width), width - 1)].append(b)
    bottom = min(b for _, b in points) if low is None else low
    top = max(b for _, b in points) if high is None else high
    marks, drawn = BAR_CHARACTERS if can_show(BAR_CHARACTERS) else PLAIN, ""
    for values in stretches:
        if not values:
            drawn += drawn[-1]  # the first stretch has the first point
            continue
        height = (sum(values) / len(values) - bottom) / (top - bottom) if top > bottom else 0.0
        drawn += marks[min(max(int(height * len(marks)), 0), len(marks) - 1)]
    return drawn
