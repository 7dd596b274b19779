"""How new a text is beside the one that its model learned from: what is copied, and how much occurs nowhere in it.

    novelty(model, ["ROMEO:\\nWhat, ho!", …])

An n-gram of a text is known where the longest match that begins there has n symbols or more, so that one pass of
`charlm.evaluation.suffix_array` answers for every n. The same is measured of as much text that nobody trained on, the
beginning
of the valid split: what the same author wrote anew. A passage that is copied lies within one document of the training
text and one of the sample, and so does an n-gram.
What is left out: drawing the text (`charlm.sampling.sample`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.callbacks import NoticeFn
from charlm.data.corpus import Corpus
from charlm.errors import CorpusError, UsageError
from charlm.evaluation.suffix_array import Matches, check_library, check_memory, longest_matches
from charlm.evaluation.texts import own_corpus
from charlm.model.checkpoint import Model, check_model
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

SIZES = range(2, 31)
"""The n of the n-grams that are counted."""

WITHOUT_NOVELTY = "leave out --novelty"


@dataclass(frozen=True)
class Span:
    """A passage of a text that the training text has word for word.

    Attributes:
        length: symbols; 0 where no symbol of the text occurs there.
        at: where it begins in the text, in symbols from 0.
        offset: where it begins in the training text, in symbols from 0, ends of documents counted only where
            lines are documents. It may stand elsewhere too. None where there is no passage.
        text: the passage.
    """

    length: int
    at: int
    offset: int | None
    text: str


@dataclass(frozen=True)
class Novelty:
    """How new one text is.

    Attributes:
        characters: of the text, as its symbols; ends of line documents counted.
        new: of each n from 2 to 30 the share of its n-grams that the training text does not have; None where it
            has no n-gram of that length.
        longest: the longest passage that the training text has.
    """

    characters: int
    new: dict[int, float | None]
    longest: Span

    def to_json(self) -> dict[str, Any]:
        """The keys of a novelty in `charlm sample --jsonl`."""
        return {
            "characters": self.characters,
            "new": {str(size): share for size, share in self.new.items()},
            "longest": vars(self.longest),
        }


@dataclass(frozen=True)
class Findings:
    """How new some texts are.

    Attributes:
        samples: each for itself.
        together: all of them; the place of its longest passage is that in the sample that has it.
        beside: as much text of the valid split, or of test where there is none; None where the corpus has neither.
        train, other: what they were held against, and what stands beside them.
    """

    samples: list[Novelty]
    together: Novelty
    beside: Novelty | None
    train: str
    other: str | None

    def to_json(self, index: int) -> dict[str, Any]:
        """The value of `novelty` for one sample in `charlm sample --jsonl`."""
        return {**self.samples[index].to_json(), "train": self.train, "beside": self.other_to_json()}

    def other_to_json(self) -> dict[str, Any] | None:
        """The value of `beside` there."""
        return None if self.beside is None else {"text": self.other, **self.beside.to_json()}


@dataclass(frozen=True)
class Reference:
    """The text that a model learned from, and text of the same corpus that it did not learn from."""

    corpus: Corpus
    train: np.ndarray
    other: np.ndarray | None
    other_name: str | None

    @property
    def symbols(self) -> Vocabulary:
        """The table of both."""
        return self.corpus.vocabulary

    @property
    def lines(self) -> bool:
        """Whether each line is a document, so that a line's end is the end of one."""
        return self.corpus.options.documents == "line"


def novelty(
    model: Model, texts: str | Sequence[str], *, data: str | Path = Path("data"), report: NoticeFn | None = None
) -> Findings:
    """Hold texts against the one that a model learned from.

    Args:
        model: from `charlm.model.checkpoint.load`; its corpus must be at hand.
        texts: one or more, as written; a character outside the model's table counts as the unknown symbol.
        data: where prepared corpora lie.
        report: told what they are held against, in one line.

    Raises:
        CorpusError: the model's corpus is not there, or another one has its place.
        UsageError: there is no text, pydivsufsort is not installed, or the text does not fit into memory.
    """
    check_model(model)
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise UsageError("novelty is of one text or more, got none; give a text")
    return measure(find_reference(model, sum(map(len, texts)), data=data, report=report), texts)


def find_reference(
    model: Model, characters: int, *, data: str | Path = Path("data"), report: NoticeFn | None = None
) -> Reference:
    """What texts of so many characters will be held against; all that can be refused is refused here.

    Raises:
        CorpusError, UsageError: as in `novelty`.
    """
    check_library()
    try:
        corpus = own_corpus(model, data=data, otherwise=WITHOUT_NOVELTY)
    except CorpusError as error:
        raise CorpusError(f"--novelty needs the text that the model learned from: {error}") from None
    train = corpus.checked("train")
    split = next((split for split in ("valid", "test") if corpus.has(split)), None)
    check_memory(corpus.vocabulary.dtype, len(train), 2 * characters, WITHOUT_NOVELTY)
    if report is not None:
        report(f"novelty: against the train split of {corpus.path}")
    other = None if split is None else corpus.checked(split)[1:]
    return Reference(corpus, train, other, None if split is None else f"{corpus.path}:{split}")


def measure(reference: Reference, texts: Sequence[str]) -> Findings:
    """Hold texts against a reference."""
    all_ids = [_ids(reference, text) for text in texts]
    size = sum(len(ids) for ids in all_ids)
    if reference.other is not None:
        all_ids.append(np.array(reference.other[:size]))
    query = np.concatenate([piece for ids in all_ids for piece in (ids, np.zeros(1, reference.symbols.dtype))])
    matches, room = longest_matches(reference.train, query), _room(query)
    rows, first = [], 0
    for ids in all_ids:
        rows.append(_novelty(reference, query, matches, room, slice(first, first + len(ids))))
        first += len(ids) + 1
    beside = rows.pop() if reference.other is not None else None
    everything = slice(0, size + len(texts))
    longest = max((one.longest for one in rows), key=lambda span: span.length)
    together = Novelty(size, _new(matches.lengths[everything], room[everything]), longest)
    return Findings(rows, together, beside, f"{reference.corpus.path}:train", reference.other_name)


def _ids(reference: Reference, text: str) -> np.ndarray:
    """The symbols (L,) of a text as it is written."""
    codes = reference.symbols.tokenizer.encode_text(text)
    ids = reference.symbols.encode(codes)
    if reference.lines:
        ids[codes == reference.symbols.tokenizer.line_feed] = BOUNDARY
    return ids


def _room(query: np.ndarray) -> np.ndarray:
    """How many symbols there are from each place (Q,) to the next boundary."""
    ends = np.flatnonzero(query == BOUNDARY)
    positions = np.arange(len(query))
    return ends[np.searchsorted(ends, positions)] - positions


def _new(lengths: np.ndarray, room: np.ndarray) -> dict[int, float | None]:
    """Of each n the share of places with room for an n-gram where no match is as long."""
    there = {size: int(np.count_nonzero(room >= size)) for size in SIZES}
    known = {size: int(np.count_nonzero(lengths >= size)) for size in SIZES}
    return {size: 1 - known[size] / there[size] if there[size] else None for size in SIZES}


def _novelty(reference: Reference, query: np.ndarray, matches: Matches, room: np.ndarray, span: slice) -> Novelty:
    lengths = matches.lengths[span]
    return Novelty(len(lengths), _new(lengths, room[span]), _longest(reference, query[span], matches, span))


def _longest(reference: Reference, ids: np.ndarray, matches: Matches, span: slice) -> Span:
    lengths = matches.lengths[span]
    if not lengths.any():
        return Span(0, 0, None, "")
    at = int(lengths.argmax())
    length, position = int(lengths[at]), int(matches.places[span][at])
    before = reference.train[1:position]  # the boundary at the beginning is no character
    ends = 0 if reference.lines else int(np.count_nonzero(before == BOUNDARY))
    return Span(length, at, position - 1 - ends, reference.symbols.decode(ids[at : at + length]))
