"""Gaps in a line, filled with what a model finds likeliest, given all that is known of the line.

A bidirectional model knows what could stand at a place from one reading of both sides
(`charlm.evaluation.bidirectional`). A model that reads one way knows it too, by Bayes' rule, but has to read the whole
line once with every symbol there:

    p(x | the rest) = p(line with x) / Σ_v p(line with v)

Of several gaps the first is filled while the others are left out, then the next, and so on. Then, as long as one gap
would rather be something else given all the others, the one that gains the most changes (iterated conditional modes,
Besag 1986): of a model that reads one way, each change makes the whole line likelier.

What is left out: where lines come from (`charlm.evaluation.lines`). Shapes: K gaps, V symbols.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, log
from typing import Any, Protocol

import numpy as np

from charlm import cells, memory
from charlm.callbacks import NoticeFn
from charlm.config import ScoreOptions
from charlm.data import direction
from charlm.errors import UsageError
from charlm.evaluation.batch_scorer import BatchScorer
from charlm.evaluation.lines import MARK, Lines, body, line_encoding, line_ends
from charlm.evaluation.score_lines import device_of
from charlm.model.checkpoint import Model, check_model
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN

MAX_ALTERNATIVES = 4
"""How many of the next likeliest symbols are told of each gap."""

MAX_ROUNDS = 10
"""Changes for each gap, at most: conditionals of a bidirectional model need not agree on one line."""

MAX_LINES = 1 << 14
"""Bytes of lines that are taken at once, where so many have arrived."""


@dataclass(frozen=True)
class Gap:
    """One filled gap.

    Attributes:
        place: characters of the line before it.
        text: what fills it.
        probability: of that, given the rest of the filled line.
        others: the next likeliest, with theirs.
    """

    place: int
    text: str
    probability: float
    others: list[tuple[str, float]]


@dataclass(frozen=True)
class Filled:
    """A line whose gaps are filled.

    Attributes:
        line: as it came, its end included.
        filled: the line in UTF-8 (bytes: as they are), without its end.
        gaps: from the left.
        finite: false where the model gives no finite number, as its state grows without bound: then nothing is filled.
    """

    line: bytes
    filled: bytes
    gaps: list[Gap]
    finite: bool = True

    @property
    def text(self) -> str:
        """The filled line; bytes that are no UTF-8 are U+FFFD."""
        return self.filled.decode("utf-8", "replace")

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm score --cloze --json`."""
        gaps = [
            {
                "place": gap.place,
                "text": gap.text,
                "probability": round(gap.probability, 6),
                "others": [{"text": text, "probability": round(share, 6)} for text, share in gap.others],
            }
            for gap in self.gaps
        ]
        return {"bits": round(self.bits, 6) if self.finite else None, "gaps": gaps, "filled": self.text}

    @property
    def bits(self) -> float:
        """The surprise of what fills the gaps, each given the rest, summed."""
        return -sum(log(gap.probability) for gap in self.gaps) / log(2) + 0.0 if self.finite else inf


class _Conditionals(Protocol):
    """What a model says of single symbols."""

    def __call__(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """(K, V) log-probabilities, up to a number for each row, of the symbols at `places` (K,) of a text (N + 1,)."""


class Filler:
    """A model that fills gaps.

    Args:
        model: of either kind.
        options: of `charlm score`: gap, end, encoding, device, batch size.
        report: told of the first line that cannot be decoded.

    Raises:
        UsageError: the gap is not one symbol, none can fill it, or the model cannot score the wanted end.
    """

    def __init__(self, model: Model, options: ScoreOptions, report: NoticeFn | None = None) -> None:
        check_model(model)
        self._report = report
        self._symbols, self._kind = model.vocabulary, model.vocabulary.tokenizer
        self._encoding = line_encoding([model.encoding] if self._kind.decodes else [], options.encoding)
        end = line_ends({"the model": (model.vocabulary, model.line_documents)}, options.end)["the model"]
        outside = end == BOUNDARY and model.options.bidirectional  # which it reads behind every text
        self._end = [] if end is None or outside else [end]
        self._gaps = self._kind.encode_text(options.gap)
        if len(self._gaps) != 1:
            raise UsageError(f"--gap stands for one {self._kind.noun} and must be one itself, got {options.gap!r}")
        if self._kind.longer:  # the space before a word is part of it
            self._gaps = np.append(self._gaps, self._kind.encode_text(f" {options.gap}"))
        gates = len(cells.of(model.options).gates)
        row = model.options.hidden * (gates + 4) + 2 * model.options.readout_size + 3 * self._symbols.size
        self._bytes = 4 * row if model.options.bidirectional else 20 * self._symbols.size
        conditionals = _both_sides if model.options.bidirectional else _one_way
        self._conditionals = conditionals(model, options)
        newline = self._symbols.encode(np.array([self._kind.line_feed], self._kind.dtype))
        self._never = [BOUNDARY, UNKNOWN, *newline.tolist()]
        if len(set(self._never)) == self._symbols.size:
            raise UsageError("the model knows line ends alone, and no gap can be one; give another model")
        self._first = True

    def fill(self, line: bytes) -> Filled:
        """Fill the gaps of one line.

        Raises:
            UsageError: it takes more memory than there is.
        """
        codes = self._kind.encode_text(self._text(body(line)))
        positions = np.flatnonzero(np.isin(codes, self._gaps))
        ids = np.concatenate(([BOUNDARY], self._symbols.encode(codes), self._end)).astype(np.int64)
        if len(positions):
            memory.check(
                self._bytes * len(ids), f"filling gaps in a line of {len(codes):,} {self._kind.noun}s", "cut it"
            )
        try:
            rows = self._settled(ids, positions + 1)
        except FloatingPointError:
            return Filled(line, self._kind.utf8(codes), [], finite=False)
        codes = codes.copy()
        codes[positions] = self._symbols.codes[ids[positions + 1] - FIRST_SYMBOL]
        before = np.cumsum(self._kind.sizes(codes)) - self._kind.sizes(codes)
        gaps = [self._gap(int(before[at]), row) for at, row in zip(positions, rows, strict=True)]
        return Filled(line, self._kind.utf8(codes), gaps)

    def _text(self, line: bytes) -> str:
        """A line as text; bytes that are none pass through it as escapes, where symbols are bytes."""
        first, self._first = self._first, False
        if not self._kind.decodes:
            return line.decode("utf-8", "surrogateescape")
        text = line.decode(self._encoding, "replace")
        if self._report is not None and "\ufffd" in text and line != text.encode(self._encoding, "replace"):
            self._report(
                f"a line is not {self._encoding}: what cannot be decoded, there and in lines to come, is U+FFFD"
            )
            self._report = None
        return text.removeprefix(MARK) if first else text

    def _settled(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Fill the gaps at `places` (K,) of `ids`, and give the probabilities (K, V) of what could stand there."""
        known = np.ones(len(ids), bool)
        known[positions] = False
        for position in positions:
            known[position] = True
            (row,) = self._asked(ids[known], np.array([known[:position].sum()]))
            ids[position] = row.argmax()
        rows = np.zeros((0, self._symbols.size))
        if len(positions):  # the last gap was filled by all that is known, and of a single one there is no more to say
            rows = row[None] if len(positions) == 1 else self._asked(ids, positions)
        for _ in range(MAX_ROUNDS * len(positions)):
            gains = rows.max(1) - rows[np.arange(len(positions)), ids[positions]]
            most = int(gains.argmax())
            if gains[most] <= 0:
                break
            ids[positions[most]] = rows[most].argmax()
            rows = self._asked(ids, positions)
        return rows

    def _asked(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Probabilities (K, V) of what can fill a gap: no end of a line or of a document, nothing unknown.

        Raises:
            FloatingPointError: the model gives no finite number.
        """
        log_probabilities = self._conditionals(ids, positions).astype(np.float64)
        log_probabilities[:, self._never] = -np.inf
        if not np.isfinite(log_probabilities.max(1)).all():  # of a nan too
            raise FloatingPointError
        shares = np.exp(log_probabilities - log_probabilities.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    def _gap(self, position: int, row: np.ndarray) -> Gap:
        likeliest = [symbol for symbol in np.argsort(-row)[: MAX_ALTERNATIVES + 1] if row[symbol] > 0]
        best, *others = ((self._name(symbol), float(row[symbol])) for symbol in likeliest)
        return Gap(position, *best, others)

    def _name(self, symbol: int) -> str:
        code = self._symbols.code(int(symbol))
        return self._kind.text(code) or self._kind.describe(code)


def fill_stream(filler: Filler, lines: Lines) -> Iterator[Filled]:
    """Fill the gaps of lines as they arrive, in their order, each as soon as it can be.

    Raises:
        CorpusError: the lines cannot be read.
    """
    try:
        while batch := lines.take(MAX_LINES):
            yield from (filler.fill(line) for line in batch)
    finally:
        lines.close()


def fill(model: Model, texts: Iterable[str], **values: object) -> Iterator[Filled]:
    """Fill the gaps of texts, each by itself.

    Args:
        model: from `charlm.model.checkpoint.load`.
        texts: lines with a `_` (or another `gap`) for each missing character.
        values: any option of `charlm.config.ScoreOptions` but the encoding and `cloze`.

    Raises:
        UsageError: the gap is not one symbol, or the model cannot score the wanted end.
    """
    for name in ("encoding", "cloze"):
        if name in values:
            raise UsageError(f"texts are strings, and filling is what fill does; leave {name} out")
    filler = Filler(model, ScoreOptions.of({**values, "cloze": True, "encoding": "utf-8"}))
    return (filler.fill(text.encode("utf-8", "surrogatepass")) for text in texts)


def _both_sides(model: Model, options: ScoreOptions) -> _Conditionals:
    """By one reading from both sides."""
    import torch

    from charlm.evaluation import bidirectional
    from charlm.model.network import Network
    from charlm.runtime.device import find_device

    network = Network.from_model(model, find_device(options.device))

    def asked(ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return bidirectional.conditionals(network, ids, positions).cpu().numpy()

    return asked


def _one_way(model: Model, options: ScoreOptions) -> _Conditionals:
    """By reading the line with every symbol of the table at each place."""
    reader = BatchScorer(model, device_of(options))
    symbols = np.arange(model.vocabulary.size)

    def asked(ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return np.stack([likelihoods(ids, position) for position in positions])

    def likelihoods(ids: np.ndarray, position: int) -> np.ndarray:
        lines = np.repeat(ids[None], len(symbols), 0)
        lines[:, position] = symbols
        texts = [direction.reading(line, model.options.direction) for line in lines]
        return np.array([-nats.sum(dtype=np.float64) for nats in reader.score_batch(texts, options.batch_size)])

    return asked
