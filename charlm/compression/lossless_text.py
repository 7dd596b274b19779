"""Any bytes as symbols of a vocabulary and back, byte for byte.

Text is decoded; a byte that cannot be decoded becomes a code of its own (U+DC80 to U+DCFF, PEP 383), and a character
outside the vocabulary becomes the unknown symbol, with its code in a second array. Nothing is dropped or unified: byte
order marks, line ends and NUL are characters like any other. If lines are documents, a line end is the boundary.
What is left out: how a corpus is read, which may drop and unify (`charlm.data.symbol_stream`).
"""

from dataclasses import dataclass

import numpy as np

from charlm.errors import CorpusError
from charlm.tokenizers.decoding import code_points, text_encoding, text_of
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary

LOSSLESS_ENCODING = "utf-8"
"""An encoding in which any bytes are decoded and encoded again without loss, given PEP 383."""


@dataclass(frozen=True)
class LosslessText:
    """The conversion between bytes and symbols.

    Attributes:
        vocabulary: of the model.
        encoding: of the text; not used if symbols are bytes.
        line_documents: whether a line end is the boundary.
    """

    vocabulary: Vocabulary
    encoding: str
    line_documents: bool

    def encode(self, data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
        """Ids (N,) of `data`, and the codes (U,) of its unknown symbols; None if they would not restore it."""
        points, tokenizer = self._points(data), self.vocabulary.tokenizer
        if points is None:
            return None
        codes = tokenizer.merge(points)
        ids = self.vocabulary.encode(codes)
        if self.line_documents:
            ids[codes == tokenizer.line_feed] = BOUNDARY
        return ids, codes[ids == UNKNOWN]

    def decode(self, ids: np.ndarray, raw: np.ndarray) -> bytes:
        """The bytes that `encode` encoded.

        Raises:
            ValueError: there are no such bytes.
        """
        tokenizer = self.vocabulary.tokenizer
        codes_by_id: np.ndarray = np.empty(self.vocabulary.size, tokenizer.dtype)
        codes_by_id[:FIRST_SYMBOL], codes_by_id[FIRST_SYMBOL:] = tokenizer.line_feed, self.vocabulary.codes
        codes = codes_by_id[ids]
        codes[ids == UNKNOWN] = raw
        points = tokenizer.points(codes)
        if not tokenizer.decodes:
            return points.astype(np.uint8).tobytes()
        return text_of(points).encode(self.encoding, "surrogateescape")

    def _points(self, data: bytes) -> np.ndarray | None:
        """Code points, or bytes if the symbols are bytes; None if the encoding would not restore the data."""
        if not self.vocabulary.tokenizer.decodes:
            return np.frombuffer(data, np.uint8)
        try:
            text = data.decode(text_encoding(self.encoding), "surrogateescape")
            if self.encoding != LOSSLESS_ENCODING and text.encode(self.encoding, "surrogateescape") != data:
                return None
        except (CorpusError, ValueError):
            return None
        return code_points(text)
