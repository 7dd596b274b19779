"""A source as the stream of symbols that a corpus, or a text to be scored, is made of.

The stream is each document's characters followed by its end. A document is a file, or with
`--documents line` a line; a line ends with LF, CR LF or CR, and the end itself is not stored: the
boundary symbol replaces it. A document without characters (an empty file, an empty line) is left out.
What is left out: making a corpus of the stream (`charlm.data.prepare`).
"""

import hashlib
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.callbacks import CountFn
from charlm.config import PrepareOptions
from charlm.data.prefetch import prefetch
from charlm.data.sources import Document, Source
from charlm.errors import CorpusError
from charlm.files import failures
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.base import Tokenizer
from charlm.tokenizers.decoding import CR, LF
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary


@dataclass(frozen=True)
class EncodedText:
    """A text in the ids of a vocabulary.

    Args:
        name: the text's name.
        ids: (n + 1,) from the leading boundary to the last document's.
        characters: of all documents, their ends not counted; of a word each of its characters.
        bytes: of the text in UTF-8 (byte unit: as it is); the end of a line document counts as one.
        unknown: symbols outside the vocabulary.
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
    """Encode a text, read as `options` say.

    The ids are in a mapped temporary file without a name, so that memory does not grow with the text.

    Raises:
        CorpusError: the text cannot be read or decoded, or has no characters.
    """
    stream = SymbolStream(source, options.replace(unit=vocabulary.unit))
    size, counts = 0, TextCounts()
    with failures(Path(tempfile.gettempdir()), "writing ids to"), tempfile.TemporaryFile() as file:
        file.write(np.full(1, BOUNDARY, vocabulary.dtype).tobytes())
        for chunk in stream.chunks():
            ids = chunk.ids(vocabulary)
            file.write(ids.tobytes())
            size += ids.size
            counts.add(stream, vocabulary, ids, chunk.codes)
        file.flush()
        if not size:
            raise CorpusError(f"{source.name} has no characters; give a text that has some")
        ids = np.memmap(file, dtype=vocabulary.dtype, mode="r")
    return EncodedText(source.name, ids, sha256=stream.sha256.hexdigest(), **vars(counts))


@dataclass
class TextCounts:
    """Totals of a part of the symbol stream; the attributes are those of `EncodedText`."""

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
        """Count further ids (T,) and codes (T,)."""
        plain = ids.min(initial=FIRST_SYMBOL) >= FIRST_SYMBOL  # as in most chunks
        outside = codes[:0] if plain else codes[ids == UNKNOWN]
        ends = 0 if plain else int(np.count_nonzero(ids == BOUNDARY))
        self.characters += stream.tokenizer.characters(codes) - ends
        self.bytes += stream.text_bytes(codes, ends)
        self.unknown += outside.size
        self.escape_bits += vocabulary.escape_code.bits(outside)
        self.documents += ends


@dataclass(frozen=True)
class StreamChunk:
    """A part of the symbol stream: codes (T,), and at which indices a document ends instead."""

    codes: np.ndarray
    ends: np.ndarray | None = None

    def ids(self, vocabulary: Vocabulary) -> np.ndarray:
        """The ids (T,)."""
        ids = vocabulary.encode(self.codes)
        if self.ends is not None:
            ids[self.ends] = BOUNDARY
        return ids


class SymbolStream:
    """One pass over a source, and its counts.

    Args:
        source: the text.
        options: how it is read.
        progress: called with the raw bytes read so far, those of the first pass included.
        first_pass: the pass before this one, which `check` compares with it.

    Attributes:
        sha256: of the raw, unpacked bytes.
        bytes: raw bytes read.
        marks: byte order marks removed.
        returns: carriage returns.
        pairs: those of them before a line feed.
    """

    def __init__(
        self,
        source: Source,
        options: PrepareOptions,
        progress: CountFn | None = None,
        first_pass: "SymbolStream | None" = None,
    ) -> None:
        self.source = source
        self.options = options
        self.tokenizer = TOKENIZERS[options.unit]
        self.encoding = options.encoding
        self.lines = options.documents == "line"
        self.make_lf = self.lines or options.newlines == "lf"
        self.progress = progress
        self.first_pass = first_pass
        self.sha256 = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self.bytes = 0
        self.marks = 0
        self.returns = 0
        self.pairs = 0

    def chunks(self) -> Iterator[StreamChunk]:
        """The symbol stream in chunks that are never empty, read and decoded in another thread."""
        return prefetch(self._chunks())

    def _chunks(self) -> Generator[StreamChunk, None, None]:
        for document in self.source.documents():
            codes = self.tokenizer.codes(
                self._raw_chunks(document),
                encoding=self.encoding,
                where=document.name,
                on_mark=self._skip_byte_order_mark,
            )
            codes = self.tokenizer.split(self._line_ends(codes))
            yield from (_line_documents if self.lines else _file_document)(codes, self.tokenizer)

    def text_bytes(self, codes: np.ndarray, ends: int) -> int:
        """Bytes of codes (T,) with so many document ends; the end of a line is one byte, that of a file none."""
        count = self.tokenizer.text_bytes(codes)
        return count if self.lines else count - ends

    def again(self) -> "SymbolStream":
        """A second pass over the same source."""
        return SymbolStream(self.source, self.options, self.progress, self)

    def check(self) -> None:
        """Raise a `CorpusError` unless this pass read what the first one read."""
        if self.first_pass is not None and self.content_key() != self.first_pass.content_key():
            raise CorpusError(
                f"{', '.join(self.source.origin)} changed while it was read "
                f"({self.first_pass.bytes} bytes, then {self.bytes}); wait until it is complete and prepare it again"
            )

    def content_key(self) -> tuple[str, str]:
        """Digests of the text and of the lengths of its documents."""
        return self.sha256.hexdigest(), self._lengths.hexdigest()

    def _raw_chunks(self, document: Document) -> Iterator[bytes]:
        start = self.bytes
        bytes_before = self.first_pass.bytes if self.first_pass else 0
        for chunk in document.chunks():
            self.sha256.update(chunk)
            self.bytes += len(chunk)
            if self.progress is not None:
                self.progress(bytes_before + self.bytes)
            yield chunk
        self._lengths.update(f"{self.bytes - start}\n".encode())

    def _skip_byte_order_mark(self) -> None:
        self.marks += 1

    def _line_ends(self, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Count CR and CR LF, and make them LF if asked to; the end of a chunk may divide a pair."""
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
        yield _document_end(tokenizer)


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
        yield _document_end(tokenizer)


def _document_end(tokenizer: Tokenizer) -> StreamChunk:
    """The end of a document; its code is that of a line end."""
    return StreamChunk(np.array([tokenizer.line_feed], tokenizer.dtype), np.ones(1, bool))
