"""Unpacking archives, with no file outside of the folder and no more bytes than a limit.

An archive with a member outside, or with more bytes, is refused. Links, devices and other members that are not
regular files are left out, so that nothing leads out of the folder later either.
What is left out: compressed texts that are prepared as they are (`charlm.data.sources`).
"""

import bz2
import gzip
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from charlm.callbacks import NoticeFn
from charlm.errors import FetchError

READ_BYTES = 1 << 20
MAX_MEMBERS = 1_000_000
"""Members of the largest archive that is unpacked; even an empty file takes room on the disk and in memory."""

_STREAMS: dict[str, Callable[..., Any]] = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open}


def unpack(
    archive: Path, folder: Path, kind: str, max_bytes: int, *, name: str, members: Sequence[str] = (), report: NoticeFn
) -> None:
    """Unpack a file.

    Args:
        archive: the file.
        folder: for its members; it exists.
        kind: `zip`, `tar` (also where that is compressed), or `gz`, `xz`, `bz2` for a single file.
        max_bytes: the most unpacked bytes; the headers of a tar count too.
        name: of the unpacked file, if it is a single one.
        members: patterns of the wanted files, such as `data/names/*.txt`; `*` matches `/` too. Without any, all.
        report: called with the number of members that were left out.

    Raises:
        FetchError: it is damaged, too large, has no wanted file, or a member outside of the folder.
        OSError: a file cannot be written.
    """
    guard = ExtractionGuard(folder, max_bytes, members)
    with _archive_errors(kind):
        if kind == "zip":
            _zip(archive, guard)
        elif kind == "tar":
            _tar(archive, guard)
        else:
            with _STREAMS[kind](archive, "rb") as stream:
                guard.take(name, guard.counted(stream))
    if not guard.taken:
        restriction = f" that is called {' or '.join(members)}" if members else ""
        raise FetchError(f"the archive holds no file{restriction}")
    if guard.left_out:
        report(f"left out {guard.left_out:,} of its members that are links or devices")


class ExtractionGuard:
    """Checks the members of an archive, writes them into a folder, and counts them and their bytes.

    Args:
        folder: for the members.
        max_bytes: the most unpacked bytes.
        members: patterns of the wanted ones; without any, all.

    Attributes:
        taken, left_out: numbers of members that were written, and of those that are not regular files.
    """

    def __init__(self, folder: Path, max_bytes: int, members: Sequence[str]) -> None:
        self.taken = 0
        self.left_out = 0
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes_left = max_bytes
        self._members = members
        self._seen = 0

    def wants(self, name: str) -> bool:
        """Whether a member of this name is unpacked. Raises `FetchError` if it would be outside of the folder."""
        self._seen += 1
        if self._seen > MAX_MEMBERS:
            raise FetchError(f"the archive has more than {MAX_MEMBERS:,} members")
        drive = re.match("[A-Za-z]:", name) is not None
        if drive or name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
            raise FetchError(f"the archive has a member {name!r:.100}, which would lie outside of its folder")
        return not self._members or any(fnmatchcase(name.removeprefix("./"), pattern) for pattern in self._members)

    def take(self, name: str, stream: IO[bytes]) -> None:
        """Write a member; its bytes are counted where they are read."""
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise FetchError(f"the archive has two members in one place, {name!r:.100}") from None
        with file:
            shutil.copyfileobj(stream, file, READ_BYTES)
        self.taken += 1

    def counted(self, stream: Any) -> Any:
        """A stream whose bytes are counted as they are read."""
        return _Counted(stream, self)

    def count(self, number: int) -> None:
        """Count unpacked bytes. Raises `FetchError` if they are too many."""
        self._bytes_left -= number
        if self._bytes_left < 0:
            raise FetchError(
                f"more than {self._max_bytes:,} bytes come out of the archive, more than are expected of it"
            )


def _zip(archive: Path, guard: ExtractionGuard) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if not guard.wants(member.filename) or member.is_dir():
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                guard.left_out += 1
                continue
            with file.open(member) as stream:
                guard.take(member.filename, guard.counted(stream))


def _tar(archive: Path, guard: ExtractionGuard) -> None:
    # The stream itself is counted, so that long headers and holes in files cannot exceed the limit either.
    with _decompressed(archive) as stream, tarfile.open(fileobj=guard.counted(stream), mode="r|") as file:
        for member in file:
            if not guard.wants(member.name) or member.isdir():
                continue
            content = file.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                guard.left_out += 1
            else:
                guard.take(member.name, content)


def _decompressed(archive: Path) -> Any:
    """Open an archive that may be compressed, which its first bytes tell."""
    with archive.open("rb") as file:
        start = file.read(6)
    for magic, kind in ((b"\x1f\x8b", "gz"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bz2")):
        if start.startswith(magic):
            return _STREAMS[kind](archive, "rb")
    return archive.open("rb")


class _Counted:
    """A stream whose bytes a guard counts."""

    def __init__(self, stream: IO[bytes], guard: ExtractionGuard) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self._guard.count(len(data))
        return data


@contextmanager
def _archive_errors(kind: str) -> Iterator[None]:
    """Turn the errors of the archive readers into one `FetchError`."""
    try:
        yield
    except (
        zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError,
        RuntimeError,
    ) as error:  # fmt: skip
        raise FetchError(f"the archive is damaged, or no {kind}: {str(error) or type(error).__name__:.200}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # gzip and bz2 report damage as an OSError without a number.
        raise FetchError(f"the archive is damaged, or no {kind}: {error}") from error
