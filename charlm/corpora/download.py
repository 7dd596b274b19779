"""A text of the catalogue, fetched, verified and put where `charlm prepare` finds it.

Nothing is ever fetched that was not asked for by name. A text stands under its name only when it is whole and
verified: with the SHA-256 of the catalogue, or, where that has none, with the one of the first download, which is
remembered beside it. What is left out: the requests (`charlm.corpora.fetch`) and archives (`charlm.corpora.unpack`).
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from charlm.config import GetOptions
from charlm.corpora.cache import DownloadRecord, find_cached, partial_path, read_record
from charlm.corpora.catalogue import Entry, find_entry
from charlm.corpora.fetch import DownloadSpec, Progress, ResumableDownload
from charlm.corpora.http import check_url
from charlm.corpora.unpack import unpack
from charlm.errors import CorpusError, FetchError, Interrupted, UsageError
from charlm.files import alone_at, failures, new_folder, present

MAX_SIZE_FACTOR = 4
"""How much larger than its rough size a text may be: those that grow, grow slowly."""

MAX_BYTES = 1 << 40
"""Bytes of a text whose size the catalogue does not know at all."""

Report = Callable[[str], None]


def download(
    name: str,
    *,
    force: bool = False,
    report: Report | None = None,
    progress: Progress | None = None,
    **values: Any,
) -> Path:
    """Fetch a text of the catalogue, where it is not there yet.

    Args:
        name: as the catalogue has it.
        force: fetch it again where it is there; another text than then is refused.
        report: told of new tries, and of a SHA-256 that nobody had told before.
        progress: told how far it is: bytes that are there, bytes in all or 0, and bytes that were there before.
        values: options of `charlm corpora get` by name, such as `out`.

    Returns:
        The folder of the text.

    Raises:
        FetchError: it does not come, or is another text than the catalogue or the first download says.
        UsageError: the catalogue has no such text, or an option is wrong.
        CorpusError: it is no text to fetch, or something else has its place.
        CharlmError: it cannot be written.
    """
    options = GetOptions.of(values)
    tell = report or (lambda line: None)
    entry = find_entry(name, options.catalogue)
    path = Path(options.out) / name
    fetch = ResumableDownload(
        DownloadSpec(_address(entry), entry.bytes, _most(entry), entry.unpacked or 0, entry.about or 0),
        partial_path(path),
        timeout=options.timeout,
        retries=options.retries,
        report=tell,
        progress=progress or (lambda done, total, start: None),
    )
    with alone_at(path, lambda: tell(f"another process downloads {name}, waiting until it is done")):
        before = read_record(path) if find_cached(name, path.parent) else None
        if before is None and present(path):
            raise CorpusError(f"{path} is there and no download of charlm; move it away, or choose another --out")
        if before is not None and not force:
            tell(f"{name} is here already; --force fetches it again")
        else:
            _bring(entry, path, fetch, before, tell)
        fetch.discard()
    return path


def check(names: Iterable[str], **values: Any) -> None:
    """Refuse texts that cannot be fetched, before the first one is.

    Args:
        names: as the catalogue has them.
        values: as those of `download`.

    Raises:
        UsageError, CorpusError: as `download` does where a name or an option is wrong.
    """
    options = GetOptions.of(values)
    for name in names:
        _address(find_entry(name, options.catalogue))
    if present(Path(options.out)) and not Path(options.out).is_dir():
        raise CorpusError(f"--out {options.out} is no folder; name one, and a folder for each text is made in it")


def _bring(entry: Entry, path: Path, fetch: ResumableDownload, before: DownloadRecord | None, tell: Report) -> None:
    """Fetch and verify it, and put it under its name in one step."""
    try:
        record = _verified(entry, fetch, before)
        with new_folder(path) as building:
            record.write(building)
            _put(entry, fetch, building, tell)
    except Interrupted as error:
        raise Interrupted(f"{error}; what came of {entry.name} is kept, and the same command goes on with it") from None
    if not entry.verified and before is None:
        tell(
            f"{entry.name}: nobody told its SHA-256 before; it has {record.sha256} ({record.bytes:,} bytes), which is "
            f"remembered"
        )


def _address(entry: Entry) -> str:
    """Where to fetch it. Raises `CorpusError` where it is not to be fetched."""
    if entry.kind == "elsewhere":
        raise CorpusError(
            f"{entry.name} is not fetched: {entry.licence}; get it from {entry.address} and give the file: "
            f"charlm prepare FILE"
        )
    if entry.kind != "download" or entry.address is None:
        raise UsageError(f"{entry.name} is built in and needs no download: charlm prepare {entry.name}")
    check_url(entry.address)
    return entry.address


def _most(entry: Entry) -> int:
    if entry.bytes is not None:
        return entry.bytes
    return MAX_SIZE_FACTOR * entry.about if entry.about is not None else MAX_BYTES


def _verified(entry: Entry, fetch: ResumableDownload, before: DownloadRecord | None) -> DownloadRecord:
    """Fetch it, and once more from its beginning where it was put together of parts that do not fit."""
    again = True
    while True:
        fetch.run()
        size, digest = fetch.part.stat().st_size, _sha256(fetch.part)
        wrong = _wrong(entry, digest, size, before)
        if wrong is None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            return DownloadRecord(fetch.wanted.url, size, digest, entry.verified, now)
        fetch.discard()
        if not (again and fetch.resumed):
            raise FetchError(wrong)
        again = False


def _wrong(entry: Entry, digest: str, size: int, before: DownloadRecord | None) -> str | None:
    """What is wrong with a file that came whole; None where nothing is."""
    if entry.sha256 is not None and digest != entry.sha256:
        return (
            f"{entry.address} gave another text than the catalogue knows: its SHA-256 is {digest}, and {entry.sha256} "
            f"was expected; nothing was taken"
        )
    if entry.sha256 is None and before is not None and before.address == entry.address and digest != before.sha256:
        return (
            f"{entry.address} gives another text now than on {before.fetched[:10]}: its SHA-256 is {digest}, and was "
            f"{before.sha256}; the old one is kept, remove its folder first if the new one is wanted"
        )
    return f"{entry.address} is empty; nothing was taken" if size == 0 else None


def _sha256(path: Path) -> str:
    with failures(path, "reading"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(entry: Entry, fetch: ResumableDownload, building: Path, tell: Report) -> None:
    """The text in the folder: unpacked, or the file as it came, moved there as the last thing that can fail."""
    name = _file_name(entry)
    if entry.unpack is None or entry.unpacked is None:
        os.replace(fetch.part, building / name)
        return
    tell(f"unpacking {entry.name}")
    single = name.removesuffix(f".{entry.unpack}")
    try:
        unpack(fetch.part, building, entry.unpack, entry.unpacked, name=single, members=entry.members, report=tell)
    except FetchError as error:
        fetch.discard()
        raise FetchError(f"{entry.name} cannot be unpacked: {error}; nothing was taken") from None


def _file_name(entry: Entry) -> str:
    """What the file is called: as at its address, where that ends in a name."""
    parts = urlsplit(entry.address or "")
    last = "" if parts.query else unquote(parts.path).rpartition("/")[2]
    name = re.sub(r"[^\w.+-]+", "-", last).strip("-.")[:100]
    return name or f"{entry.name}.txt"
