"""The corpus that a user means: a prepared one, or a text that is prepared on the way."""

from collections.abc import Callable
from pathlib import Path

from charlm.config import PrepareOptions
from charlm.corpora.cache import find_cached
from charlm.corpora.catalogue import catalogue
from charlm.data.corpus import INFO, Corpus, find_corpus
from charlm.data.prepare import prepare
from charlm.data.sources import Report, open_sources
from charlm.errors import CorpusError
from charlm.files import present


def open_or_prepare(
    word: str | Path | None,
    *,
    root: Path = Path("data"),
    report: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Open a corpus.

    Args:
        word: a prepared folder, a name below `root`, a text file or built-in text, or None for the most
            recently prepared. A text is prepared, with the options its corpus had before if it has one,
            and again if it changed since.
        root: where prepared corpora lie.
        report: told what was chosen and done.
        progress: called with the bytes read so far and how many there are, 0 where that is not known.

    Raises:
        CorpusError: there is no such corpus or text.
    """
    tell = report or (lambda line: None)
    if word is None or is_prepared(word, root) or not _is_text(word):
        corpus = Corpus.load(find_corpus(word, root))
        if word is None:
            tell(f"corpus: {corpus.path}")
        return corpus
    source = open_sources([word], report=report)
    total = 2 * (source.bytes or 0)
    told = None if progress is None else (lambda done: progress(done, total))
    path = root / source.name
    if not (path / INFO).exists():
        return prepare(source, report=report, progress=told, out=str(root))
    before = Corpus.load(path)
    if before.origin != source.origin:
        raise CorpusError(
            f"{path} was prepared from {', '.join(before.origin)}, not from {word}; "
            f"prepare {word} under another name: charlm prepare {word} --name NAME"
        )
    options: PrepareOptions = before.options.replace(out=str(root), name=None)
    return prepare(source, report=report, progress=told, force=True, options=options)


def is_prepared(word: str | Path, root: Path = Path("data")) -> bool:
    """Whether `word` is a prepared folder or the name of one below `root`."""
    return any(present(place / INFO) for place in (Path(word), root / word))


def _is_text(word: str | Path) -> bool:
    """Whether preparing could take it, or knows how to come by it: something on the disk, or a known name."""
    return present(Path(word)) or str(word) in catalogue() or find_cached(str(word)) is not None
