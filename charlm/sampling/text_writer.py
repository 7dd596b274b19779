"""The text of a sample: symbols become characters, and its end is found.

Not here: drawing the symbols (`charlm.sampling.generate`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from charlm.config import SampleOptions
from charlm.data.direction import BACKWARD
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

DecodedSymbols = dict[int, tuple[str, int]]
"""What a symbol is printed as wherever it occurs, and how many characters that is."""


def boundary_text(model: Model) -> str:
    """What the end of a document is printed as: a line end if lines are documents, else nothing."""
    return "\n" if model.line_documents else ""


@dataclass
class TextWriter:
    """Turns one sample's symbols into text, and finds its end.

    Text that may be the beginning of the stop string is held back until that is decided. If the symbols come from the
    right, text and stop string are reversed.

    Attributes:
        decoded: what symbols are printed as; the writers of one model may share it.
        boundary: what the end of a document is printed as.
        written: characters so far.
        ended: why the sample is over, "" while it is not: `length`, `stop` or `end` (of the document).
    """

    vocabulary: Vocabulary
    options: SampleOptions
    decoded: DecodedSymbols
    boundary: str
    backward: bool
    written: int = 0
    ended: str = ""
    _pending: str = ""
    _decoder: Any = field(init=False)
    _stop: str | None = field(init=False)
    _ends_by_length: bool = field(init=False)
    _max_characters: int = field(init=False)

    @classmethod
    def of(cls, model: Model, options: SampleOptions, decoded: DecodedSymbols) -> "TextWriter":
        """The writer of a sample of a model."""
        return cls(model.vocabulary, options, decoded, boundary_text(model), model.options.direction == BACKWARD)

    def __post_init__(self) -> None:
        tokenizer = self.vocabulary.tokenizer
        self._decoder = tokenizer.reversed_decoder() if self.backward else tokenizer.decoder()
        stop = self.options.stop
        self._stop = stop[::-1] if stop is not None and self.backward else stop
        self._ends_by_length = stop is None and not self.options.until_end  # nothing else can end it
        self._max_characters = int(self.vocabulary.sizes.max())
        self._check_length()

    def wanted(self) -> int:
        """Symbols that it will take for certain; 0 if it has ended."""
        if self.ended:
            return 0
        return -(-(self.options.length - self.written) // self._max_characters) if self._ends_by_length else 1

    def write_all(self, symbols: Sequence[int]) -> str:
        """Add drawn symbols up to the one that ends the sample; returns what can be printed."""
        known = list(filter(None, map(self.decoded.get, symbols))) if self._ends_by_length else []
        characters = sum(size for _, size in known)
        if len(known) < len(symbols) or self.written + characters > self.options.length:
            return "".join(self.write(symbol) for symbol in symbols if not self.ended)
        self.written += characters
        self._check_length()
        return "".join(piece for piece, _ in known)

    def write(self, symbol: int) -> str:
        """Add one drawn symbol; returns what can be printed."""
        if symbol == BOUNDARY:
            if self.options.until_end:
                self.ended = "end"
                return ""
            piece = self._decoder.flush() + self.boundary
            self.written += len(self.boundary)
        else:
            piece, size = self.decoded.get(symbol) or self._decode(symbol)
            self.written += size
        if self._stop is not None:
            self._pending += piece
            piece = self._take_certain(self._stop)
        self._check_length()
        return piece

    def _decode(self, symbol: int) -> tuple[str, int]:
        """What a symbol is printed as, and how many characters it has; remembered if it is always the same."""
        text_and_size = self._decoder.feed([self.vocabulary.code(symbol)]), int(self.vocabulary.sizes[symbol])
        if not self._decoder.waits:
            self.decoded[symbol] = text_and_size
        return text_and_size

    def finish(self) -> str:
        """What was held back, once no more symbols come."""
        if self.ended == "stop":
            return ""
        text, self._pending = self._pending + self._decoder.flush(), ""
        return text

    def _check_length(self) -> None:
        if not self.ended and self.written >= self.options.length:
            self.ended = "length"

    def _take_certain(self, stop: str) -> str:
        """Cut off what cannot be part of the stop string any more."""
        at = self._pending.find(stop)
        if at >= 0:
            text, self._pending, self.ended = self._pending[:at], "", "stop"
            return text
        keep = next(
            (n for n in range(min(len(stop) - 1, len(self._pending)), 0, -1) if self._pending.endswith(stop[:n])), 0
        )
        cut = len(self._pending) - keep
        text, self._pending = self._pending[:cut], self._pending[cut:]
        return text
