"""What the recurrent weights alone say about gradients: singular values, eigenvalues, and a bound.

∂h_t/∂h_(t-1) = diag(f') W_hh of a simple recurrent network, so that no gradient through k steps is larger than
(β_W β_h)^k times what it was, with β_W the largest singular value of W_hh and β_h the largest slope of f (Pascanu,
Mikolov & Bengio 2013, section 2.1): below 1 gradients must vanish; for them to explode it must be above 1. The largest
eigenvalue says what becomes of powers of W_hh, and so of gradients where every slope is the largest, as it is without a
nonlinearity; where slopes differ from unit to unit, gradients may grow for ever with all eigenvalues at 0. For the
preactivation-rnn the same holds of ∂a_t/∂a_(t-1) = W_hh diag(f'). Of a gated cell the bound says nothing, since its
state is not a function of W_hh h alone; of one without W_hh there is nothing to say.
"""

from dataclasses import dataclass, replace

import numpy as np

from charlm import cells
from charlm.errors import UsageError
from charlm.model.checkpoint import Model

SLOPES = {"tanh": 1.0, "relu": 1.0, "linear": 1.0, "sigmoid": 0.25}
"""The largest slope of each nonlinearity of the simple networks."""

SIMPLE = ("rnn", "preactivation-rnn")
"""The cells whose state passes through W_hh and f, and nothing else."""


@dataclass(frozen=True)
class Block:
    """The H rows of W_hh that belong to one gate.

    Attributes:
        gate: its name.
        singular: their largest singular value.
        radius: their spectral radius, the largest absolute eigenvalue.
    """

    gate: str
    singular: float
    radius: float


def blocks(model: Model, layer: int) -> list[Block]:
    """The blocks of W_hh of a layer, counted from 0, in float64: of each gate that reads h, none where no gate does."""
    cell = cells.of(model.options)
    if not cell.recurrent:
        return []
    weight = model.weights[f"layers.{layer}.weight_hh"].astype(np.float64)
    matrices = np.split(weight, len(weight) // model.options.hidden)
    return [
        Block(gate, float(np.linalg.norm(matrix, 2)), float(np.abs(np.linalg.eigvals(matrix)).max()))
        for gate, matrix in zip(cell.gates, matrices, strict=False)  # a gate that does not read h comes last
    ]


def slope(model: Model) -> float | None:
    """β_h, the largest slope of the nonlinearity; None for a cell of which the bound says nothing."""
    return SLOPES[model.options.activation] if model.options.cell in SIMPLE else None


def bound(singular: float, slope: float, window: int) -> np.ndarray:
    """(K,) the factors (β_W β_h)^k for k = 0 … window; infinite beyond float64."""
    with np.errstate(over="ignore"):
        return (singular * slope) ** np.arange(window + 1)


def scaled(model: Model, factor: float) -> Model:
    """The model with W_hh of every layer multiplied; its other weights are shared.

    Raises:
        UsageError: its cell has no W_hh.
    """
    if factor != 1 and not cells.of(model.options).recurrent:
        raise UsageError(
            f"--scale-recurrent {factor:g} multiplies recurrent weights, and the cell {model.options.cell} has none; "
            f"leave it out"
        )
    weights = {
        name: (weight * np.float64(factor)) if name.endswith(".weight_hh") else weight
        for name, weight in model.weights.items()
    }
    return replace(model, weights=weights)
