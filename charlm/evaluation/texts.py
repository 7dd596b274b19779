"""The text that a model is to read: a split of its own corpus, or any other text.

Any other is treated as the model's corpus was: unit, encoding, line ends, documents. Whoever takes a text from here has
it in the order in which the model reads (`charlm.data.direction`).
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeGuard

import numpy as np

from charlm.callbacks import NoticeFn
from charlm.data import direction
from charlm.data.corpus import INFO, Corpus, find_corpus, is_name
from charlm.data.memmap import PageReleaser
from charlm.data.sources import Source, open_sources
from charlm.data.symbol_stream import encode_source
from charlm.errors import CorpusError, UsageError
from charlm.evaluation.block_losses import BlockLosses
from charlm.files import present
from charlm.model.checkpoint import Model, check_model
from charlm.tokenizers.vocabulary import UNKNOWN

COUNT_SYMBOLS = 1 << 20
"""Symbols that are counted at a time."""


@dataclass(frozen=True)
class EvalText:
    """A text as ids.

    Attributes:
        name: what to call it.
        ids: (N + 1,) symbols in the order in which the model reads them, the boundary first.
        bytes: of the text in UTF-8.
        entropy: of its source, in bits per character, if that is known.
        entropy_error: its standard error, if it is an estimate.
        n_chars: its characters, ends of documents counted; None if each symbol is one.
        escape_bits: bits that writing out its unknown symbols takes (`charlm.tokenizers.escape`).
        left_ids: (N + 1,) the symbols from the left, the boundary first; None if the model reads from the left too.
    """

    name: str
    ids: np.ndarray
    bytes: int
    entropy: float | None = None
    entropy_error: float | None = None
    n_chars: int | None = None
    escape_bits: float = 0.0
    left_ids: np.ndarray | None = None

    @property
    def symbols(self) -> int:
        """N: the symbols that are scored."""
        return len(self.ids) - 1

    @property
    def characters(self) -> int:
        """Of the text, ends of documents counted."""
        return self.symbols if self.n_chars is None else self.n_chars

    @property
    def ids_from_left(self) -> np.ndarray:
        """(N + 1,) the symbols from the left, the boundary first."""
        return self.ids if self.left_ids is None else self.left_ids

    def block_losses(self, starts: np.ndarray) -> BlockLosses:
        """Sums of losses over blocks that begin at positions (K,) from the left, to be filled in reading order."""
        return BlockLosses(starts, None if self.left_ids is None else partial(direction.positions, self.left_ids))

    def count(self, symbol: int) -> int:
        """How often a symbol is to be predicted; a block at a time, as the text may be larger than memory."""
        count, pages = 0, PageReleaser(self.ids)
        for at in range(1, len(self.ids), COUNT_SYMBOLS):
            block = self.ids[at : at + COUNT_SYMBOLS]
            count += int(np.count_nonzero(block == symbol))
            pages.advance(block.size)
        return count

    def lengths(self, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The characters (K,) of the blocks that begin at some symbols (K,).

        An unknown symbol counts as the mean of all unknown ones, as nothing else is known of it.

        Args:
            starts: rising, the first 0, counted from the left; or none.
            sizes: (V,) characters of each symbol, 0 for the unknown one.
        """
        if self.n_chars is None or not len(starts):
            return np.diff(starts, append=self.symbols)
        known, unknown, pages = self.block_losses(starts), self.block_losses(starts), PageReleaser(self.ids)
        for at in range(1, len(self.ids), COUNT_SYMBOLS):
            block = self.ids[at : at + COUNT_SYMBOLS]
            positions = np.arange(at - 1, at - 1 + len(block))
            known.add(positions, sizes[block].astype(np.float64))
            unknown.add(positions, (block == UNKNOWN).astype(np.float64))
            pages.advance(block.size)
        rest = self.n_chars - known.nats.sum()
        return known.nats + unknown.nats * rest / max(1.0, unknown.nats.sum())


def find_text(
    model: Model,
    text: str | Path | Source | Corpus | EvalText | None = None,
    *,
    split: str | None = None,
    data: str | Path = Path("data"),
    report: NoticeFn | None = None,
) -> EvalText:
    """The text that is meant.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: a file, a folder, `-`, an opened source, or a text that was found before; None for a split of the model's
            own corpus, which can also be given, itself or as its prepared folder, if that is not below `data`.
        split: of its own corpus; None for test, or valid where there is no test split.
        data: where prepared corpora lie.
        report: told what was chosen, in one line.

    Raises:
        CorpusError: the text or the corpus cannot be used.
        UsageError: a split is given together with a text.
    """
    check_model(model)
    if isinstance(text, EvalText):
        return text
    if text is None or isinstance(text, Corpus) or is_prepared(text):
        return in_order(model, _own_split(own_corpus(model, text, data=data), split, report))
    if split is not None:
        name = ", ".join(text.origin) if isinstance(text, Source) else text
        raise UsageError(f"--split {split} is of the model's own corpus, {name} is another text; give one of them")
    return in_order(model, _given(model, text, report))


def train_text(
    model: Model, text: str | Path | Source | Corpus | EvalText | None = None, *, data: str | Path = Path("data")
) -> EvalText:
    """The text that a model was trained on: the train split of its own corpus.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: what it is scored on; where that is the model's own corpus, or its folder, it is taken from there.
        data: where prepared corpora lie.

    Raises:
        CorpusError: it is not there, or has another text by now.
    """
    own = text if isinstance(text, Corpus) or is_prepared(text) else None
    try:
        corpus = own_corpus(model, own, data=data, otherwise="leave out --baselines")
    except CorpusError as error:
        raise CorpusError(f"the text that the model was trained on is needed too: {error}") from None
    return in_order(model, _split_text(corpus, "train"))


def in_order(model: Model, text: EvalText) -> EvalText:
    """A text, as it is from the left, in the order in which a model reads."""
    if model.options.direction != direction.BACKWARD:
        return text
    return replace(text, ids=direction.reading(text.ids, model.options.direction), left_ids=text.ids)


def is_prepared(text: str | Path | Source | EvalText | None) -> TypeGuard[str | Path]:
    """Whether a text is named by the folder of a prepared corpus."""
    return isinstance(text, str | Path) and present(Path(text) / INFO)


def own_corpus(
    model: Model,
    word: str | Path | Corpus | None = None,
    *,
    data: str | Path = Path("data"),
    otherwise: str = "give another text",
) -> Corpus:
    """The corpus that a model was trained on.

    Args:
        model: from `charlm.model.checkpoint.load`.
        word: it, or where it is; None for the folder below `data` that the model names.
        data: where prepared corpora lie.
        otherwise: what its user can do without it.

    Raises:
        CorpusError: it is not there, or another one has its place.
    """
    source = word or _corpus_name(model, otherwise)
    try:
        corpus = source if isinstance(source, Corpus) else Corpus.load(find_corpus(source, Path(data)))
    except CorpusError as error:
        raise CorpusError(f"{error}, or {otherwise}") from None
    if corpus.identity() != model.corpus or corpus.vocabulary != model.vocabulary:
        raise CorpusError(
            f"{corpus.path} is not the corpus {model.path or 'the model'} was trained on (another text, or other "
            f"options); "
            f"prepare that text again, or {otherwise}"
        )
    return corpus


def _corpus_name(model: Model, otherwise: str) -> str:
    """The name of the model's corpus. It stands in the model's file, and must not lead anywhere else on the disk."""
    name = str(model.corpus.get("name", ""))
    if not is_name(name):
        raise CorpusError(
            f"{model.path or 'the model'} names no corpus that can be looked for, got {name!r:.80}; {otherwise}"
        )
    return name


def _own_split(corpus: Corpus, split: str | None, report: NoticeFn | None) -> EvalText:
    """The split that was asked for; else test, or valid where there is no test."""
    chosen = split or ("test" if corpus.has("test") else "valid")
    if report is not None:
        why = "" if split or chosen == "test" else ", which has no test split"
        report(f"text: the {chosen} split of {corpus.path}{why}")
    return _split_text(corpus, chosen)


def _split_text(corpus: Corpus, split: str) -> EvalText:
    return EvalText(
        name=f"{corpus.path}:{split}",
        ids=corpus.checked(split),
        bytes=corpus.bytes_of(split),
        entropy=corpus.entropy_bits_per_char,
        entropy_error=corpus.entropy_error,
        n_chars=corpus.characters_of(split) + corpus.documents_of(split),
        escape_bits=corpus.escape_bits_of(split),
    )


def _given(model: Model, text: str | Path | Source, report: NoticeFn | None) -> EvalText:
    source = text if isinstance(text, Source) else open_sources([text], report=report)
    encoded = encode_source(source, model.vocabulary, model.prepare_options)
    return EvalText(
        name=", ".join(source.origin),
        ids=encoded.ids,
        bytes=encoded.bytes,
        entropy=source.entropy.bits if source.entropy else None,
        entropy_error=source.entropy.error if source.entropy else None,
        n_chars=encoded.characters + encoded.documents,
        escape_bits=encoded.escape_bits,
    )
