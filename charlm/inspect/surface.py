"""Why gradients are clipped: the error surface of a network of one unit, and descents on it.

The network and the error are those of Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural
networks" (2013), figure 6:

    h_t = w σ(h_(t-1)) + b,  h_0 = 0.5,  no input,  E = (σ(h_50) - 0.7)²

Where w is above 4 the unit can have two stable states, and h_0 lies on the edge between their basins on a line of the
(w, b) plane: there E is a wall, since after 50 steps the smallest change of w or b decides which of the two is
reached. Plain gradient descent that touches the wall is thrown far away; with the gradient cut to a largest norm it
stays. The length, h_0 and target that are the defaults of `charlm.config.SurfaceOptions` are the paper's; the
stretch of the plane that is shown, the start, rate, steps and threshold of the descents are chosen here.
What is left out: anything with an input or a text (`charlm.inspect.gradients`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.config import SurfaceOptions
from charlm.errors import CharlmError


@dataclass(frozen=True)
class Descent:
    """A descent, point by point, the start included.

    Attributes:
        w, b: (S + 1,) where it was.
        error: (S + 1,) E there.
        norm: (S + 1,) of the gradient there, before clipping.
    """

    w: np.ndarray
    b: np.ndarray
    error: np.ndarray
    norm: np.ndarray

    def to_json(self) -> dict[str, list[float]]:
        """Lists by name."""
        return {name: getattr(self, name).tolist() for name in ("w", "b", "error", "norm")}


@dataclass(frozen=True)
class Surface:
    """The error over a stretch of the plane, and two descents from the same start.

    Attributes:
        w, b: (P,) the values of the grid's axes.
        error: (P, P) E at b[i], w[j].
        norm: (P, P) of its gradient.
        plain, clipped: the descents.
        options: what was asked for.
    """

    w: np.ndarray
    b: np.ndarray
    error: np.ndarray
    norm: np.ndarray
    plain: Descent
    clipped: Descent
    options: SurfaceOptions

    def to_json(self) -> dict[str, Any]:
        """The keys of `charlm inspect surface --json`."""
        i, j = np.unravel_index(self.norm.argmax(), self.norm.shape)
        n, m = np.unravel_index(self.error.argmin(), self.error.shape)
        return {
            "options": self.options.values(),
            "steepest": {"w": float(self.w[j]), "b": float(self.b[i]), "norm": float(self.norm[i, j])},
            "lowest": {"w": float(self.w[m]), "b": float(self.b[n]), "error": float(self.error[n, m])},
            "highest_error": float(self.error.max()),
            "plain": self.plain.to_json(),
            "clipped": self.clipped.to_json(),
        }


def surface(options: SurfaceOptions | None = None) -> Surface:
    """The error and its exact gradient on a grid, and the descents with and without clipping.

    Raises:
        CharlmError: a gradient or a descent grows beyond float64, as over thousands of steps it can.
    """
    options = options or SurfaceOptions()
    w = np.linspace(options.w_low, options.w_high, options.points)
    b = np.linspace(options.b_low, options.b_high, options.points)
    with np.errstate(over="ignore", invalid="ignore"):
        error, by_w, by_b = error_and_gradient(w[None, :], b[:, None], options)
        norm = np.hypot(by_w, by_b)
        plain, clipped = _descend(options, None), _descend(options, options.clip_norm)
    if not all(np.isfinite(values).all() for values in (norm, plain.w, plain.norm, clipped.w, clipped.norm)):
        raise CharlmError("a gradient grows beyond all numbers; choose a smaller --length, or smaller weights")
    return Surface(w, b, error, norm, plain, clipped, options)


def error_and_gradient(
    w: np.ndarray, b: np.ndarray, options: SurfaceOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E, ∂E/∂w and ∂E/∂b at points of the plane, by carrying ∂h_t/∂w and ∂h_t/∂b forward with h_t.

    Args:
        w, b: of shapes that go together.
        options: the length, the first state and the target count.

    Returns:
        Three arrays of the shape that w and b have together.
    """
    w, b = np.broadcast_arrays(np.asarray(w, np.float64), np.asarray(b, np.float64))
    h = np.full(w.shape, options.first)
    by_w, by_b = np.zeros(w.shape), np.zeros(w.shape)
    for _ in range(options.length):
        s = _sigmoid(h)
        through = w * s * (1 - s)
        by_w, by_b = s + through * by_w, 1 + through * by_b
        h = w * s + b
    s = _sigmoid(h)
    outer = 2 * (s - options.target) * s * (1 - s)
    return (s - options.target) ** 2, outer * by_w, outer * by_b


def _descend(options: SurfaceOptions, threshold: float | None) -> Descent:
    """Gradient descent; with a threshold, a gradient whose norm is larger is scaled down to it."""
    at = np.array([options.start_w, options.start_b])
    rows = []
    for _ in range(options.steps + 1):
        error, by_w, by_b = (float(value) for value in error_and_gradient(at[0], at[1], options))
        norm = float(np.hypot(by_w, by_b))
        rows.append((*at, error, norm))
        scale = threshold / norm if threshold is not None and norm > threshold else 1.0
        at = at - options.rate * scale * np.array([by_w, by_b])
    return Descent(*np.array(rows).T)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """σ(x), written with tanh, which overflows nowhere."""
    return 0.5 * np.tanh(0.5 * x) + 0.5
