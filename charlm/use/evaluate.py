"""How well a model predicts a text: nats, bits and perplexity per character, every character once.

A text (`charlm.use.texts`) starts cold, from the boundary, and each document's end counts as one
character. A character outside the symbol table is scored as the unknown symbol, and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, log, nan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from charlm import cells, memory
from charlm.config import EvalOptions
from charlm.errors import CharlmError
from charlm.learn import runtime
from charlm.learn.ranks import join
from charlm.model import dynamic, scoring
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.model.scoring import Score
from charlm.text.pages import Pages
from charlm.text.sources import Report, Source
from charlm.text.symbols import BOUNDARY, UNKNOWN
from charlm.use.texts import Text, find_text

Progress = Callable[[int, int, float], None]
"""Called with the characters scored so far, how many there are, and the nats per character so far. An exact
evaluation reads them twice: the default protocol, to be compared, comes second; a dynamic one reads them
once more."""

BLOCK = 1 << 20
"""Symbols that are counted at a time."""


@dataclass(frozen=True)
class Evaluation:
    """A score with its company.

    Attributes:
        score: nats and characters, document ends included.
        bytes: of the text in UTF-8.
        unknown: characters scored as the unknown symbol.
        documents: ends of documents among the characters.
        seconds: scoring took.
        model, text: what was scored with what.
        protocol: how, its lengths included.
        entropy: of the source, in bits per character, where the corpus knows it.
        default_off: of an exact score: how many bits per character the default protocol is above it.
        dynamic: the score with weights that follow the text, where it was asked for.
        dynamic_protocol: how that was made.
    """

    score: Score
    bytes: int
    unknown: int
    documents: int
    seconds: float
    model: str
    text: str
    protocol: str
    entropy: float | None = None
    default_off: float | None = None
    dynamic: Score | None = None
    dynamic_protocol: str = ""

    @property
    def bits_per_byte(self) -> float:
        """All bits over the bytes of the text."""
        return self.score.nats / log(2) / self.bytes if self.bytes else 0.0

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm eval --json`."""
        found: dict[str, Any] = {
            "characters": self.score.characters,
            "bytes": self.bytes,
            "unknown": self.unknown,
            "documents": self.documents,
            "nats_per_char": self.score.nats_per_char,
            "bits_per_char": self.score.bits_per_char,
            "bits_per_byte": self.bits_per_byte,
            "perplexity": self.score.perplexity if isfinite(self.score.perplexity) else None,
            "seconds": self.seconds,
            "chars_per_second": self.score.characters / self.seconds if self.seconds else 0.0,
            "model": self.model,
            "text": self.text,
            "protocol": self.protocol,
        }
        if self.entropy is not None:
            found["entropy_bits_per_char"] = self.entropy
            found["gap_bits_per_char"] = self.score.bits_per_char - self.entropy
        if self.default_off is not None:
            found["default_off_bits_per_char"] = self.default_off if isfinite(self.default_off) else None
        if self.dynamic is not None:
            finite = isfinite(self.dynamic.nats)
            found["dynamic_nats_per_char"] = self.dynamic.nats_per_char if finite else None
            found["dynamic_bits_per_char"] = self.dynamic.bits_per_char if finite else None
            found["dynamic_protocol"] = self.dynamic_protocol
        return found


def evaluate(
    model: Model,
    text: str | Path | Source | None = None,
    *,
    data: Path = Path("data"),
    report: Report | None = None,
    progress: Progress | None = None,
    **values: Any,
) -> Evaluation:
    """Score a text with a model.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: a file, a folder, `-`, an opened source; None for a split of the model's own corpus, which
            can also be given as its prepared folder, where that is not below `data`.
        data: where prepared corpora lie.
        report: told what was chosen, in one line.
        progress: told how many characters are done.
        values: any option of `charlm.config.EvalOptions`.

    Raises:
        CorpusError: the text or the corpus cannot be used.
        UsageError: a split is given together with a text.
    """
    options = EvalOptions.of(values)
    found = find_text(model, text, split=options.split, data=data, report=report)
    return _score(model, found, options, progress, report)


def score_text(model: Model, text: str, **values: Any) -> Evaluation:
    """Score a string, as one document.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: any number of characters.
        values: any option of `charlm.config.EvalOptions`.
    """
    ids = np.concatenate(([BOUNDARY], model.symbols.encode_text(text), [BOUNDARY]))
    size = len(text.encode("utf-8", "surrogatepass"))
    return _score(model, Text("a string", ids, size), EvalOptions.of(values), None, None)


def _score(
    model: Model, text: Text, options: EvalOptions, progress: Progress | None, report: Report | None
) -> Evaluation:
    ranks = join()
    device = runtime.find_device(options.device)
    runtime.set_threads(options.threads)
    runtime.keep_memory()
    runtime.set_precision("float32", device)
    advice = "choose a smaller --batch-size"
    memory.check(_bytes(model, len(text.ids) - 1, options), "scoring so many segments side by side", advice)
    if report is not None:
        report(runtime.describe(device, options.device))
    network = Network(model.options, model.symbols.size).take(model.weights).on(device)
    characters, passes = len(text.ids) - 1, 1 + options.exact + options.dynamic

    def scored(exact: bool, before: int) -> Score:
        told = _of(characters, passes, before, progress)
        bounded = not model.corpus.get("documents")
        if exact:
            return scoring.score(network, text.ids, exact=True, progress=told)
        part = ranks.rank, ranks.world
        found = scoring.score(network, text.ids, bounded=bounded, batch=options.batch_size, part=part, progress=told)
        return ranks.total(found)

    began = perf_counter()
    result = scored(options.exact, 0)
    if not isfinite(result.nats):
        raise CharlmError(
            f"{model.path or 'the model'} gives {text.name} a loss that is no finite number: its state grows without "
            f"bound, as that of a linear or relu rnn can; it cannot be scored"
        )
    seconds = perf_counter() - began
    off = scored(False, characters).bits_per_char - result.bits_per_char if options.exact else None
    told = _of(characters, passes, (passes - 1) * characters, progress)
    return Evaluation(
        score=result,
        bytes=text.bytes,
        unknown=_count(text.ids, UNKNOWN),
        documents=_count(text.ids, BOUNDARY),
        seconds=seconds,
        model=str(model.path or "a model in memory"),
        text=text.name,
        protocol=_protocol(options.exact),
        entropy=text.entropy,
        default_off=off,
        dynamic=_dynamic(model, text, options, device, told, report) if options.dynamic else None,
        dynamic_protocol=_dynamic_protocol(options) if options.dynamic else "",
    )


def _dynamic(
    model: Model,
    text: Text,
    options: EvalOptions,
    device: torch.device,
    progress: scoring.Progress | None,
    report: Report | None,
) -> Score:
    """The score with weights that follow the text; not a number, with a word why, where there is none."""
    rule = dynamic.Rule(options.dynamic_window, options.dynamic_lr, options.dynamic_decay)
    problem = "the weights ran away; choose a smaller --dynamic-lr, or a larger --dynamic-decay"
    try:
        found = dynamic.score(model, text.ids, rule, device, progress)
    except CharlmError as error:  # the static number is to be had all the same
        found, problem = Score(nan, len(text.ids) - 1), str(error)
    if report is not None and not isfinite(found.nats):
        report(f"--dynamic gives no number: {problem}")
    return found


def _bytes(model: Model, characters: int, options: EvalOptions) -> int:
    """What the largest arrays of scoring come to: of each symbol of a window a few rows of V and of H numbers."""
    segments = 1 if options.exact else min(options.batch_size, characters // scoring.SEGMENT + 1)
    gates = len(cells.make(model.options.cell, model.options.activation).gates)
    return 4 * segments * scoring.WINDOW * (3 * model.symbols.size + (gates + 2) * model.options.hidden)


def _of(characters: int, passes: int, before: int, progress: Progress | None) -> scoring.Progress | None:
    """Progress of one of several passes, of which those before it have read `before` characters."""
    if progress is None:
        return None
    return lambda done, nats: progress(before + done, passes * characters, nats / done)


def _count(ids: np.ndarray, symbol: int) -> int:
    """How often a symbol stands behind the first one, a block at a time: the text may be larger than memory."""
    found, pages = 0, Pages(ids)
    for at in range(1, len(ids), BLOCK):
        block = ids[at : at + BLOCK]
        found += int(np.count_nonzero(block == symbol))
        pages.read(block.size)
    return found


def _dynamic_protocol(options: EvalOptions) -> str:
    return (
        f"dynamic: one pass, the weights follow the text every {options.dynamic_window} characters, "
        f"rate {options.dynamic_lr:g}, decay {options.dynamic_decay:g}"
    )


def _protocol(exact: bool) -> str:
    if exact:
        return "exact: one pass, the state carried through the whole text"
    return f"segments of {scoring.SEGMENT} characters, each warmed up on the {scoring.WARM_UP} before it"
