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

from charlm.cells._cell import Cell
from charlm.config import OUTSIDE, ModelOptions, own_cells
from charlm.errors import UsageError

_ORIGINS: dict[str, str] = {}
"""Where each cell in `OUTSIDE` came from."""

_INPUTS, _HIDDEN = 3, 2
"""Sizes of the layer that a plugin's cell is tried with."""


def plugin(place: str | Path) -> str:
    """Run a Python file, or import a module, and register the cell that it exposes as `CELL`.

    Args:
        place: a file that ends in `.py`, or the name of a module that can be imported.

    Returns:
        The name of the cell, as `--cell` takes it.

    Raises:
        UsageError: there is no such file or module, it fails, its `CELL` is no cell that works, or its name is taken.
    """
    module = _module(str(place))
    kind = getattr(module, "CELL", None)
    name = _checked(kind, str(place))
    origin = str(getattr(module, "__file__", None) or module.__name__)
    if name in own_cells():
        raise _unfit(place, f"names its cell {name}, which charlm has itself; give it another name")
    if _ORIGINS.get(name, origin) != origin:
        raise _unfit(place, f"names its cell {name}, as {_ORIGINS[name]} does; give it another name")
    _ORIGINS[name] = origin
    OUTSIDE[name] = kind
    return name


def forget() -> None:
    """Know the cells of the package only, as in the beginning."""
    _ORIGINS.clear()
    OUTSIDE.clear()


def _module(place: str) -> ModuleType:
    """The module, whose code has run."""
    try:
        return _of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises is a fault of that module
        reason = " ".join(str(error).split()) or "no reason given"
        raise _unfit(place, f"cannot be loaded ({type(error).__name__}: {reason}); give a Python file") from error


def _of_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = f"charlm_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for the module that they are defined in
    spec.loader.exec_module(module)
    return module


def _checked(kind: Any, place: str) -> str:
    """The name of a class of cell that says of itself what a cell must, and whose step does what it says."""
    if not (isinstance(kind, type) and issubclass(kind, Cell)):
        raise _unfit(place, "exposes no cell; it must end in CELL = a subclass of charlm.cells.Cell")
    name = getattr(kind, "name", None)
    if not (isinstance(name, str) and re.fullmatch("[a-z][a-z0-9-]{0,39}", name)):
        raise _unfit(place, f"names its cell {name!r:.60}; a name has small letters, digits and -, at most 40")
    for attribute in ("gates", "state", "activations"):
        words = getattr(kind, attribute, None)
        if not (isinstance(words, tuple) and words and all(isinstance(word, str) for word in words)):
            raise _unfit(place, f"has the {attribute} {words!r:.60}; they must be a tuple of words, at least one")
    known = ModelOptions.specs()["activation"].words()
    if not set(kind.activations) <= set(known):
        raise _unfit(place, f"has the activations {kind.activations!r:.60}; there are {', '.join(known)}")
    if kind.state[0] != "h":
        raise _unfit(place, f"has the state {kind.state!r:.60}; its first part must be h, which the layer above reads")
    for activation in kind.activations:
        try:
            _try(kind(activation))
        except Exception as error:  # as above: the cell is the plugin's own
            raise _unfit(
                place, f"has a cell that fails ({type(error).__name__}: {' '.join(str(error).split())}); mend it"
            ) from error
    return name


def _try(cell: Cell) -> None:
    """One step with zeros in a first layer and in one above; raises where a shape is not as it must be."""
    xp = importlib.import_module("numpy")
    p = {name: xp.zeros(shape, xp.float32) for name, shape in cell.shapes(_INPUTS, _HIDDEN).items()}
    rows = len(cell.gates) * _HIDDEN
    needed = {"weight_ih": (rows, _INPUTS), "weight_hh": (rows, _HIDDEN), "bias_ih": (rows,), "bias_hh": (rows,)}
    for name, shape in needed.items():
        if name not in p or p[name].shape != shape:
            raise ValueError(f"{name} must have the shape {shape}")
    state = tuple(xp.zeros((1, _HIDDEN), xp.float32) for _ in cell.state)
    for below in (None, state):
        after, gates = cell.step(xp, p, xp.zeros((1, rows), xp.float32), below, state)
        if tuple(gates) != cell.gates:
            raise ValueError(f"step must return the gates {', '.join(cell.gates)} by name")
        if len(after) != len(state) or any(part.shape != (1, _HIDDEN) for part in (*after, *gates.values())):
            raise ValueError(f"step must return a state of {len(state)} parts, and it and the gates (B, H)")


def _unfit(place: str | Path, why: str) -> UsageError:
    return UsageError(f"--plugin {place} {why}")
