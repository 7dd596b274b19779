"""How well a model predicts a text: nats, bits and perplexity per character, every character once.

A text (`charlm.evaluation.texts`) starts cold, from the boundary, and each document's end counts as one
character. A character (or word) outside the symbol table is scored as the unknown symbol, and counted. Beside
the numbers stand their company: what they would be if unknown symbols had to be spelled out
(`charlm.tokenizers.escape`), an interval (`charlm.evaluation.bootstrap`), and baselines
(`charlm.evaluation.baselines`).

Of words, everything per character is all nats over the characters of the text, so that models of words and of
characters compare; what the words themselves take stands beside, per symbol.
"""

from dataclasses import dataclass
from functools import partial
from math import exp, inf, isfinite, log, nan
from pathlib import Path
from typing import Any

import numpy as np

from charlm.callbacks import EvalProgressFn, NoticeFn
from charlm.config import EvalOptions
from charlm.data.corpus import Corpus
from charlm.data.sources import Source
from charlm.errors import CharlmError, UsageError
from charlm.evaluation import bootstrap, dynamic
from charlm.evaluation.baselines import Baseline, baselines, check_memory
from charlm.evaluation.bootstrap import Interval
from charlm.evaluation.measure import measure, protocol, read_from
from charlm.evaluation.scoring import Score
from charlm.evaluation.texts import EvalText, find_text, in_order, train_text
from charlm.model.checkpoint import Model, check_model
from charlm.runtime.device import find_device
from charlm.runtime.distributed import join
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN


@dataclass(frozen=True)
class Evaluation:
    """A score with its company.

    Attributes:
        score: nats and characters, document ends included.
        symbols: how many the characters are; as many, but for words.
        bytes: of the text in UTF-8.
        unknown: symbols scored as the unknown one.
        escape_bits: bits that writing those out takes, which the score leaves out.
        documents: ends of documents among the symbols.
        seconds: scoring took.
        model, text: what was scored with what.
        protocol: how, its lengths included.
        interval: of the nats per character, at 95 %; None for a short text.
        entropy: of the source, in bits per character, where the corpus knows it.
        entropy_error: its standard error, where it is an estimate.
        default_off: of an exact score: how many bits per character the default protocol is above it.
        baselines: where they were asked for.
        dynamic: the score with weights that follow the text, where it was asked for.
        dynamic_protocol: how that was made.
    """

    score: Score
    symbols: int
    bytes: int
    unknown: int
    escape_bits: float
    documents: int
    seconds: float
    model: str
    text: str
    protocol: str
    interval: Interval | None = None
    entropy: float | None = None
    entropy_error: float | None = None
    default_off: float | None = None
    baselines: list[Baseline] | None = None
    dynamic: Score | None = None
    dynamic_protocol: str = ""

    @property
    def bits_per_byte(self) -> float | None:
        """All bits over the bytes of the text; None if it has none."""
        return self.score.nats / log(2) / self.bytes if self.bytes else None

    @property
    def spelled_bits_per_char(self) -> float:
        """Bits per character with unknown symbols spelled out: a text could be given back from so many."""
        return self.score.bits_per_char + self.escape_bits / self.score.characters

    @property
    def per_symbol(self) -> Score:
        """The same nats over the symbols."""
        return Score(self.score.nats, self.symbols)

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm eval --json`."""
        values: dict[str, Any] = {
            "characters": self.score.characters,
            "symbols": self.symbols,
            "bytes": self.bytes,
            "unknown": self.unknown,
            "documents": self.documents,
            "nats_per_char": self.score.nats_per_char,
            "bits_per_char": self.score.bits_per_char,
            "bits_per_byte": self.bits_per_byte,
            "perplexity": self.score.perplexity if isfinite(self.score.perplexity) else None,
            "spelled_bits_per_char": self.spelled_bits_per_char,
            "bits_per_symbol": self.per_symbol.bits_per_char,
            "perplexity_per_symbol": self.per_symbol.perplexity if isfinite(self.per_symbol.perplexity) else None,
            **self._bounds(),
            "seconds": self.seconds,
            "chars_per_second": self.score.characters / self.seconds if self.seconds else 0.0,
            "model": self.model,
            "text": self.text,
            "protocol": self.protocol,
        }
        if self.entropy is not None:
            values["entropy_bits_per_char"] = self.entropy
            if self.entropy_error is not None:
                values["entropy_error_bits_per_char"] = self.entropy_error
            values["gap_bits_per_char"] = self.score.bits_per_char - self.entropy
        if self.default_off is not None:
            values["default_off_bits_per_char"] = self.default_off if isfinite(self.default_off) else None
        if self.baselines is not None:
            values["baselines"] = [row.to_json() for row in self._by_merit(self.baselines)]
        if self.dynamic is not None:
            finite = isfinite(self.dynamic.nats)
            values["dynamic_nats_per_char"] = self.dynamic.nats_per_char if finite else None
            values["dynamic_bits_per_char"] = self.dynamic.bits_per_char if finite else None
            values["dynamic_protocol"] = self.dynamic_protocol
        return values

    def _bounds(self) -> dict[str, Any]:
        """The ends of the interval in every unit; without one, nothing."""
        ends = (self.interval.low, self.interval.high) if self.interval else (None, None)
        row: dict[str, Any] = {"interval_blocks": self.interval.blocks if self.interval else 0}
        for name, nats in zip(("low", "high"), ends, strict=True):
            perplexity = inf if nats is None or nats > 709 else exp(nats)
            row[f"nats_per_char_{name}"] = nats
            row[f"bits_per_char_{name}"] = None if nats is None else nats / log(2)
            row[f"perplexity_{name}"] = perplexity if isfinite(perplexity) else None
        return row

    def _by_merit(self, rows: list[Baseline]) -> list[Baseline]:
        """The baselines, the model and the entropy, the fewest bits first."""
        own = [Baseline("model", self.score.bits_per_char, self.seconds)]
        if self.entropy is not None:
            kind = "exact" if self.entropy_error is None else "estimated"
            own.append(Baseline(f"{kind} entropy", self.entropy, None))
        return sorted([*rows, *own], key=lambda row: row.bits_per_char)


def evaluate(
    model: Model,
    text: str | Path | Source | Corpus | EvalText | None = None,
    *,
    data: str | Path = Path("data"),
    report: NoticeFn | None = None,
    progress: EvalProgressFn | None = None,
    **values: Any,
) -> Evaluation:
    """Score a text with a model.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: a file, a folder, `-`, an opened source; None for a split of the model's own corpus, which
            can also be given, itself or as its prepared folder, where that is not below `data`.
        data: where prepared corpora lie.
        report: told what was chosen, in one line, and each baseline as it is known.
        progress: told how many characters are done.
        values: any option of `charlm.config.EvalOptions`.

    Raises:
        CorpusError: the text or the corpus cannot be used.
        UsageError: a split is given together with a text, or more memory is needed than there is.
    """
    options = EvalOptions.of(values)
    eval_text = find_text(model, text, split=options.split, data=data, report=report)
    train = train_text(model, text, data=data) if options.baselines else None
    if train is not None:
        model.check_one_way("be held against baselines, which know one side")
        check_memory(train, eval_text)
    if options.dynamic:
        model.check_one_way("follow a text that it already knows the end of")
    starts = bootstrap.block_starts(eval_text.symbols)
    measured = measure(model, eval_text, starts, options, exact=options.exact, progress=progress, report=report)
    rows = None
    if train is not None and join().is_main:
        rows = baselines(train, eval_text, model.vocabulary, lines=model.line_documents, report=report)
    return Evaluation(
        score=Score(measured.score.nats, eval_text.characters),
        symbols=eval_text.symbols,
        bytes=eval_text.bytes,
        unknown=eval_text.count(UNKNOWN),
        escape_bits=eval_text.escape_bits,
        documents=eval_text.count(BOUNDARY),
        seconds=measured.seconds,
        model=model.label,
        text=eval_text.name,
        protocol=protocol(options.exact, model.vocabulary.tokenizer.noun) + read_from(model),
        interval=bootstrap.interval(measured.blocks, eval_text.lengths(starts, model.vocabulary.sizes)),
        entropy=None if model.options.bidirectional else eval_text.entropy,  # which is of one side
        entropy_error=None if model.options.bidirectional else eval_text.entropy_error,
        default_off=None if measured.default_off is None else measured.default_off / eval_text.characters,
        baselines=rows,
        dynamic=_dynamic(model, eval_text, options, progress, report) if options.dynamic else None,
        dynamic_protocol=_dynamic_protocol(options, model.vocabulary.tokenizer.noun) if options.dynamic else "",
    )


def score_text(model: Model, text: str, *, data: str | Path = Path("data"), **values: Any) -> Evaluation:
    """Score a string, as one document and as it stands: ends of lines and byte order marks are characters like others.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: any number of characters.
        data: where prepared corpora lie; baselines need the model's.
        values: any option of `charlm.config.EvalOptions` but the split.

    Raises:
        UsageError: an option is wrong.
    """
    check_model(model)
    options = EvalOptions.of(values)
    if options.split is not None:
        raise UsageError(f"--split {options.split} is of the model's own corpus, and a string is given; leave it out")
    vocabulary = model.vocabulary
    codes = vocabulary.tokenizer.encode_text(text)
    ids = np.concatenate(([BOUNDARY], vocabulary.encode(codes), [BOUNDARY]))
    string = EvalText(
        "a string",
        ids,
        len(text.encode("utf-8", "surrogatepass")),
        n_chars=vocabulary.tokenizer.characters(codes) + 1,
        escape_bits=vocabulary.escape_code.bits(codes[ids[1:-1] == UNKNOWN]),
    )
    return evaluate(model, in_order(model, string), data=data, **values)


def _dynamic(
    model: Model, text: EvalText, options: EvalOptions, progress: EvalProgressFn | None, report: NoticeFn | None
) -> Score:
    """The score with weights that follow the text; not a number, with a word why, where there is none."""
    device = find_device(options.device)
    pass_progress = None if progress is None else partial(_dynamic_progress, progress, text.symbols)
    rule = dynamic.DynamicUpdate(options.dynamic_window, options.dynamic_lr, options.dynamic_decay)
    problem = "the weights ran away; choose a smaller --dynamic-lr, or a larger --dynamic-decay"
    try:
        score = Score(dynamic.score(model, text.ids, rule, device, pass_progress).nats, text.characters)
    except CharlmError as error:  # the static number is to be had all the same
        score, problem = Score(nan, text.characters), str(error)
    if report is not None and not isfinite(score.nats):
        report(f"--dynamic gives no number: {problem}")
    return score


def _dynamic_progress(progress: EvalProgressFn, characters: int, done: int, nats: float) -> None:
    """Progress of the dynamic pass, which comes after the others and counts from the beginning."""
    progress(done, characters, nats / done)


def _dynamic_protocol(options: EvalOptions, noun: str) -> str:
    return (
        f"dynamic: one pass, the weights follow the text every {options.dynamic_window} {noun}s, "
        f"rate {options.dynamic_lr:g}, decay {options.dynamic_decay:g}"
    )
