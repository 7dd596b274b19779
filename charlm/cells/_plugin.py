"""A cell from outside the package: the user names its file or module, and it is registered under its name.

    charlm train --plugin minimal.py --cell minimal

A plugin is Python that runs, so that it is never loaded because a model, a run or a configuration file names
it; only `--plugin`, or `charlm.plugin` in a program, does that. What is left out: the cells of the package,
which are found by their names (`charlm.cells`).
"""

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from charlm.cells._cell import Cell, State
from charlm.cells._parallel import LinearCell, WindowCell
from charlm.config import PLUGIN_CELLS, ModelOptions, own_cells
from charlm.errors import UsageError

_ORIGINS: dict[str, str] = {}
"""Where each cell in `PLUGIN_CELLS` came from."""

_INPUTS, _HIDDEN = 3, 2
"""Sizes of the layer that a plugin's cell is tried with."""


def plugin(source: str | Path) -> str:
    """Run a Python file, or import a module, and register the cell that it exposes as `CELL`.

    Args:
        source: a file that ends in `.py`, or the name of a module that can be imported.

    Returns:
        The name of the cell, as `--cell` takes it.

    Raises:
        UsageError: there is no such file or module, it fails, its `CELL` is no cell that works, or its name is taken.
    """
    module = _load_module(str(source))
    kind = getattr(module, "CELL", None)
    name = _check_cell(kind, str(source))
    origin = str(getattr(module, "__file__", None) or module.__name__)
    if name in own_cells():
        raise _plugin_error(source, f"names its cell {name}, which charlm has itself; give it another name")
    if _ORIGINS.get(name, origin) != origin:
        raise _plugin_error(source, f"names its cell {name}, as {_ORIGINS[name]} does; give it another name")
    _ORIGINS[name] = origin
    PLUGIN_CELLS[name] = kind
    return name


def forget() -> None:
    """Know the cells of the package only, as in the beginning."""
    _ORIGINS.clear()
    PLUGIN_CELLS.clear()


def _load_module(source: str) -> ModuleType:
    """The module, whose code has run."""
    try:
        return _import_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises is a fault of that module
        reason = " ".join(str(error).split()) or "no reason given"
        raise _plugin_error(
            source, f"cannot be loaded ({type(error).__name__}: {reason}); give a Python file"
        ) from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = f"charlm_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for the module that they are defined in
    spec.loader.exec_module(module)
    return module


def _check_cell(kind: Any, source: str) -> str:
    """The name of a class of cell that says of itself what a cell must, and whose step does what it says."""
    if not (isinstance(kind, type) and issubclass(kind, Cell)):
        raise _plugin_error(source, "exposes no cell; it must end in CELL = a subclass of charlm.cells.Cell")
    name = getattr(kind, "name", None)
    if not (isinstance(name, str) and re.fullmatch("[a-z][a-z0-9-]{0,39}", name)):
        raise _plugin_error(source, f"names its cell {name!r:.60}; a name has small letters, digits and -, at most 40")
    _check_words(kind, source, "activations")
    known = ModelOptions.specs()["activation"].words()
    if not set(kind.activations) <= set(known):
        raise _plugin_error(source, f"has the activations {kind.activations!r:.60}; there are {', '.join(known)}")
    for activation in kind.activations:
        try:
            cell = kind(activation)
            _check_words(cell, source, "gates")
            _check_words(cell, source, "state")
            if cell.state[0] != "h":
                raise _plugin_error(
                    source, f"has the state {cell.state!r:.60}; its first part must be h, which the layer above reads"
                )
            if cell.at(0).state != cell.state:
                raise _plugin_error(
                    source, f"has the state {cell.at(0).state!r:.60} in its lowest layer; it must be the same"
                )
            for layer in (0, 1):
                _try_step(cell.at(layer), layer)
        except UsageError:
            raise
        except Exception as error:  # as above: the cell is the plugin's own
            raise _plugin_error(
                source, f"has a cell that fails ({type(error).__name__}: {' '.join(str(error).split())}); mend it"
            ) from error
    return name


def _check_words(owner: Any, source: str, attribute: str) -> None:
    words = getattr(owner, attribute, None)
    if not (isinstance(words, tuple) and words and all(isinstance(word, str) for word in words)):
        raise _plugin_error(source, f"has the {attribute} {words!r:.60}; they must be a tuple of words, at least one")


def _try_step(cell: Cell, layer: int) -> None:
    """One step with zeros in the first layer or in one above; raises where a shape is not as it must be."""
    xp = importlib.import_module("numpy")
    p = {name: xp.zeros(shape, xp.float32) for name, shape in cell.shapes(_INPUTS, _HIDDEN).items()}
    rows = len(cell.gates) * _HIDDEN
    needed: dict[str, tuple[int, ...]] = {"weight_ih": (rows, _INPUTS), "bias_ih": (rows,)}
    if cell.recurrent:  # the last gates may do without h
        read = next((n for n in range(_HIDDEN, rows, _HIDDEN) if n == len(p.get("bias_hh", ()))), rows)
        needed |= {"weight_hh": (read, _HIDDEN), "bias_hh": (read,)}
    for name, shape in needed.items():
        if name not in p or p[name].shape != shape:
            raise ValueError(f"{name} must have the shape {shape}")
    state = tuple(xp.zeros((1, _HIDDEN), xp.float32) for _ in cell.state)
    after, gates = cell.step(xp, p, xp.zeros((1, rows), xp.float32), state if layer else None, state)
    if tuple(gates) != cell.gates:
        raise ValueError(f"step must return the gates {', '.join(cell.gates)} by name")
    if len(after) != len(state) or any(array.shape != (1, _HIDDEN) for array in (*after, *gates.values())):
        raise ValueError(f"step must return a state of {len(state)} parts, and it and the gates (B, H)")
    _try_window(xp, cell, p, state)


def _try_window(xp: Any, cell: Cell, p: Any, state: State) -> None:
    """The same of a window of two characters, by a cell that takes it as a whole."""
    x = xp.zeros((2, 1, len(cell.gates) * _HIDDEN), xp.float32)
    if isinstance(cell, LinearCell):
        a, b, _ = cell.coefficients(xp, p, x)
        if xp.broadcast(a, b).shape != (2, 1, _HIDDEN):
            raise ValueError("coefficients must return a and b (T, B, H) for a window")
    if isinstance(cell, WindowCell):
        h, after = cell.window(xp, p, x, state)
        if h.shape != (2, 1, _HIDDEN) or [array.shape for array in after] != [array.shape for array in state]:
            raise ValueError(f"window must return h (T, B, H), and a state of {len(state)} parts (B, H)")


def _plugin_error(source: str | Path, why: str) -> UsageError:
    return UsageError(f"--plugin {source} {why}")
