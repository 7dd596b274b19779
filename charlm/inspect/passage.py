"""The text that an inspection reads: what `charlm eval` would read, from its beginning, as far as was asked for.

What is left out: which text that is (`charlm.use.texts`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.config import ReadOptions
from charlm.model.checkpoint import Model
from charlm.text.sources import Report, Source
from charlm.text.symbols import FIRST
from charlm.use.texts import Text, find_text


def passage(
    model: Model,
    text: str | Path | Source | None,
    options: ReadOptions,
    *,
    data: Path = Path("data"),
    report: Report | None = None,
) -> Text:
    """The text that is meant, cut after `options.chars` characters.

    Args:
        model, text, data, report: as in `charlm.use.texts.find_text`.
        options: the split, and how much of it.

    Raises:
        CorpusError: the text or the corpus cannot be used.
        UsageError: a split is given together with a text.
    """
    found = find_text(model, text, split=options.split, data=data, report=report)
    return beginning(model, found, options.chars, report)


def beginning(model: Model, text: Text, characters: int, report: Report | None = None) -> Text:
    """The first characters of a text, ends of documents counted, as arrays in memory; all where it is not longer.

    Args:
        model: whose symbols the ids are.
        text: from `charlm.use.texts.find_text`.
        characters: N at most.
        report: told where the text is longer.
    """
    total = len(text.ids) - 1
    ids = np.array(text.ids[: characters + 1])
    if characters >= total:
        return replace(text, ids=ids)
    if report is not None:
        report(f"reading the first {characters:,} of {total:,} characters; --chars takes more")
    codes = model.symbols.codes[ids[ids >= FIRST].astype(np.int64) - FIRST]
    return replace(
        text, ids=ids, bytes=model.symbols.kind.text_bytes(codes), letters=int(model.symbols.sizes[ids[1:]].sum())
    )
