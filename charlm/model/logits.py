"""Log-probabilities and losses from logits, in NumPy."""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities (..., V), in nats, of logits (..., V)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The loss (B,), in nats, of each symbol (B,) given its logits (B, V)."""
    chosen = np.take_along_axis(log_softmax(logits), ids[:, None], axis=-1)[:, 0]
    return 0 - chosen  # not -chosen: the loss of a certain symbol is 0, not -0
