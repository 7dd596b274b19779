"""One process at a time: a lock that vanishes with whoever holds it, killed or not.

The operating system keeps it (`flock`, on Windows `msvcrt.locking`), so that a file left behind locks nothing.
Where a file system knows no locks, nobody is kept out.
"""

import errno
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, wait: bool) -> None:
        msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int, wait: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


HELD = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}
"""What the system says where another one holds the lock; anything else means that it cannot lock here."""

GAVE_UP = errno.EDEADLK
"""What Windows says when it has waited for ten seconds."""


class Lock:
    """A lock that at most one holder has.

    Args:
        path: its file, made when it is taken and removed when it is released.

    Attributes:
        sure: whether it keeps others out; False before it is taken, and where the file system knows no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sure = False
        self._handle: int | None = None

    def take(self, wait: bool = False) -> bool:
        """Take the lock; False where another one has it, unless told to wait for it.

        Raises:
            OSError: the file cannot be made.
        """
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle, wait)
                self.sure = True
            except OSError as error:
                if error.errno in HELD:
                    os.close(handle)
                    return False
                if wait and error.errno == GAVE_UP:
                    os.close(handle)
                    continue
                self.sure = False
            if self._is_at_its_place(handle):
                self._handle = handle
                return True
            # Whoever had it removed the file between our opening and our locking: ours is no longer the lock.
            os.close(handle)

    def release(self) -> None:
        """Give it back, if it was taken."""
        if self._handle is None:
            return
        try:
            if self._is_at_its_place(self._handle):
                self.path.unlink()
        except OSError:
            pass  # Windows removes no open file, and the folder may be gone; the file alone locks nothing.
        os.close(self._handle)
        self._handle, self.sure = None, False

    def _is_at_its_place(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False
