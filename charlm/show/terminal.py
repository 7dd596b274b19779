"""Where lines go: results to stdout, everything else to stderr, and nothing that a display does can fail a run.

`NO_COLOR` is obeyed, colours and moving bars appear on a terminal only (rich sees to both).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from charlm.errors import CharlmError
from charlm.show.format import count, duration, line, loss, visible

Unprintable = (OSError, ValueError, UnicodeError)
"""What writing to a closed, full or ASCII-only terminal raises."""


REDRAW = 0.2
"""Seconds between two updates of a moving line; drawn by whoever works, as a thread's failure could not be caught."""

MAX_ERROR_CHARACTERS = 2000
"""Characters of an error's one line; of a longer one, the middle is left out."""

PROGRESS_LINE_SECONDS = 5.0
"""Seconds between two lines of progress where nothing can move."""


class NobodyReads(Exception):
    """Whoever read our stdout has left, as `head` does when it has enough. Not a failure."""


def prepare_streams() -> None:
    """Make both streams print what they cannot encode as `?`; a redirected stdout is UTF-8 with plain line ends.

    A stream that is closed from the start swallows what is written.
    """
    _occupy()
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if hasattr(sys.stdout, "reconfigure") and not sys.stdout.isatty():
        if "PYTHONIOENCODING" not in os.environ:
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # or else an encoding makes errors strict again
        sys.stdout.reconfigure(newline="\n")


def _occupy() -> None:
    """Open the numbers of streams that are closed on nothing, lest a file gets one and what libraries print there."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)


@contextmanager
def to_stdout() -> Iterator[None]:
    """Say of what fails that it was stdout. Raises `BrokenPipeError` where nobody reads it any more."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CharlmError(f"writing to stdout failed: {error.strerror}; send it where there is room") from error


def result(text: str, end: str = "\n") -> None:
    """Write a result to stdout at once. Raises `BrokenPipeError` where nobody reads it any more."""
    with to_stdout():
        sys.stdout.write(text + end)
        sys.stdout.flush()


def result_bytes(data: bytes) -> None:
    """Write a result that is no text to stdout. Raises `BrokenPipeError` where nobody reads it any more."""
    with to_stdout():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def shown(text: str) -> str:
    """Sampled text as stdout takes it: on a terminal without control over it, elsewhere as it is."""
    return visible(text) if sys.stdout.isatty() else text


def leave_quietly() -> None:
    """Send what is still buffered for a closed stdout nowhere, so that Python does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Screen(Console):
    """rich ends the program when a pipe breaks; here whoever writes decides."""

    def on_broken_pipe(self) -> None:
        """Raise what the system said."""
        raise BrokenPipeError


def wide_screen() -> Screen:
    """Where a table goes: the terminal with its own width; elsewhere, where no window cuts lines, 200 columns."""
    terminal = Screen(highlight=False)
    return terminal if terminal.is_terminal else Screen(highlight=False, width=200)


class Terminal:
    """The side of the conversation that is not the result.

    Args:
        quiet: say nothing but errors.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Screen(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether a moving display makes sense."""
        return self.console.is_terminal and not self.console.quiet

    def say(self, text: str, style: str = "") -> None:
        """One line on stderr, its control characters made visible; lost where it cannot be shown."""
        self.guarded(lambda: self.console.print(Text(visible(text), style=style)))

    def facts(self, pairs: Mapping[str, str]) -> None:
        """Name and value, a line each, aligned."""
        width = max(len(name) for name in pairs)
        for name, value in pairs.items():
            self.say(f"{name:<{width}}  {value}")

    @contextmanager
    def counting(self, what: str) -> Iterator["Counter"]:
        """Progress of some long work: a moving bar on a terminal, a line now and then elsewhere."""
        if not self.live:
            yield Counter(
                lambda done, total, note: self.say(f"{what}: {done / total:4.0%}  {note}"), PROGRESS_LINE_SECONDS
            )
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[note]}"),
        )
        bar = Progress(*columns, console=self.console, transient=True, auto_refresh=False, redirect_stdout=False)
        task = bar.add_task(what, total=None, note="")
        self.guarded(bar.start)
        try:
            yield Counter(
                lambda done, total, note: bar.update(task, completed=done, total=total, note=note, refresh=True), REDRAW
            )
        finally:
            self.stop(bar)

    @contextmanager
    def reading(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Progress of work on characters: told those that are done, and how many there are."""
        with self.counting(what) as counter:
            yield lambda done, total: counter(done, total, "chars")

    @contextmanager
    def scoring(self) -> Iterator[Callable[[int, int, float], None]]:
        """As `reading`; told the nats per character so far too."""
        with self.counting("scoring") as counter:
            yield lambda done, total, nats: counter(done, total, "chars", loss(nats))

    def stop(self, bar: Progress) -> None:
        """End a moving bar, also one that could not begin: it gives sys.stderr back and then misses its other half."""
        with suppress(IndexError):
            self.guarded(bar.stop)

    def guarded(self, action: Callable[[], object]) -> bool:
        """Do something with the terminal; where it fails nothing more is shown, and the answer is False."""
        try:
            action()
        except Unprintable:
            self.console.quiet = True
            return False
        return True


class Counter:
    """Tells how far some work is, at most every so many seconds; never raises what a terminal raises.

    Args:
        tell: takes what is done, the total, and a note with the speed and the time left.
        every: seconds between two tellings.
    """

    def __init__(self, show: Callable[[int, int, str], None], every: float) -> None:
        self._tell = show
        self._every = every
        self._began = self._told = time.perf_counter()

    def __call__(self, done: int, total: int, unit: str, detail: str = "", before: int = 0) -> None:
        """Say that `done` of `total` units are done, `before` of them by somebody else."""
        now = time.perf_counter()
        if now - self._told < self._every or not total:
            return
        self._told = now
        spent = now - self._began
        own = done - before
        left = duration(spent * (total - done) / max(own, 1))
        try:
            self._tell(done, total, f"{count(own / spent)} {unit}/s  {left} left  {detail}".rstrip())
        except Unprintable:
            self._every = float("inf")


def error(text: str) -> None:
    """The one line of a failure."""
    try:
        sys.stderr.write(f"error: {line(text, MAX_ERROR_CHARACTERS)}\n")
        sys.stderr.flush()
    except Unprintable:
        return
