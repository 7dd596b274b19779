"""Types of the callbacks by which a long call reports notices and progress."""

from collections.abc import Callable

NoticeFn = Callable[[str], None]
"""Called with each notice or warning: one line of text."""

ProgressFn = Callable[[int, int], None]
"""Called with how many items (bytes, characters) are done, and how many there are."""

CountFn = Callable[[int], None]
"""Called with how many items are done, if their total is not known."""

DownloadProgressFn = Callable[[int, int, int], None]
"""Called with the bytes received, their total (0 if unknown), and those that an earlier try received."""

ScoreProgressFn = Callable[[int, float], None]
"""Called with the characters scored so far, and the sum of their losses in nats."""

EvalProgressFn = Callable[[int, int, float], None]
"""Called with the characters scored so far, how many there are, and the mean loss so far in nats per character."""


def ignore(*values: object) -> None:
    """Do nothing, in the place of a callback that is not given."""
