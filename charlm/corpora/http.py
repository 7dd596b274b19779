"""One HTTP request: a URL becomes an open response, complete or partial, or an error that says what failed.

Only http and https are allowed. Redirects are followed up to a limit, and never from https to http. The
environment's proxies are used (`http_proxy`, `https_proxy`, `no_proxy`).
What is left out: storing the bytes, and retries (`charlm.corpora.fetch`).

The meaning of status codes and headers: RFC 9110, "HTTP semantics", 2022.
"""

import errno
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
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from charlm.errors import FetchError
from charlm.version import __version__

MAX_REDIRECTS = 10
"""Redirects that one request follows."""

REDIRECT_CODES = {301, 302, 303, 307, 308}
SUCCESS_CODES = {200, 206, 416}
"""Complete, partial, and a range beyond the end; `charlm.corpora.fetch` handles these."""

RETRY_CODES = {408, 425, 429, 500, 502, 503, 504}
"""Errors that may be temporary."""

OFFLINE_ERRORS = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}


class WebError(FetchError):
    """A request failed.

    Args:
        message: what happened, without what to do.
        retry: whether another try may help.
        retry_after: seconds that the server asks to wait before it.
    """

    def __init__(self, message: str, retry: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after = retry_after


class ContentChangedError(WebError):
    """The server has another text than the partial download, or cannot send the rest of it."""


def open_url(url: str, timeout: float, headers: Mapping[str, str]) -> HTTPResponse:
    """Request a URL and follow its redirects. The caller closes the response.

    Args:
        url: http or https.
        timeout: seconds to wait for a connection, and for each next part of the response.
        headers: further headers of the request.

    Returns:
        A response with status 200, 206 or 416.

    Raises:
        WebError: the URL may not be requested, there is no response, or it has another status.
    """
    for _ in range(MAX_REDIRECTS + 1):
        check_url(url)
        response = _request(url, timeout, headers)
        if response.status in SUCCESS_CODES:
            return response
        try:
            if response.status not in REDIRECT_CODES or "Location" not in response.headers:
                raise _refusal(url, response)
            url = redirect_url(url, response.headers["Location"])
        finally:
            response.close()
    raise WebError(f"{url} was reached by more than {MAX_REDIRECTS} redirects, which may lead in circles")


def _request(url: str, timeout: float, headers: Mapping[str, str]) -> HTTPResponse:
    own_headers = {"User-Agent": f"charlm/{__version__}", "Accept-Encoding": "identity"}
    try:
        response = _opener().open(Request(url, headers={**own_headers, **headers}), timeout=timeout)
    except (OSError, HTTPException, ValueError) as error:
        raise connection_error(url, error, timeout) from error
    if not isinstance(response, HTTPResponse):
        raise WebError(f"{host(url)} gives no answer of HTTP")
    return response


def _opener() -> OpenerDirector:
    """An opener of http and https alone, which returns redirects and errors as responses."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), UnknownHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _refusal(url: str, response: HTTPResponse) -> WebError:
    status = response.status
    phrases = {code.value: code.phrase for code in HTTPStatus}
    message = f"{host(url)} answers {status} {phrases.get(status, '')}".rstrip()
    if status in (404, 410):
        message += f": nothing is at {url} any more"
    return WebError(message, retry=status in RETRY_CODES, retry_after=_retry_after(response.headers.get("Retry-After")))


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which has a number or a date; 0 if it has neither."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):  # such as a year or a zone of twenty digits
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def redirect_url(url: str, location: str) -> str:
    """The target of a redirect of `url`.

    Raises:
        WebError: it leads from https to http, where the text could be replaced on the way.
    """
    try:
        # Some servers send letters and spaces that a URL must not contain.
        target = urljoin(url, quote(location, safe="%/:?#[]@!$&'()*+,;=~", encoding="latin-1"))
    except (ValueError, UnicodeError):
        raise WebError(f"{host(url)} redirects to {location!r:.200}, which is no address") from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise WebError(f"{host(url)} redirects from https to {target!r:.200}, which is not followed")
    return target


def check_url(url: str) -> None:
    """Refuse a URL that may not be requested.

    Raises:
        WebError: it is not http or https, has no host, or contains a user name.
    """
    try:
        url_parts = urlsplit(url)
        valid = (
            url_parts.scheme in ("http", "https")
            and bool(url_parts.hostname)
            and (url_parts.port is None or url_parts.port > 0)
        )
    except ValueError:
        valid = False
    if not valid or not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise WebError(f"{url!r:.200} is no address of http or https")
    if "@" in url_parts.netloc:
        raise WebError(f"the address of {url_parts.hostname} has a user name in it, which charlm does not send")


def connection_error(url: str, error: Exception, timeout: float) -> WebError:
    """Describe what went wrong with a connection, and whether another try may help."""
    server = host(url)
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, socket.gaierror):
        return WebError(f"{server} is not known here ({error.strerror}): this machine is offline, or the name is wrong")
    if isinstance(error, ssl.SSLCertVerificationError):
        return WebError(f"{server} cannot prove that it is {server}: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return WebError(f"{server} sent nothing for {timeout:g} s", retry=True)
    if isinstance(error, ConnectionRefusedError):
        return WebError(f"{server} refuses the connection")
    if isinstance(error, RemoteDisconnected | ConnectionError | IncompleteRead):
        return WebError(f"{server} broke the connection off", retry=True)
    if isinstance(error, OSError) and error.errno in OFFLINE_ERRORS:
        return WebError(f"{server} cannot be reached ({error.strerror}): is this machine offline?")
    if isinstance(error, BadStatusLine):
        return WebError(f"{server} answers with something that is not HTTP", retry=True)
    # An OSError without a number is a proxy's refusal or a TLS error; its own message is the best one.
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return WebError(f"asking {server} failed: {reason:.200}", retry=isinstance(error, HTTPException | ssl.SSLError))


def host(url: str) -> str:
    """The host of a URL that `check_url` accepted, for messages."""
    return urlsplit(url).netloc


@dataclass(frozen=True)
class PartialDownload:
    """What a server's headers say of a text.

    Attributes:
        address: URL that was requested.
        total: bytes of the text, None if unknown.
        etag, modified: its ETag and Last-Modified headers, which change with the text.
    """

    address: str
    total: int | None
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """A header that changes with the text; an ETag that begins with W/ may be the same for other bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def same(self, other: "PartialDownload") -> bool:
        """Whether the other may be the same text: no header of both differs."""
        pairs = ((self.total, other.total), (self.etag, other.etag), (self.modified, other.modified))
        return all(one == two for one, two in pairs if one is not None and two is not None)


def check_range(
    response: HTTPResponse, url: str, offset: int, partial: PartialDownload | None
) -> tuple[int, PartialDownload]:
    """The offset at which a response begins, and what its headers say of the text.

    Args:
        response: from `open_url`.
        url: that was requested.
        offset: first byte that was requested.
        partial: what the headers said of the bytes before it.

    Raises:
        ContentChangedError: the response is not the rest of that text.
        WebError: it is a web page.
    """
    server, headers = host(url), response.headers
    if response.status == 416:
        raise ContentChangedError(f"{server} does not have the rest; beginning anew", retry=True)
    if headers.get_content_type() == "text/html" and not _path(url).endswith((".html", ".htm")):
        raise WebError(f"{server} answers with a web page instead of the text; open {url} to read it")
    gzipped = is_gzipped(response)
    # A gzip stream cannot be resumed in the middle.
    validators = (None, None) if gzipped else (headers.get("ETag"), headers.get("Last-Modified"))
    if response.status == 200:
        return 0, PartialDownload(url, None if gzipped else response.length, *validators)
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", headers.get("Content-Range", ""))
    now = PartialDownload(url, int(match[2]) if match else None, *validators)
    if gzipped or not match or int(match[1]) != offset or (partial is not None and offset and not partial.same(now)):
        raise ContentChangedError(f"{server} has another text by now; beginning anew", retry=True)
    return offset, now


def is_gzipped(response: HTTPResponse) -> bool:
    """Whether the server compressed the text with gzip, though that was not requested.

    The same header often announces a file that is a .gz itself, which is kept as it is.

    Raises:
        WebError: it is compressed in another way.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return False
    url = response.geturl()
    if coding not in ("gzip", "x-gzip"):
        raise WebError(f"{host(url)} sends the encoding {coding!r:.40}, which nobody asked for")
    return not _path(url).endswith((".gz", ".tgz"))


class GzipDecoder:
    """Decompresses a response chunk by chunk.

    Args:
        server: for messages.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def finished(self) -> bool:
        """Whether the end of the gzip stream was read."""
        return self._stream.eof

    def __call__(self, chunk: bytes) -> bytes:
        """The text of the next chunk, at most a thousand times as long. Raises `WebError` if it is damaged."""
        try:
            return self._stream.decompress(chunk)
        except zlib.error as error:
            raise WebError(f"{self._server} sends damaged gzip ({error})", retry=True) from error


def _path(url: str) -> str:
    return urlsplit(url).path.lower()
