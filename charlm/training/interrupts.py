"""Ctrl-C during a training that was started from Python: save first, then raise `KeyboardInterrupt`.

Not here: the signals of the command line (`charlm.cli.signals`).
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from charlm.errors import Interrupted
from charlm.training.events import Result
from charlm.training.trainer import Trainer


def run_saving_on_interrupt(trainer: Trainer) -> Result:
    """Run a trainer; a first Ctrl-C saves everything after the current step, a second one does not wait.

    Raises:
        KeyboardInterrupt: Ctrl-C; its message says how to resume.
        DivergedError: see `charlm.training.trainer`.
    """
    with _deferred_interrupt() as trainer.stop:
        try:
            return trainer.run()
        except Interrupted as interrupted:
            raise KeyboardInterrupt(str(interrupted)) from None


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C was pressed, once; it has its usual effect from the second time on.

    A handler of the program's own stays, and in a thread, where Python delivers no signals, nothing changes.
    """
    pressed = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            signal.default_int_handler(number, frame)
        pressed.set()

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed.is_set
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
