"""Plots as SVG, by matplotlib, which is an extra: imported only when something is drawn, and without a window.

Equal numbers make equal bytes. Text stays text, in whatever font the viewer has; words of strangers are never taken
for mathematics, and what XML cannot hold is made visible.
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
"""Told apart also by those who see no difference between red and green (Okabe & Ito 2008)."""

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
MARK = f"<dc:title>{CREATOR}</dc:title>".encode()
"""In the head of every plot."""


def require() -> None:
    """Raise a `UsageError` where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError(
            'drawing needs matplotlib, which is not installed; install it with: pip install "charlm[plots]"'
        ) from None


def check_name(path: Path) -> Path:
    """A plot takes the place of an earlier one, and of nothing else.

    Raises:
        UsageError: the name is not one of an SVG file, or matplotlib is missing.
        InputError: another file is there, or no file can be.
    """
    if path.suffix.lower() != ".svg":
        raise UsageError(f"--svg {path} is not the name of a plot; give a name that ends in .svg")
    check_place(path, "--svg", MARK)
    require()
    return path


def svg(draw: Callable[["Figure"], None], width: float, height: float) -> str:
    """A whole SVG file.

    Args:
        draw: puts axes into the figure it gets.
        width, height: in inches of 72 points.

    Raises:
        UsageError: matplotlib is missing.
    """
    require()
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)  # of caches and fonts, of which nobody asked
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that its own font lacks, which the viewer's may have
        usual: Any = matplotlib.rcParamsDefault
        style: Any = {**usual, **STYLE}
        del style["backend"]  # what draws on a screen, if the program has one, is not our concern
        matplotlib.rcParams.update(style)
        figure = Figure(figsize=(width, height))
        canvas: Any = FigureCanvasSVG(figure)
        draw(figure)
        written = io.StringIO()
        canvas.print_svg(written, metadata={"Date": None, "Creator": CREATOR})
    return written.getvalue()


def save(path: Path, text: str) -> None:
    """Write a plot whole or not at all."""
    write_atomically(path, text)


def data_uri(text: str) -> str:
    """A plot as the address of an image, in which nothing of it can reach the page around it."""
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")


def label(text: str, longest: int = 60) -> str:
    """A stranger's words as a label: one line, not too long, of characters that XML can hold."""
    shown = re.sub("[\ud800-\udfff\ufffe\uffff]", "\ufffd", line(text, longest))
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib leaves labels with _ in front out of legends


def colour(number: int) -> tuple[str, Any]:
    """The colour and the line style of the curve of that number."""
    return COLOURS[number % len(COLOURS)], ("-", "--", ":", "-.")[number // len(COLOURS) % 4]


def short_numbers(axis: Any) -> None:
    """Label an axis with `10k` and `2M`."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def logarithmic(axes: "Axes", least: float, most: float) -> None:
    """Give the y axis a logarithmic scale from `least` to `most`, above 0, with labels at powers of ten, or 1, 2, 5."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = floor(log10(least)), floor(log10(most)) + 1
    steps = (1, 2, 5) if log10(most / least) < 2 else (1,)
    every = -(-(high - low) // 8)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([s * 10.0**p for p in range(low, high + 1, every) for s in steps]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axes.set_ylim(least * 0.8, most * 1.25)


def power_of_ten(value: float) -> str:
    """`10⁻³` for 0.001, without the mathematics of matplotlib; `0.02` and `100` as they are."""
    if 0.01 <= value <= 100:
        return f"{value:g}"
    return "10" + str(round(log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
