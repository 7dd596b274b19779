"""Options of a network, and the available cell types."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from charlm.spec import AUTO, Options, option

_model = partial(option, panel="Model")

PLUGIN_CELLS: dict[str, Any] = {}
"""Cell types from plugins, by name; `charlm.cells._plugin` adds them."""


def own_cells() -> tuple[str, ...]:
    """The package's cell types: each file in the folder `cells` is one."""
    folder = Path(__file__).parent.parent / "cells"
    names = (path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return tuple(sorted(names))


def cell_names() -> tuple[str, ...]:
    """The package's cell types, and those of the plugins loaded so far."""
    return tuple(sorted({*own_cells(), *PLUGIN_CELLS}))


@dataclass(frozen=True)
class ModelOptions(Options):
    """The architecture of a network, which a model file contains."""

    cell: str = _model(
        "lstm",
        "choice",
        "What a layer is made of.",
        choices=cell_names,
        unknown="a cell from outside charlm needs --plugin FILE.py",
    )
    layers: int = _model(1, "integer", "Recurrent layers, one above the other.", low=1, high=64)
    hidden: int = _model(
        AUTO,
        "integer",
        "Units in each layer.",
        low=1,
        high=65536,
        auto="256; 512 for texts of 500 kB or more where --time is 5m or more, or 20 million characters are to be seen",
    )
    input: str = _model(
        "one-hot",
        "choice",
        "How a symbol enters: its own column of weights, or an embedding.",
        choices=("one-hot", "embedding"),
    )
    embedding: int = _model(
        AUTO,
        "integer",
        "Size of the embedding.",
        low=1,
        high=65536,
        auto="64, at most --hidden; as many as --embeddings has; with --tied what the readout reads",
    )
    dropout: float = _model(
        AUTO,
        "number",
        "Share of activations dropped between layers and before the readout.",
        low=0,
        below=1,
        auto="0.5 x the smaller of 1 - 4 / passes and 1 - 6 / load, at least 0; load is passes x parameters / "
        "characters of the text; with --time, the passes of a machine that does 2.5 x 10^11 operations a second",
    )
    activation: str = _model(
        "tanh",
        "choice",
        "Nonlinearity of the rnn and the preactivation-rnn.",
        choices=("tanh", "relu", "sigmoid", "linear"),
    )
    context: int = _model(
        8, "integer", "Characters in the window of the window-mlp, the last one included.", low=1, high=1024
    )
    skip: bool = _model(False, "switch", "Every layer reads the input too, and the readout reads every layer.")
    between: str = _model(
        "plain",
        "choice",
        "What a layer above the first hands on: its output, that added to what it read, or a gated mean of both.",
        choices=("plain", "residual", "highway"),
    )
    layer_norm: bool = _model(False, "switch", "Normalise each layer's output before anything but itself reads it.")
    tied: bool = _model(False, "switch", "One table for the input's embedding and the readout.")
    direction: str = _model(
        "forward",
        "choice",
        "Read and write from left to right, or, backward, from right to left; bidirectional predicts a character from "
        "both sides, and writes nothing.",
        choices=("forward", "backward", "bidirectional"),
    )

    @property
    def readout_size(self) -> int:
        """Inputs of the output layer: H, with `skip` those of all layers, twice that if bidirectional.

        `hidden` must not be `auto`."""
        return self.hidden * (self.layers if self.skip else 1) * (2 if self.bidirectional else 1)

    @property
    def bidirectional(self) -> bool:
        """Whether a character is predicted from the text on both sides of it."""
        return self.direction == "bidirectional"

    def wiring(self) -> dict[str, Any]:
        """The options by which the network differs from a plain stack of layers."""
        return {name: getattr(self, name) for name in WIRING_OPTIONS if getattr(self, name) != self.default(name)}


WIRING_OPTIONS = ("skip", "between", "layer_norm", "tied")
"""The options of how layers are connected; a model file contains those that are not at their
defaults (`charlm.model.checkpoint`)."""
