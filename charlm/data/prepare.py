"""Preparing: a text becomes a folder of ids that training maps into memory.

The text is read twice, in chunks, so that memory does not grow with it: the first pass counts, the second one encodes
and writes, and checks that it read the same bytes again.
What is left out: how a text is read (`charlm.data.symbol_stream`), what the first pass makes of it
(`charlm.data.statistics`), and the folder's layout (`charlm.data.corpus`).
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from charlm.callbacks import CountFn, NoticeFn, ProgressFn, ignore
from charlm.config import PrepareOptions
from charlm.corpora.cache import find_cached
from charlm.corpora.catalogue import catalogue
from charlm.data.corpus import FORMAT, INFO, SPLITS, Corpus, find_corpus, is_name
from charlm.data.leaks import MIN_OVERLAP, Overlap, find_overlaps
from charlm.data.sources import Source, open_sources
from charlm.data.statistics import TextStatistics, build_vocabulary, count_symbols, text_notices, vocabulary_notices
from charlm.data.symbol_stream import SymbolStream, TextCounts
from charlm.errors import CorpusError, UsageError
from charlm.files import alone_at, failures, new_folder, present, write_atomically
from charlm.spec import flag
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.decoding import text_encoding
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

DEFAULT_WORD_VOCABULARY = 10_000
"""Symbols of a vocabulary of words, if no number is given."""

MAX_QUOTED_CHARACTERS = 60
"""Characters of a passage that a notice shows."""


def prepare(
    sources: str | Path | Sequence[str | Path] | Source,
    *,
    force: bool = False,
    report: NoticeFn | None = None,
    progress: CountFn | None = None,
    options: PrepareOptions | None = None,
    **values: Any,
) -> Corpus:
    """Make the corpus `OUT/NAME` of a text, or find that it is made already.

    Args:
        sources: files, folders, `-`, built-in names, or what `charlm.data.sources.open_sources` opened, which keeps the
            size and the seed that it was given.
        force: replace a corpus of that name that was made from another text or with other options.
        report: called with each warning and notice.
        progress: called with the raw bytes read so far; the two passes together read the text twice.
        options: how to prepare it.
        values: further options by name, which win.

    Raises:
        CorpusError: the text cannot be used, nor read in this encoding, changes meanwhile, or another corpus has its
            folder.
        UsageError: an option is wrong.
        CharlmError: the corpus cannot be written.
    """
    options = PrepareOptions.of({**(options.values() if options else {}), **values})
    notify = report or ignore
    if not isinstance(sources, Source):
        words = [sources] if isinstance(sources, str | Path) else list(sources)
        sources = open_sources(words, report=report, **options.synthetic_values())
    options = _resolve_vocabulary_size(options).replace(**sources.drawn)
    path = Path(options.out) / (sources.name if options.name is None else _check_name(options.name))
    _check_folder(path)
    _check_disk_space(path, options.size)

    stream = SymbolStream(sources, options, progress)
    statistics = count_symbols(stream)
    for line in text_notices(stream, statistics):
        notify(line)
    vocabulary = build_vocabulary(statistics, options)
    for line in vocabulary_notices(statistics, vocabulary, options):
        notify(line)
    ends = _split_ends(statistics.symbols + statistics.documents, options)

    with alone_at(path, lambda: notify(f"another process prepares {path}, waiting until it is done")):
        if _reuse_if_same(path, stream, options, force):
            notify(f"{path} is made from this text with these options already; it is used as it is")
            return Corpus.load(path)
        info = _describe(path.name, stream, statistics, vocabulary, options)
        with new_folder(path) as folder:
            info["splits"] = _write_splits(folder, stream.again(), vocabulary, ends)
            with _flushed(folder, ends):
                # A synthetic text repeats itself by chance alone, which makes no loss too low.
                info["shared"] = _report_overlap(folder, vocabulary, ends, ignore if sources.entropy else notify)
            write_atomically(folder / INFO, json.dumps(info, indent=1) + "\n")
        return Corpus.load(path)


def open_or_prepare(
    word: str | Path | None,
    *,
    root: Path = Path("data"),
    report: NoticeFn | None = None,
    progress: ProgressFn | None = None,
) -> Corpus:
    """Open a corpus, and prepare it first if `word` is a text.

    Args:
        word: a prepared folder, a name below `root`, a text file or built-in text, or None for the most
            recently prepared. A text is prepared, with the options its corpus had before if it has one,
            and again if it changed since.
        root: the folder of prepared corpora.
        report: called with what was chosen and done.
        progress: called with the bytes read so far and how many there are, 0 if that is not known.

    Raises:
        CorpusError: there is no such corpus or text.
    """
    if word is None or is_prepared(word, root) or not _is_text(word):
        corpus = Corpus.load(find_corpus(word, root))
        if word is None and report is not None:
            report(f"corpus: {corpus.path}")
        return corpus
    source = open_sources([word], report=report)
    total = 2 * (source.bytes or 0)
    on_bytes = None if progress is None else (lambda done: progress(done, total))
    path = root / source.name
    if not (path / INFO).exists():
        return prepare(source, report=report, progress=on_bytes, out=str(root))
    earlier = Corpus.load(path)
    if earlier.origin != source.origin:
        raise CorpusError(
            f"{path} was prepared from {', '.join(earlier.origin)}, not from {word}; "
            f"prepare {word} under another name: charlm prepare {word} --name NAME"
        )
    options: PrepareOptions = earlier.options.replace(out=str(root), name=None)
    return prepare(source, report=report, progress=on_bytes, force=True, options=options)


def is_prepared(word: str | Path, root: Path = Path("data")) -> bool:
    """Whether `word` is a prepared folder or the name of one below `root`."""
    return any(present(folder / INFO) for folder in (Path(word), root / word))


def _is_text(word: str | Path) -> bool:
    """Whether `word` is something on the disk, or the name of a text that can be had."""
    return present(Path(word)) or str(word) in catalogue() or find_cached(str(word)) is not None


def _resolve_vocabulary_size(options: PrepareOptions) -> PrepareOptions:
    """Set the default size of a vocabulary of words; refuse a size for any other unit."""
    if TOKENIZERS[options.unit].longer:
        return options.replace(words=options.words or DEFAULT_WORD_VOCABULARY)
    if options.words is not None:
        raise UsageError(f"--words {options.words} is the size of a table of words; add --unit word, or leave it out")
    return options


def _check_name(name: str) -> str:
    if not is_name(name) or len(os.fsencode(name)) > 200:
        raise UsageError(
            f"--name must be a folder's name, printable, without / and not beginning with a dot, at most 200 bytes, "
            f"got {name!r:.80}; the folder it goes into is --out"
        )
    return name


def _check_folder(path: Path) -> None:
    """Refuse to replace anything but a corpus, even by force."""
    if path.exists() and not path.is_dir():
        raise CorpusError(f"{path} is a file, and the corpus needs a folder there; choose another --name or --out")
    if path.is_dir():
        own = {INFO, *(f"{split}.bin" for split in SPLITS)}
        others = sorted(file.name for file in path.iterdir() if file.name not in own and not file.name.startswith("."))
        if others:
            raise CorpusError(
                f"{path} holds {others[0]}, which is no part of a corpus and would be lost; "
                f"choose another --name or --out"
            )


def _check_disk_space(path: Path, size: int | None) -> None:
    """Refuse a synthetic text that the disk cannot hold before it is drawn."""
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if size is not None and size > free:
        raise UsageError(
            f"--size {size} makes a corpus of {size / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free at {parent}; "
            f"choose a smaller --size"
        )


def _split_ends(symbols: int, options: PrepareOptions) -> dict[str, int]:
    """The offset in the symbol stream at which each split ends; exact, as 1 - 0.05 - 0.05 is not in floating point."""
    valid, test = (Fraction(str(share)) for share in (options.valid_fraction, options.test_fraction))
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    ends = {"train": math.floor(symbols * shares["train"]), "valid": math.floor(symbols * (1 - test)), "test": symbols}
    start = 0
    for split, share in shares.items():
        if share and ends[split] == start:
            raise CorpusError(
                f"the {split} split would be empty: {float(share):g} of {symbols} symbols is less than one; "
                f"give a longer text, or prepare it with --valid-fraction 0 --test-fraction 0"
            )
        start = ends[split]
    return {split: end for split, end in ends.items() if shares[split]}


def _reuse_if_same(path: Path, stream: SymbolStream, options: PrepareOptions, force: bool) -> bool:
    """Mark the corpus at `path` as used if it is the one to be made; False if it may be replaced.

    Raises:
        CorpusError: it is another one, and `force` was not given.
    """
    if not path.is_dir():
        return False
    try:
        corpus = Corpus.load(path)
    except CorpusError:
        if force or not any(path.iterdir()):
            return False
        raise
    if corpus.info["fingerprint"] == _fingerprint(stream, options):
        with failures(path / INFO, "marking as used"):
            os.utime(path / INFO)
        return True
    if force:
        return False
    old, new = _encoding_options(corpus.options), _encoding_options(options)
    pairs = [(name, old[name], new[name]) for name in new if None not in (old.get(name), new[name])]
    changes = [f"{flag(name)} ({before}, now {now})" for name, before, now in pairs if before != now]
    if corpus.sha256 != stream.sha256.hexdigest():
        changes.insert(0, "another text")
    raise CorpusError(
        f"{path} exists and was made with {', '.join(changes) or 'another division into documents'}; "
        f"replace it with --force, or choose another --name"
    )


def _fingerprint(stream: SymbolStream, options: PrepareOptions) -> str:
    """A digest of all that decides the ids of a corpus."""
    content = json.dumps([FORMAT, *stream.content_key(), _encoding_options(options)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _encoding_options(options: PrepareOptions) -> dict[str, Any]:
    """The options that decide which ids a text becomes."""
    names = ("unit", "documents", "valid_fraction", "test_fraction", "min_count")
    recipe = {name: getattr(options, name) for name in names}
    recipe["newlines"] = "lf" if options.documents == "line" else options.newlines
    recipe["encoding"] = text_encoding(options.encoding) if TOKENIZERS[options.unit].decodes else None
    if options.words is not None:
        recipe["words"] = options.words
    return recipe


def _describe(
    name: str, stream: SymbolStream, statistics: TextStatistics, vocabulary: Vocabulary, options: PrepareOptions
) -> dict[str, Any]:
    """The content of `corpus.json` that is known before the splits are written."""
    source = stream.source
    info = {
        "format": FORMAT,
        "name": name,
        "characters": statistics.characters,
        "bytes": stream.bytes,
        "distinct": statistics.distinct,
        "documents": statistics.documents,
        "sha256": stream.sha256.hexdigest(),
        "fingerprint": _fingerprint(stream, options),
        "unit": vocabulary.unit,
        "symbols": vocabulary.to_json(),
        "dtype": vocabulary.dtype.name,
        "options": options.values(),
        "origin": source.origin,
        "prepared": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return info | (source.entropy.to_json() if source.entropy is not None else {})


def _write_splits(
    folder: Path, stream: SymbolStream, vocabulary: Vocabulary, ends: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Encode the whole stream into one file per split; what each has, for `corpus.json`.

    Raises:
        CorpusError: the text changed since the first pass, or a split would be empty.
    """
    symbols, counts = dict.fromkeys(ends, 0), {split: TextCounts() for split in ends}
    with ExitStack() as stack:
        files = {split: _open_split(stack, folder, split, vocabulary) for split in ends}
        for split, ids, codes in _cut_into_splits(stream, vocabulary, ends):
            files[split].write(ids.astype(vocabulary.dtype.newbyteorder("<"), copy=False).tobytes())
            symbols[split] += ids.size
            counts[split].add(stream, vocabulary, ids, codes)
    stream.check()
    for split, written in symbols.items():
        if not counts[split].characters and not counts[split].unknown:
            what = "it has only the end of a document" if written else "the documents are too few to leave it one"
            raise CorpusError(
                f"the {split} split would be empty: {what}; "
                f"give a longer text, or prepare it with --valid-fraction 0 --test-fraction 0"
            )
    return {split: {"symbols": symbols[split], **counts[split].to_json()} for split in ends}


def _open_split(stack: ExitStack, folder: Path, split: str, vocabulary: Vocabulary) -> IO[bytes]:
    file = stack.enter_context(open(folder / f"{split}.bin", "wb"))
    file.write(np.full(1, BOUNDARY, vocabulary.dtype).tobytes())
    return file


def _cut_into_splits(
    stream: SymbolStream, vocabulary: Vocabulary, ends: dict[str, int]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield splits with their next ids (T,) and codes (T,).

    If lines are documents, a split extends to the end of its last one, so that none is cut in two. What a text has
    gained since the first pass goes to the last split; `SymbolStream.check` refuses it later.
    """
    unfinished = list(ends.items())
    offset = 0
    for chunk in stream.chunks():
        ids, codes = chunk.ids(vocabulary), chunk.codes
        while ids.size:
            split, end = unfinished[0]
            last = len(unfinished) == 1
            size, full = (ids.size, False) if last else _split_share(ids, end - offset, stream.lines)
            yield split, ids[:size], codes[:size]
            ids, codes, offset = ids[size:], codes[size:], offset + size
            if full:
                unfinished.pop(0)


def _split_share(ids: np.ndarray, room: int, lines: bool) -> tuple[int, bool]:
    """The number of ids (T,) that go into a split with `room` symbols left, and whether it is full then."""
    if not lines or room > ids.size:
        return min(ids.size, room), room <= ids.size
    first = max(room - 1, 0)
    boundaries = np.flatnonzero(ids[first:] == BOUNDARY)
    return (first + int(boundaries[0]) + 1, True) if boundaries.size else (ids.size, False)


@contextmanager
def _flushed(folder: Path, splits: Iterable[str]) -> Iterator[None]:
    """Write the splits to the disk while the block runs, and wait for it at its end."""
    with ThreadPoolExecutor(1) as executor:
        flush = executor.submit(_flush, folder, list(splits))
        yield
        flush.result()


def _flush(folder: Path, splits: list[str]) -> None:
    for split in splits:
        with open(folder / f"{split}.bin", "rb+") as file:
            os.fsync(file.fileno())


def _report_overlap(
    folder: Path, vocabulary: Vocabulary, splits: Iterable[str], notify: NoticeFn
) -> dict[str, dict[str, int]]:
    """Find what valid and test share with train, and notify of it; by split, for `corpus.json`."""
    names = [split for split in splits if split != "train"]
    if not names:
        return {}
    dtype = vocabulary.dtype.newbyteorder("<")
    train, *texts = (np.memmap(folder / f"{split}.bin", dtype, "r")[1:] for split in ("train", *names))
    overlaps = dict(zip(names, find_overlaps(train, texts), strict=True))
    for (split, overlap), ids in zip(overlaps.items(), texts, strict=True):
        if overlap.longest:
            passage = vocabulary.decode(ids[overlap.at :][: min(overlap.longest, 4 * MAX_QUOTED_CHARACTERS)])
            notify(_overlap_notice(split, overlap, vocabulary.tokenizer.noun, passage))
    return {split: overlap.to_json() for split, overlap in overlaps.items()}


def _overlap_notice(split: str, overlap: Overlap, noun: str, passage: str) -> str:
    words = " ".join(passage.split())
    quoted = words if len(words) <= MAX_QUOTED_CHARACTERS else f"{words[:MAX_QUOTED_CHARACTERS]}..."
    share = f"{overlap.symbols / overlap.of:.2%} of {split} ({overlap.symbols:,} of {overlap.of:,} {noun}s looked at)"
    longest = f"the longest of {overlap.longest:,} at {overlap.at:,} ({overlap.train:,} of train)"
    return (
        f"{share} lies in passages of {MIN_OVERLAP} or more that train has too, {longest}: {quoted!r}; "
        f"what a model remembers of them flatters its score; leave repeats out of the text"
    )
