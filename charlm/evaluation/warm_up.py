"""What is read before a segment of a text, so that the state is that of the text and not of its beginning.

One rule for all that read a text in segments: evaluation, training's validation and `charlm inspect`.
"""

import numpy as np

from charlm.tokenizers.vocabulary import BOUNDARY

WARM_UP_SYMBOLS = 256
"""Symbols read before a segment; in evaluation that costs a quarter more time."""


def warm_up_ids(
    ids: np.ndarray, starts: np.ndarray, starts_at_boundary: bool, length: int = WARM_UP_SYMBOLS
) -> np.ndarray:
    """The symbols (length, B) before each start.

    Reading begins in the way that the network learned to begin (`charlm.training.step`): after a boundary, unless
    documents end within its training text, so that a boundary means the start of one.

    Args:
        ids: (N + 1,) symbols, the boundary first.
        starts: (B,) positions. If fewer symbols are before one of them, those at its beginning are to be ignored.
        starts_at_boundary: see `charlm.model.checkpoint.Model.starts_at_boundary`.
        length: how many.
    """
    before = ids[np.maximum(starts + np.arange(-length, 0)[:, None], 0)]
    if starts_at_boundary and length:
        before[0] = BOUNDARY
    return before
