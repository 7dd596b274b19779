"""The order in which a model reads the symbols of a text: from the left, or from the right.

A text of documents d1 and d2 is b d1 b d2 b, the boundary b first, which is input only. Read from its end that is again
such a text, with the letters of each document reversed: a model that reads backwards is an ordinary network on it, and
no other code depends on the direction. A text that is cut inside a document, as splits of running text are, has no
boundary at its end. Then one is put first, as it is for a text cut at its beginning:

    b d1 b d2 b     from the right     b 2d b 1d b      a view of the same memory
    b d1 b d2 c     from the right     b c 2d b 1d      a copy

So the same N symbols are predicted from both sides, and the totals are code lengths of the same text. What is left out:
choosing the text (`charlm.evaluation.texts`).
"""

import numpy as np

from charlm import memory
from charlm.tokenizers.vocabulary import BOUNDARY

BACKWARD = "backward"
"""The value of `--direction` of a model that reads from the right."""

MIN_CHECKED_BYTES = 1 << 26
"""Bytes of the smallest text for whose copy the free memory is checked."""


def reading(ids: np.ndarray, direction: str) -> np.ndarray:
    """Order a text as a model reads it that predicts every symbol once.

    Args:
        ids: (N + 1,) symbols from the left, the boundary first.
        direction: `forward` or `backward`.

    Returns:
        (N + 1,) the boundary first; `ids` itself, a view of it, or a copy.

    Raises:
        UsageError: there is not enough memory for the copy of a large text.
    """
    if direction != BACKWARD:
        return ids
    if ids[-1] == BOUNDARY:
        return ids[::-1]
    if ids.nbytes >= MIN_CHECKED_BYTES:
        memory.check(ids.nbytes, "reading from its end a text that is cut inside a document,", "choose another split")
    return np.concatenate((ids[:1], ids[:0:-1]))


def training(ids: np.ndarray, direction: str) -> np.ndarray:
    """Order a train split for training, without a copy, as it may be larger than memory.

    Args:
        ids, direction: as in `reading`.

    Returns:
        (N + 1,) as from `reading`; but if the split is cut inside a document, its last symbol is input only, and its
        first boundary is predicted instead.
    """
    return ids[::-1] if direction == BACKWARD else ids


def positions(ids: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Convert positions from the right to positions from the left.

    Args:
        ids: (N + 1,) from the left, the boundary first.
        at: (K,) positions among the N symbols that `reading` predicts, counted from 0.

    Returns:
        (K,) positions among the N symbols from the left. The boundary at the end of a text, if there is one, is paired
        with the one at its beginning: each is predicted from one side alone.
    """
    symbols = len(ids) - 1
    return (symbols - 2 - at) % symbols if ids[-1] == BOUNDARY else symbols - 1 - at


def from_left(ids: np.ndarray, values: np.ndarray, direction: str) -> np.ndarray:
    """Put values that a model computed for each symbol (N,) into the order of the text.

    Args:
        ids: (N + 1,) from the left, the boundary first.
        values: (N,) in the order of `reading`.
        direction: of the model.
    """
    if direction != BACKWARD:
        return values
    ordered = np.empty_like(values)
    ordered[positions(ids, np.arange(len(values)))] = values
    return ordered
