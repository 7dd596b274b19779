"""Downloads: the right bytes or one clear line, whatever the server does, and what came is never lost in between."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from processes import command, dying_at, ended, fork, forks, kill
from site_of_faults import Answer, Site, closes, raw, redirect, resets, site, stalls, status, stay_here, text
from soaking import Soak

from charlm.cli import main as entry
from charlm.cli.signals import stop
from charlm.corpora import fetch, http
from charlm.corpora.cache import RECORD, find_cached, part_in, partial_path, read_record, state
from charlm.corpora.catalogue import find_entry
from charlm.corpora.download import download
from charlm.errors import CharlmError, CorpusError, FetchError, UsageError
from charlm.show.terminal import ProgressMeter

DATA = Random(1).randbytes(50_000)
OTHER = Random(2).randbytes(50_000)
FETCHING = ("charlm/corpora/fetch.py", "charlm/corpora/download.py", "charlm/corpora/cache.py", "charlm/files.py")
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing beyond this machine, and a folder of its own for each test."""
    stay_here(monkeypatch)
    monkeypatch.chdir(tmp_path)


def catalogue(address: str, *lines: str, verified: bool = True) -> str:
    """A catalogue with one text, `novel`; the name of its file."""
    known = [f"bytes = {len(DATA)}", f'sha256 = "{DIGEST}"'] if verified else ["verified = false"]
    rows = ["[novel]", 'kind = "download"', 'description = "A novel."', 'licence = "free"', f'address = "{address}"']
    Path("mine.toml").write_text("\n".join([*rows, *known, *lines]) + "\n")
    return "mine.toml"


def get(address: str, *lines: str, verified: bool = True, **values: Any) -> tuple[Path, list[str]]:
    said: list[str] = []
    values = {"timeout": 0.5, "retries": 2, **values}
    path = download("novel", catalogue=catalogue(address, *lines, verified=verified), report=said.append, **values)
    return path, said


def assert_right(path: Path, data: bytes = DATA) -> None:
    """The text stands there, and nothing beside it."""
    assert sorted(file.name for file in path.iterdir()) == [RECORD, "novel.txt"]
    assert (path / "novel.txt").read_bytes() == data
    record = read_record(path)
    assert record is not None and (record.bytes, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [file.name for file in path.parent.iterdir()] == ["novel"]


def refusal(address: str, *lines: str, **values: Any) -> str:
    """The line with which a download fails; nothing stands under the final name."""
    with pytest.raises(CharlmError) as caught:
        get(address, *lines, **values)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert not Path("corpora/novel").exists()
    return str(caught.value)


def kept() -> bytes | None:
    part = part_in(partial_path(Path("corpora/novel")))
    return part.read_bytes() if part.exists() else None


RIGHT: dict[str, list[Answer]] = {
    "a good server": [text(DATA)],
    "in chunks": [text(DATA, chunked=True)],
    "without a length": [text(DATA, length=False)],
    "without validators": [text(DATA, etag=None)],
    "breaks off": [text(DATA, cut=20_000), text(DATA)],
    "breaks off twice": [text(DATA, cut=20_000), text(DATA, cut=10_000), text(DATA)],
    "breaks off in a chunk": [text(DATA, chunked=True, cut=20_000), text(DATA, chunked=True)],
    "breaks off without a length": [text(DATA, length=False, cut=20_000), text(DATA, length=False)],
    "breaks off and knows no ranges": [text(DATA, cut=20_000), text(DATA, ranges=False)],
    "breaks off, and by time stamps": [
        text(DATA, etag=None, modified="Wed, 21 Oct 2015 07:28:00 GMT", cut=20_000),
        text(DATA, etag=None, modified="Wed, 21 Oct 2015 07:28:00 GMT"),
    ],
    "breaks off and forgets its validators": [text(DATA, cut=20_000), text(DATA, etag=None, checks=False)],
    "another text came first": [text(OTHER, etag='"zero"', cut=20_000), text(DATA)],
    "another text came first, and If-Range is ignored": [
        text(OTHER, etag='"zero"', cut=20_000),
        text(DATA, checks=False),
        text(DATA),
    ],
    "another text came first, and nobody says so": [text(OTHER, cut=20_000), text(DATA), text(DATA)],
    "a weak validator": [text(OTHER, etag='W/"one"', cut=20_000), text(DATA, etag='W/"one"')],
    "answers 416": [text(DATA, cut=20_000), status(416), text(DATA)],
    "answers with another range": [
        text(DATA, cut=20_000),
        raw(b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/50000\r\nContent-Length: 100\r\n\r\n" + DATA[:100]),
        text(DATA),
    ],
    "answers with a range that is none": [
        text(DATA, cut=20_000),
        raw(b"HTTP/1.1 206 OK\r\nContent-Range: pages 1-2\r\nContent-Length: 3\r\n\r\nabc"),
        text(DATA),
    ],
    "closes at once": [closes, text(DATA)],
    "throws the connection away": [resets, text(DATA)],
    "stalls before the answer": [stalls, text(DATA)],
    "stalls in the middle": [text(DATA, cut=20_000, stall=True), text(DATA)],
    "garbage": [raw(b"\0\xff garbage\r\n\r\n"), text(DATA)],
    "garbage without an end": [raw(b"x" * 100_000), text(DATA)],
    "a head without an end": [raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300), text(DATA)],
    "503": [status(503), text(DATA)],
    "500 and 502": [status(500), status(502), text(DATA)],
    "429 with a wait": [status(429, "Retry-After: 0.01"), text(DATA)],
    "429 with a date gone by": [status(429, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"), text(DATA)],
    "429 with nonsense": [status(429, "Retry-After: soon"), text(DATA)],
    "429 with a year of no calendar": [status(429, f"Retry-After: Wed, 21 Oct {10**20} 07:28:00 GMT"), text(DATA)],
    "429 with a zone of no map": [status(429, f"Retry-After: Wed, 21 Oct 2015 07:28:00 +{10**20}"), text(DATA)],
    "redirects": [redirect("/elsewhere/novel.txt", 301), redirect("two", 307), text(DATA)],
    "packed on the way": [text(gzip.compress(DATA), "Content-Encoding: gzip")],
    "packed on the way, and breaks off": [
        text(gzip.compress(DATA), "Content-Encoding: gzip", cut=20_000),
        text(gzip.compress(DATA), "Content-Encoding: gzip"),
    ],
    "packed on the way in chunks, badly at first": [
        text(b"\x1f\x8b" + OTHER, "Content-Encoding: x-gzip", chunked=True),
        text(gzip.compress(DATA), "Content-Encoding: x-gzip", chunked=True),
    ],
    "no length that could be read": [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\nETag: \"one\"\r\n\r\n" + DATA),
    ],
    "an older HTTP": [raw(b"HTTP/1.0 200 OK\r\n\r\n" + DATA)],
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_the_right_text_comes_in_spite_of(case: str) -> None:
    with site(*RIGHT[case]) as server:
        path, _ = get(server.address())
    assert path == Path("corpora/novel")
    assert_right(path)
    assert len(server.requests) >= len(RIGHT[case])


WRONG: dict[str, tuple[Answer, str, int]] = {
    "404": (status(404), "answers 404 Not Found: nothing is at http", 1),
    "403": (status(403), "answers 403 Forbidden", 1),
    "401": (status(401), "answers 401", 1),
    "204": (status(204, body=b""), "answers 204", 1),
    "999": (status(999), "answers 999", 1),
    "304 that nobody asked for": (status(304, body=b""), "answers 304", 1),
    "429 for an hour": (status(429, "Retry-After: 3600"), "asks to wait for 3600 s", 1),
    "500 always": (status(500), "answers 500", 3),
    "a redirect to nowhere": (raw(b"HTTP/1.1 302 OK\r\nContent-Length: 0\r\n\r\n"), "answers 302 Found", 1),
    "redirects in circles": (redirect("/novel.txt"), "redirects, which may lead in circles", http.MAX_REDIRECTS + 1),
    "a redirect to a file": (redirect("file:///etc/passwd"), "is no address of http or https", 1),
    "a redirect to ftp": (redirect("ftp://127.0.0.1/x"), "is no address of http or https", 1),
    "a redirect to nonsense": (redirect("http://[::1"), "which is no address", 1),
    "other bytes": (text(OTHER), "gave another text than the catalogue knows", 1),
    "one byte less": (text(DATA[:-1]), "has 49,999 bytes now, and the catalogue says 50,000", 1),
    "one byte more": (text(DATA + b"x"), "has 50,001 bytes now", 1),
    "more than it says": (text(OTHER + DATA, length=50_000), "gave another text", 1),
    "more, in chunks": (text(DATA + b"x", chunked=True), "goes on beyond 50,000 bytes", 1),
    "more, without a length": (text(DATA * 2, length=False), "goes on beyond 50,000 bytes", 1),
    "less, without a length": (text(DATA[:-9], length=False, etag=None), "broke off after 49,991 bytes of 50,000", 3),
    "a bomb of gzip": (text(gzip.compress(b"\0" * 10**7), "Content-Encoding: gzip"), "goes on beyond", 1),
    "an encoding of its own": (text(DATA, "Content-Encoding: br"), "sends the encoding 'br'", 1),
    "a web page": (text(b"<html>log in", "Content-Type: text/html; charset=utf-8"), "answers with a web page", 1),
    "garbage always": (raw(b"garbage\r\n\r\n"), "something that is not HTTP", 3),
    "nothing always": (closes, "broke the connection off", 3),
    "416 always": (status(416), "does not have the rest", 3),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_the_text_is_one_line_and_leaves_nothing_under_its_name(case: str) -> None:
    answer, told, requests = WRONG[case]
    with site(answer) as server:
        assert told in refusal(server.address())
    assert len(server.requests) == requests


def test_what_came_is_kept_and_gone_on_with() -> None:
    with site(text(DATA, cut=10_000), text(DATA, cut=5_000), closes) as server:
        address = server.address()
        assert "15,000 bytes are kept, and the same command goes on with them" in refusal(address, retries=3)
        assert kept() == DATA[:15_000]
        server.answers = [text(DATA)]
        path, _ = get(address)
    assert_right(path)
    assert [request.start for request in server.requests] == [None, 10_000, 15_000, 15_000, 15_000]
    assert server.requests[-1].headers["if-range"] == '"one"'


def test_progress_says_what_is_there_what_there_will_be_and_what_was_there_before() -> None:
    told: list[tuple[int, int, int]] = []
    with site(text(DATA, cut=20_000), text(DATA)) as server:
        get(server.address(), progress=lambda done, total, before: told.append((done, total, before)))
    places = [done for done, _, _ in told]
    assert places == sorted(places) and places[-1] == len(DATA) and 20_000 in places
    assert {(done <= 20_000, total, before) for done, total, before in told} == {
        (True, len(DATA), 0), (False, len(DATA), 20_000)
    }  # fmt: skip
    with site(text(DATA, length=False)) as server:
        get(server.address(), "about = 40000", verified=False, out="again",
            progress=lambda done, total, before: told.append((done, total, before)))  # fmt: skip
    assert told[-1] == (len(DATA), 40_000, 0)


def test_speed_and_rest_count_only_what_came_now(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 10.0))
    notes: list[tuple[int, int, str]] = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(times))
        ProgressMeter(lambda *words: notes.append(words), interval=1)(90_000, 100_000, "B", before=80_000)
    assert notes == [(90_000, 100_000, "1k B/s  10s left")]


def test_a_text_that_breaks_off_often_comes_as_long_as_it_gets_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MIN_KEPT_BYTES", 5_000)
    with site(text(DATA, cut=6_000)) as server:
        path, _ = get(server.address(), retries=1)
        assert len(server.requests) == 9
    assert_right(path)
    monkeypatch.setattr(fetch, "MIN_KEPT_BYTES", 7_000)
    with site(text(DATA, cut=6_000)) as server, pytest.raises(FetchError, match="broke off after 12,000 bytes"):
        get(server.address(), retries=1, out="again")


def test_pauses_grow_up_to_a_limit_and_are_as_long_as_the_server_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(fetch, "FIRST_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(fetch.time, "sleep", pauses.append)
    with site(status(503)) as server:
        refusal(server.address(), retries=8)
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
        pauses.clear()
        server.answers = [status(429, "Retry-After: 5")]
        refusal(server.address(), retries=4)
        assert pauses == [5, 5, 5, 8]


def test_a_whole_part_is_verified_without_a_request() -> None:
    with site(text(DATA, cut=10_000)) as server:
        refusal(server.address(), retries=0)
        part_in(partial_path(Path("corpora/novel"))).write_bytes(DATA)
        path, _ = get(server.address())
        assert len(server.requests) == 1
    assert_right(path)


@pytest.mark.parametrize("damage", ["longer", "other", "state", "state of others", "no state", "state of a folder"])
def test_a_part_that_was_tampered_with_does_no_harm(damage: str) -> None:
    with site(text(DATA, cut=10_000), text(DATA)) as server:
        refusal(server.address(), retries=0)
        part = part_in(partial_path(Path("corpora/novel")))
        told = part.with_name("told.json")
        if damage == "longer":
            part.write_bytes(OTHER + OTHER)
        elif damage == "other":
            part.write_bytes(OTHER[:10_000])
        elif damage == "state":
            told.write_text('{"address": 3')
        elif damage == "state of others":
            told.write_text(json.dumps({**json.loads(told.read_text()), "total": "many", "etag": 3}))
        elif damage == "no state":
            told.unlink()
        else:
            told.write_text("[" * 100_000)
        path, _ = get(server.address())
    assert_right(path)


def test_a_trickle_is_the_right_text_and_one_that_is_too_thin_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MIN_BYTES_PER_SECOND", 5)
    short = DATA[:60]
    with site(text(short, trickle=0.01)) as server:
        path, _ = get(server.address(), verified=False)
    assert (path / "novel.txt").read_bytes() == short
    monkeypatch.setattr(fetch, "MIN_BYTES_PER_SECOND", 1000)
    with site(text(OTHER, trickle=0.01)) as server:
        with pytest.raises(FetchError, match="sent .* bytes in "):
            get(server.address(), verified=False, out="again", retries=0, timeout=0.2)


def test_nobody_there_and_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with site(closes) as server:
        port = server.port
    began = time.perf_counter()
    assert "refuses the connection; try again later" in refusal(f"http://127.0.0.1:{port}/x")
    assert "nothing.invalid is not known here" in refusal("http://nothing.invalid/x")
    assert "this machine is offline" in refusal("http://nothing.invalid/x")
    assert time.perf_counter() - began < 5


@pytest.mark.every_case
@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/x", "file:///etc/passwd", "/etc/passwd", "http:///x", "http://", "http://a b/", "data:,x",
        "http://example.org/ä", "http://[::1/x", "http://x:99999/", "http://x:0/", "javascript:x", "http://a/b c",
    ],
)  # fmt: skip
def test_an_address_that_may_not_be_asked_is_refused(address: str) -> None:
    assert "is no address of http or https" in refusal(address)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    message = refusal("http://me:secret@example.org/x")
    assert "user name" in message and "secret" not in message


@pytest.mark.parametrize("target", ["http://example.org/x", "HTTP://example.org", "ftp://example.org", "//[", "file:x"])
def test_a_redirect_from_https_leads_to_https_only(target: str) -> None:
    with pytest.raises(http.WebError, match="redirects"):
        http.redirect_url("https://example.org/novel", target)


def test_a_redirect_stays_where_it_may() -> None:
    assert (
        http.redirect_url("https://a.org/b/c", "d?e=ä b".encode().decode("latin-1")) == "https://a.org/b/d?e=%C3%A4%20b"
    )
    assert http.redirect_url("https://a.org/b", "//b.org/") == "https://b.org/"
    assert http.redirect_url("http://a.org/b", "https://b.org/") == "https://b.org/"
    assert http.redirect_url("http://a.org/b", "http://b.org/%20") == "http://b.org/%20"


def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with site(text(DATA)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address(""))
        path, _ = get("http://far.invalid/novel.txt")
        assert proxy.requests[0].target == "http://far.invalid/novel.txt"
        assert_right(path)
        monkeypatch.setenv("no_proxy", "far.invalid")
        with pytest.raises(FetchError, match=r"far\.invalid is not known here"):
            get("http://far.invalid/novel.txt", out="again")
    with site(status(407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.address(""))
        with pytest.raises(FetchError, match="407"):
            get("https://near.invalid/novel.txt", out="again")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(FetchError, match="socks5"):
        get("http://near.invalid/novel.txt", out="again")


def test_https_without_a_certificate_is_refused() -> None:
    with site(raw(b"HTTP/1.1 400 Bad\r\n\r\n")) as server:
        refusal(server.address().replace("http", "https"), retries=0)


def test_an_unverified_text_shows_its_hash_and_is_compared_with_it_later() -> None:
    with site(text(DATA)) as server:
        path, said = get(server.address(), verified=False)
        assert_right(path)
        assert any(DIGEST in line and "which is remembered" in line for line in said)
        path, said = get(server.address(), verified=False)
        assert said == ["novel is here already; --force fetches it again"] and len(server.requests) == 1
        path, said = get(server.address(), verified=False, force=True)
        assert said == [] and len(server.requests) == 2
        server.answers = [text(OTHER)]
        with pytest.raises(FetchError, match="gives another text now than on 20.*the old one is kept"):
            get(server.address(), verified=False, force=True)
    assert_right(path)


def test_a_rough_size_bounds_what_an_unverified_text_may_have() -> None:
    with site(text(DATA)) as server:
        assert "at most 40,000 are expected" in refusal(server.address(), "about = 10000", verified=False)
        assert list(Path("corpora").iterdir()) == [], "what was refused leaves nothing"
        assert "goes on beyond 40,000 bytes" in _with(server, text(DATA, length=False), "about = 10000")
        get(server.address(), "about = 20000", verified=False)
    with site(text(b"")) as server, pytest.raises(FetchError, match="is empty"):
        get(server.address(), verified=False, out="again")


def _with(server: Site, answer: Answer, *lines: str) -> str:
    server.answers = [answer]
    return refusal(server.address(), *lines, verified=False)


def test_there_must_be_room_before(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 60_000})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda place: usage)
    with site(text(DATA)) as server:
        message = refusal(server.address(), 'unpack = "gz"', "unpacked = 20000")
        assert "has 60,000 bytes free, and 70,000 are needed" in message and kept() is None
        get(server.address())


def test_something_else_in_its_place_is_left_alone() -> None:
    Path("corpora/novel").mkdir(parents=True)
    Path("corpora/novel/mine.txt").write_text("mine")
    with site(text(DATA)) as server, pytest.raises(CorpusError, match="no download of charlm"):
        get(server.address(), force=True)
    assert Path("corpora/novel/mine.txt").read_text() == "mine" and server.requests == []


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[ssl.SSLContext]:
    """What a server of https needs, with a certificate that it signed itself; `near.pem` has that."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    done = [*words.split(), "-keyout", "key.pem", "-out", "near.pem"]
    if shutil.which("openssl") is None or subprocess.run(["openssl", *done], capture_output=True).returncode:
        pytest.skip("a certificate needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("near.pem", "key.pem")
    yield context


def test_https_is_trusted_by_its_certificate_and_leads_to_no_http(
    secure: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(text(DATA, cut=20_000), text(DATA), tls=secure) as server, site(text(DATA)) as plain:
        address = server.address().replace("http", "https")
        assert "cannot prove that it is 127.0.0.1" in refusal(address) and server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", "near.pem")
        path, _ = get(address)
        assert_right(path)
        assert [request.start for request in server.requests] == [None, 20_000]
        server.answers = [redirect(plain.address())]
        with pytest.raises(FetchError, match="redirects from https to .* is not followed"):
            get(address, out="again")
        plain.answers = [redirect(address)]
        server.answers = [text(DATA)]
        get(plain.address(), out="again")
        assert len(plain.requests) == 1


def test_two_at_once_fetch_it_once() -> None:
    with site(text(DATA, trickle=None)) as server:
        book = catalogue(server.address())
        done: list[Path] = []
        threads = [Thread(target=lambda: done.append(download("novel", catalogue=book, timeout=5))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(done) == 4 and len(server.requests) == 1
    assert_right(done[0])


def test_only_what_is_a_download_is_downloaded() -> None:
    with pytest.raises(UsageError, match="did you mean tiny-shakespeare"):
        download("tiny-shakespear")
    with pytest.raises(UsageError, match="markov is built in"):
        download("markov")
    with pytest.raises(CorpusError, match="LDC User Agreement; get it from https://catalog.ldc.upenn.edu"):
        download("penn-treebank")
    assert not Path("corpora").exists()


def test_states_of_a_text() -> None:
    with site(text(DATA, cut=10), closes) as server:
        novel = find_entry("novel", catalogue(server.address()))
        assert state(novel) == "not yet"
        refusal(server.address(), retries=0)
        assert state(novel) == "begun"
        server.answers = [text(DATA)]
        get(server.address())
        assert state(novel) == "downloaded" and find_cached("novel") == Path("corpora/novel")
    Path("corpora/novel", RECORD).write_text("{}")
    assert state(novel) == "not yet" and find_cached("novel") is None
    for name in ("", ".", "..", "../corpora/novel", "corpora/novel", "a\0b"):
        assert find_cached(name) is None


def _getting(server: Site, *more: str) -> list[str]:
    return ["corpora", "get", "novel", "--catalogue", catalogue(server.address()), "--timeout", "9s", *more]


def _child(words: list[str]) -> int:
    """A process that runs a command line, with what it says in the file `told`."""

    def run() -> None:
        sys.stdout = sys.stderr = Path("told").open("w", encoding="utf-8")
        code = entry.run(words)
        sys.stdout.close()
        os._exit(code)

    return fork(run)


@forks
def test_killed_in_the_middle_it_goes_on() -> None:
    with site(text(DATA, cut=20_000, stall=True)) as server:
        words = _getting(server)
        child = _child(words)
        _until(lambda: len(kept() or b"") == 20_000)
        assert kill(child) == -signal.SIGKILL
        server.answers = [text(DATA)]
        code, out, _ = command(words)
    assert (code, out) == (0, "corpora/novel\n")
    assert [request.start for request in server.requests] == [None, 20_000]
    assert_right(Path("corpora/novel"))


@forks
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(number: int) -> None:
    stop.defer_first()  # as a training in the same process leaves it
    with site(text(DATA, cut=20_000, stall=True)) as server:
        child = _child(_getting(server))
        _until(lambda: len(kept() or b"") == 20_000)
        os.kill(child, number)
        assert ended(child) == 130
    told = Path("told").read_text()
    assert told == "interrupted; what came of novel is kept, and the same command goes on with it\n"
    assert kept() == DATA[:20_000] and not Path("corpora/novel").exists()


@forks
def test_a_file_that_may_not_grow_is_one_error_and_goes_on_once_it_may() -> None:
    resource = pytest.importorskip("resource")
    limit = (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    with site(text(DATA)) as server:
        words = _getting(server)
        code, out, err = command(words, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
        assert (code, out) == (1, "") and err.startswith(
            "error: writing corpora/.novel.part/text failed: File too large"
        )
        assert err.count("\n") == 1 and kept() == DATA[:20_000] and not Path("corpora/novel").exists()
        assert command(words)[:2] == (0, "corpora/novel\n")
        assert [request.start for request in server.requests] == [None, 20_000]
    assert_right(Path("corpora/novel"))


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@forks
def test_killed_at_every_line_it_goes_on_to_the_right_text(tmp_path: Path, soak: Soak) -> None:
    """Each time the text breaks off once, so that the lines which go on with it are among them."""

    def whole(out: str) -> None:
        with site(text(DATA, cut=20_000), text(DATA)) as server:
            get(server.address(), out=out)

    def dies(out: str, moment: int) -> None:
        with site(text(DATA, cut=20_000), text(DATA)) as server, dying_at(moment, *FETCHING):
            get(server.address(), out=out)

    with dying_at(-1, *FETCHING) as lines:
        whole("whole")
    assert lines[0] > 200, "these lines are no longer where a download is written"
    tried, kills, kept_some = min(soak.count(12, lines[0]), lines[0]), 0, 0
    for number in range(tried):
        moment = number * lines[0] // tried
        out = tmp_path / f"killed-{moment}"
        # How often a piece comes, and so how many lines there are, differs from one time to the next.
        code = ended(fork(lambda out=out, moment=moment: dies(str(out), moment)))
        assert code == -signal.SIGKILL or (code == 0 and moment > 0.8 * lines[0])
        kills += code == -signal.SIGKILL
        if (out / "novel").exists():
            assert sorted(file.name for file in (out / "novel").iterdir()) == [RECORD, "novel.txt"]
            assert (out / "novel" / "novel.txt").read_bytes() == DATA
        kept_some += part_in(partial_path(out / "novel")).exists()
        with site(text(DATA)) as server:
            path, _ = get(server.address(), out=str(out))
        assert_right(path)
    assert 0 < kept_some < tried
    soak.saw(
        "SIGKILL of `charlm corpora get` before every line of the code that fetches and writes",
        f"{kills} kills at {lines[0]} lines: no other text ever stood under its name, and the next brought it; "
        f"{kept_some} times with what was kept",
    )


def test_random_faults_end_in_the_right_text_or_in_one_line(tmp_path: Path, soak: Soak) -> None:
    random = Random(5)
    faults: list[Callable[[], Answer]] = [
        lambda: closes,
        lambda: resets,
        lambda: status(random.choice([403, 404, 416, 429, 500, 503])),
        lambda: raw(random.randbytes(random.randrange(200))),
        lambda: raw(b"HTTP/1.1 " + random.randbytes(random.randrange(60)) + b"\r\n\r\n"),
        lambda: redirect(random.choice(["/novel.txt", "file:x", "\xff", "http://"])),
        lambda: text(OTHER, etag=random.choice(['"one"', '"two"', None]), cut=random.randrange(50_000)),
        lambda: text(DATA, length=random.choice([False, 0, 3, 49_999, 60_000, 10**15])),
        lambda: text(gzip.compress(DATA), "Content-Encoding: gzip", cut=random.choice([None, 9_000])),
        lambda: text(
            DATA,
            cut=random.choice([None, random.randrange(50_000)]),
            chunked=random.random() < 0.3,
            ranges=random.random() < 0.7,
            checks=random.random() < 0.7,
            etag=random.choice(['"one"', '"two"', 'W/"one"', None]),
        ),
    ]
    right, lines, tries = 0, 0, soak.count(40, 3000)
    for number in range(tries):
        out = tmp_path / f"corpora-{number}"
        with site(*(random.choice(faults)() for _ in range(random.randrange(1, 7)))) as server:
            for _ in range(3):
                try:
                    path, _ = get(server.address(), out=str(out), retries=random.randrange(4), timeout=2)
                except CharlmError as error:
                    assert "\n" not in str(error) and error.exit_code == 1
                    assert not (out / "novel").exists()
                    lines += 1
                else:
                    assert_right(path)
                    right += 1
                    break
    assert right > tries / 10 and lines > 0
    soak.saw(
        "downloads from a server with random faults, each command given up to three times",
        f"{tries} texts: {right} came rightly, {lines} commands ended in one line, none left anything else under its "
        f"name",
    )
