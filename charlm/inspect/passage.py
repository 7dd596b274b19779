"""The text that an inspection reads: what `charlm eval` would read, from its beginning, as far as was asked for.

What is left out: which text that is (`charlm.evaluation.texts`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.callbacks import NoticeFn
from charlm.config import ReadOptions
from charlm.data.corpus import Corpus
from charlm.data.sources import Source
from charlm.evaluation.texts import EvalText, find_text, in_order
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import FIRST_SYMBOL


def passage(
    model: Model,
    text: str | Path | Source | Corpus | None,
    options: ReadOptions,
    *,
    data: str | Path = Path("data"),
    report: NoticeFn | None = None,
) -> EvalText:
    """The text that is meant, cut after `options.chars` characters.

    Args:
        model, text, data, report: as in `charlm.evaluation.texts.find_text`.
        options: the split, and how much of it.

    Raises:
        CorpusError: the text or the corpus cannot be used.
        UsageError: a split is given together with a text.
    """
    text_found = find_text(model, text, split=options.split, data=data, report=report)
    if text_found.left_ids is not None and report is not None:
        report("the model reads from right to left: the text is shown as it reads it, from its end")
    return beginning(model, text_found, options.chars, report)


def beginning(model: Model, text: EvalText, characters: int, report: NoticeFn | None = None) -> EvalText:
    """The first characters of a text from the left, ends of documents counted, as arrays in memory; all where it is not
    longer. A model that reads from the right reads them from the last one on.

    Args:
        model: whose symbols the ids are.
        text: from `charlm.evaluation.texts.find_text`.
        characters: N at most.
        report: told where the text is longer.
    """
    total = len(text.ids) - 1
    ids = np.array(text.ids_from_left[: characters + 1])
    if characters >= total:
        return in_order(model, replace(text, ids=ids, left_ids=None))
    if report is not None:
        report(f"reading the first {characters:,} of {total:,} characters; --chars takes more")
    codes = model.vocabulary.codes[ids[ids >= FIRST_SYMBOL].astype(np.int64) - FIRST_SYMBOL]
    size, n_chars = model.vocabulary.tokenizer.text_bytes(codes), int(model.vocabulary.sizes[ids[1:]].sum())
    return in_order(model, replace(text, ids=ids, left_ids=None, bytes=size, n_chars=n_chars))
