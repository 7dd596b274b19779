"""Children of the tests: forked where torch is loaded already, so that many can be killed in a minute."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import torch._dynamo  # noqa: F401  what the first step of training loads: once here, not in every child

from charlm.cli import main as entry

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def fork(action: Callable[[], object]) -> int:
    """Run `action` in a child; its process id. The child exits with 0, or with 1 and a traceback where it raised."""
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads; torch's are not used by tests, see conftest.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        action()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> int:
    """SIGKILL a child, which may have ended before; as `ended`."""
    os.kill(child, signal.SIGKILL)
    return ended(child)


@contextmanager
def dying_at(moment: int, *files: str) -> Iterator[list[int]]:
    """SIGKILL this process before the line of that number which it runs in one of `files`, counted from 0.

    Yields a list whose only item is how many lines it ran. With a negative moment it lives, and they are counted.
    """
    seen = [0]

    def line(frame: object, event: str, argument: object) -> object:
        if event == "line":
            if seen[0] == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            seen[0] += 1
        return line

    def call(frame: object, event: str, argument: object) -> object:
        name = frame.f_code.co_filename  # type: ignore[attr-defined]
        return line if name.endswith(files) else None

    before = sys.gettrace()
    sys.settrace(call)  # type: ignore[arg-type]
    try:
        yield seen
    finally:
        sys.settrace(before)


def command(words: list[str], before: Callable[[], object] = lambda: None) -> tuple[int, str, str]:
    """A command line in a child, after `before` there: its exit code, stdout and stderr, which must be short."""
    pipes = [os.pipe(), os.pipe()]

    def run() -> None:
        for number, (_, end) in zip((1, 2), pipes, strict=True):
            os.dup2(end, number)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        before()
        os._exit(entry.run(words))

    child = fork(run)
    for _, end in pipes:
        os.close(end)
    texts = []
    for start, _ in pipes:
        with open(start, encoding="utf-8") as file:
            texts.append(file.read())
    return ended(child), texts[0], texts[1]
