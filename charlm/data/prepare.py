"""Preparing: a text becomes a folder of ids that training maps into memory.

The text is walked twice, in chunks, so that memory does not grow with it: the first walk counts,
the second one encodes and writes, and checks that it read the same bytes again.
What is left out: how a text is read (`charlm.data.symbol_stream`), what the first walk makes of it
(`charlm.data.statistics`), and the folder's layout (`charlm.data.corpus`).
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from charlm.config import PrepareOptions
from charlm.corpora.cache import find_cached
from charlm.corpora.catalogue import catalogue
from charlm.data.corpus import FORMAT, INFO, SPLITS, Corpus, find_corpus, is_name
from charlm.data.leaks import MIN_OVERLAP, Overlap, find_overlaps
from charlm.data.sources import Report, Source, open_sources
from charlm.data.statistics import build_vocabulary, count_symbols, text_notices, vocabulary_notices
from charlm.data.symbol_stream import Progress, SymbolStream, TextCounts
from charlm.errors import CorpusError, UsageError
from charlm.files import alone_at, failures, new_folder, present, write_atomically
from charlm.spec import flag
from charlm.tokenizers import TOKENIZERS
from charlm.tokenizers.decoding import text_encoding
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

DEFAULT_WORD_VOCABULARY = 10_000
"""Symbols of a table of words, where nobody says how many."""

MAX_QUOTED_CHARACTERS = 60
"""Characters of a passage that a notice shows."""


def prepare(
    sources: str | Path | Sequence[str | Path] | Source,
    *,
    force: bool = False,
    report: Report | None = None,
    progress: Progress | None = None,
    options: PrepareOptions | None = None,
    **values: Any,
) -> Corpus:
    """Make the corpus `OUT/NAME` of a text, or find that it is made already.

    Args:
        sources: files, folders, `-`, built-in names, or what `charlm.data.sources.open_sources` opened, which keeps the
            size and the seed that it was given.
        force: replace a corpus of that name that was made from another text or with other options.
        report: called with each warning and notice.
        progress: called with the raw bytes read so far; the two walks together read the text twice.
        options: how to prepare it.
        values: further options by name, which win.

    Raises:
        CorpusError: the text cannot be used, nor read in this encoding, changes meanwhile, or another corpus has its
            place.
        UsageError: an option is wrong.
        CharlmError: the corpus cannot be written.
    """
    options = PrepareOptions.of({**(options.values() if options else {}), **values})
    tell = report or (lambda line: None)
    if not isinstance(sources, Source):
        words = [sources] if isinstance(sources, str | Path) else list(sources)
        sources = open_sources(words, report=report, **options.drawing())
    options = _resolve_vocabulary_size(options).replace(**sources.drawn)
    name = _folder_name(options.name) if options.name is not None else sources.name
    path = Path(options.out) / name
    _check_place(path)
    _check_disk_space(path, options.size)

    walk = SymbolStream(sources, options, progress)
    found = count_symbols(walk)
    for line in text_notices(walk, found):
        tell(line)
    symbols = build_vocabulary(found, options)
    for line in vocabulary_notices(found, symbols, options):
        tell(line)
    stops = _split_ends(found.symbols + found.documents, options)
    fingerprint = _fingerprint(walk, options)
    with alone_at(path, lambda: tell(f"another process prepares {path}, waiting until it is done")):
        if path.is_dir() and _reusable(path, fingerprint, walk, options, force):
            with failures(path / INFO, "marking as used"):
                os.utime(path / INFO)
            tell(f"{path} is made from this text with these options already; it is used as it is")
            return Corpus.load(path)
        info = {
            "format": FORMAT,
            "name": name,
            "characters": found.characters,
            "bytes": walk.bytes,
            "distinct": found.distinct,
            "documents": found.documents,
            "sha256": walk.sha256.hexdigest(),
            "fingerprint": fingerprint,
            "unit": symbols.unit,
            "symbols": symbols.to_json(),
            "dtype": symbols.dtype.name,
            "options": options.values(),
            "origin": sources.origin,
            "prepared": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if sources.entropy is not None:
            info |= sources.entropy.to_json()
        with new_folder(path) as building:
            # What a drawn text repeats, it repeats by chance: that flatters no score.
            say = tell if sources.entropy is None else _ignore_notice
            info |= _write(building, SymbolStream(sources, options, progress, walk), symbols, stops, say)
            write_atomically(building / INFO, json.dumps(info, indent=1) + "\n")
        return Corpus.load(path)


def _resolve_vocabulary_size(options: PrepareOptions) -> PrepareOptions:
    """The size of a table of words is of words only, and decided where nobody says it."""
    if TOKENIZERS[options.unit].longer:
        return options.replace(words=options.words or DEFAULT_WORD_VOCABULARY)
    if options.words is not None:
        raise UsageError(f"--words {options.words} is the size of a table of words; add --unit word, or leave it out")
    return options


def _split_ends(symbols: int, options: PrepareOptions) -> dict[str, int]:
    """Where in the symbol stream each split ends; exact, as 1 - 0.05 - 0.05 is not in floating point."""
    valid, test = (Fraction(str(share)) for share in (options.valid_fraction, options.test_fraction))
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    stops = {"train": math.floor(symbols * shares["train"]), "valid": math.floor(symbols * (1 - test)), "test": symbols}
    start = 0
    for split, share in shares.items():
        if share and stops[split] == start:
            raise CorpusError(
                f"the {split} split would be empty: {float(share):g} of {symbols} symbols is less than one; "
                f"give a longer text, or prepare it with --valid-fraction 0 --test-fraction 0"
            )
        start = stops[split]
    return {split: stop for split, stop in stops.items() if shares[split]}


def _write(
    folder: Path, stream: SymbolStream, vocabulary: Vocabulary, stops: dict[str, int], tell: Report
) -> dict[str, Any]:
    """Write the splits; what they have and share. While the disk is waited for, they are looked through."""
    splits = _write_splits(folder, stream, vocabulary, stops)
    with ThreadPoolExecutor(1) as beside:
        on_disk = beside.submit(_sync, folder, list(stops))
        shared = _report_overlap(folder, vocabulary, list(stops), tell)
        on_disk.result()
    return {"splits": splits, "shared": shared}


def _write_splits(
    folder: Path, stream: SymbolStream, vocabulary: Vocabulary, stops: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Encode the whole stream into one file per split; what was written, by split.

    Where lines are documents a split goes on to the end of its last one, so that none is cut in two.
    """
    written, amounts = dict.fromkeys(stops, 0), {split: TextCounts() for split in stops}
    ahead = list(stops.items())
    place = 0
    with ExitStack() as stack:
        files = {split: _open_split(stack, folder, split, vocabulary) for split in stops}
        for piece in stream.chunks():
            ids, codes = piece.ids(vocabulary), piece.codes
            while ids.size:
                split, stop = ahead[0]
                # A text that has grown overflows into the last split, and is refused below.
                last = len(ahead) == 1
                take, full = (ids.size, False) if last else _split_share(ids, stop - place, stream.lines)
                files[split].write(ids[:take].astype(vocabulary.dtype.newbyteorder("<"), copy=False).tobytes())
                written[split] += take
                amounts[split].add(stream, vocabulary, ids[:take], codes[:take])
                ids, codes, place = ids[take:], codes[take:], place + take
                if full:
                    ahead.pop(0)
        stream.check()
        for split, count in written.items():
            if not count:
                raise CorpusError(
                    f"the {split} split would be empty: the documents are too few to leave it one; "
                    f"give a longer text, or prepare it with --valid-fraction 0 --test-fraction 0"
                )
    return {split: {"symbols": written[split], **amounts[split].to_json()} for split in stops}


def _sync(folder: Path, splits: list[str]) -> None:
    """Wait until what was written is on the disk."""
    for split in splits:
        with open(folder / f"{split}.bin", "rb+") as file:
            os.fsync(file.fileno())


def _report_overlap(folder: Path, vocabulary: Vocabulary, splits: list[str], tell: Report) -> dict[str, dict[str, int]]:
    """What valid and test share with train, by split; said where it is anything."""
    others = [split for split in splits if split != "train"]
    if not others:
        return {}
    kind = vocabulary.dtype.newbyteorder("<")
    train, *texts = (np.memmap(folder / f"{split}.bin", kind, "r")[1:] for split in ("train", *others))
    found = dict(zip(others, find_overlaps(train, texts), strict=True))
    for split, ids in zip(others, texts, strict=True):
        if found[split].longest:
            passage = vocabulary.decode(ids[found[split].at :][: min(found[split].longest, 4 * MAX_QUOTED_CHARACTERS)])
            tell(_overlap_notice(split, found[split], vocabulary.tokenizer.noun, passage))
    return {split: leak.to_json() for split, leak in found.items()}


def _ignore_notice(line: str) -> None:
    pass


def _overlap_notice(split: str, leak: Overlap, noun: str, passage: str) -> str:
    words = " ".join(passage.split())
    shown = words if len(words) <= MAX_QUOTED_CHARACTERS else f"{words[:MAX_QUOTED_CHARACTERS]}..."
    share = f"{leak.symbols / leak.of:.2%} of {split} ({leak.symbols:,} of {leak.of:,} {noun}s looked at)"
    longest = f"the longest of {leak.longest:,} at {leak.at:,} ({leak.train:,} of train)"
    return (
        f"{share} lies in passages of {MIN_OVERLAP} or more that train has too, {longest}: {shown!r}; "
        f"what a model remembers of them flatters its score; leave repeats out of the text"
    )


def _split_share(ids: np.ndarray, room: int, lines: bool) -> tuple[int, bool]:
    """How many of these symbols (T,) go into a split that has this much room left, and whether it is full then."""
    if not lines or room > ids.size:
        return min(ids.size, room), room <= ids.size
    first = max(room - 1, 0)
    ends = np.flatnonzero(ids[first:] == BOUNDARY)
    return (first + int(ends[0]) + 1, True) if ends.size else (ids.size, False)


def _open_split(stack: ExitStack, folder: Path, split: str, vocabulary: Vocabulary) -> IO[bytes]:
    file = stack.enter_context(open(folder / f"{split}.bin", "wb"))
    file.write(np.full(1, BOUNDARY, vocabulary.dtype).tobytes())
    return file


def _encoding_options(options: PrepareOptions) -> dict[str, Any]:
    """The options that decide which ids a text becomes."""
    names = ("unit", "documents", "valid_fraction", "test_fraction", "min_count")
    recipe = {name: getattr(options, name) for name in names}
    recipe["newlines"] = "lf" if options.documents == "line" else options.newlines
    recipe["encoding"] = text_encoding(options.encoding) if TOKENIZERS[options.unit].decodes else None
    if options.words is not None:
        recipe["words"] = options.words
    return recipe


def _fingerprint(stream: SymbolStream, options: PrepareOptions) -> str:
    content = json.dumps([FORMAT, *stream.content_key(), _encoding_options(options)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _reusable(path: Path, fingerprint: str, stream: SymbolStream, options: PrepareOptions, force: bool) -> bool:
    """Whether the corpus at `path` is the one to be made; False where it may be replaced.

    Raises:
        CorpusError: it is another one, and `force` was not given.
    """
    try:
        found = Corpus.load(path)
    except CorpusError:
        if force or not any(path.iterdir()):
            return False
        raise
    if found.info["fingerprint"] == fingerprint:
        return True
    if force:
        return False
    old, new = _encoding_options(found.options), _encoding_options(options)
    pairs = [(name, old[name], new[name]) for name in new if None not in (old.get(name), new[name])]
    changes = [f"{flag(name)} ({before}, now {now})" for name, before, now in pairs if before != now]
    if found.sha256 != stream.sha256.hexdigest():
        changes.insert(0, "another text")
    raise CorpusError(
        f"{path} exists and was made with {', '.join(changes) or 'another division into documents'}; "
        f"replace it with --force, or choose another --name"
    )


def _check_place(path: Path) -> None:
    """Raise a `CorpusError` where something else than a corpus would be replaced, even by force."""
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
    """Refuse a synthetic text that the disk cannot hold, instead of drawing it until the disk is full."""
    place = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(place).free
    if size is not None and size > free:
        raise UsageError(
            f"--size {size} makes a corpus of {size / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free at {place}; "
            f"choose a smaller --size"
        )


def _folder_name(name: str) -> str:
    if not is_name(name) or len(os.fsencode(name)) > 200:
        raise UsageError(
            f"--name must be a folder's name, printable, without / and not beginning with a dot, at most 200 bytes, "
            f"got {name!r:.80}; the folder it goes into is --out"
        )
    return name


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
