"""One request of the web: an address becomes an open answer, or a failure that says what it was.

Only http and https are spoken; redirects are followed up to a limit, and never from https down to http; the
environment's proxies are honoured (`http_proxy`, `https_proxy`, `no_proxy`).
What is left out: what is done with the bytes, and trying again (`charlm.corpora.fetch`).

The meaning of status codes and headers: RFC 9110, "HTTP semantics", 2022.
"""

import errno
import json
import math
import re
import socket
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from charlm.corpora.cache import read_short
from charlm.errors import FetchError
from charlm.version import __version__

MAX_REDIRECTS = 10
"""Redirects that are followed, one after the other."""

REDIRECT_CODES = {301, 302, 303, 307, 308}
SUCCESS_CODES = {200, 206, 416}
"""What `charlm.corpora.fetch` knows what to do with."""

RETRY_CODES = {408, 425, 429, 500, 502, 503, 504}
"""Refusals of the moment."""

OFFLINE_ERRORS = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}


class WebError(FetchError):
    """A request failed.

    Args:
        message: what happened, without what to do.
        again: whether trying again may help.
        wait: seconds that the server asks to wait before.
    """

    def __init__(self, message: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.again = again
        self.wait = wait


def open_url(address: str, timeout: float, headers: Mapping[str, str]) -> HTTPResponse:
    """Ask for what is at an address, wherever redirects lead. The caller closes the answer.

    Args:
        address: http or https.
        timeout: seconds to wait for a connection, and for each next piece of the answer.
        headers: further headers of the request.

    Returns:
        An answer with status 200, 206 or 416.

    Raises:
        WebError: the address is none that may be asked, nobody answers, or with something else.
    """
    for _ in range(MAX_REDIRECTS + 1):
        check_url(address)
        response = _request(address, timeout, headers)
        if response.status in SUCCESS_CODES:
            return response
        try:
            if response.status not in REDIRECT_CODES or "Location" not in response.headers:
                raise _refusal(address, response)
            address = redirect_url(address, response.headers["Location"])
        finally:
            response.close()
    raise WebError(f"{address} was reached by more than {MAX_REDIRECTS} redirects, which may lead in circles")


def check_url(address: str) -> None:
    """Refuse an address that is not to be asked.

    Raises:
        WebError: it is not http or https, names no host, or carries a password.
    """
    try:
        parts = urlsplit(address)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fit = False
    if not fit or not address.isascii() or any(character <= " " or character == "\x7f" for character in address):
        raise WebError(f"{address!r:.200} is no address of http or https")
    if "@" in parts.netloc:
        raise WebError(f"the address of {parts.hostname} has a user name in it, which charlm does not send")


def redirect_url(address: str, location: str) -> str:
    """Where a redirect of `address` leads.

    Raises:
        WebError: from https down to http, where anybody on the way could put another text into its place.
    """
    try:
        # Servers send letters and spaces in it that must not stand there.
        target = urljoin(address, quote(location, safe="%/:?#[]@!$&'()*+,;=~", encoding="latin-1"))
    except (ValueError, UnicodeError):
        raise WebError(f"{host(address)} redirects to {location!r:.200}, which is no address") from None
    if address.startswith("https:") and not target.startswith("https:"):
        raise WebError(f"{host(address)} redirects from https to {target!r:.200}, which is not followed")
    return target


def host(address: str) -> str:
    """The host of an address that was judged, for messages."""
    return urlsplit(address).netloc


def connection_error(address: str, error: Exception, timeout: float) -> WebError:
    """What went wrong with a connection, in words, and whether trying again may help."""
    where = host(address)
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, socket.gaierror):
        return WebError(f"{where} is not known here ({error.strerror}): this machine is offline, or the name is wrong")
    if isinstance(error, ssl.SSLCertVerificationError):
        return WebError(f"{where} cannot prove that it is {where}: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return WebError(f"{where} sent nothing for {timeout:g} s", again=True)
    if isinstance(error, ConnectionRefusedError):
        return WebError(f"{where} refuses the connection")
    if isinstance(error, RemoteDisconnected | ConnectionError | IncompleteRead):
        return WebError(f"{where} broke the connection off", again=True)
    if isinstance(error, OSError) and error.errno in OFFLINE_ERRORS:
        return WebError(f"{where} cannot be reached ({error.strerror}): is this machine offline?")
    if isinstance(error, BadStatusLine):
        return WebError(f"{where} answers with something that is not HTTP", again=True)
    # An OSError without a number is a proxy's refusal or TLS gone wrong, and tells best in its own words.
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return WebError(f"asking {where} failed: {reason:.200}", again=isinstance(error, HTTPException | ssl.SSLError))


def _opener() -> OpenerDirector:
    """What speaks http and https, and nothing else: redirects and refusals come back as answers."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), UnknownHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _request(address: str, timeout: float, headers: Mapping[str, str]) -> HTTPResponse:
    own = {"User-Agent": f"charlm/{__version__}", "Accept-Encoding": "identity"}
    try:
        response = _opener().open(Request(address, headers={**own, **headers}), timeout=timeout)
    except (OSError, HTTPException, ValueError) as error:
        raise connection_error(address, error, timeout) from error
    if not isinstance(response, HTTPResponse):
        raise WebError(f"{host(address)} gives no answer of HTTP")
    return response


def _refusal(address: str, response: HTTPResponse) -> WebError:
    status = response.status
    known = {code.value: code.phrase for code in HTTPStatus}
    told = f"{host(address)} answers {status} {known.get(status, '')}".rstrip()
    if status in (404, 410):
        told += f": nothing is at {address} any more"
    return WebError(told, again=status in RETRY_CODES, wait=_retry_after(response.headers.get("Retry-After")))


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which has a number or a date; 0 where it says nothing."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):  # a year or a zone of twenty digits is a date of no calendar
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


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
