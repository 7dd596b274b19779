"""How new a sample is, as lines of text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from charlm.show.format import line

MAX_SAMPLE_LINES = 10
"""Samples that have a line of their own."""

MAX_PASSAGE_CHARACTERS = 120
"""Characters of a passage that are shown."""

Novelty = Mapping[str, Any]
"""A novelty as in `charlm sample --jsonl`."""


def lines(
    together: Novelty, samples: Sequence[Novelty], other: Novelty | None, noun: str = "character"
) -> Iterator[str]:
    """The shares of new n-grams, sizes with equal shares in one row, and the longest passages.

    Args:
        together: of all samples.
        samples: of each sample.
        other: of the text that they are compared with, which also has the key `text`.
        noun: of one symbol, as lengths and positions count symbols.
    """
    columns = [together["new"]] + ([] if other is None else [other["new"]])
    names = ["sample" if len(samples) == 1 else "samples"] + ([] if other is None else [_split(other)])
    widths = [max(len(name), 7) for name in names]
    yield f"{'n':<7}{_row(names, widths)}   share of n-grams that the training text does not have"
    shares = [(size, [_share(column[size]) for column in columns]) for size in together["new"]]
    for words, group in groupby(shares, key=lambda pair: pair[1]):
        sizes = [size for size, _ in group]
        yield f"{sizes[0] if len(sizes) == 1 else f'{sizes[0]}-{sizes[-1]}':<7}{_row(words, widths)}"
    for index, sample in enumerate(samples[:MAX_SAMPLE_LINES]):
        yield _longest(f"sample {index}" if len(samples) > 1 else "the sample", sample, noun)
    if len(samples) > MAX_SAMPLE_LINES:
        rest, length = len(samples) - MAX_SAMPLE_LINES, together["longest"]["length"]
        yield f"{rest} more samples; the longest passage of all has {length:,}"
    if other is not None:
        yield _longest(f"{_split(other)}, {other['characters']:,} {noun}s", other, noun)


def _split(other: Novelty) -> str:
    return str(other["text"]).rpartition(":")[2]


def _row(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{word:>{width}}" for word, width in zip(words, widths, strict=True))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _longest(name: str, match: Novelty, noun: str) -> str:
    span = match["longest"]
    if not span["length"]:
        return f"longest copy in {name}: none"
    passage = line(repr(span["text"]), MAX_PASSAGE_CHARACTERS)
    return (
        f"longest copy in {name}: {span['length']:,} {noun}s at {span['at']:,}, "
        f"in the training text at {span['offset']:,}: {passage}"
    )
