"""The nats of consecutive pieces of a text, filled while the text is scored in whatever order.

What is left out: where the pieces begin, and what their sums are good for (`charlm.use.uncertainty`).
"""

import numpy as np


class Pieces:
    """Sums of surprise, one for each piece.

    Args:
        starts: (K,) places in the text at which pieces begin, in rising order, the first 0; place 0 is that of
            the first symbol that is scored.

    Attributes:
        nats: (K,) summed so far.
    """

    def __init__(self, starts: np.ndarray) -> None:
        self.starts = starts
        self.nats = np.zeros(len(starts))

    def add(self, places: np.ndarray, nats: np.ndarray) -> None:
        """Add the surprise (T,) of the symbols at `places` (T,)."""
        if self.starts.size:
            piece = np.searchsorted(self.starts, places, side="right") - 1
            self.nats += np.bincount(piece, weights=nats, minlength=self.nats.size)
