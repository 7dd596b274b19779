"""Where lines go: results to stdout, everything else to stderr, and nothing that a display does can fail a run.

`NO_COLOR` is obeyed, colours and moving bars appear on a terminal only (rich sees to both).
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

Unprintable = (OSError, ValueError, UnicodeError)
"""What writing to a closed, full or ASCII-only terminal raises."""


class NobodyReads(Exception):
    """Whoever read our stdout has left, as `head` does when it has enough. Not a failure."""


def prepare_streams() -> None:
    """Make both streams print what they cannot encode as `?`; a redirected stdout is UTF-8 with plain line ends."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if hasattr(sys.stdout, "reconfigure") and not sys.stdout.isatty():
        if "PYTHONIOENCODING" not in os.environ:
            sys.stdout.reconfigure(encoding="utf-8")
        sys.stdout.reconfigure(newline="\n")


def result(text: str, end: str = "\n") -> None:
    """Write a result to stdout at once. Raises `BrokenPipeError` where nobody reads it any more."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def leave_quietly() -> None:
    """Send what is still buffered for a closed stdout nowhere, so that Python does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Console(Console):
    """rich ends the program when a pipe breaks; here whoever writes decides."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Terminal:
    """The side of the conversation that is not the result.

    Args:
        quiet: say nothing but errors.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = _Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether a moving display makes sense."""
        return self.console.is_terminal and not self.quiet

    def say(self, text: str, style: str = "") -> None:
        """One line on stderr, shown as it is; lost where it cannot be shown."""
        try:
            self.console.print(Text(text, style=style))
        except Unprintable:
            self.console.quiet = True

    def facts(self, pairs: Mapping[str, str]) -> None:
        """Name and value, a line each, aligned."""
        width = max(len(name) for name in pairs)
        for name, value in pairs.items():
            self.say(f"{name:<{width}}  {value}")

    @contextmanager
    def counting(self, what: str, total: float | None) -> Iterator["Counter"]:
        """A bar for work whose size is known, moved by calling what is yielded with how much is done."""
        if not self.live:
            yield Counter(None)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=5) as bar:
            task = bar.add_task(what, total=total)
            yield Counter(lambda done: bar.update(task, completed=done))


class Counter:
    """Moves a bar, if there is one; never raises."""

    def __init__(self, move: object) -> None:
        self._move = move

    def __call__(self, done: int) -> None:
        """Show that `done` of the total is done."""
        if callable(self._move):
            try:
                self._move(done)
            except Unprintable:
                self._move = None


def error(text: str) -> None:
    """The one line of a failure."""
    try:
        sys.stderr.write(f"error: {' '.join(text.split())}\n")
        sys.stderr.flush()
    except Unprintable:
        return
