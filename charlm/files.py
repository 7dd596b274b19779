"""Writing files so that a reader sees the old one or the new one, never half of one.

Everything is written beside its final name, flushed to the disk and renamed (POSIX `rename` is
atomic within a file system). What is left out: locking; each writer owns its folder.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import CharlmError


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
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and vanishes otherwise.

    A folder already at `path` is replaced; whoever has its files open or memory-mapped keeps them.
    """
    with failures(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        retired = None
        try:
            yield building
            os.chmod(building, 0o777 & ~_umask())
            if path.exists():
                retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
                os.rename(path, retired / path.name)
            os.rename(building, path)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            if retired is not None and not path.exists():
                os.rename(retired / path.name, path)
                retired.rmdir()
            raise
        if retired is not None:
            shutil.rmtree(retired, ignore_errors=True)


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
