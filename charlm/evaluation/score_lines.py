"""Lines as texts of their own: the bits of each, and, of several models, which one likes a line best.

Each line starts cold, from the boundary. Its end is a symbol to predict where `end` says so. With several models
Bayes' rule on the likelihoods of a line gives each its posterior, all of them being as likely beforehand: the
classification of names by language, with one generative model a language.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import exp, inf, isfinite, log
from time import perf_counter

import numpy as np

from charlm.callbacks import NoticeFn
from charlm.config import ScoreOptions
from charlm.data import direction
from charlm.errors import UsageError
from charlm.evaluation.batch_scorer import BatchScorer
from charlm.evaluation.lines import LINE_PIECE_BYTES, LineIds, Lines, Stretch, body, decoded, line_encoding, line_ends
from charlm.model.checkpoint import Model, check_model
from charlm.spec import AUTO

PAUSE = 0.25
"""Seconds that the lines of a batch may take together: so long may the first of them wait for the last."""

FIRST_ROOM, LEAST_ROOM, MOST_ROOM = 1 << 12, 1 << 10, 1 << 18
"""Bytes of the first batch, and of any: what `PAUSE` allows is known once some were scored. A short line takes about
fifty times its bytes while it is in a batch."""

TORCH_LOAD_SECONDS = 1.0
"""Seconds that loading torch takes. When NumPy has worked as long while lines were waiting, it is worth it: at the
worst, that comes to twice the time of whichever would have been right from the start."""

BATCH = 1024
"""Texts that `score_lines` takes together."""


@dataclass(frozen=True)
class LineScore:
    """How surprised one model is by one line.

    Attributes:
        bits: summed over the symbols; infinite where the model gives no finite number.
        characters: how many, the line's end among them where it is scored.
        unknown: how many symbols were scored as the unknown one.
        escape_bits: bits that writing those out takes beside (`charlm.tokenizers.escape`).
        per_char: (symbols,) bits of each, float32, where they were asked for.
    """

    bits: float
    characters: int
    unknown: int
    escape_bits: float
    per_char: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Scored:
    """A line and what each model says of it.

    Attributes:
        line: as it came, its end included.
        encoding: of the line.
        scores: by the models' names.
    """

    line: bytes
    encoding: str
    scores: dict[str, LineScore]

    @property
    def text(self) -> str:
        """The line without its end; what cannot be decoded is U+FFFD."""
        return body(self.line).decode(self.encoding, "replace")

    @property
    def posteriors(self) -> dict[str, float]:
        """The probability of each model given the line, all being as likely before; nan where no number is finite."""
        best = min(score.bits for score in self.scores.values())
        odds = {name: exp((best - score.bits) * log(2)) if best < inf else inf for name, score in self.scores.items()}
        total = sum(odds.values())
        return {name: share / total for name, share in odds.items()}

    @property
    def likeliest(self) -> str:
        """The model that gives the line the fewest bits, the first of several."""
        return min(self.scores, key=lambda name: self.scores[name].bits)


def score_lines(
    models: Model | Mapping[str, Model],
    texts: Iterable[str],
    *,
    per_char: bool = False,
    report: NoticeFn | None = None,
    **values: object,
) -> Iterator[Scored]:
    """Score texts, each by itself.

    Args:
        models: from `charlm.model.checkpoint.load`; one, which is then called `model`, or several by name.
        texts: any number of them; a line end at the end of one is that of the line, and a byte order mark before the
            first is left out, as of a file.
        per_char: keep the bits of each symbol.
        report: told what was chosen, in one line.
        values: any option of `charlm.config.ScoreOptions` but the encoding, and those of gaps.

    Raises:
        UsageError: there is no model, or a model cannot score the wanted end.
    """
    if "encoding" in values:
        raise UsageError("texts are strings and have no encoding; leave encoding out")
    options = ScoreOptions.of({**values, "encoding": "utf-8"})
    if options.cloze:
        raise UsageError("cloze fills gaps, which charlm.fill does; leave it out, or call that")
    named = models if isinstance(models, Mapping) else {"model": models}
    return _listed(Scorer(named, options, per_char=per_char, report=report), iter(texts))


def _listed(scorer: "Scorer", texts: Iterator[str]) -> Iterator[Scored]:
    while batch := [text.encode("utf-8", "surrogatepass") for text in islice(texts, BATCH)]:
        yield from scorer.score(batch, waiting=True)


def score_stream(scorer: "Scorer", lines: Lines) -> Iterator[list[Scored]]:
    """Score lines as they arrive, those at hand together, in their order.

    Raises:
        CorpusError: the lines cannot be read.
    """
    try:
        while batch := lines.take(scorer.room):
            yield scorer.score(batch, waiting=lines.waiting)
    finally:
        lines.close()


class Scorer:
    """Models that score lines.

    Args:
        models: at least one, by name.
        options: how.
        per_char: keep the bits of each symbol.
        report: told what was chosen, and of the first line that cannot be decoded.

    Attributes:
        room: bytes of lines that should be scored together, by the speed so far.

    Raises:
        UsageError: there is no model, one cannot score the wanted end, or the encoding does not tell lines apart.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        options: ScoreOptions,
        *,
        per_char: bool = False,
        report: NoticeFn | None = None,
    ) -> None:
        if not models:
            raise UsageError("no model is given, and at least one is needed")
        for model in models.values():
            check_model(model)
            model.check_one_way("score lines by what comes before each character")
        self.room = FIRST_ROOM
        self._report = report or (lambda line: None)
        decoding = [model for model in models.values() if model.vocabulary.tokenizer.decodes]
        self._decodes = bool(decoding)
        self._encoding = line_encoding((model.encoding for model in decoding), options.encoding)
        tables = {name: (model.vocabulary, model.line_documents) for name, model in models.items()}
        ends = line_ends(tables, options.end)
        if options.end == AUTO and None in ends.values():
            self._report("the end of a line is not scored: a model's text had no line ends; --end says otherwise")
        device = device_of(options)
        self._judges = {
            name: _ModelScorer(
                BatchScorer(model, device),
                LineIds(model.vocabulary, self._encoding, ends[name]),
                options.batch_size,
                per_char,
                model.options.direction,
            )
            for name, model in models.items()
        }
        self._lines, self._spent, self._told = 0, 0.0, False

    def score(self, lines: Sequence[bytes], *, waiting: bool) -> list[Scored]:
        """Score some lines.

        Args:
            lines: each with its end, if it has one.
            waiting: whether more are at hand.
        """
        if self._spent >= TORCH_LOAD_SECONDS:
            for judge in self._judges.values():
                judge.reader.load()
        began = perf_counter()
        bodies = [body(line) for line in lines]
        for number, line in enumerate(bodies, self._lines + 1):
            self._look(number, line)
        line_scores = {name: judge.score(bodies, first=self._lines == 0) for name, judge in self._judges.items()}
        self._lines += len(lines)
        self._learn_speed(sum(map(len, lines)), perf_counter() - began, waiting)
        return [
            Scored(line, self._encoding, {name: scores[index] for name, scores in line_scores.items()})
            for index, line in enumerate(lines)
        ]

    def _learn_speed(self, size: int, seconds: float, waiting: bool) -> None:
        """What fits into `PAUSE`, and how long lines have queued."""
        if 2 * size >= self.room:
            fits = min(int(size / max(seconds, 1e-6) * PAUSE), 4 * self.room)
            self.room = min(max(fits, LEAST_ROOM), MOST_ROOM)
        self._spent += seconds if waiting else 0.0

    def _look(self, number: int, line: bytes) -> None:
        """Say once that a line cannot be decoded."""
        if self._told or not self._decodes or line.isascii():
            return
        try:
            for _ in decoded(line, self._encoding, "strict"):
                pass
        except UnicodeError:
            self._told = True
            self._report(
                f"line {number} is not {self._encoding}: what cannot be decoded, there and in lines to come, is read "
                f"as U+FFFD; --encoding names another encoding"
            )


@dataclass(frozen=True)
class _ModelScorer:
    """One model that scores lines."""

    reader: BatchScorer
    ids: LineIds
    batch: int
    per_char: bool
    direction: str

    def score(self, bodies: list[bytes], *, first: bool) -> list[LineScore]:
        """Scores of lines, of which the first may be the first of the text."""
        firsts = [first and index == 0 for index in range(len(bodies))]
        read = [
            list(self.ids.stretches(line, first=at_start))
            for line, at_start in zip(bodies, firsts, strict=True)
            if len(line) <= LINE_PIECE_BYTES
        ]
        ids = [np.concatenate([stretch.ids for stretch in stretches]) for stretches in read]
        short = map(self._sum, read, self._nats(ids))
        return [
            next(short) if len(line) <= LINE_PIECE_BYTES else self._long(line, at_start)
            for line, at_start in zip(bodies, firsts, strict=True)
        ]

    def _nats(self, texts: list[np.ndarray]) -> list[np.ndarray]:
        """The nats (n,) of the symbols of each text (n + 1,) but the first, from the left."""
        nats = self.reader.score_batch([direction.reading(ids, self.direction) for ids in texts], self.batch)
        return [direction.from_left(ids, losses, self.direction) for ids, losses in zip(texts, nats, strict=True)]

    def _sum(self, stretches: list[Stretch], nats: np.ndarray) -> LineScore:
        """The score of a line from its stretches and the nats (n,) of all symbols but the first."""
        bits = nats / np.float32(log(2))
        each = bits if self.per_char else None
        return LineScore(
            _finite(bits),
            sum(stretch.characters for stretch in stretches),
            sum(stretch.unknown for stretch in stretches),
            sum(stretch.escape_bits for stretch in stretches),
            each,
        )

    def _long(self, line: bytes, first: bool) -> LineScore:
        """A line of any length, in memory that does not grow with it but for the bits of each symbol, and for the line
        itself where it is read from its end."""
        characters, unknown, spelling = 0, 0, 0.0

        def counted() -> Iterator[np.ndarray]:
            nonlocal characters, unknown, spelling
            for stretch in self.ids.stretches(line, first=first):
                characters += stretch.characters
                unknown += stretch.unknown
                spelling += stretch.escape_bits
                yield stretch.ids

        bits, symbol_bits, all_ids, pieces = 0.0, [], np.zeros(0, np.int64), counted()
        if self.direction == direction.BACKWARD:
            all_ids = np.concatenate(list(pieces))
            pieces = iter([direction.reading(all_ids, self.direction)])
        for nats in self.reader.score_stream(pieces):
            bits_now = nats / np.float32(log(2))
            bits += _finite(bits_now)
            if self.per_char:
                symbol_bits.append(bits_now)
        each = direction.from_left(all_ids, np.concatenate(symbol_bits), self.direction) if self.per_char else None
        return LineScore(bits, characters, unknown, spelling, each)


def _finite(bits: np.ndarray) -> float:
    """The sum of bits; infinite where a state grew beyond all numbers."""
    total = float(bits.sum(dtype=np.float64))
    return total if isfinite(total) else inf


def device_of(options: ScoreOptions) -> str:
    """Where to compute; torch is loaded only for what is not the CPU, or where threads are to be counted."""
    if options.device == "cpu":
        return "cpu"
    from charlm.runtime.device import find_device

    return str(find_device(options.device))
