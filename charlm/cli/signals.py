"""SIGINT, SIGTERM and SIGHUP: training finishes its step and saves; any other command ends immediately.

The handlers are installed even if the parent process ignores the signals, as shells do for background jobs. Only
SIGHUP, which says that the terminal is gone, stays ignored if it was: that is what `nohup` is for.
"""

import signal
from types import FrameType

from charlm.errors import Interrupted

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Those of this system; Windows has no SIGHUP."""


class Stop:
    """Whether the user asked to stop: call it to find out. A second signal ends the process.

    Attributes:
        immediate: whether a signal ended the command without waiting.
    """

    def __init__(self) -> None:
        self.immediate = False
        self._requested = False
        self._deferred = False

    def install(self) -> None:
        """Handle the signals from now on, and forget earlier ones."""
        self.immediate = self._requested = self._deferred = False
        for number in SIGNALS:
            if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def defer_first(self) -> "Stop":
        """Let the first signal only set the flag, so that training can save."""
        self._deferred = True
        return self

    def __call__(self) -> bool:
        """Whether a first signal came."""
        return self._requested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._deferred and not self._requested:
            self._requested = True
            return
        self.immediate = True
        raise Interrupted("interrupted")


stop = Stop()
"""The only instance in a process."""
