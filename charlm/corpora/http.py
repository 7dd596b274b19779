"""One request of the web: an address becomes an open answer, or a failure that says what it was.

Only http and https are spoken; redirects are followed up to a limit, and never from https down to http; the
environment's proxies are honoured (`http_proxy`, `https_proxy`, `no_proxy`).
What is left out: what is done with the bytes, and trying again (`charlm.corpora.fetch`).

The meaning of status codes and headers: RFC 9110, "HTTP semantics", 2022.
"""

import errno
import math
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from charlm import __version__
from charlm.errors import FetchError

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
