"""A file from an address, into a part file that survives whatever breaks off.

What came is kept, with what the server said of it, and a later try, of this process or another, asks for the rest
(`Range`). It says which text it has the beginning of (`If-Range`), so that one that has changed meanwhile
begins anew. What is left out: what an answer is of (`charlm.corpora.answers`), telling whether it is the right text,
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

from charlm.corpora.answers import AnotherText, Unzip, extent, packed, read_begun
from charlm.corpora.cache import part_in
from charlm.corpora.http import WebError, failed, host, open_address
from charlm.errors import CharlmError, FetchError
from charlm.files import failures, write_atomically

CHUNK = 1 << 16
PAUSE = 1.0
"""Seconds before the first new try; each further pause is twice as long."""

LONGEST_PAUSE = 60.0
"""Seconds. Pauses stop growing here, and a server that asks for more patience is left alone."""

WORTH = 1 << 20
"""Bytes more than ever before that make the tries count anew: a long text may break off often."""

SLOWEST = 1000
"""Bytes that must come within the time-out; a server that sends fewer counts as one that sends nothing."""

Progress = Callable[[int, int, int], None]
"""Told how many bytes are there, how many there will be (0 where that is not known), and how many were there before."""


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched.

    Args:
        address: where from.
        bytes: its size, where that is known for sure.
        most: bytes that it must not exceed, whatever the server says.
        room: bytes that will be needed on the disk beside it.
        about: its size roughly, where the server does not say it.
    """

    address: str
    bytes: int | None
    most: int
    room: int = 0
    about: int = 0


class Fetch:
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
        wanted: Wanted,
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
                if self._size() >= most + WORTH:
                    tries = 0
                most = max(most, self._size())
                pause = max(error.wait, min(PAUSE * 2**tries, LONGEST_PAUSE))
                if not error.again or tries >= self.retries or pause > LONGEST_PAUSE:
                    raise FetchError(self._given_up(error)) from error
                tries += 1
                self.report(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)

    def discard(self) -> None:
        """Remove all that is kept."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _given_up(self, error: WebError) -> str:
        if error.again and error.wait > LONGEST_PAUSE:
            return f"{error} and asks to wait for {error.wait:.0f} s; try again after that"
        kept = self._size()
        return f"{error}; " + (
            f"{kept:,} bytes are kept, and the same command goes on with them" if kept else "try again later"
        )

    def _try(self) -> None:
        address = self.wanted.address
        begun = read_begun(self._told, address)
        have = self._size() if begun is not None else 0
        if begun is not None and have and have == begun.total:
            self.resumed = True
            return
        validator = begun.validator if begun is not None else None
        have = have if validator else 0
        headers = {"Range": f"bytes={have}-", "If-Range": str(validator)} if have else {}
        with closing(open_address(address, self.timeout, headers)) as response:
            try:
                start, now = extent(response, address, have, begun)
            except AnotherText:
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
        exact, most = self.wanted.bytes, self.wanted.most
        if total is not None and exact is not None and total != exact:
            raise FetchError(f"{self.wanted.address} has {total:,} bytes now, and the catalogue says {exact:,}: "
                             f"it is another text; nothing was taken")  # fmt: skip
        if total is not None and total > most:
            raise FetchError(f"{self.wanted.address} has {total:,} bytes, and at most {most:,} are expected: "
                             f"it is another text; nothing was taken")  # fmt: skip
        needed = (total if total is not None else self.wanted.bytes or self.wanted.about) - start + self.wanted.room
        free = shutil.disk_usage(self._place.parent).free
        if needed > free:
            raise CharlmError(f"{self._place.parent} has {free:,} bytes free, and {needed:,} are needed; "
                              f"make room, or choose another place with --out")  # fmt: skip

    def _receive(self, response: HTTPResponse, start: int, total: int | None) -> None:
        """Append the answer to the part file, up to its announced end."""
        unzip = Unzip(host(self.wanted.address)) if packed(response) else None
        place, since, mark = start, time.monotonic(), start
        ends = total if total is not None else self.wanted.bytes
        with self.part.open("r+b", buffering=0) as file:
            file.seek(start)
            file.truncate()
            while total is None or place < total:
                chunk = self._next(response, CHUNK if total is None else min(CHUNK, total - place))
                if not chunk:
                    break
                data = chunk if unzip is None else unzip(chunk)
                if place + len(data) > self.wanted.most:
                    self.discard()
                    raise FetchError(f"{self.wanted.address} goes on beyond {self.wanted.most:,} bytes, more than "
                                     f"are expected: it is another text; nothing was taken")  # fmt: skip
                _write(file.write, data)
                place += len(data)
                self.progress(place, ends or self.wanted.about, start)
                now = time.monotonic()
                if now - since >= self.timeout:
                    if place - mark < SLOWEST:
                        raise WebError(f"{host(self.wanted.address)} sent {place - mark} bytes in {now - since:.0f} s",
                                       again=True)  # fmt: skip
                    since, mark = now, place
        if (ends is not None and place < ends) or (unzip is not None and not unzip.whole):
            whole = f" of {ends:,}" if ends is not None else ""
            raise WebError(f"{host(self.wanted.address)} broke off after {place:,} bytes{whole}", again=True)

    def _next(self, response: HTTPResponse, most: int) -> bytes:
        try:
            return response.read1(most)
        except (OSError, HTTPException, ValueError) as error:
            raise failed(self.wanted.address, error, self.timeout) from error

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
