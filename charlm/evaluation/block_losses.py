"""Sums of losses over consecutive blocks of a text, filled while the text is scored in whatever order.

Not here: where the blocks begin, and what their sums are good for (`charlm.evaluation.bootstrap`).
"""

from collections.abc import Callable

import numpy as np


class BlockLosses:
    """Sums of surprise, one for each piece.

    Args:
        starts: (K,) places in the text at which pieces begin, in rising order, the first 0; place 0 is that of
            the first symbol of the text.
        where: of places (T,) among the symbols as they are scored, which they are in the text; None where scoring goes
            from the left.

    Attributes:
        nats: (K,) summed so far.
    """

    def __init__(self, starts: np.ndarray, where: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.starts = starts
        self._where = where
        self.nats = np.zeros(len(starts))

    def add(self, positions: np.ndarray, nats: np.ndarray) -> None:
        """Add the surprise (T,) of the symbols that are scored at `places` (T,)."""
        if self.starts.size:
            at = positions if self._where is None else self._where(positions)
            piece = np.searchsorted(self.starts, at, side="right") - 1
            self.nats += np.bincount(piece, weights=nats, minlength=self.nats.size)
