"""Walking: a source becomes the stream of symbols that a corpus, or a text to be scored, is made of.

The stream is each document's characters followed by its end. A document is a file, or with
`--documents line` a line; a line ends with LF, CR LF or CR, and the end itself is not stored: the
boundary takes its place. A document without characters (an empty file, an empty line) is left out.
What is left out: making a corpus of the stream (`charlm.data.prepare`).
"""

import hashlib
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.config import PrepareOptions
from charlm.data.prefetch import prefetch
from charlm.data.sources import Document, Source
from charlm.errors import CorpusError
from charlm.files import failures
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.base import Tokenizer
from charlm.tokenizers.decoding import CR, LF
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary

Progress = Callable[[int], None]


@dataclass(frozen=True)
class EncodedText:
    """A text in the ids of a given symbol table.

    Args:
        name: the text's name.
        ids: (n + 1,) from the leading boundary to the last document's.
        characters: of all documents, their ends not counted; of a word each of its characters.
        bytes: of the text in UTF-8 (byte unit: as it is); the end of a line document counts as one.
        unknown: symbols outside the table.
        escape_bits: bits that writing those out takes (`charlm.tokenizers.escape`).
        documents: those with at least one character.
        sha256: of the raw, unpacked bytes.
    """

    name: str
    ids: np.ndarray
    characters: int
    bytes: int
    unknown: int
    escape_bits: float
    documents: int
    sha256: str


def encode_source(source: Source, vocabulary: Vocabulary, options: PrepareOptions) -> EncodedText:
    """The ids of a text, read as `options` say and in the given table.

    They lie in a mapped temporary file without a name, so that memory does not grow with the text.

    Raises:
        CorpusError: the text cannot be read or decoded, or has no characters.
    """
    walk = SymbolStream(source, options.replace(unit=vocabulary.unit))
    count, amounts = 0, TextCounts()
    with failures(Path(tempfile.gettempdir()), "writing ids to"), tempfile.TemporaryFile() as file:
        file.write(np.full(1, BOUNDARY, vocabulary.dtype).tobytes())
        for piece in walk.chunks():
            ids = piece.ids(vocabulary)
            file.write(ids.tobytes())
            count += ids.size
            amounts.add(walk, vocabulary, ids, piece.codes)
        file.flush()
        if not count:
            raise CorpusError(f"{source.name} has no characters; give a text that has some")
        ids = np.memmap(file, dtype=vocabulary.dtype, mode="r")
    return EncodedText(source.name, ids, sha256=walk.sha256.hexdigest(), **vars(amounts))


@dataclass
class TextCounts:
    """What a stretch of the symbol stream comes to; the attributes are those of `Encoded`."""

    characters: int = 0
    bytes: int = 0
    unknown: int = 0
    escape_bits: float = 0.0
    documents: int = 0

    def to_json(self) -> dict[str, Any]:
        """The keys of a split in corpus.json."""
        values = vars(self).copy()
        values["spelling"] = values.pop("escape_bits")
        return values

    def add(self, stream: "SymbolStream", vocabulary: Vocabulary, ids: np.ndarray, codes: np.ndarray) -> None:
        """Count some more of it: ids (T,) and codes (T,)."""
        plain = ids.min(initial=FIRST_SYMBOL) >= FIRST_SYMBOL  # as most stretches are
        outside = codes[:0] if plain else codes[ids == UNKNOWN]
        ends = 0 if plain else int(np.count_nonzero(ids == BOUNDARY))
        self.characters += stream.unit.characters(codes) - ends
        self.bytes += stream.text_bytes(codes, ends)
        self.unknown += outside.size
        self.escape_bits += vocabulary.escape_code.bits(outside)
        self.documents += ends


@dataclass(frozen=True)
class StreamChunk:
    """A stretch of the symbol stream: codes (T,), and at which places documents end instead."""

    codes: np.ndarray
    ends: np.ndarray | None = None

    def ids(self, vocabulary: Vocabulary) -> np.ndarray:
        """The ids (T,) of the stretch in a given table."""
        ids = vocabulary.encode(self.codes)
        if self.ends is not None:
            ids[self.ends] = BOUNDARY
        return ids


class SymbolStream:
    """One walk over a source, and what it noticed on the way.

    With `before`, the walk before this one: progress goes on from there, and `check` compares them.
    """

    def __init__(
        self,
        source: Source,
        options: PrepareOptions,
        progress: Progress | None = None,
        first_pass: "SymbolStream | None" = None,
    ) -> None:
        self.source = source
        self.options = options
        self.unit = TOKENIZERS[options.unit]
        self.encoding = options.encoding
        self.lines = options.documents == "line"
        self.make_lf = self.lines or options.newlines == "lf"
        self.progress = progress
        self.before = first_pass
        self.sha256 = hashlib.sha256()
        self.lengths = hashlib.sha256()
        self.bytes = 0
        self.marks = 0
        self.returns = 0
        self.pairs = 0

    def chunks(self) -> Iterator[StreamChunk]:
        """The symbol stream, in pieces that are never empty; read and decoded in a thread of its own."""
        return prefetch(self._chunks())

    def _chunks(self) -> Generator[StreamChunk, None, None]:
        for document in self.source.documents():
            codes = self.unit.codes(
                self._raw_chunks(document),
                encoding=self.encoding,
                where=document.name,
                on_mark=self._skip_byte_order_mark,
            )
            codes = self.unit.split(self._line_ends(codes))
            yield from (_line_documents if self.lines else _file_document)(codes, self.unit)

    def text_bytes(self, codes: np.ndarray, ends: int) -> int:
        """Bytes of a stretch of text with so many ends of documents: that of a line is one, that of a file none."""
        count = self.unit.text_bytes(codes)
        return count if self.lines else count - ends

    def again(self) -> "SymbolStream":
        """A second pass over the same source."""
        return SymbolStream(self.source, self.options, self.progress, self)

    def check(self) -> None:
        """Raise a `CorpusError` unless this walk read what the one before it read."""
        if self.before is not None and self.content_key() != self.before.content_key():
            raise CorpusError(
                f"{', '.join(self.source.origin)} changed while it was read "
                f"({self.before.bytes} bytes, then {self.bytes}); wait until it is complete and prepare it again"
            )

    def content_key(self) -> tuple[str, str]:
        """Digests of the text and of the lengths of its documents."""
        return self.sha256.hexdigest(), self.lengths.hexdigest()

    def _raw_chunks(self, document: Document) -> Iterator[bytes]:
        start = self.bytes
        for chunk in document.chunks():
            self.sha256.update(chunk)
            self.bytes += len(chunk)
            if self.progress is not None:
                self.progress(self.bytes + (self.before.bytes if self.before else 0))
            yield chunk
        self.lengths.update(f"{self.bytes - start}\n".encode())

    def _skip_byte_order_mark(self) -> None:
        self.marks += 1

    def _line_ends(self, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Count CR and CR LF, and make them LF where that is wanted; a pair may be cut by a chunk's end."""
        after_return = False
        for codes in chunks:
            is_return = codes == CR
            returns = int(np.count_nonzero(is_return))
            if not returns and not after_return:
                yield codes
                continue
            follows = np.concatenate(([after_return], is_return[:-1]))
            second = follows & (codes == LF)
            after_return = bool(is_return[-1])
            self.returns += returns
            self.pairs += int(np.count_nonzero(second))
            if self.make_lf:
                codes = np.where(is_return, codes.dtype.type(LF), codes)[~second]
            if codes.size:
                yield codes


def _file_document(chunks: Iterator[np.ndarray], tokenizer: Tokenizer) -> Iterator[StreamChunk]:
    empty = True
    for codes in chunks:
        empty = False
        yield StreamChunk(codes)
    if not empty:
        yield _end(tokenizer)


def _line_documents(chunks: Iterator[np.ndarray], tokenizer: Tokenizer) -> Iterator[StreamChunk]:
    at_start = True
    for codes in chunks:
        ends = codes == tokenizer.line_feed
        # An end that follows an end, or begins the file, closes an empty line.
        empty = ends & np.concatenate(([at_start], ends[:-1]))
        at_start = bool(ends[-1])
        if not empty.all():
            yield StreamChunk(codes[~empty], ends[~empty])
    if not at_start:
        yield _end(tokenizer)


def _end(tokenizer: Tokenizer) -> StreamChunk:
    """The end of a document; the code there is that of a line's end."""
    return StreamChunk(np.array([tokenizer.line_feed], tokenizer.dtype), np.ones(1, bool))
