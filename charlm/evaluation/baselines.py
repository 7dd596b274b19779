"""What a loss is to be held against: chance, counting and compressors, after the training text that the model had.

Rows, all in bits per character of the text and of what ends its documents:

    uniform              every symbol as likely as any other: log2 V
    unigram, 2-gram, …   counting with Kneser & Ney's smoothing (`charlm.evaluation.ngrams`), order by order until one
                         does no better than the one before, which is the last row
    gzip, bzip2, xz      the standard library's compressors (`charlm.evaluation.compressors`)

What is left out: the model's own row (`charlm.evaluation.evaluate`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, log, log2
from time import perf_counter
from typing import Any

import numpy as np

from charlm import memory
from charlm.callbacks import NoticeFn
from charlm.evaluation import compressors, ngrams
from charlm.evaluation.texts import EvalText
from charlm.tokenizers.vocabulary import Vocabulary

MAX_ORDER = 16
"""The highest order of n-grams."""


@dataclass(frozen=True)
class Baseline:
    """One row.

    Attributes:
        name: as in the table above.
        bits_per_char: its loss.
        seconds: learning and scoring took, of a model scoring alone; None for what is known without either.
    """

    name: str
    bits_per_char: float
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """The keys of a row of `charlm eval --baselines --json`."""
        return {"name": self.name, "bits_per_char": self.bits_per_char, "seconds": self.seconds}


def check_memory(train: EvalText, text: EvalText) -> None:
    """Raise a `UsageError` where the baselines of these texts would need more memory than there is."""
    window = compressors.MEMORY_OF_WINDOW * compressors.window(train.bytes + text.bytes)
    needed = max(ngrams.needed(train.ids, text.ids), window)
    memory.check(needed, "counting n-grams for --baselines, and xz's window,", "leave --baselines out")


def baselines(
    train: EvalText, text: EvalText, vocabulary: Vocabulary, *, lines: bool = False, report: NoticeFn | None = None
) -> list[Baseline]:
    """Every row.

    Args:
        train: the text that the model was trained on.
        text: the text that is scored.
        symbols: the table of both.
        lines: whether documents are lines.
        report: told each row as it is known, in one line.
    """
    rows = []
    for row in _rows(train, text, vocabulary, lines):
        if report is not None:
            report(f"baseline {row.name}: {row.bits_per_char:.4f} bits per character")
        rows.append(row)
    return rows


def _rows(train: EvalText, text: EvalText, vocabulary: Vocabulary, lines: bool) -> Iterator[Baseline]:
    of_each = text.symbols / text.characters
    yield Baseline("uniform", log2(vocabulary.size) * of_each, None)
    orders, best = ngrams.surprises(train.ids, text.ids, vocabulary.size), inf
    for order in range(1, MAX_ORDER + 1):
        began = perf_counter()
        loss = float(np.mean(next(orders))) / log(2) * of_each
        yield Baseline("unigram" if order == 1 else f"{order}-gram", loss, perf_counter() - began)
        if loss >= best:
            break
        best = loss

    def reader(of: EvalText) -> Callable[[], Iterator[bytes]]:
        return lambda: compressors.text_bytes(of.ids, vocabulary, lines)

    for name in compressors.COMPRESSOR_NAMES:
        began = perf_counter()
        size = compressors.bits(name, reader(train), reader(text), train.bytes + text.bytes)
        yield Baseline(name, size / text.characters, perf_counter() - began)
