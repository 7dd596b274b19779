"""How the commands of `charlm inspect` take `--html`, and `--svg` where what they show is a plot."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.options import Invocation
from charlm.show import plots

if TYPE_CHECKING:
    from charlm.show.text_view import TextView

HTML = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write a report, one HTML file.", show_default=False)
]
SVG = Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Write the plot.", show_default=False)]


def report_file(html: str | None) -> Path | None:
    """The file that was asked for, checked before anything is computed.

    Raises:
        UsageError: its name is not that of a report.
    """
    if html is None:
        return None
    from charlm.show.html import check_name

    return check_name(Path(html))


def write_text(invocation: Invocation, path: Path, view: "TextView") -> None:
    """Write the report of a text, and say where it is."""
    from charlm.show.html import save
    from charlm.show.text_view import report

    save(path, report(view))
    invocation.terminal.say(f"report: {path}")


class Drawing:
    """The files that were asked for. Made before anything is computed, so that a wrong name costs no time.

    Raises:
        UsageError: a name is not one of its kind of file, or something is to be drawn and matplotlib is missing.
    """

    def __init__(self, invocation: Invocation, html: str | None, svg: str | None) -> None:
        from charlm.show import html as pages

        self._given, self._pages = invocation, pages
        self._html = report_file(html)
        self._svg = None if svg is None else plots.check_name(Path(svg))
        if html is not None:
            plots.require()

    def write(self, plot: Callable[[], str], template: str, values: Callable[[], dict[str, Any]]) -> None:
        """Draw and write, and say where.

        Args:
            plot: makes the SVG.
            template: of the report, which shows it as `picture`.
            values: makes whatever else the template names.
        """
        if self._html is None and self._svg is None:
            return
        drawn = plot()
        if self._svg is not None:
            plots.save(self._svg, drawn)
            self._given.terminal.say(f"plot: {self._svg}")
        if self._html is not None:
            self._pages.save(self._html, self._pages.page(template, picture=plots.data_uri(drawn), **values()))
            self._given.terminal.say(f"report: {self._html}")
