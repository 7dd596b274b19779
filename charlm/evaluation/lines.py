"""Lines of a stream as they arrive: all that are at hand together, waiting for no more than the first.

A line ends with LF; what is behind the last one is a line too. Nothing of a line is changed. What is left
out: what its bytes mean (`charlm.evaluation.score_lines`).
"""

import codecs
import os
import stat
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.callbacks import NoticeFn
from charlm.data.prefetch import Prefetcher
from charlm.data.sources import Source, open_sources
from charlm.errors import CorpusError, UsageError
from charlm.spec import AUTO
from charlm.tokenizers.decoding import code_points, text_encoding
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary

READ_BYTES = 1 << 16
"""Bytes that are read from a pipe at once, at most."""


class Lines:
    """The lines of some chunks of bytes, which a thread reads; `close` it when done."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = Prefetcher(chunks)
        self._ended = False
        self._whole: deque[bytes] = deque()
        self._size = 0
        self._begun: list[bytes] = []

    def take(self, room: int) -> list[bytes]:
        """The next lines, each with its end as it came.

        Args:
            room: bytes that they may have together; a longer line comes alone.

        Returns:
            At least one, which is waited for, and what else is at hand; none at the end of the stream.

        Raises:
            CorpusError: the stream cannot be read, or whatever its chunks raise.
        """
        while not self._ended and (not self._whole or self._size < room and self._chunks.ready()):
            self._read()
        taken: list[bytes] = []
        while self._whole and (not taken or len(self._whole[0]) <= room):
            taken.append(self._whole.popleft())
            self._size -= len(taken[-1])
            room -= len(taken[-1])
        return taken

    @property
    def waiting(self) -> bool:
        """Whether more is at hand."""
        return bool(self._whole) or not self._ended and self._chunks.ready()

    def close(self) -> None:
        """Let the thread go."""
        self._chunks.close()

    def _read(self) -> None:
        try:
            *ended, rest = self._chunks.take().split(b"\n")
        except StopIteration:
            self._ended = True
            self._add([b"".join(self._begun)] if self._begun else [])
            return
        if ended:
            ended[0] = b"".join([*self._begun, ended[0]])
            self._begun = []
            self._add([line + b"\n" for line in ended])
        if rest:
            self._begun.append(rest)

    def _add(self, lines: list[bytes]) -> None:
        self._whole += lines
        self._size += sum(map(len, lines))


def open_lines(word: str, report: NoticeFn | None = None) -> Lines:
    """The lines of a text.

    Args:
        word: `-`, the standard input; a pipe; or whatever `charlm.data.sources` opens, its documents one after the
            other, each of which begins a new line.
        report: told what was chosen, in one line.

    Raises:
        CorpusError: it cannot be read.
    """
    if word == "-":
        if sys.stdin is None:
            raise CorpusError("- is the standard input, and there is none; name a file instead")
        return Lines(_arriving(sys.stdin.fileno(), "the standard input"))
    if _is_pipe(word):
        return Lines(_piped(word))
    return Lines(_documents(open_sources([word], report=report)))


def _is_pipe(word: str) -> bool:
    try:
        mode = os.stat(word).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _piped(word: str) -> Generator[bytes, None, None]:
    try:
        file = os.open(word, os.O_RDONLY)
    except OSError as error:
        raise CorpusError(f"{word} cannot be read: {error.strerror}; make it readable, or name another text") from error
    try:
        yield from _arriving(file, word)
    finally:
        os.close(file)


def _arriving(file: int, where: str) -> Generator[bytes, None, None]:
    """What a file's number gives, as soon as it gives something."""
    try:
        while chunk := os.read(file, READ_BYTES):
            yield chunk
    except OSError as error:
        raise CorpusError(f"{where} cannot be read: {error.strerror}; name a text file, or pipe a text in") from error


def _documents(source: Source) -> Generator[bytes, None, None]:
    for document in source.documents():
        last = b"\n"
        for chunk in document.chunks():
            yield chunk
            last = chunk[-1:]
        if last != b"\n":
            yield b"\n"


LINE_PIECE_BYTES = 1 << 16
"""Bytes of a line that are decoded at once."""

MARK = "\ufeff"
"""The byte order mark, which is no character of a text that begins with it."""


@dataclass(frozen=True)
class Stretch:
    """Some symbols of a line.

    Attributes:
        ids: (T,) in a table.
        characters: that they have together.
        unknown: how many of them are the unknown symbol.
        escape_bits: bits that writing those out takes (`charlm.tokenizers.escape`).
    """

    ids: np.ndarray
    characters: int
    unknown: int
    escape_bits: float


class LineIds:
    """Lines in the ids of one table.

    Args:
        symbols: the table.
        encoding: a codec, for characters; bytes are taken as they are.
        end: the symbol that ends a line, None where its end is not scored.
    """

    def __init__(self, vocabulary: Vocabulary, encoding: str, end: int | None) -> None:
        self._symbols, self._encoding, self._end = vocabulary, encoding, end

    def stretches(self, body: bytes, *, first: bool) -> Iterator[Stretch]:
        """The boundary, the symbols of a line, a stretch at a time, and its end, which counts as a character.

        Args:
            body: the line without its end; what cannot be decoded is U+FFFD.
            first: whether it is the first of a text, which may begin with a byte order mark.
        """
        yield Stretch(np.array([BOUNDARY]), 0, 0, 0.0)
        kind = self._symbols.tokenizer
        for codes in kind.split(self._points(body, first)):
            ids = self._symbols.encode(codes)
            outside = codes[ids == UNKNOWN]
            yield Stretch(ids, kind.characters(codes), outside.size, self._symbols.escape_code.bits(outside))
        if self._end is not None:
            yield Stretch(np.array([self._end]), 1, 0, 0.0)

    def _points(self, body: bytes, first: bool) -> Iterator[np.ndarray]:
        """The line in code points, or in bytes where symbols are bytes."""
        if not self._symbols.tokenizer.decodes:
            for at in range(0, len(body), LINE_PIECE_BYTES):
                yield np.frombuffer(body[at : at + LINE_PIECE_BYTES], np.uint8)
            return
        for text in decoded(body, self._encoding, "replace"):
            yield code_points(text.removeprefix(MARK) if first else text)
            first = first and not text


def body(line: bytes) -> bytes:
    """A line without its end, LF or CR LF; a CR without LF is a character."""
    return line[:-1].removesuffix(b"\r") if line.endswith(b"\n") else line


def decoded(body: bytes, encoding: str, errors: str) -> Iterator[str]:
    """A line as text, in pieces where it is long.

    Raises:
        UnicodeError: it cannot be decoded, and `errors` is `strict`.
    """
    if len(body) <= LINE_PIECE_BYTES:
        yield body.decode(encoding, errors)
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    for at in range(0, len(body), LINE_PIECE_BYTES):
        yield decoder.decode(body[at : at + LINE_PIECE_BYTES])
    yield decoder.decode(b"", True)


def line_encoding(theirs: Iterable[str], encoding: str) -> str:
    """The codec that lines are in.

    Args:
        theirs: the encodings of the models' corpora.
        encoding: a name, or `auto` for the one that they have in common, if lines can be told apart in it, else UTF-8.

    Raises:
        UsageError: a line end in the wanted one is not the byte 10.
        CorpusError: there is no such encoding.
    """
    if encoding == AUTO:
        common = {text_encoding(name) for name in theirs}
        codec = common.pop() if len(common) == 1 else "utf-8"
        return codec if _tells_lines(codec) else "utf-8"
    codec = text_encoding(encoding)
    if not _tells_lines(codec):
        raise UsageError(
            f"--encoding {encoding}: a line end in it is not one byte, so that lines cannot be told apart as they "
            f"come; "
            f"make the text UTF-8 first, as by iconv"
        )
    return codec


def _tells_lines(codec: str) -> bool:
    return "a\n".encode(codec) == b"a\n"


def line_ends(tables: Mapping[str, tuple[Vocabulary, bool]], end: str) -> dict[str, int | None]:
    """The symbol that ends a line in each table, None where the end is not scored, as they can be compared.

    Args:
        tables: by a name for messages: symbols, and whether lines were documents.
        end: boundary, newline, none, or auto.

    Raises:
        UsageError: the newline is wanted, and a table does not have it.
    """
    ends = {name: _end(name, symbols, lines, end) for name, (symbols, lines) in tables.items()}
    return dict.fromkeys(ends) if None in ends.values() else ends


def _end(name: str, vocabulary: Vocabulary, lines: bool, end: str) -> int | None:
    newline = int(vocabulary.encode(np.array([vocabulary.tokenizer.line_feed], vocabulary.tokenizer.dtype))[0])
    if end == "newline" and newline == UNKNOWN:
        raise UsageError(f"--end newline: the table of {name} has no newline; give --end boundary or --end none")
    if end == "boundary" or (end == AUTO and lines):
        return BOUNDARY
    return None if end == "none" or newline == UNKNOWN else newline
