"""The equations of the cells: one file a cell, the same lines for NumPy and for torch.

A cell is a class with the names of its gates and of its state, and one method, `step`, that holds
the equations in the letters of the paper. Everything else in charlm works from that: the unrolled
training loop, the sampler without torch, the checkpoint, the gradient checks and `--help`. Adding
a cell is adding a file here that ends in `CELL = TheClass`; such a file that lies elsewhere is a plugin
(`charlm.cells._plugin`).

Neither NumPy nor torch is imported here; `xp` stands for whichever the arrays belong to.
"""

from importlib import import_module

from charlm.cells._cell import Array, Cell, Parameters, State, sigmoid, split
from charlm.cells._parallel import LinearCell, WindowCell
from charlm.config import PLUGIN_CELLS, ModelOptions, cell_names
from charlm.errors import UsageError

__all__ = [
    "Array", "Cell", "LinearCell", "Parameters", "State", "WindowCell", "make", "names", "of", "sigmoid", "split",
]  # fmt: skip

names = cell_names


def of(options: ModelOptions) -> Cell:
    """The cell of a network; raises as `make` does."""
    return make(options.cell, options.activation, options.context)


def make(name: str, activation: str = "tanh", context: int = 8) -> Cell:
    """The cell of that name.

    Raises:
        UsageError: there is no such cell, or it has no such activation.
    """
    if name not in names():
        raise ModelOptions.specs()["cell"].refusal("cell", name)
    kind: type[Cell] = PLUGIN_CELLS.get(name) or import_module(f"charlm.cells.{name.replace('-', '_')}").CELL
    if activation not in kind.activations:
        raise UsageError(
            f"--activation {activation} does not fit --cell {name}, which takes {', '.join(kind.activations)}; "
            f"leave it out, or choose --cell rnn"
        )
    return kind(activation, context)
