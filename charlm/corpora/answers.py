"""What an answer of a server is of: the whole text or its rest, of which text, and how it is packed.

What is left out: asking (`charlm.corpora.http`), and keeping what comes (`charlm.corpora.fetch`).

Ranges, validators and encodings: RFC 9110, "HTTP semantics", 2022, sections 8, 13 and 14.
"""

import json
import re
import zlib
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from charlm.corpora.cache import read_short
from charlm.corpora.http import WebError, host


class ContentChangedError(WebError):
    """The server has another text than the one whose beginning is there, or cannot give its rest."""


@dataclass(frozen=True)
class PartialDownload:
    """What a server said of a text.

    Attributes:
        address: where it was asked for.
        total: its bytes, None where that was not said.
        etag, modified: what tells it from others, as it was said.
    """

    address: str
    total: int | None
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """What tells this text from a later one; an ETag that begins with W/ does not tell every byte."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def same(self, other: "PartialDownload") -> bool:
        """Whether the other may be the same text, as far as the server says."""
        pairs = ((self.total, other.total), (self.etag, other.etag), (self.modified, other.modified))
        return all(one == two for one, two in pairs if one is not None and two is not None)


def read_partial(path: Path, address: str) -> PartialDownload | None:
    """What was written down of the text at an address; None where that is nothing, or of another address."""
    try:
        found = PartialDownload(**json.loads(read_short(path)))
    except (OSError, ValueError, RecursionError, TypeError):
        return None
    words = (found.etag, found.modified)
    fit = (found.total is None or type(found.total) is int) and all(isinstance(word, str | None) for word in words)
    return found if fit and found.address == address else None


def check_range(
    response: HTTPResponse, address: str, have: int, begun: PartialDownload | None
) -> tuple[int, PartialDownload]:
    """Where an answer begins, and what it is of.

    Args:
        response: from `charlm.corpora.http.open_address`.
        address: that was asked.
        have: bytes after which the rest was asked for, 0 for all.
        begun: what was said of the text that these bytes are of.

    Raises:
        AnotherText: it is not the rest that was asked for.
        WebError: it is no text.
    """
    where, headers = host(address), response.headers
    if response.status == 416:
        raise ContentChangedError(f"{where} does not have the rest; beginning anew", again=True)
    if headers.get_content_type() == "text/html" and not _path(address).endswith((".html", ".htm")):
        raise WebError(f"{where} answers with a web page instead of the text; open {address} to read it")
    wrapped = is_gzipped(response)
    # What was unpacked on the way cannot be gone on with in the middle.
    validators = (None, None) if wrapped else (headers.get("ETag"), headers.get("Last-Modified"))
    if response.status == 200:
        return 0, PartialDownload(address, None if wrapped else response.length, *validators)
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", headers.get("Content-Range", ""))
    now = PartialDownload(address, int(found[2]) if found else None, *validators)
    if wrapped or not found or int(found[1]) != have or (begun is not None and have and not begun.same(now)):
        raise ContentChangedError(f"{where} has another text by now; beginning anew", again=True)
    return have, now


class GzipDecoder:
    """Undoes the gzip that a server put around a text on the way, a piece at a time.

    Args:
        where: the server, for messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def whole(self) -> bool:
        """Whether the end came."""
        return self._stream.eof

    def __call__(self, chunk: bytes) -> bytes:
        """The text of the next piece, a thousand times as long at most. Raises `WebError` where it is damaged."""
        try:
            return self._stream.decompress(chunk)
        except zlib.error as error:
            raise WebError(f"{self._where} sends damaged gzip ({error})", again=True) from error


def is_gzipped(response: HTTPResponse) -> bool:
    """Whether the server packed the text with gzip on the way, which nobody asked for.

    A file that is a .gz itself is often announced in the same words, and is taken as it is.

    Raises:
        WebError: it is packed otherwise.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return False
    address = response.geturl()
    if coding not in ("gzip", "x-gzip"):
        raise WebError(f"{host(address)} sends the encoding {coding!r:.40}, which nobody asked for")
    return not _path(address).endswith((".gz", ".tgz"))


def _path(address: str) -> str:
    return urlsplit(address).path.lower()
