"""The corpus that a user means: a prepared one, or a text that is prepared on the way."""

from pathlib import Path

from charlm.config import PrepareOptions
from charlm.errors import CorpusError
from charlm.text.corpus import INFO, Corpus, find_corpus
from charlm.text.prepare import prepare
from charlm.text.sources import Report, open_sources


def obtain(word: str | Path | None, *, root: Path = Path("data"), report: Report | None = None) -> Corpus:
    """Open a corpus.

    Args:
        word: a prepared folder, a name below `root`, a text file or built-in text, or None for the most
            recently prepared. A text is prepared, with the options its corpus had before if it has one,
            and again if it changed since.
        root: where prepared corpora lie.
        report: told what was chosen and done.

    Raises:
        CorpusError: there is no such corpus or text.
    """
    tell = report or (lambda line: None)
    if word is None or _is_prepared(word, root) or not _is_text(word):
        corpus = Corpus.load(find_corpus(word, root))
        if word is None:
            tell(f"corpus: {corpus.path}")
        return corpus
    source = open_sources([word], report=report)
    path = root / source.name
    if not (path / INFO).exists():
        return prepare(source, report=report, out=str(root))
    before = Corpus.load(path)
    if before.origin != source.origin:
        raise CorpusError(
            f"{path} was prepared from {', '.join(before.origin)}, not from {word}; "
            f"prepare {word} under another name: charlm prepare {word} --name NAME"
        )
    options: PrepareOptions = before.options.replace(out=str(root), name=None)
    return prepare(source, report=report, force=True, options=options)


def _is_prepared(word: str | Path, root: Path) -> bool:
    return any((place / INFO).is_file() for place in (Path(word), root / word))


def _is_text(word: str | Path) -> bool:
    """Whether preparing could take it: something on the disk, or the name of a built-in text."""
    from charlm.text.catalogue import builtin_names

    return Path(word).exists() or str(word) in builtin_names()
