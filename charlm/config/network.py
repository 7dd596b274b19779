"""Options that make a network, and the cells it can have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.spec import AUTO, Options, option

PLUGIN_CELLS: dict[str, Any] = {}
"""The cells that are no part of the package, by name: `charlm.cells._plugin` puts them here."""


def own_cells() -> tuple[str, ...]:
    """The cells of the package, by listing its folder: adding a cell is adding a file."""
    folder = Path(__file__).parent.parent / "cells"
    names = (path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return tuple(sorted(names))


def cell_names() -> tuple[str, ...]:
    """Every cell that is known by now: those of the package, and those of plugins."""
    return tuple(sorted({*own_cells(), *PLUGIN_CELLS}))


@dataclass(frozen=True)
class ModelOptions(Options):
    """The network: what a model file needs to be rebuilt."""

    cell: str = option(
        "lstm",
        "choice",
        "What a layer is made of.",
        choices=cell_names,
        panel="Model",
        unknown="a cell from outside charlm needs --plugin FILE.py",
    )
    layers: int = option(1, "integer", "Recurrent layers, one above the other.", low=1, high=64, panel="Model")
    hidden: int = option(
        AUTO,
        "integer",
        "Units in each layer.",
        low=1,
        high=65536,
        panel="Model",
        auto="256; 512 for texts of 500 kB or more where --time is 5m or more, or 20 million characters are to be seen",
    )
    input: str = option(
        "one-hot",
        "choice",
        "How a symbol enters: its own column of weights, or an embedding.",
        choices=("one-hot", "embedding"),
        panel="Model",
    )
    embedding: int = option(
        AUTO,
        "integer",
        "Size of the embedding.",
        low=1,
        high=65536,
        auto="64, at most --hidden; as many as --embeddings has; with --tied what the readout reads",
        panel="Model",
    )
    dropout: float = option(
        AUTO,
        "number",
        "Share of activations dropped between layers and before the readout.",
        low=0,
        below=1,
        auto="0.5 x the smaller of 1 - 4 / passes and 1 - 6 / load, at least 0; load is passes x parameters / "
        "characters of the text; with --time, the passes of a machine that does 2.5 x 10^11 operations a second",
        panel="Model",
    )
    activation: str = option(
        "tanh",
        "choice",
        "Nonlinearity of the rnn and the preactivation-rnn.",
        choices=("tanh", "relu", "sigmoid", "linear"),
        panel="Model",
    )
    context: int = option(
        8,
        "integer",
        "Characters in the window of the window-mlp, the last one included.",
        low=1,
        high=1024,
        panel="Model",
    )
    skip: bool = option(
        False, "switch", "Every layer reads the input too, and the readout reads every layer.", panel="Model"
    )
    between: str = option(
        "plain",
        "choice",
        "What a layer above the first hands on: its output, that added to what it read, or a gated mean of both.",
        choices=("plain", "residual", "highway"),
        panel="Model",
    )
    layer_norm: bool = option(
        False, "switch", "Normalise each layer's output before anything but itself reads it.", panel="Model"
    )
    tied: bool = option(False, "switch", "One table for the input's embedding and the readout.", panel="Model")
    direction: str = option(
        "forward",
        "choice",
        "Read and write from left to right, or, backward, from right to left; bidirectional predicts a character from "
        "both sides, and writes nothing.",
        choices=("forward", "backward", "bidirectional"),
        panel="Model",
    )

    @property
    def readout_size(self) -> int:
        """How many numbers the readout reads: H, or with skip those of all layers, and in a bidirectional network twice
        as many; `hidden` must be decided."""
        return self.hidden * (self.layers if self.skip else 1) * (2 if self.bidirectional else 1)

    @property
    def bidirectional(self) -> bool:
        """Whether each character is predicted from those on both sides of it."""
        return self.direction == "bidirectional"

    def wiring(self) -> dict[str, Any]:
        """What connects the layers in another way than a plain stack, by name; empty for one."""
        return {name: getattr(self, name) for name in WIRING if getattr(self, name) != self.default(name)}


WIRING = ("skip", "between", "layer_norm", "tied")
"""The options of `ModelOptions` that say how layers are connected. A model file names those alone that are not at
their defaults (`charlm.model.checkpoint`)."""
