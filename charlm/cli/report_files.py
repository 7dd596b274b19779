"""The files that commands of `charlm inspect` write: `--html`, and `--svg` for plots."""

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


def report_path(html: str | None) -> Path | None:
    """The path of `--html`, checked before anything is computed; None without it.

    Raises:
        UsageError: the name does not end in .html.
        InputError: another file is there, or none can be written.
    """
    if html is None:
        return None
    from charlm.show.html import check_name

    return check_name(Path(html))


def write_report(invocation: Invocation, path: Path, view: "TextView") -> None:
    """Write the report of a text, and print its path on stderr."""
    from charlm.show.html import save
    from charlm.show.text_view import report

    save(path, report(view))
    invocation.terminal.say(f"report: {path}")


class PlotFiles:
    """The paths of `--html` and `--svg`, checked before anything is computed.

    Raises:
        UsageError: a name has the wrong ending, or matplotlib is missing.
        InputError: another file is there, or none can be written.
    """

    def __init__(self, invocation: Invocation, html: str | None, svg: str | None) -> None:
        from charlm.show import html as pages

        self._invocation, self._pages = invocation, pages
        self._html = report_path(html)
        self._svg = None if svg is None else plots.check_name(Path(svg))
        if html is not None:
            plots.require_matplotlib()

    def write(self, plot: Callable[[], str], template: str, values: Callable[[], dict[str, Any]]) -> None:
        """Draw the plot, write the files, and print their paths on stderr.

        Args:
            plot: draws the SVG.
            template: of the report; it shows the plot as `picture`.
            values: computes the template's other variables.
        """
        if self._html is None and self._svg is None:
            return
        picture = plot()
        if self._svg is not None:
            plots.save(self._svg, picture)
            self._invocation.terminal.say(f"plot: {self._svg}")
        if self._html is not None:
            self._pages.save(self._html, self._pages.page(template, picture=plots.data_uri(picture), **values()))
            self._invocation.terminal.say(f"report: {self._html}")
