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

MIN_SPREAD = 1e-4
"""The share of a variance that the character leaves over below which nothing is left: float32 sums are no finer."""


def classes(read: np.ndarray) -> np.ndarray:
    """(N,) the class of each symbol that was read, from 0."""
    number = np.bincount(read)
    order = np.argsort(-number, kind="stable")
    table: np.ndarray = np.full(len(number), CLASSES - 1, np.uint8)
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
        self._features = features.astype(np.float32)
        self._features -= self._features.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
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
        order = np.argsort(self._classes[at], kind="stable")
        at, x = at[order], x[order]
        x -= self._near  # correlations do not change, and float32 keeps its digits
        positions = (at - self._shifts[:, None]) % len(self._classes)
        self._xz += self._features[:, positions].reshape(-1, len(at)) @ x
        self._xx += np.einsum("nu,nu->u", x, x)
        classes, first = np.unique(self._classes[at], return_index=True)
        self._x[classes] += np.add.reduceat(x, first, axis=0)

    def told(self, feature: int) -> float:
        """The share of a feature's variance that the character just read explains: the correlation ratio η²."""
        total = float(np.square(self._features[feature], dtype=np.float64).sum())
        return float((self._by_class[feature, 0] ** 2 / self._number).sum()) / total if total > 0 else 1.0

    def partial(self, feature: int) -> np.ndarray:
        """(S, U) r of every unit with one of the features, given the character, for each shift."""
        sums = self._by_class[feature]
        total = np.square(self._features[feature], dtype=np.float64).sum()
        left = total - (sums**2 / self._number).sum(1, keepdims=True)
        spread = self._xx - (self._x**2 / self._number[:, None]).sum(0)
        total_spread = self._spread()
        some = (left > MIN_SPREAD * total) & (spread > MIN_SPREAD * total_spread) & (total_spread > 0)
        covariance = self._xz[self._rows(feature)] - (sums / self._number) @ self._x
        return np.divide(
            covariance, np.sqrt(np.maximum(left * spread, 0)), out=np.zeros_like(covariance), where=some
        ).clip(-1, 1)

    def plain(self, feature: int) -> np.ndarray:
        """(U,) the usual correlation with the feature as it is, which the first shift must be."""
        total = np.square(self._features[feature], dtype=np.float64).sum() * self._spread()
        covariance = self._xz[self._rows(feature)][0]
        return np.divide(covariance, np.sqrt(total), out=np.zeros_like(covariance), where=total > 0).clip(-1, 1)

    def _rows(self, feature: int) -> slice:
        return slice(feature * len(self._shifts), (feature + 1) * len(self._shifts))

    def _sums(self, z: np.ndarray) -> np.ndarray:
        return np.bincount(self._classes, z, CLASSES)

    def _spread(self) -> np.ndarray:
        """(U,) the variance of each unit, times N; 0 for one that never moves but by rounding."""
        total = self._xx - self._x.sum(0) ** 2 / len(self._classes)
        size = np.zeros_like(total) if self._near is None else self._near.astype(np.float64) ** 2
        return np.where(total > 1e-10 * (self._xx + len(self._classes) * size), total, 0)
