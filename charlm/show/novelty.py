"""How new a sample is, as lines of text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from charlm.show.format import line

FEW = 10
"""Samples that have a line of their own."""

PASSAGE = 120
"""Characters of a passage that are shown."""

_Found = Mapping[str, Any]


def lines(together: _Found, samples: Sequence[_Found], beside: _Found | None, noun: str = "character") -> Iterator[str]:
    """The shares of new n-grams, sizes with equal shares in one row, and the longest passages.

    Args:
        together: of all samples, with the keys of a novelty in `charlm sample --jsonl`.
        samples: each for itself.
        beside: the text that stands beside them, which has `text` too.
        noun: what one symbol is called, as lengths and places count symbols.
    """
    columns = [together["new"]] + ([] if beside is None else [beside["new"]])
    names = ["sample" if len(samples) == 1 else "samples"] + ([] if beside is None else [_split(beside)])
    widths = [max(len(name), 7) for name in names]
    yield f"{'n':<7}{_row(names, widths)}   share of n-grams that the training text does not have"
    shares = [(size, [_share(column[size]) for column in columns]) for size in together["new"]]
    for words, group in groupby(shares, key=lambda pair: pair[1]):
        sizes = [size for size, _ in group]
        yield f"{sizes[0] if len(sizes) == 1 else f'{sizes[0]}-{sizes[-1]}':<7}{_row(words, widths)}"
    for index, sample in enumerate(samples[:FEW]):
        yield _longest(f"sample {index}" if len(samples) > 1 else "the sample", sample, noun)
    if len(samples) > FEW:
        yield f"{len(samples) - FEW} more samples; the longest passage of all has {together['longest']['length']:,}"
    if beside is not None:
        yield _longest(f"{_split(beside)}, {beside['characters']:,} {noun}s", beside, noun)


def _split(beside: _Found) -> str:
    return str(beside["text"]).rpartition(":")[2]


def _row(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{word:>{width}}" for word, width in zip(words, widths, strict=True))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _longest(name: str, match: _Found, noun: str) -> str:
    span = match["longest"]
    if not span["length"]:
        return f"longest copy in {name}: none"
    passage = line(repr(span["text"]), PASSAGE)
    return (
        f"longest copy in {name}: {span['length']:,} {noun}s at {span['at']:,}, "
        f"in the training text at {span['offset']:,}: {passage}"
    )
