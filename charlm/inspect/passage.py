"""The text that an inspection reads: what `charlm eval` would read, from its beginning, as far as was asked for.

What is left out: which text that is (`charlm.use.texts`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.config import ReadOptions
from charlm.model.checkpoint import Model
from charlm.text.sources import Report, Source
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
    return replace(found, ids=np.asarray(found.ids[: options.chars + 1]))
