"""Which of several models is better on one text, and whether that could be chance.

Models are compared on the same characters. What one of them finds hard the other does too, so that the differences
over pieces of the text vary much less than the losses do; their interval (`charlm.evaluation.bootstrap`) is the one
that counts. Models of characters and of bytes can be paired where the bytes are UTF-8: the bits of a character are
those of its bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from charlm import memory
from charlm.callbacks import EvalProgressFn, NoticeFn
from charlm.config import MeasureOptions
from charlm.data.corpus import Corpus
from charlm.data.sources import Source, open_sources
from charlm.errors import CorpusError, UsageError
from charlm.evaluation import bootstrap
from charlm.evaluation.bootstrap import Interval
from charlm.evaluation.measure import Measure, measure, protocol, read_from
from charlm.evaluation.texts import EvalText, find_text, is_prepared
from charlm.model.checkpoint import Model, check_model
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, UNKNOWN, Vocabulary

ANY, END = -2, -1
"""What stands for a character that cannot be known, and for the end of a document."""

BYTES_PAIRED = 40
"""What pairing takes, in bytes per symbol."""


@dataclass(frozen=True)
class ModelScore:
    """One model on the text.

    Attributes:
        model: what to call it.
        bits_per_char: its loss.
        interval: of that; None for a short text.
        unknown: symbols that it scored as the unknown one.
    """

    model: str
    bits_per_char: float
    interval: Interval | None
    unknown: int

    def to_json(self) -> dict[str, Any]:
        """The keys of a model in `charlm compare --json`."""
        row: dict[str, Any] = {"model": self.model, "bits_per_char": self.bits_per_char}
        return row | _ends(self.interval) | {"unknown": self.unknown}


@dataclass(frozen=True)
class Difference:
    """The best model and another one.

    Attributes:
        better, worse: what they are called.
        bits_per_char: by which the first is below the second.
        interval: of that; None for a short text.
    """

    better: str
    worse: str
    bits_per_char: float
    interval: Interval | None

    @property
    def beyond_chance(self) -> bool | None:
        """Whether the whole interval is on one side of zero; None without one."""
        return None if self.interval is None else self.interval.low > 0

    def to_json(self) -> dict[str, Any]:
        """The keys of a difference in `charlm compare --json`."""
        row: dict[str, Any] = {"better": self.better, "worse": self.worse, "bits_per_char": self.bits_per_char}
        return row | _ends(self.interval) | {"beyond_chance": self.beyond_chance}


@dataclass(frozen=True)
class Comparison:
    """Several models on one text.

    Attributes:
        models: the best first.
        differences: of the best one from each other.
        characters: of the text, document ends included.
        text, protocol: what was scored, and how.
    """

    models: list[ModelScore]
    differences: list[Difference]
    characters: int
    text: str
    protocol: str

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm compare --json`."""
        return {
            "text": self.text,
            "characters": self.characters,
            "protocol": self.protocol,
            "models": [standing.to_json() for standing in self.models],
            "differences": [difference.to_json() for difference in self.differences],
        }


def compare(
    models: Iterable[Model],
    text: str | Path | Source | Corpus | None = None,
    *,
    data: str | Path = Path("data"),
    report: NoticeFn | None = None,
    progress: EvalProgressFn | None = None,
    **values: Any,
) -> Comparison:
    """Score one text with several models.

    Args:
        models: two or more, from `charlm.model.checkpoint.load`.
        text: as for `charlm.evaluation.evaluate.evaluate`; None for a split of the models' own corpus.
        data: where prepared corpora lie.
        report: told what was chosen, in one line.
        progress: told how many symbols are done, of all models.
        values: any option of `charlm.config.MeasureOptions`.

    Raises:
        CorpusError: the text cannot be used, or is another one for another model.
        UsageError: there are fewer than two models, or a split is given together with a text.
    """
    options = MeasureOptions.of(values)
    models = list(models)
    for model in models:
        check_model(model)
    if len(models) < 2:
        raise UsageError(f"comparing needs two models or more, got {len(models)}; charlm eval scores one")
    names = [model.run_label for model in models]
    texts = _texts(models, text, options, data, report)
    block_starts = _paired(names, texts, [model.vocabulary for model in models])
    starts, characters = bootstrap.block_starts(len(block_starts[0])), len(block_starts[0])
    lengths = np.diff(starts, append=characters)
    if models[0].vocabulary.tokenizer.longer:
        characters, lengths = texts[0].characters, texts[0].lengths(starts, models[0].vocabulary.sizes)
    measures = _measured(models, texts, [place[starts] for place in block_starts], options, progress, report)
    nats, sums = [each.score.nats for each in measures], [each.blocks for each in measures]

    def bits(nats: float) -> float:
        return nats / characters / log(2)

    def interval(sums: np.ndarray) -> Interval | None:
        return bootstrap.interval(sums / log(2), lengths)

    best, *others = order = sorted(range(len(models)), key=lambda number: nats[number])
    return Comparison(
        models=[ModelScore(names[n], bits(nats[n]), interval(sums[n]), texts[n].count(UNKNOWN)) for n in order],
        differences=[
            Difference(names[best], names[n], bits(nats[n] - nats[best]), interval(sums[n] - sums[best]))
            for n in others
        ],
        characters=characters,
        text=texts[0].name,
        protocol=protocol(False, models[0].vocabulary.tokenizer.noun)
        + (read_from(models[0]) if models[0].options.bidirectional else ""),
    )


def _texts(
    models: Sequence[Model],
    text: str | Path | Source | Corpus | None,
    options: MeasureOptions,
    data: str | Path,
    report: NoticeFn | None,
) -> list[EvalText]:
    """The text as each model reads it; opened once, as stdin can be read only once."""
    if not all(model.options.bidirectional for model in models):
        for model in models:
            model.check_one_way("be compared with models that know one side")
    opened = text
    if not (text is None or isinstance(text, Source | Corpus) or is_prepared(text)):
        opened = open_sources([text], report=report)
    return [
        find_text(model, opened, split=options.split, data=data, report=report if number == 0 else None)
        for number, model in enumerate(models)
    ]


def _measured(
    models: Sequence[Model],
    texts: Sequence[EvalText],
    starts: Sequence[np.ndarray],
    options: MeasureOptions,
    progress: EvalProgressFn | None,
    report: NoticeFn | None,
) -> list[Measure]:
    """What each model makes of its text, and of the pieces (K,) that begin at its symbols `starts`."""
    measures: list[Measure] = []
    total, before = sum(text.symbols for text in texts), 0
    for model, text, block_starts in zip(models, texts, starts, strict=True):
        model_progress = _further(progress, before, total)
        measures.append(
            measure(model, text, block_starts, options, progress=model_progress, report=None if measures else report)
        )
        before += text.symbols
    return measures


def _ends(interval: Interval | None) -> dict[str, Any]:
    return {"bits_per_char_low": interval and interval.low, "bits_per_char_high": interval and interval.high}


def _further(progress: EvalProgressFn | None, before: int, characters: int) -> EvalProgressFn | None:
    if progress is None:
        return None
    return lambda done, total, nats: progress(before + done, characters, nats)


def _paired(names: Sequence[str], texts: Sequence[EvalText], tables: Sequence[Vocabulary]) -> list[np.ndarray]:
    """Where each character begins (N,) among the symbols of each text.

    Raises:
        CorpusError: the texts are not the same.
        UsageError: symbols are words of several tables.
    """
    memory.check(BYTES_PAIRED * max(text.symbols for text in texts) * len(texts), "comparing", "give a shorter text")
    if len(set(tables)) > 1 and any(symbols.tokenizer.longer for symbols in tables):
        raise UsageError(
            "models of words are compared with models of the same table of words alone; hold spelled_bits_per_char of "
            "charlm eval --json, one model after the other, against others"
        )
    mixed = len({symbols.unit for symbols in tables}) > 1
    characters = [_characters(text, symbols, mixed) for text, symbols in zip(texts, tables, strict=True)]
    first = characters[0][0]
    for name, text, (codes, _) in zip(names, texts, characters, strict=True):
        same = len(codes) == len(first) and bool(((codes == first) | (codes == ANY) | (first == ANY)).all())
        if not same:
            raise CorpusError(
                f"{names[0]} and {name} do not read the same text: {texts[0].name} has {len(first):,} characters, "
                f"{text.name} has {len(codes):,}{', others' * (len(codes) == len(first))}; "
                f"compare models whose corpora were prepared alike, or give another text"
            )
    return [positions for _, positions in characters]


def _characters(text: EvalText, vocabulary: Vocabulary, mixed: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the characters (N,) are from the left, and where each begins among the symbols; or the bytes, where all have
    bytes."""
    table: np.ndarray = np.arange(vocabulary.size, dtype=np.int32)  # of words, which are of one table, their ids
    if not vocabulary.tokenizer.longer:
        table[FIRST_SYMBOL:] = vocabulary.codes
    table[[BOUNDARY, UNKNOWN]] = END, ANY
    codes = table[np.asarray(text.ids_from_left[1:])]
    if not mixed:
        return codes, np.arange(len(codes))
    positions = np.arange(len(codes))
    if vocabulary.unit == "byte":  # in UTF-8, every byte of a character but its first is from 0x80 to 0xBF
        positions = np.flatnonzero((codes < 0x80) | (codes >= 0xC0))
        codes = codes[positions]
    return np.where(codes >= 0x80, ANY, codes), positions
