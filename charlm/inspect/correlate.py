"""How closely units follow features, beyond what the character just read says of both; from sums alone.

A unit that only shows which character was read looks as if it knew of quotes, since some characters are more
frequent there. So the mean over all places with the same character is taken off both, and what is left is
correlated: a partial correlation given the character (Pearson's, within classes). It is

    r = Σ (x - x̄_a) (y - ȳ_a) / √(Σ (x - x̄_a)² Σ (y - ȳ_a)²)

with a the character that was read at the place. It stands between -1 and 1, for true-or-false features too. The sums
Σ x y, Σ x² and, by character, Σ x are all that is kept, so that a text of any length takes the same memory.

What is left out: which r is chance (`charlm.inspect.find`).

Shapes: N places, F features, S shifts, U units, A characters that are told apart.
"""

import numpy as np

CLASSES = 256
"""Characters that are told apart: the most frequent ones; all the others are one class."""

LEAST = 1e-4
"""The share of a variance that the character leaves over below which nothing is left: float32 sums are no finer."""


def classes(read: np.ndarray) -> np.ndarray:
    """(N,) the class of each symbol that was read, from 0."""
    number = np.bincount(read)
    order = np.argsort(-number, kind="stable")
    table: np.ndarray = np.full(len(number), CLASSES - 1, np.intp)
    table[order[: CLASSES - 1]] = np.arange(min(CLASSES - 1, len(order)))
    return table[read]


class Correlation:
    """The sums of some stretch of text.

    Args:
        features: (F, N) what units may follow.
        classes: (N,) of the characters read.
        shifts: (S,) how far the features are shifted, in a circle; one for each comparison.
        units: U.
    """

    def __init__(self, features: np.ndarray, classes: np.ndarray, shifts: np.ndarray, units: int) -> None:
        self._shifts, self._classes = shifts, classes
        self._number = np.maximum(np.bincount(classes, minlength=CLASSES), 1)
        self._features = (features - features.mean(1, keepdims=True, dtype=np.float64)).astype(np.float32)
        self._by_class = np.array([[self._sums(np.roll(y, s)) for s in shifts] for y in self._features])
        self._xz: np.ndarray = np.zeros((len(features) * len(shifts), units))
        self._xx: np.ndarray = np.zeros(units)
        self._x: np.ndarray = np.zeros((CLASSES, units))
        self._near: np.ndarray | None = None

    def add(self, at: np.ndarray, x: np.ndarray) -> None:
        """Take in what units did.

        Args:
            at: (n,) places, each of which comes once in all calls together.
            x: (n, U) the units there, float32.
        """
        if self._near is None:
            self._near = x.mean(0)
        x = x - self._near  # correlations do not change, and float32 keeps its digits
        places = (at - self._shifts[:, None]) % len(self._classes)
        self._xz += self._features[:, places].reshape(-1, len(at)) @ x
        self._xx += np.einsum("nu,nu->u", x, x)
        order = np.argsort(self._classes[at], kind="stable")
        found, first = np.unique(self._classes[at][order], return_index=True)
        self._x[found] += np.add.reduceat(x[order], first, axis=0)

    @property
    def told(self) -> np.ndarray:
        """(F,) the share of each feature's variance that the character just read explains: the correlation ratio η²."""
        total = self._total()
        explained = total - self._left()[:, 0]
        return np.divide(explained, total, out=np.ones_like(total), where=total > 0)

    def partial(self) -> np.ndarray:
        """(F, S, U) r of every unit with every feature, given the character, for each shift."""
        means = self._by_class.reshape(-1, CLASSES) / self._number
        covariance = (self._xz - means @ self._x).reshape(*self._by_class.shape[:2], -1)
        total = self._spread()
        left = self._xx - (self._x**2 / self._number[:, None]).sum(0)
        keep = left > LEAST * total
        y = self._left()
        some = y > LEAST * self._total()[:, None]
        scale = np.sqrt(np.where(some, y, 1)[..., None] * np.where(keep, left, 1))
        return np.where(some[..., None] & keep, covariance / scale, 0).clip(-1, 1)

    def plain(self) -> np.ndarray:
        """(F, U) the usual correlation, with the features as they are, which the first shift must be."""
        total, features = self._spread(), self._total()
        scale = np.sqrt(np.maximum(features, 1e-300)[:, None] * np.where(total > 0, total, 1))
        covariance = self._xz.reshape(len(features), len(self._shifts), -1)[:, 0]
        return np.where((features[:, None] > 0) & (total > 0), covariance / scale, 0).clip(-1, 1)

    def _sums(self, z: np.ndarray) -> np.ndarray:
        return np.bincount(self._classes, z, CLASSES)

    def _total(self) -> np.ndarray:
        """(F,) the variance of each feature, times N."""
        return np.square(self._features, dtype=np.float64).sum(1)

    def _left(self) -> np.ndarray:
        """(F, S) what is left of it within the characters."""
        return self._total()[:, None] - (self._by_class**2 / self._number).sum(-1)

    def _spread(self) -> np.ndarray:
        """(U,) the variance of each unit, times N; 0 for one that never moves but by rounding."""
        total = self._xx - self._x.sum(0) ** 2 / len(self._classes)
        size = np.zeros_like(total) if self._near is None else self._near.astype(np.float64) ** 2
        return np.where(total > 1e-10 * (self._xx + len(self._classes) * size), total, 0)
