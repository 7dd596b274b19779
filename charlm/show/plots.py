"""Plots as SVG by matplotlib, an optional dependency that is imported only to draw.

Equal numbers give equal bytes. Text stays text, in the viewer's font; names from files are never parsed as
mathematics, and characters that XML cannot contain are replaced.
"""

import base64
import io
import logging
import re
import warnings
from collections.abc import Callable
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.errors import UsageError
from charlm.files import check_place, write_atomically
from charlm.show.format import count, line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
"""Colours that people with red-green blindness can distinguish (Okabe & Ito 2008)."""

INK, FAINT = "#1b1b1b", "#8a8a8a"

STYLE: dict[str, Any] = {
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "charlm",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}

CREATOR = "charlm"
PLOT_MARK = f"<dc:title>{CREATOR}</dc:title>".encode()
"""Marks a file as a plot of charlm, which the next one may replace."""


def require_matplotlib() -> None:
    """Raise a `UsageError` if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError(
            "drawing needs matplotlib, which is not installed; install it with: pip install matplotlib"
        ) from None


def check_name(path: Path) -> Path:
    """Refuse a path that is not that of a plot: it may replace an earlier plot, but no other file.

    Raises:
        UsageError: the name does not end in .svg, or matplotlib is missing.
        InputError: another file is there, or none can be written.
    """
    if path.suffix.lower() != ".svg":
        raise UsageError(f"--svg {path} is not the name of a plot; give a name that ends in .svg")
    check_place(path, "--svg", PLOT_MARK)
    require_matplotlib()
    return path


def svg(draw: Callable[["Figure"], None], width: float, height: float) -> str:
    """Draw an SVG file.

    Args:
        draw: adds axes to the figure.
        width, height: in inches of 72 points.

    Raises:
        UsageError: matplotlib is missing.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)  # it logs about its caches and fonts
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about characters missing in its font, which the viewer's may have
        defaults: Any = matplotlib.rcParamsDefault
        style: Any = {**defaults, **STYLE}
        del style["backend"]  # the calling program may have chosen one for its windows
        matplotlib.rcParams.update(style)
        figure = Figure(figsize=(width, height))
        canvas: Any = FigureCanvasSVG(figure)
        draw(figure)
        file = io.StringIO()
        canvas.print_svg(file, metadata={"Date": None, "Creator": CREATOR})
    return file.getvalue()


def save(path: Path, text: str) -> None:
    """Write a plot atomically."""
    write_atomically(path, text)


def data_uri(text: str) -> str:
    """A plot as the URL of an image, whose content cannot affect the page around it."""
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")


def label(text: str, max_length: int = 60) -> str:
    """A name from a file as a label: one short line of characters that XML can contain."""
    shown = re.sub("[\ud800-\udfff\ufffe\uffff]", "\ufffd", line(text, max_length))
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib leaves labels that begin with _ out of legends


def colour(number: int) -> tuple[str, Any]:
    """The colour and the line style of a curve by its number, from 0."""
    return COLOURS[number % len(COLOURS)], ("-", "--", ":", "-.")[number // len(COLOURS) % 4]


def short_numbers(axis: Any) -> None:
    """Label an axis with short numbers such as `10k` and `2M`."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def logarithmic(axes: "Axes", low: float, high: float) -> None:
    """Give the y axis a logarithmic scale from `low` to `high`, both above 0.

    Labels are at powers of ten; below two powers, at 1, 2 and 5 times each."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    first, last = floor(log10(low)), floor(log10(high)) + 1
    factors = (1, 2, 5) if log10(high / low) < 2 else (1,)
    stride = -(-(last - first) // 8)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([f * 10.0**p for p in range(first, last + 1, stride) for f in factors]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axes.set_ylim(low * 0.8, high * 1.25)


def power_of_ten(value: float) -> str:
    """`10⁻³` for 0.001, in Unicode characters; `0.02` and `100` in full."""
    if 0.01 <= value <= 100:
        return f"{value:g}"
    return "10" + str(round(log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
