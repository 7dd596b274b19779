"""A file from an address, into a part file that survives whatever breaks off.

What came is kept, with what the server said of it, and a later try, of this process or another, asks for the rest
(`Range`). It says which text it has the beginning of (`If-Range`), so that one that has changed meanwhile
begins anew. What is left out: what an answer is of (`charlm.corpora.http`), telling whether it is the right text,
and who may write the part (`charlm.corpora.download`).
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from charlm.corpora.cache import part_in
from charlm.corpora.http import (
    ContentChangedError,
    GzipDecoder,
    WebError,
    check_range,
    connection_error,
    host,
    is_gzipped,
    open_url,
    read_partial,
)
from charlm.errors import CharlmError, FetchError
from charlm.files import failures, write_atomically

READ_BYTES = 1 << 16
FIRST_RETRY_SECONDS = 1.0
"""Seconds before the first new try; each further pause is twice as long."""

MAX_RETRY_SECONDS = 60.0
"""Seconds. Pauses stop growing here, and a server that asks for more patience is left alone."""

MIN_KEPT_BYTES = 1 << 20
"""Bytes more than ever before that make the tries count anew: a long text may break off often."""

MIN_BYTES_PER_SECOND = 1000
"""Bytes that must come within the time-out; a server that sends fewer counts as one that sends nothing."""

Progress = Callable[[int, int, int], None]
"""Told how many bytes are there, how many there will be (0 where that is not known), and how many were there before."""


@dataclass(frozen=True)
class DownloadSpec:
    """What is to be fetched.

    Args:
        address: where from.
        bytes: its size, where that is known for sure.
        most: bytes that it must not exceed, whatever the server says.
        room: bytes that will be needed on the disk beside it.
        about: its size roughly, where the server does not say it.
    """

    url: str
    bytes: int | None
    max_bytes: int
    free_bytes: int = 0
    estimated_bytes: int = 0


class ResumableDownload:
    """The fetching of one file.

    Args:
        wanted: what, and how much of it at most.
        place: a folder for what came and what the server said of it.
        timeout: seconds without a byte after which a try has failed.
        retries: tries after the first one, where trying again may help.
        report: told of each new try.
        progress: told how far it is.

    Attributes:
        part: the file with what came, or the beginning of it.
        resumed: whether it was put together of what came at different times.
    """

    def __init__(
        self,
        wanted: DownloadSpec,
        place: Path,
        *,
        timeout: float,
        retries: int,
        report: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.wanted = wanted
        self.part = part_in(place)
        self.timeout = timeout
        self.retries = retries
        self.report = report
        self.progress = progress
        self.resumed = False
        self._place = place
        self._told = place / "told.json"

    def run(self) -> None:
        """Bring all of it.

        Raises:
            FetchError: it did not come; what came is kept where a later try can go on with it.
            CharlmError: there is no room for it.
        """
        tries, most = 0, self._size()
        while True:
            try:
                return self._try()
            except WebError as error:
                if self._size() >= most + MIN_KEPT_BYTES:
                    tries = 0
                most = max(most, self._size())
                pause = max(error.wait, min(FIRST_RETRY_SECONDS * 2**tries, MAX_RETRY_SECONDS))
                if not error.again or tries >= self.retries or pause > MAX_RETRY_SECONDS:
                    raise FetchError(self._given_up(error)) from error
                tries += 1
                self.report(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)

    def discard(self) -> None:
        """Remove all that is kept."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _given_up(self, error: WebError) -> str:
        if error.again and error.wait > MAX_RETRY_SECONDS:
            return f"{error} and asks to wait for {error.wait:.0f} s; try again after that"
        kept = self._size()
        return f"{error}; " + (
            f"{kept:,} bytes are kept, and the same command goes on with them" if kept else "try again later"
        )

    def _try(self) -> None:
        address = self.wanted.url
        begun = read_partial(self._told, address)
        have = self._size() if begun is not None else 0
        if begun is not None and have and have == begun.total:
            self.resumed = True
            return
        validator = begun.validator if begun is not None else None
        have = have if validator else 0
        headers = {"Range": f"bytes={have}-", "If-Range": str(validator)} if have else {}
        with closing(open_url(address, self.timeout, headers)) as response:
            try:
                start, now = check_range(response, address, have, begun)
            except ContentChangedError:
                self.discard()
                raise
            with failures(self.part, "writing"):
                self._check_size(now.total, start)
                self._place.mkdir(exist_ok=True)
                if start == 0:
                    self.part.write_bytes(b"")
                    write_atomically(self._told, json.dumps(asdict(now)))
                self.resumed = start > 0
                self._receive(response, start, now.total)

    def _check_size(self, total: int | None, start: int) -> None:
        exact, most = self.wanted.bytes, self.wanted.max_bytes
        if total is not None and exact is not None and total != exact:
            raise FetchError(f"{self.wanted.url} has {total:,} bytes now, and the catalogue says {exact:,}: "
                             f"it is another text; nothing was taken")  # fmt: skip
        if total is not None and total > most:
            raise FetchError(f"{self.wanted.url} has {total:,} bytes, and at most {most:,} are expected: "
                             f"it is another text; nothing was taken")  # fmt: skip
        needed = (
            (total if total is not None else self.wanted.bytes or self.wanted.estimated_bytes)
            - start
            + self.wanted.free_bytes
        )
        free = shutil.disk_usage(self._place.parent).free
        if needed > free:
            raise CharlmError(f"{self._place.parent} has {free:,} bytes free, and {needed:,} are needed; "
                              f"make room, or choose another place with --out")  # fmt: skip

    def _receive(self, response: HTTPResponse, start: int, total: int | None) -> None:
        """Append the answer to the part file, up to its announced end."""
        unzip = GzipDecoder(host(self.wanted.url)) if is_gzipped(response) else None
        place, since, mark = start, time.monotonic(), start
        ends = total if total is not None else self.wanted.bytes
        with self.part.open("r+b", buffering=0) as file:
            file.seek(start)
            file.truncate()
            while total is None or place < total:
                chunk = self._next(response, READ_BYTES if total is None else min(READ_BYTES, total - place))
                if not chunk:
                    break
                data = chunk if unzip is None else unzip(chunk)
                if place + len(data) > self.wanted.max_bytes:
                    self.discard()
                    raise FetchError(f"{self.wanted.url} goes on beyond {self.wanted.max_bytes:,} bytes, more than "
                                     f"are expected: it is another text; nothing was taken")  # fmt: skip
                _write(file.write, data)
                place += len(data)
                self.progress(place, ends or self.wanted.estimated_bytes, start)
                now = time.monotonic()
                if now - since >= self.timeout:
                    if place - mark < MIN_BYTES_PER_SECOND:
                        raise WebError(f"{host(self.wanted.url)} sent {place - mark} bytes in {now - since:.0f} s",
                                       again=True)  # fmt: skip
                    since, mark = now, place
        if (ends is not None and place < ends) or (unzip is not None and not unzip.whole):
            whole = f" of {ends:,}" if ends is not None else ""
            raise WebError(f"{host(self.wanted.url)} broke off after {place:,} bytes{whole}", again=True)

    def _next(self, response: HTTPResponse, most: int) -> bytes:
        try:
            return response.read1(most)
        except (OSError, HTTPException, ValueError) as error:
            raise connection_error(self.wanted.url, error, self.timeout) from error

    def _size(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0


def _write(write: Callable[[bytes], int | None], data: bytes) -> None:
    """Write all of it: without a buffer a nearly full disk takes a part."""
    left = memoryview(data)
    while left:
        left = left[write(left) or 0 :]  # type: ignore[arg-type]
