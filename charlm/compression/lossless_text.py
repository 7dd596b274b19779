"""Any bytes as symbols of a table and back, byte for byte.

Text is decoded; a byte that cannot be becomes a code of its own (U+DC80 to U+DCFF, PEP 383), and a character
outside the table becomes the unknown symbol with its code beside it. Nothing is dropped or unified: byte order
marks, line ends and NUL are characters like any other. Where lines are documents, a line's end is the boundary.
What is left out: how a corpus is read, which may drop and unify (`charlm.data.symbol_stream`).
"""

from dataclasses import dataclass

import numpy as np

from charlm.errors import CorpusError
from charlm.tokenizers.decoding import code_points, text_encoding, text_of
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary

ALWAYS = "utf-8"
"""An encoding in which any bytes are decoded and encoded again without loss, given PEP 383."""


@dataclass(frozen=True)
class LosslessText:
    """How bytes are symbols.

    Args:
        symbols: the table.
        encoding: of text, for characters; bytes do without.
        lines: whether a line's end is the boundary.
    """

    vocabulary: Vocabulary
    encoding: str
    lines: bool

    def encode(self, data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
        """Ids (N,) of `data`, and the codes (U,) behind its unknown symbols; None where it would not come back."""
        points, kind = self._points(data), self.vocabulary.tokenizer
        if points is None:
            return None
        codes = kind.merge(points)
        ids = self.vocabulary.encode(codes)
        if self.lines:
            ids[codes == kind.line_feed] = BOUNDARY
        return ids, codes[ids == UNKNOWN]

    def decode(self, ids: np.ndarray, raw: np.ndarray) -> bytes:
        """The bytes of what `encode` returned.

        Raises:
            ValueError: there are no such bytes.
        """
        kind = self.vocabulary.tokenizer
        table: np.ndarray = np.empty(self.vocabulary.size, kind.dtype)
        table[:FIRST_SYMBOL], table[FIRST_SYMBOL:] = kind.line_feed, self.vocabulary.codes
        codes = table[ids]
        codes[ids == UNKNOWN] = raw
        points = kind.points(codes)
        if not kind.decodes:
            return points.astype(np.uint8).tobytes()
        return text_of(points).encode(self.encoding, "surrogateescape")

    def _points(self, data: bytes) -> np.ndarray | None:
        """Code points, or the bytes where symbols are bytes."""
        if not self.vocabulary.tokenizer.decodes:
            return np.frombuffer(data, np.uint8)
        try:
            text = data.decode(text_encoding(self.encoding), "surrogateescape")
            if self.encoding != ALWAYS and text.encode(self.encoding, "surrogateescape") != data:
                return None
        except (CorpusError, ValueError):
            return None
        return code_points(text)
