"""Archives as folders: what comes out lies inside the folder, and is no more than was said.

A member that would lie outside, or more bytes than the limit, refuses the whole archive. Links, devices and
whatever else is no file are left out, so that nothing leads out of the folder later either.
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

from charlm.errors import FetchError

READ_BYTES = 1 << 20
MAX_MEMBERS = 1_000_000
"""Files of an archive, beyond which it is refused; each takes room on the disk and in memory, however short it is."""

_Report = Callable[[str], None]
_STREAMS: dict[str, Callable[..., Any]] = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open}


def unpack(
    archive: Path, folder: Path, kind: str, most: int, *, name: str, members: Sequence[str] = (), report: _Report
) -> None:
    """Unpack a file.

    Args:
        archive: what came.
        folder: where its files go; it exists.
        kind: `zip`, `tar` (also where that is compressed), or `gz`, `xz`, `bz2` for a single file.
        most: bytes that may come out of it at most; of a tar its own headers count too.
        name: of the file that a single one becomes.
        members: patterns of the wanted files, such as `data/names/*.txt`; `*` stands for `/` too. All without any.
        report: told of what was left out.

    Raises:
        FetchError: it is damaged, holds more than `most`, nothing that is wanted, or a file that would lie outside.
        OSError: a file cannot be written.
    """
    gate = ExtractionGuard(folder, most, members)
    with _damage(kind):
        if kind == "zip":
            _zip(archive, gate)
        elif kind == "tar":
            _tar(archive, gate)
        else:
            with _STREAMS[kind](archive, "rb") as stream:
                gate.take(name, gate.counted(stream))
    if not gate.taken:
        wanted = f" that is called {' or '.join(members)}" if members else ""
        raise FetchError(f"the archive holds no file{wanted}")
    if gate.left_out:
        report(f"left out {gate.left_out:,} of its members that are links or devices")


class ExtractionGuard:
    """What lets members into a folder, and counts them and the bytes that come out.

    Args:
        folder: where they go.
        most: bytes at most.
        members: patterns of the wanted ones; all without any.

    Attributes:
        taken, left_out: members that were written, and those that are no files.
    """

    def __init__(self, folder: Path, most: int, members: Sequence[str]) -> None:
        self.taken = 0
        self.left_out = 0
        self._folder = folder
        self._most = most
        self._left = most
        self._members = members
        self._seen = 0

    def wants(self, name: str) -> bool:
        """Whether a member of this name is to come out. Raises `FetchError` where it would come out elsewhere."""
        self._seen += 1
        if self._seen > MAX_MEMBERS:
            raise FetchError(f"the archive has more than {MAX_MEMBERS:,} members")
        drive = re.match("[A-Za-z]:", name) is not None
        if drive or name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
            raise FetchError(f"the archive has a member {name!r:.100}, which would lie outside of its folder")
        return not self._members or any(fnmatchcase(name.removeprefix("./"), pattern) for pattern in self._members)

    def take(self, name: str, stream: IO[bytes]) -> None:
        """Write a member's file, whose bytes are counted where they come from."""
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
        """The stream, whose bytes are counted as they are read."""
        return _Counted(stream, self)

    def count(self, number: int) -> None:
        """So many bytes came out. Raises `FetchError` where that is too much."""
        self._left -= number
        if self._left < 0:
            raise FetchError(f"more than {self._most:,} bytes come out of the archive, more than are expected of it")


def _zip(archive: Path, gate: ExtractionGuard) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not gate.wants(member.filename) or member.is_dir():
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                gate.left_out += 1
                continue
            with opened.open(member) as stream:
                gate.take(member.filename, gate.counted(stream))


def _tar(archive: Path, gate: ExtractionGuard) -> None:
    # Counted from outside, so that long headers and holes in files cannot grow beyond the limit either.
    with _plain(archive) as stream, tarfile.open(fileobj=gate.counted(stream), mode="r|") as opened:
        for member in opened:
            if not gate.wants(member.name) or member.isdir():
                continue
            held = opened.extractfile(member) if member.isreg() and not member.issparse() else None
            if held is None:
                gate.left_out += 1
            else:
                gate.take(member.name, held)


def _plain(archive: Path) -> Any:
    """The archive without the compression around it, by its first bytes."""
    with archive.open("rb") as file:
        start = file.read(6)
    for magic, kind in ((b"\x1f\x8b", "gz"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bz2")):
        if start.startswith(magic):
            return _STREAMS[kind](archive, "rb")
    return archive.open("rb")


class _Counted:
    """A stream whose bytes are counted as they come out of their compression."""

    def __init__(self, stream: IO[bytes], gate: ExtractionGuard) -> None:
        self._stream = stream
        self._gate = gate

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self._gate.count(len(data))
        return data


@contextmanager
def _damage(kind: str) -> Iterator[None]:
    """Turn what the readers of archives raise into one `FetchError`."""
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
