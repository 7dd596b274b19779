"""Downloading a file into a partial file that survives interruptions.

The bytes received are kept, with what the server's headers said of the text. A later try, of this process or another,
requests the rest (`Range`). It names the text whose beginning it has (`If-Range`), so that a text that has changed
meanwhile is sent from its beginning. What is left out: what a response means (`charlm.corpora.http`), whether it is the
right text, and locking (`charlm.corpora.download`).
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from charlm.callbacks import DownloadProgressFn, NoticeFn
from charlm.corpora.cache import part_in, read_short
from charlm.corpora.http import (
    ContentChangedError,
    GzipDecoder,
    PartialDownload,
    WebError,
    check_range,
    connection_error,
    host,
    is_gzipped,
    open_url,
)
from charlm.errors import CharlmError, FetchError
from charlm.files import failures, write_atomically
from charlm.schema import Schema, check, is_int, is_text, or_null

READ_BYTES = 1 << 16
FIRST_RETRY_SECONDS = 1.0
"""Seconds before the first retry; each further pause is twice as long."""

MAX_RETRY_SECONDS = 60.0
"""Seconds of the longest pause; if a server asks for a longer one, the download fails."""

MIN_KEPT_BYTES = 1 << 20
"""Bytes by which a download must grow to reset the number of tries, as the connection of a long one may break often."""

MIN_BYTES_PER_SECOND = 1000
"""Bytes that must arrive within the time-out; a slower server counts as one that sends nothing."""


@dataclass(frozen=True)
class DownloadSpec:
    """What to download.

    Attributes:
        url: of the file.
        bytes: its exact size, if known.
        max_bytes: bytes that it must not exceed, whatever the server says.
        free_bytes: further bytes that must be free on the disk.
        estimated_bytes: its approximate size, if neither `bytes` nor the server tells it.
    """

    url: str
    bytes: int | None
    max_bytes: int
    free_bytes: int = 0
    estimated_bytes: int = 0


class ResumableDownload:
    """The download of one file.

    Args:
        spec: what to download.
        folder: for the bytes received and what the server said of them.
        timeout: seconds without a byte after which a try has failed.
        retries: tries after the first one, if another try may help.
        report: called before each retry.
        progress: called after each chunk.

    Attributes:
        part: the file, or its beginning.
        resumed: whether the file consists of bytes received at different times.
    """

    def __init__(
        self,
        spec: DownloadSpec,
        folder: Path,
        *,
        timeout: float,
        retries: int,
        report: NoticeFn,
        progress: DownloadProgressFn,
    ) -> None:
        self.spec = spec
        self.part = part_in(folder)
        self.timeout = timeout
        self.retries = retries
        self.report = report
        self.progress = progress
        self.resumed = False
        self._folder = folder
        self._headers = folder / "told.json"

    def run(self) -> None:
        """Download all of the file.

        Raises:
            FetchError: it did not arrive; the bytes received are kept if a later try can resume from them.
            CharlmError: there is no room for it.
        """
        tries, largest = 0, self._size()
        while True:
            try:
                return self._try()
            except WebError as error:
                if self._size() >= largest + MIN_KEPT_BYTES:
                    tries = 0
                largest = max(largest, self._size())
                pause = max(error.retry_after, min(FIRST_RETRY_SECONDS * 2**tries, MAX_RETRY_SECONDS))
                if not error.retry or tries >= self.retries or pause > MAX_RETRY_SECONDS:
                    raise FetchError(self._failure(error)) from error
                tries += 1
                self.report(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)

    def discard(self) -> None:
        """Remove all that was received."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _failure(self, error: WebError) -> str:
        """The message of the last error, with what to do."""
        if error.retry and error.retry_after > MAX_RETRY_SECONDS:
            return f"{error} and asks to wait for {error.retry_after:.0f} s; try again after that"
        size = self._size()
        advice = f"{size:,} bytes are kept, and the same command goes on with them" if size else "try again later"
        return f"{error}; {advice}"

    def _try(self) -> None:
        url = self.spec.url
        partial = _read_partial(self._headers, url)
        offset = self._size() if partial is not None else 0
        if partial is not None and offset and offset == partial.total:
            self.resumed = True
            return
        validator = partial.validator if partial is not None else None
        offset = offset if validator else 0
        headers = {"Range": f"bytes={offset}-", "If-Range": str(validator)} if offset else {}
        with closing(open_url(url, self.timeout, headers)) as response:
            try:
                start, now = check_range(response, url, offset, partial)
            except ContentChangedError:
                self.discard()
                raise
            with failures(self.part, "writing"):
                self._check_size(now.total, start)
                self._folder.mkdir(exist_ok=True)
                if start == 0:
                    self.part.write_bytes(b"")
                    write_atomically(self._headers, json.dumps(asdict(now)))
                self.resumed = start > 0
                self._receive(response, start, now.total)

    def _check_size(self, total: int | None, start: int) -> None:
        """Refuse a text of another size than expected, and one that does not fit on the disk."""
        spec = self.spec
        if total is not None and spec.bytes is not None and total != spec.bytes:
            raise FetchError(f"{spec.url} has {total:,} bytes now, and the catalogue says {spec.bytes:,}: "
                             f"it is another text; nothing was taken")  # fmt: skip
        if total is not None and total > spec.max_bytes:
            raise FetchError(f"{spec.url} has {total:,} bytes, and at most {spec.max_bytes:,} are expected: "
                             f"it is another text; nothing was taken")  # fmt: skip
        size = total if total is not None else spec.bytes or spec.estimated_bytes
        needed = size - start + spec.free_bytes
        free = shutil.disk_usage(self._folder.parent).free
        if needed > free:
            raise CharlmError(f"{self._folder.parent} has {free:,} bytes free, and {needed:,} are needed; "
                              f"make room, or choose another place with --out")  # fmt: skip

    def _receive(self, response: HTTPResponse, start: int, total: int | None) -> None:
        """Append the response to the part file, up to its announced end."""
        gzip = GzipDecoder(host(self.spec.url)) if is_gzipped(response) else None
        end = total if total is not None else self.spec.bytes
        offset, timed_from, timed_offset = start, time.monotonic(), start
        with self.part.open("r+b", buffering=0) as file:
            file.seek(start)
            file.truncate()
            while total is None or offset < total:
                chunk = self._read(response, READ_BYTES if total is None else min(READ_BYTES, total - offset))
                if not chunk:
                    break
                data = chunk if gzip is None else gzip(chunk)
                if offset + len(data) > self.spec.max_bytes:
                    self.discard()
                    raise FetchError(f"{self.spec.url} goes on beyond {self.spec.max_bytes:,} bytes, more than "
                                     f"are expected: it is another text; nothing was taken")  # fmt: skip
                _write_all(file.write, data)
                offset += len(data)
                self.progress(offset, end or self.spec.estimated_bytes, start)
                now = time.monotonic()
                if now - timed_from >= self.timeout:
                    self._check_speed(offset - timed_offset, now - timed_from)
                    timed_from, timed_offset = now, offset
        if (end is not None and offset < end) or (gzip is not None and not gzip.finished):
            of_all = f" of {end:,}" if end is not None else ""
            raise WebError(f"{host(self.spec.url)} broke off after {offset:,} bytes{of_all}", retry=True)

    def _read(self, response: HTTPResponse, max_bytes: int) -> bytes:
        try:
            return response.read1(max_bytes)
        except (OSError, HTTPException, ValueError) as error:
            raise connection_error(self.spec.url, error, self.timeout) from error

    def _check_speed(self, received: int, seconds: float) -> None:
        if received < MIN_BYTES_PER_SECOND:
            raise WebError(f"{host(self.spec.url)} sent {received} bytes in {seconds:.0f} s", retry=True)

    def _size(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0


def _read_partial(path: Path, url: str) -> PartialDownload | None:
    """What was recorded of the text at a URL; None if there is no record, or it is of another URL."""
    try:
        values = json.loads(read_short(path))
        partial = PartialDownload(**values)
        check(values, _PARTIAL_SCHEMA)
    except (OSError, ValueError, RecursionError, TypeError):
        return None
    return partial if partial.address == url else None


_PARTIAL_SCHEMA: Schema = {"total": or_null(is_int), "etag": or_null(is_text), "modified": or_null(is_text)}


def _write_all(write: Callable[[bytes], int | None], data: bytes) -> None:
    """Write all of `data`: an unbuffered write to a nearly full disk may write less."""
    left = memoryview(data)
    while left:
        left = left[write(left) or 0 :]  # type: ignore[arg-type]
