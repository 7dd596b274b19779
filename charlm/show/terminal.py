"""Output streams: results on stdout, everything else on stderr; a display never fails a run.

rich obeys `NO_COLOR`, and shows colours and progress bars on a terminal only.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from charlm.callbacks import EvalProgressFn, ProgressFn
from charlm.errors import CharlmError
from charlm.show.format import count, duration, line, loss, visible

STREAM_ERRORS = (OSError, ValueError, UnicodeError)
"""What writing to a closed, full or ASCII-only terminal raises."""

REDRAW_SECONDS = 0.2
"""Seconds between two updates of a progress bar, which needs no thread, whose failure could not be caught."""

MAX_ERROR_CHARACTERS = 2000
"""Characters of an error message; the middle of a longer one is left out."""

PROGRESS_LINE_SECONDS = 5.0
"""Seconds between two lines of progress without a terminal."""


class StdoutClosed(Exception):
    """The reader of stdout has left, as `head` does; not a failure."""


def prepare_streams() -> None:
    """Make both streams print `?` for what they cannot encode; a redirected stdout is UTF-8 with LF.

    Output to a stream that is closed from the start is discarded.
    """
    _open_standard_descriptors()
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if hasattr(sys.stdout, "reconfigure") and not sys.stdout.isatty():
        if "PYTHONIOENCODING" not in os.environ:
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # setting an encoding resets errors
        sys.stdout.reconfigure(newline="\n")


def _open_standard_descriptors() -> None:
    """Open closed standard streams on the null device, lest a file gets their number and their output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


@contextmanager
def to_stdout() -> Iterator[None]:
    """Name stdout in the errors of writing to it.

    Raises:
        BrokenPipeError: its reader has left.
        CharlmError: writing failed otherwise."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CharlmError(f"writing to stdout failed: {error.strerror}; send it where there is room") from error


def result(text: str, end: str = "\n") -> None:
    """Write a result to stdout and flush it; raises as `to_stdout`."""
    with to_stdout():
        sys.stdout.write(text + end)
        sys.stdout.flush()


def result_bytes(data: bytes) -> None:
    """Write a binary result to stdout and flush it; raises as `to_stdout`."""
    with to_stdout():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def for_stdout(text: str) -> str:
    """Sampled text for stdout: on a terminal with control characters made visible, elsewhere as it is."""
    return visible(text) if sys.stdout.isatty() else text


def discard_stdout() -> None:
    """Discard what is buffered for a closed stdout, so that Python prints no error at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Screen(Console):
    """A rich console that raises `BrokenPipeError`, where rich would end the program."""

    def on_broken_pipe(self) -> None:
        """Raise the error."""
        raise BrokenPipeError


def wide_screen() -> Screen:
    """The console for tables: as wide as the terminal; 200 columns if stdout is none."""
    terminal = Screen(highlight=False)
    return terminal if terminal.is_terminal else Screen(highlight=False, width=200)


class Terminal:
    """Notices and progress on stderr.

    Args:
        quiet: print nothing but errors.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Screen(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether to show progress bars."""
        return self.console.is_terminal and not self.console.quiet

    def say(self, text: str, style: str = "") -> None:
        """Print a line on stderr, its control characters made visible; errors are ignored."""
        self.guarded(lambda: self.console.print(Text(visible(text), style=style)))

    def facts(self, pairs: Mapping[str, str]) -> None:
        """Print names and values, a line each, aligned."""
        width = max(len(name) for name in pairs)
        for name, value in pairs.items():
            self.say(f"{name:<{width}}  {value}")

    @contextmanager
    def counting(self, task_name: str) -> Iterator["ProgressMeter"]:
        """Show progress: a bar on a terminal, elsewhere a line every few seconds."""
        if not self.live:
            yield ProgressMeter(
                lambda done, total, note: self.say(f"{task_name}: {done / total:4.0%}  {note}"), PROGRESS_LINE_SECONDS
            )
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[note]}"),
        )
        bar = Progress(*columns, console=self.console, transient=True, auto_refresh=False, redirect_stdout=False)
        task = bar.add_task(task_name, total=None, note="")
        self.guarded(bar.start)
        try:
            yield ProgressMeter(
                lambda done, total, note: bar.update(task, completed=done, total=total, note=note, refresh=True),
                REDRAW_SECONDS,
            )
        finally:
            self.stop(bar)

    @contextmanager
    def reading(self, task_name: str) -> Iterator[ProgressFn]:
        """Show progress in characters."""
        with self.counting(task_name) as counter:
            yield lambda done, total: counter(done, total, "chars")

    @contextmanager
    def scoring(self) -> Iterator[EvalProgressFn]:
        """Show progress in characters, and the mean loss so far."""
        with self.counting("scoring") as counter:
            yield lambda done, total, nats: counter(done, total, "chars", loss(nats))

    def stop(self, bar: Progress) -> None:
        """End a progress bar; one that failed to start restores sys.stderr, then raises an `IndexError`."""
        with suppress(IndexError):
            self.guarded(bar.stop)

    def guarded(self, action: Callable[[], object]) -> bool:
        """Do something with the terminal; if that fails, print nothing more and return False."""
        try:
            action()
        except STREAM_ERRORS:
            self.console.quiet = True
            return False
        return True


class ProgressMeter:
    """Shows the progress of a task every few seconds; ignores errors of the terminal.

    Args:
        show: called with what is done, the total, and a note with the speed and the time left.
        interval: seconds between two calls of `show`.
    """

    def __init__(self, show: Callable[[int, int, str], None], interval: float) -> None:
        self._show = show
        self._interval = interval
        self._started = self._shown_at = time.perf_counter()

    def __call__(self, done: int, total: int, unit: str, detail: str = "", before: int = 0) -> None:
        """Show that `done` of `total` units are done, `before` of them before this started."""
        now = time.perf_counter()
        if now - self._shown_at < self._interval or not total:
            return
        self._shown_at = now
        elapsed = now - self._started
        processed = done - before
        left = duration(elapsed * (total - done) / max(processed, 1))
        try:
            self._show(done, total, f"{count(processed / elapsed)} {unit}/s  {left} left  {detail}".rstrip())
        except STREAM_ERRORS:
            self._interval = float("inf")


def error(text: str) -> None:
    """Print an error on stderr, in one line."""
    try:
        sys.stderr.write(f"error: {line(text, MAX_ERROR_CHARACTERS)}\n")
        sys.stderr.flush()
    except STREAM_ERRORS:
        return
