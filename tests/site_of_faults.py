"""A web site on 127.0.0.1 that answers as it is told: rightly, or with whatever can go wrong."""

import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import pytest

from charlm.corpora import fetch

PATIENCE = 10.0
"""Seconds that a stalled answer waits at most for its site to close."""


@dataclass
class Request:
    """What was asked: the target and the headers, their names in small letters."""

    target: str
    headers: dict[str, str]

    @property
    def start(self) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else None


Answer = Callable[[Request, socket.socket, Event], None]


@dataclass
class Site:
    """Answers one request after the other, each with the next of `answers`; the last one stays."""

    answers: Sequence[Answer]
    requests: list[Request] = field(default_factory=list)
    closing: Event = field(default_factory=Event)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def address(self, path: str = "/novel.txt") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.closing.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.closing.is_set():
                connection.close()
                return
            thread = Thread(target=self._answer, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._speak(connection)
        connection.close()

    def _speak(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                return
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        request = Request(lines[0].split(" ")[1], headers)
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(request)
        answer(request, connection, self.closing)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.2)
            connection.recv(4096)


@contextmanager
def site(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    made = Site(answers, tls=tls)
    try:
        yield made
    finally:
        made.close()


def raw(data: bytes) -> Answer:
    """These bytes, whatever they are."""
    return lambda request, connection, closing: connection.sendall(data)


def status(code: int, *headers: str, body: bytes = b"no") -> Answer:
    """A short answer with this status."""
    head = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
    return raw(f"HTTP/1.1 {code} Whatever\r\n{head}\r\n".encode() + body)


def redirect(target: str, code: int = 302) -> Answer:
    return status(code, f"Location: {target}")


def closes(request: Request, connection: socket.socket, closing: Event) -> None:
    """Nothing at all."""


def resets(request: Request, connection: socket.socket, closing: Event) -> None:
    """The connection is not closed but thrown away."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def stalls(request: Request, connection: socket.socket, closing: Event) -> None:
    """Waits for ever before the first byte."""
    closing.wait(PATIENCE)


def text(
    data: bytes,
    *headers: str,
    etag: str | None = '"one"',
    modified: str | None = None,
    ranges: bool = True,
    checks: bool = True,
    length: int | bool = True,
    chunked: bool = False,
    cut: int | None = None,
    stall: bool = False,
    trickle: float | None = None,
) -> Answer:
    """A text, as a good server sends it, but for what is told otherwise.

    Args:
        data: the text.
        headers: further lines of the answer's head.
        etag, modified: what it says of the text.
        ranges: whether it knows ranges.
        checks: whether it looks at If-Range.
        length: whether it says how long it is, or what it says instead.
        chunked: sends it in chunks.
        cut: bytes of the answer's body after which it leaves.
        stall: it does not leave there, but sends nothing any more.
        trickle: seconds between two bytes.
    """

    def answer(request: Request, connection: socket.socket, closing: Event) -> None:
        start = request.start if ranges else None
        if checks and start is not None and request.headers.get("if-range") not in (etag, modified):
            start = None
        lines = [f"ETag: {etag}"] * (etag is not None) + [f"Last-Modified: {modified}"] * (modified is not None)
        if start is not None and start >= len(data):
            status(416, f"Content-Range: bytes */{len(data)}")(request, connection, closing)
            return
        body = data[start or 0 :]
        if start is not None:
            lines.append(f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}")
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not False:
            lines.append(f"Content-Length: {len(body) if length is True else length}")
        head = "".join(f"{line}\r\n" for line in (*lines, *headers))
        connection.sendall(f"HTTP/1.1 {200 if start is None else 206} OK\r\n{head}\r\n".encode())
        sent = body if cut is None else body[:cut]
        if trickle is not None:
            for byte in sent:
                connection.sendall(bytes([byte]))
                time.sleep(trickle)
        elif chunked:
            for at in range(0, len(sent), 1000):
                piece = sent[at : at + 1000]
                connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if cut is None:
                connection.sendall(b"0\r\n\r\n")
        else:
            connection.sendall(sent)
        if stall:
            closing.wait(PATIENCE)

    return answer


def stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no name of a host but this one is known, and pauses are short."""
    asked = socket.getaddrinfo

    def known(where: str, *more: Any, **named: Any) -> Any:
        if where not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return asked(where, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    monkeypatch.setattr(fetch, "FIRST_RETRY_SECONDS", 0.001)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def catalogue_of(address: str, *lines: str) -> str:
    """A catalogue with one text, named as the file at its address, which nobody verified."""
    name = address.rpartition("/")[2].partition(".")[0]
    rows = [f"[{name}]", 'kind = "download"', 'description = "A text."', 'licence = "free"', "verified = false"]
    return "\n".join([*rows, f'address = "{address}"', *lines]) + "\n"
