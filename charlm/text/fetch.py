"""A file from an address, into a part file that survives whatever breaks off.

What came is kept, with what the server said of it, and a later try, of this process or another, asks for the rest
(`Range`). It says which text it has the beginning of (`If-Range`), so that one that has changed meanwhile
begins anew. What is left out: telling whether it is the right text, and who may write the part (`charlm.text.download`).

Ranges and their conditions: RFC 9110, "HTTP semantics", 2022, sections 13 and 14.
"""

import json
import re
import shutil
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from charlm.errors import CharlmError, FetchError
from charlm.files import failures, write_atomically
from charlm.text.shelf import read_short
from charlm.text.web import WebError, failed, host, open_address

CHUNK = 1 << 16
PAUSE = 1.0
"""Seconds before the first new try; each further pause is twice as long."""

LONGEST_PAUSE = 60.0
"""Seconds. A server that asks for more patience is left alone."""

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


@dataclass(frozen=True)
class _Begun:
    """What the server said of the text whose beginning is in the part file."""

    address: str
    total: int | None
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """What tells this text from a later one; an ETag that begins with W/ does not tell every byte."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Fetch:
    """The fetching of one file.

    Args:
        wanted: what, and how much of it at most.
        part: where it is kept; `part` with `.json` behind has what the server said.
        timeout: seconds without a byte after which a try has failed.
        retries: tries after the first one, where trying again may help.
        report: told of each new try.
        progress: told how far it is.
    """

    def __init__(
        self,
        wanted: Wanted,
        part: Path,
        *,
        timeout: float,
        retries: int,
        report: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.wanted = wanted
        self.part = part
        self.timeout = timeout
        self.retries = retries
        self.report = report
        self.progress = progress
        self.resumed = False
        self._told = part.with_name(part.name + ".json")

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
                pause = max(error.wait, PAUSE * 2**tries)
                if not error.again or tries >= self.retries or pause > LONGEST_PAUSE:
                    raise FetchError(self._given_up(error)) from error
                tries += 1
                self.report(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)

    def discard(self) -> None:
        """Remove the part file, and what was said of it."""
        with failures(self.part, "removing"):
            self.part.unlink(missing_ok=True)
            self._told.unlink(missing_ok=True)

    def _given_up(self, error: WebError) -> str:
        if error.again and error.wait > LONGEST_PAUSE:
            return f"{error} and asks to wait for {error.wait:.0f} s; try again after that"
        kept = self._size()
        return f"{error}; " + (
            f"{kept:,} bytes are kept, and the same command goes on with them" if kept else "try again later"
        )

    def _try(self) -> None:
        begun = self._begun()
        have = self._size() if begun is not None else 0
        if begun is not None and have and have == begun.total:
            self.resumed = True
            return
        validator = begun.validator if begun is not None else None
        have = have if validator else 0
        headers = {"Range": f"bytes={have}-", "If-Range": str(validator)} if have else {}
        with closing(open_address(self.wanted.address, self.timeout, headers)) as response:
            start, now = self._extent(response, have, begun)
            self._check_size(now.total, start)
            with failures(self.part, "writing"):
                if start == 0:
                    self.part.write_bytes(b"")
                    write_atomically(self._told, json.dumps(asdict(now)))
                self.resumed = start > 0
                self._receive(response, start, now.total)

    def _begun(self) -> _Begun | None:
        """What is known of the text in the part file; None where that is nothing, or of another address."""
        try:
            begun = _Begun(**json.loads(read_short(self._told)))
        except (OSError, ValueError, RecursionError, TypeError):
            return None
        fit = (type(begun.total) is int or begun.total is None) and all(
            isinstance(word, str | None) for word in (begun.etag, begun.modified)
        )
        return begun if fit and begun.address == self.wanted.address else None

    def _extent(self, response: HTTPResponse, have: int, begun: _Begun | None) -> tuple[int, _Begun]:
        """Where an answer begins, and what it is of."""
        where, headers = host(self.wanted.address), response.headers
        if response.status == 416:
            self.discard()
            raise WebError(f"{where} does not have the rest; beginning anew", again=True)
        if headers.get_content_type() == "text/html" and not _path(self.wanted.address).endswith((".html", ".htm")):
            raise WebError(f"{where} answers with a web page instead of the text; open {self.wanted.address} to read it")
        packed = _packed(response)
        # What was unpacked on the way cannot be gone on with in the middle.
        validators = (None, None) if packed else (headers.get("ETag"), headers.get("Last-Modified"))
        if response.status == 200:
            return 0, _Begun(self.wanted.address, None if packed else response.length, *validators)
        found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", headers.get("Content-Range", ""))
        now = _Begun(self.wanted.address, int(found[2]) if found else None, *validators)
        if packed or not found or int(found[1]) != have or (have and begun is not None and not _same(begun, now)):
            self.discard()
            raise WebError(f"{where} has another text by now; beginning anew", again=True)
        return have, now

    def _check_size(self, total: int | None, start: int) -> None:
        exact, most = self.wanted.bytes, self.wanted.most
        if total is not None and exact is not None and total != exact:
            raise FetchError(f"{self.wanted.address} has {total:,} bytes now, and the catalogue says {exact:,}: "
                             f"it is another text; nothing was taken")  # fmt: skip
        if total is not None and total > most:
            raise FetchError(f"{self.wanted.address} has {total:,} bytes, and at most {most:,} are expected: "
                             f"it is another text; nothing was taken")  # fmt: skip
        needed = (total if total is not None else self.wanted.bytes or self.wanted.about) - start + self.wanted.room
        free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise CharlmError(f"{self.part.parent} has {free:,} bytes free, and {needed:,} are needed; "
                              f"make room, or choose another place with --out")  # fmt: skip

    def _receive(self, response: HTTPResponse, start: int, total: int | None) -> None:
        """Append the answer to the part file, up to its announced end."""
        unzip = _Unzip(host(self.wanted.address)) if _packed(response) else None
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


class _Unzip:
    """Undoes the gzip that a server put around the text on the way, a piece at a time."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def whole(self) -> bool:
        """Whether the end came."""
        return self._stream.eof

    def __call__(self, chunk: bytes) -> bytes:
        """The text of the next piece; a piece of 64 kB cannot hold more than 64 MB."""
        try:
            return self._stream.decompress(chunk)
        except zlib.error as error:
            raise WebError(f"{self._where} sends damaged gzip ({error})", again=True) from error


def _packed(response: HTTPResponse) -> bool:
    """Whether the server packed the text with gzip on the way, which nobody asked for.

    A file that is a .gz itself is often announced in the same words, and is taken as it is.

    Raises:
        WebError: it is packed otherwise.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return False
    if coding not in ("gzip", "x-gzip"):
        raise WebError(f"{host(response.geturl())} sends the encoding {coding!r:.40}, which nobody asked for")
    return not _path(response.geturl()).endswith((".gz", ".tgz"))


def _path(address: str) -> str:
    return urlsplit(address).path.lower()


def _same(begun: _Begun, now: _Begun) -> bool:
    """Whether two answers speak of the same text, as far as they say."""
    pairs = ((begun.total, now.total), (begun.etag, now.etag), (begun.modified, now.modified))
    return all(one == other for one, other in pairs if one is not None and other is not None)


def _write(write: Callable[[bytes], int | None], data: bytes) -> None:
    """Write all of it: without a buffer a nearly full disk takes a part."""
    left = memoryview(data)
    while left:
        left = left[write(left) or 0 :]  # type: ignore[arg-type]
