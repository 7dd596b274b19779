"""Sources: where a text comes from, as documents of byte chunks that can be read more than once.

    a file            and .gz, .xz, .bz2 files, read as they unpack
    a folder          its text files, one document each
    -                 the standard input, kept in a temporary file
    a built-in name   `charlm.corpora.builtin`, or a synthetic source (`charlm.synthetic`)
    a downloaded one  its folder, `charlm.corpora.cache`

What is left out: what the bytes mean (`charlm.tokenizers`), and fetching anything (`charlm.corpora.download`).
"""

import bz2
import difflib
import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from charlm import synthetic
from charlm.callbacks import NoticeFn, ignore
from charlm.corpora.builtin import stdlib_files
from charlm.corpora.cache import find_cached
from charlm.corpora.catalogue import Entry, builtin_names, catalogue
from charlm.errors import CorpusError, UsageError
from charlm.files import failures, present
from charlm.spec import flag
from charlm.synthetic import Entropy

READ_BYTES = 1 << 19
"""Bytes that are read at a time: few enough that their code points fit into the processor's cache."""

BINARY_CHECK_BYTES = 8192
"""Bytes at the beginning of a file in a folder; a NUL among them means that it is not text."""

DECOMPRESSORS: dict[str, Callable[..., IO[bytes]]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Document:
    """One document; each call of `chunks()` reads its bytes from the start."""

    name: str
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Source:
    """A text: documents in a fixed order.

    Args:
        name: a name for the corpus made of it, fit for a folder.
        origin: absolute paths and built-in names that it was opened from.
        documents: each call iterates over the documents.
        entropy: of the synthetic source that the text was drawn from.
        bytes: raw bytes of all documents, if that is known before reading.
        drawn: size, seed and parameters of a synthetic source, those chosen for the user included.
    """

    name: str
    origin: list[str]
    documents: Callable[[], Iterable[Document]]
    entropy: Entropy | None = None
    bytes: int | None = None
    drawn: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _OpenedSource:
    """The documents of one word of the command line."""

    name: str
    origin: str
    documents: list[Document]
    bytes: int | None
    entropy: Entropy | None = None
    drawn: dict[str, Any] = field(default_factory=dict)


def open_sources(words: Sequence[str | Path], *, report: NoticeFn | None = None, **drawing: Any) -> Source:
    """Make one source of files, folders, `-` and built-in names, in the order given.

    A string that names a built-in corpus means that corpus, and one that names no file or folder but a downloaded
    text means that text; a `Path`, or a string with a separator, never does.

    Args:
        words: at least one.
        report: called with notices, such as how many files of a folder were skipped.
        drawing: size, seed and parameters of the synthetic source among them, by the names of the options.

    Raises:
        CorpusError: a source is missing, unreadable, damaged or without text.
        UsageError: nothing is given or an empty name, stdin twice, or something for a synthetic source that none of
            them takes.
    """
    if not words:
        raise UsageError("no source is given; name a file, a folder, - or a built-in corpus: " + _builtins())
    if "" in words:  # what a shell makes of "$FILE" where FILE is not set; as a path it would be this folder
        raise UsageError("a source has an empty name; name a file, a folder, . for this one, or - for stdin")
    if sum(word == "-" for word in words) > 1:
        raise UsageError("- (the standard input) is given twice, and can be read only once; give it once")
    drawing = {name: value for name, value in drawing.items() if value is not None}
    _check_takers(words, drawing)
    opened = [_open_source(word, drawing, report or ignore) for word in words]
    documents = [document for source in opened for document in source.documents]
    return Source(
        name=opened[0].name,
        origin=[source.origin for source in opened],
        documents=lambda: iter(documents),
        entropy=opened[0].entropy if len(opened) == 1 else None,
        bytes=_total(source.bytes for source in opened),
        drawn=next((source.drawn for source in opened if source.drawn), {}),
    )


def _total(sizes: Iterable[int | None]) -> int | None:
    """The sum of sizes, None if one is not known."""
    known = list(sizes)
    return None if None in known else sum(size or 0 for size in known)


def folder_name(word: str) -> str:
    """A word made fit for the name of a folder."""
    return re.sub(r"[^\w.+-]+", "-", word).strip("-.")[:100] or "corpus"


def _check_takers(words: Sequence[str | Path], drawing: dict[str, Any]) -> None:
    """Refuse an option of synthetic sources that none of the words takes."""
    drawn = [str(word) for word in words if isinstance(word, str) and word in synthetic.names()]
    for name, value in drawing.items():
        takers = synthetic.takers(name)
        if not set(drawn) & set(takers):
            kind = "a synthetic source such as markov" if len(takers) > 2 else "the source " + " or ".join(takers)
            reason = f"{drawn[0]} has only {_flags_of(drawn[0])}" if drawn else f"{words[0]} is none"
            raise UsageError(f"{flag(name)} {value} is for {kind}; {reason}")


def _flags_of(source: str) -> str:
    *others, last = map(flag, ("size", "seed", *synthetic.parameters(source)))
    return f"{', '.join(others)} and {last}"


def _open_source(word: str | Path, drawing: dict[str, Any], notify: NoticeFn) -> _OpenedSource:
    path = Path(word)
    if word == "-":
        return _standard_input()
    entry = catalogue().get(word) if isinstance(word, str) else None
    if entry is not None and entry.kind == "builtin":
        if path.exists():
            notify(f"{word} is taken as the built-in corpus; for the file or folder of that name write ./{word}")
        return _builtin(entry.name, drawing)
    status = _stat(path)
    if status is None:
        cached = find_cached(word) if isinstance(word, str) else None
        if cached is None:
            raise _missing(word, entry)
        notify(f"{word} is the downloaded text in {cached}")
        return _folder(cached, notify)
    if stat.S_ISDIR(status.st_mode):
        if present(path / "corpus.json"):
            raise CorpusError(f"{word} is a prepared corpus, not a text; name the text that it was made from")
        return _folder(path, notify)
    return _file(path, status)


def _stat(path: Path) -> os.stat_result | None:
    """The status of `path`, None if nothing is there."""
    try:
        with _reading(path):
            return path.stat()
    except ValueError:  # a NUL in the name
        return None
    except CorpusError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOT_FOUND_ERRORS:
            return None
        raise


_NOT_FOUND_ERRORS = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def _builtin(name: str, drawing: dict[str, Any]) -> _OpenedSource:
    if name in synthetic.names():
        size, seed = drawing.get("size", synthetic.SIZE), drawing.get("seed", 0)
        values = {key: drawing[key] for key in synthetic.parameters(name) if key in drawing}
        source = synthetic.make(name, seed, **values)
        document = Document(name, partial(source.blocks, size))
        drawn = {"size": size, "seed": seed, **synthetic.settings(source)}
        return _OpenedSource(name, name, [document], size, source.entropy(), drawn)
    documents, sizes = zip(*(_regular(path, named) for named, path in stdlib_files()), strict=True)
    return _OpenedSource(name, name, list(documents), sum(sizes))


def _standard_input() -> _OpenedSource:
    if sys.stdin is None:
        raise CorpusError("- is the standard input, and there is none; name a file instead")
    spool = _SpooledStream(sys.stdin.buffer, "the standard input")
    return _OpenedSource("stdin", "-", [Document("the standard input", spool.chunks)], spool.size)


def _file(path: Path, status: os.stat_result) -> _OpenedSource:
    stem = path.name.removesuffix(path.suffix) if path.suffix.lower() in DECOMPRESSORS else path.name
    name, origin = folder_name(Path(stem).stem), str(path.absolute())
    if not stat.S_ISREG(status.st_mode):
        # A pipe, such as a shell's <(command), can be read only once.
        with _reading(path), open(path, "rb") as stream:
            spool = _SpooledStream(stream, str(path))
        return _OpenedSource(name, origin, [Document(_display_path(path), spool.chunks)], spool.size)
    if path.suffix.lower() in DECOMPRESSORS:
        return _OpenedSource(name, origin, [Document(_display_path(path), partial(_decompress, path))], None)
    document, size = _regular(path, _display_path(path))
    return _OpenedSource(name, origin, [document], size)


def _regular(path: Path, name: str) -> tuple[Document, int]:
    """A regular file with its present size, so that one that grows is the same text in every pass."""
    with _reading(path):
        size = path.stat().st_size
    return Document(name, partial(_read_plain, path, size)), size


def _folder(path: Path, notify: NoticeFn) -> _OpenedSource:
    documents: list[Document] = []
    sizes: list[int | None] = []
    skipped = 0
    for relative, file in _files_below(path):
        compressed = file.suffix.lower() in DECOMPRESSORS
        document, size = (
            (Document(relative, partial(_decompress, file)), None) if compressed else _regular(file, relative)
        )
        if b"\0" in _first_bytes(document):
            skipped += 1
            continue
        documents.append(Document(_display_path(file), document.chunks))
        sizes.append(size)
    if skipped:
        notify(
            f"{path}: skipped {skipped} binary file{'s' * (skipped > 1)} "
            f"(a NUL byte in the first {BINARY_CHECK_BYTES} bytes)"
        )
    if not documents:
        content = f"only {skipped} binary files" if skipped else "no files"
        raise CorpusError(
            f"{path} holds {content}, and at least one text file is needed; name a folder with text files"
        )
    return _OpenedSource(folder_name(path.resolve().name), str(path.absolute()), documents, _total(sizes))


def _files_below(root: Path) -> list[tuple[str, Path]]:
    """Regular files below `root` that are not hidden: POSIX path within it and path, sorted.

    A folder that links lead to twice, or into itself, is entered once.
    """
    visited: set[tuple[int, int]] = set()
    paths: list[Path] = []

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename or root), error)

    for folder, names, files in os.walk(root, followlinks=True, onerror=refuse):
        with _reading(Path(folder)):
            status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            names.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        paths += [Path(folder, name) for name in files if not name.startswith(".") and Path(folder, name).is_file()]
    return sorted((path.relative_to(root).as_posix(), path) for path in paths)


def _first_bytes(document: Document) -> bytes:
    chunks = document.chunks()
    return next(chunks, b"")[:BINARY_CHECK_BYTES]


def _read_plain(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with _reading(path), open(path, "rb", buffering=0) as file:
        while left:
            chunk = file.read(min(left, READ_BYTES))
            if not chunk:
                raise CorpusError(f"{path} became {left} bytes shorter while it was read; prepare it again")
            left -= len(chunk)
            yield chunk


def _decompress(path: Path) -> Iterator[bytes]:
    with _reading(path), DECOMPRESSORS[path.suffix.lower()](path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


class _SpooledStream:
    """Bytes that can be read only once, kept in a temporary file without a name."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        with failures(Path(tempfile.gettempdir()), f"keeping {where} in"):
            self._file: Any = tempfile.TemporaryFile()
            weakref.finalize(self, self._file.close)
            shutil.copyfileobj(stream, self._file, READ_BYTES)
        self.size: int = self._file.tell()

    def chunks(self) -> Iterator[bytes]:
        offset = 0
        while True:
            self._file.seek(offset)
            chunk = self._file.read(READ_BYTES)
            if not chunk:
                return
            offset += len(chunk)
            yield chunk


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors while a file is read into a `CorpusError` that names it."""
    try:
        yield
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # bz2 reports damage as an OSError without a number.
        raise (_unreadable(path, error) if error.errno else _damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> CorpusError:
    reason = str(error).rstrip(".") or type(error).__name__
    return CorpusError(
        f"{path} is damaged, or not a {path.suffix} file: {reason}; get it again, or unpack it and prepare the result"
    )


def _unreadable(path: Path, error: OSError) -> CorpusError:
    reason = error.strerror or str(error)
    return CorpusError(f"{path} cannot be read: {reason}; make it readable, or name another text")


def _missing(word: str | Path, entry: Entry | None) -> CorpusError:
    if entry is not None:
        how = f"give its file: charlm prepare FILE ({entry.address} has it; {entry.licence})"
        if entry.kind == "download":
            how = f"download it first: charlm corpora get {entry.name} ({entry.licence})"
        return CorpusError(f"{entry.name} is not here; {how}")
    path = Path(word)
    siblings = os.listdir(path.parent) if os.path.isdir(path.parent) and os.access(path.parent, os.R_OK) else []
    known = [*siblings, *catalogue()] if path.parent == Path() else siblings
    near = difflib.get_close_matches(path.name, known, n=1)
    hint = f" (did you mean {path.parent / near[0]}?)" if near else ""
    return CorpusError(
        f"{word} is no file, folder or built-in corpus{hint}; name a text file or folder, or one of: {_builtins()}, or "
        f"of those that charlm corpora list shows"
    )


def _builtins() -> str:
    return ", ".join(builtin_names())


def _display_path(path: Path) -> str:
    """A path for messages: bytes of its name that are not UTF-8 do not break the terminal."""
    return os.fsencode(path).decode("utf-8", "replace")
