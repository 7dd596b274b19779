"""SIGINT and SIGTERM: a run finishes its step and saves; everything else ends at once.

The handlers are installed even where the parent process ignores the signal, as shells do for
programs in the background.
"""

import signal
from types import FrameType

from charlm.errors import Interrupted


class Stop:
    """Whether the user asked to stop. Calling it answers; a second signal does not wait.

    Attributes:
        at_once: whether a signal came that does not wait.
    """

    def __init__(self) -> None:
        self.at_once = False
        self._asked = False
        self._patient = False

    def install(self) -> None:
        """Take over both signals, for a command line of which nobody has asked anything yet."""
        self.at_once = self._asked = self._patient = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def patiently(self) -> "Stop":
        """From now on a first signal only sets the answer."""
        self._patient = True
        return self

    def __call__(self) -> bool:
        """True after a signal came."""
        return self._asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._patient and not self._asked:
            self._asked = True
            return
        self.at_once = True
        raise Interrupted("interrupted")


stop = Stop()
"""The one of this process."""
