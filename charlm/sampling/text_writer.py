"""The text of a sample: decode symbols, and find where it ends.

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
"""The text of each symbol that is the same wherever it occurs, and the number of its characters."""


def boundary_text(model: Model) -> str:
    """The text for the end of a document: a line end if lines are documents, else nothing."""
    return "\n" if model.line_documents else ""


@dataclass
class TextWriter:
    """Decodes one sample's symbols and finds where it ends.

    Text that may be the beginning of the stop string is held back until that is decided. For a backward model, text and
    stop string are reversed.

    Attributes:
        decoded: texts of symbols so far; the writers of one model may share it.
        boundary: the text for the end of a document.
        written: characters so far.
        ended: why the sample has ended: `length`, `stop` or `end` (of the document); "" if it has not.
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
        """The writer for a sample of a model."""
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
        """The number of symbols that it needs at least; 0 if it has ended."""
        if self.ended:
            return 0
        return -(-(self.options.length - self.written) // self._max_characters) if self._ends_by_length else 1

    def write_all(self, symbols: Sequence[int]) -> str:
        """Add drawn symbols up to the one that ends the sample; return the text that is certain."""
        decoded = list(filter(None, map(self.decoded.get, symbols))) if self._ends_by_length else []
        characters = sum(size for _, size in decoded)
        if len(decoded) < len(symbols) or self.written + characters > self.options.length:
            return "".join(self.write(symbol) for symbol in symbols if not self.ended)
        self.written += characters
        self._check_length()
        return "".join(text for text, _ in decoded)

    def write(self, symbol: int) -> str:
        """Add one drawn symbol; return the text that is certain."""
        if symbol == BOUNDARY:
            if self.options.until_end:
                self.ended = "end"
                return ""
            text = self._decoder.flush() + self.boundary
            self.written += len(self.boundary)
        else:
            text, size = self.decoded.get(symbol) or self._decode(symbol)
            self.written += size
        if self._stop is not None:
            self._pending += text
            text = self._take_certain(self._stop)
        self._check_length()
        return text

    def _decode(self, symbol: int) -> tuple[str, int]:
        """A symbol's text and the number of its characters, which are stored if they are always the same."""
        text_and_size = self._decoder.feed([self.vocabulary.code(symbol)]), int(self.vocabulary.sizes[symbol])
        if not self._decoder.waits:
            self.decoded[symbol] = text_and_size
        return text_and_size

    def finish(self) -> str:
        """The text held back, if no more symbols come."""
        if self.ended == "stop":
            return ""
        text, self._pending = self._pending + self._decoder.flush(), ""
        return text

    def _check_length(self) -> None:
        if not self.ended and self.written >= self.options.length:
            self.ended = "length"

    def _take_certain(self, stop: str) -> str:
        """Take the text that cannot be part of the stop string from what is pending."""
        offset = self._pending.find(stop)
        if offset >= 0:
            text, self._pending, self.ended = self._pending[:offset], "", "stop"
            return text
        lengths = range(min(len(stop) - 1, len(self._pending)), 0, -1)
        held_back = next((length for length in lengths if self._pending.endswith(stop[:length])), 0)
        certain = len(self._pending) - held_back
        text, self._pending = self._pending[:certain], self._pending[certain:]
        return text
