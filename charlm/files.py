"""Writing files so that a reader sees the old one or the new one, never half of one.

Everything is written beside its final name, flushed to the disk and renamed (POSIX `rename` is
atomic within a file system).
"""

import codecs
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import CharlmError, InputError
from charlm.lock import Lock


@contextmanager
def failures(path: Path, doing: str) -> Iterator[None]:
    """Turn the operating system's refusals about `path` into one clear `CharlmError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CharlmError(
            f"{doing} {path} failed: {reason}; make room or choose another place, what was there before is untouched"
        ) from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` in one step; an existing file stays whole until then.

    Raises:
        CharlmError: the disk is full, the folder is missing or may not be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with failures(path, "writing"):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def alone_at(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time make `path`; what one that was killed left half made beside it is removed.

    Args:
        path: the folder that is to be made.
        waiting: called where another process makes it, before waiting for that.
    """
    lock = Lock(path.parent / f".{path.name}.lock")
    with failures(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not lock.take():
            waiting()
            lock.take(wait=True)
    try:
        if lock.sure:
            for left in path.parent.iterdir():
                if left.name.startswith(_unfinished(path)):
                    shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and vanishes otherwise.

    A folder already at `path` is replaced; whoever has its files open or memory-mapped keeps them.
    """
    with failures(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=_unfinished(path), dir=path.parent))
        try:
            yield building
            os.chmod(building, 0o777 & ~_umask())
            if path.exists():
                _replace_folder(path, building)
            else:
                os.rename(building, path)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise


def _unfinished(path: Path) -> str:
    return f".{path.name}.unfinished-"


def _replace_folder(path: Path, new: Path) -> None:
    """Put `new` in the place of `path` in two steps; the old one comes back if the second fails."""
    retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        os.rename(path, retired / path.name)
        os.rename(new, path)
    except BaseException:
        if not path.exists():
            os.rename(retired / path.name, path)
        with suppress(OSError):
            retired.rmdir()
        raise
    shutil.rmtree(retired, ignore_errors=True)


MARK_SEARCH_BYTES = 4096
"""Bytes at a file's beginning that are looked through for a mark."""


def check_place(path: Path, option: str, mark: bytes) -> None:
    """Refuse, before any work is done for it, a place for a file that cannot have it.

    Args:
        path: of the file to come.
        option: that named it.
        mark: what is in the head of a file that it may replace.

    Raises:
        InputError: the folder is missing, or something else is there.
        CharlmError: what is there cannot be read.
    """
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}; make it, or choose another place")
    if not present(path):
        return
    if not path.is_file():
        raise InputError(f"{option} {path} is no plain file, and would be replaced by one; choose another name")
    with failures(path, "reading"), path.open("rb") as file:
        head = file.read(MARK_SEARCH_BYTES)
    if head and mark not in head:
        raise InputError(f"{option} {path} is there, and no earlier {path.suffix} of charlm; choose another name")


def text_encoding_of(start: bytes) -> str:
    """The encoding of a text by its first bytes: UTF-16 or UTF-32 after a byte-order mark, else UTF-8."""
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
    marks[codecs.BOM_UTF16_BE] = "utf-16"
    return next((encoding for mark, encoding in marks.items() if start.startswith(mark)), "utf-8-sig")


def present(path: Path) -> bool:
    """Whether there is something at `path`; False for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
