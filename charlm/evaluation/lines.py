"""Lines of a stream as they arrive: all that are at hand together, waiting for no more than the first.

A line ends with LF; what is behind the last one is a line too. Nothing of a line is changed. What is left
out: what its bytes mean (`charlm.evaluation.score_lines`).
"""

import os
import stat
import sys
from collections import deque
from collections.abc import Generator

from charlm.data.prefetch import Prefetcher
from charlm.data.sources import Report, Source, open_sources
from charlm.errors import CorpusError

CHUNK = 1 << 16
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
        while not self._ended and (not self._whole or self._size < room and self._chunks.at_hand()):
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
        return bool(self._whole) or not self._ended and self._chunks.at_hand()

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


def open_lines(word: str, report: Report | None = None) -> Lines:
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
        while chunk := os.read(file, CHUNK):
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
