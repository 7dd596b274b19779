"""Downloading a text of the catalogue, verified, into the folder in which `charlm prepare` finds it.

Nothing is downloaded that was not asked for by name. A text gets its name only when it is complete and verified: with
the SHA-256 of the catalogue, or, if that has none, with the one of the first download, which is stored next to it.
What is left out: the requests (`charlm.corpora.fetch`) and archives (`charlm.corpora.unpack`).
"""

import hashlib
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from charlm.callbacks import DownloadProgressFn, NoticeFn, ignore
from charlm.config import GetOptions
from charlm.corpora.cache import DownloadRecord, find_cached, partial_path, read_record
from charlm.corpora.catalogue import Entry, find_entry
from charlm.corpora.fetch import DownloadSpec, ResumableDownload
from charlm.corpora.http import check_url
from charlm.corpora.unpack import unpack
from charlm.errors import CorpusError, FetchError, Interrupted, UsageError
from charlm.files import alone_at, failures, new_folder, present

MAX_SIZE_FACTOR = 4
"""How many times larger than its approximate size a text may be; texts grow slowly."""

MAX_BYTES = 1 << 40
"""Bytes that a text may have whose size the catalogue does not know."""


def download(
    name: str,
    *,
    force: bool = False,
    report: NoticeFn | None = None,
    progress: DownloadProgressFn | None = None,
    **values: Any,
) -> Path:
    """Download a text of the catalogue, unless it is there.

    Args:
        name: as in the catalogue.
        force: download it again; another text than before is refused.
        report: called before retries, and with the SHA-256 of a text if the catalogue does not have it.
        progress: called with the bytes received, their total or 0, and the bytes that an earlier try received.
        values: options of `charlm corpora get` by name, such as `out`.

    Returns:
        The folder of the text.

    Raises:
        FetchError: the download fails, or the text differs from the catalogue or the first download.
        UsageError: the catalogue has no such text, or an option is wrong.
        CorpusError: it is not a text for download, or something else is in its folder.
        CharlmError: it cannot be written.
    """
    options = GetOptions.of(values)
    notify = report or ignore
    entry = find_entry(name, options.catalogue)
    path = Path(options.out) / name
    fetch = ResumableDownload(
        DownloadSpec(_url(entry), entry.bytes, _max_bytes(entry), entry.unpacked or 0, entry.about or 0),
        partial_path(path),
        timeout=options.timeout,
        retries=options.retries,
        report=notify,
        progress=progress or ignore,
    )
    with alone_at(path, lambda: notify(f"another process downloads {name}, waiting until it is done")):
        earlier = read_record(path) if find_cached(name, path.parent) else None
        if earlier is None and present(path):
            raise CorpusError(f"{path} is there and no download of charlm; move it away, or choose another --out")
        if earlier is not None and not force:
            notify(f"{name} is here already; --force fetches it again")
        else:
            _download(entry, path, fetch, earlier, notify)
        fetch.discard()
    return path


def check(names: Iterable[str], **values: Any) -> None:
    """Refuse texts that cannot be downloaded, before the first one is.

    Args:
        names: as in the catalogue.
        values: as those of `download`.

    Raises:
        UsageError, CorpusError: a name or an option is wrong, as in `download`.
    """
    options = GetOptions.of(values)
    for name in names:
        _url(find_entry(name, options.catalogue))
    if present(Path(options.out)) and not Path(options.out).is_dir():
        raise CorpusError(f"--out {options.out} is no folder; name one, and a folder for each text is made in it")


def _download(
    entry: Entry, path: Path, fetch: ResumableDownload, earlier: DownloadRecord | None, notify: NoticeFn
) -> None:
    """Download and verify a text, and give it its name in one step."""
    try:
        record = _verified(entry, fetch, earlier)
        with new_folder(path) as building:
            record.write(building)
            _store(entry, fetch, building, notify)
    except Interrupted as error:
        raise Interrupted(f"{error}; what came of {entry.name} is kept, and the same command goes on with it") from None
    if not entry.verified and earlier is None:
        notify(
            f"{entry.name}: nobody told its SHA-256 before; it has {record.sha256} ({record.bytes:,} bytes), which is "
            f"remembered"
        )


def _url(entry: Entry) -> str:
    """The URL of a text. Raises `CorpusError` if it is not for download."""
    if entry.kind == "elsewhere":
        raise CorpusError(
            f"{entry.name} is not fetched: {entry.licence}; get it from {entry.address} and give the file: "
            f"charlm prepare FILE"
        )
    if entry.kind != "download" or entry.address is None:
        raise UsageError(f"{entry.name} is built in and needs no download: charlm prepare {entry.name}")
    check_url(entry.address)
    return entry.address


def _max_bytes(entry: Entry) -> int:
    if entry.bytes is not None:
        return entry.bytes
    return MAX_SIZE_FACTOR * entry.about if entry.about is not None else MAX_BYTES


def _verified(entry: Entry, fetch: ResumableDownload, earlier: DownloadRecord | None) -> DownloadRecord:
    """Download a text; if it was resumed and is wrong, once more from its beginning."""
    retry = True
    while True:
        fetch.run()
        size, digest = fetch.part.stat().st_size, _sha256(fetch.part)
        error = _error(entry, digest, size, earlier)
        if error is None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            return DownloadRecord(fetch.spec.url, size, digest, entry.verified, now)
        fetch.discard()
        if not (retry and fetch.resumed):
            raise FetchError(error)
        retry = False


def _error(entry: Entry, digest: str, size: int, earlier: DownloadRecord | None) -> str | None:
    """What is wrong with a complete file; None if it is as expected."""
    if entry.sha256 is not None and digest != entry.sha256:
        return (
            f"{entry.address} gave another text than the catalogue knows: its SHA-256 is {digest}, and {entry.sha256} "
            f"was expected; nothing was taken"
        )
    if entry.sha256 is None and earlier is not None and earlier.address == entry.address and digest != earlier.sha256:
        return (
            f"{entry.address} gives another text now than on {earlier.fetched[:10]}: its SHA-256 is {digest}, and was "
            f"{earlier.sha256}; the old one is kept, remove its folder first if the new one is wanted"
        )
    return f"{entry.address} is empty; nothing was taken" if size == 0 else None


def _sha256(path: Path) -> str:
    with failures(path, "reading"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store(entry: Entry, fetch: ResumableDownload, building: Path, notify: NoticeFn) -> None:
    """Put the text into the folder: unpacked, or the file itself, moved there as the last step that can fail."""
    name = _file_name(entry)
    if entry.unpack is None or entry.unpacked is None:
        os.replace(fetch.part, building / name)
        return
    notify(f"unpacking {entry.name}")
    single = name.removesuffix(f".{entry.unpack}")
    try:
        unpack(fetch.part, building, entry.unpack, entry.unpacked, name=single, members=entry.members, report=notify)
    except FetchError as error:
        fetch.discard()
        raise FetchError(f"{entry.name} cannot be unpacked: {error}; nothing was taken") from None


def _file_name(entry: Entry) -> str:
    """The name of the file: as in its URL, if that ends in a name."""
    url_parts = urlsplit(entry.address or "")
    last = "" if url_parts.query else unquote(url_parts.path).rpartition("/")[2]
    name = re.sub(r"[^\w.+-]+", "-", last).strip("-.")[:100]
    return name or f"{entry.name}.txt"
