"""What parameters a network has: their names, shapes and number. No arrays here.

Shapes: V symbols, E embedding, H hidden, G gates of the cell.
"""

from math import prod

from charlm import cells
from charlm.config import ModelOptions


def input_size(options: ModelOptions, vocabulary: int) -> int:
    """How many numbers the first layer reads per character: E, or V with one-hot input."""
    return options.embedding if options.input == "embedding" else vocabulary


def shapes(options: ModelOptions, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model file, by the name it has there.

    `embedding.weight (V, E)` is absent with one-hot input. `layers.{l}.…` are the cell's own; for
    rnn, lstm and gru they have torch's meaning and gate order.
    """
    cell = cells.of(options)
    found: dict[str, tuple[int, ...]] = {}
    if options.input == "embedding":
        found["embedding.weight"] = (vocabulary, options.embedding)
    inputs = input_size(options, vocabulary)
    for layer in range(options.layers):
        for name, shape in cell.at(layer).shapes(inputs, options.hidden).items():
            found[f"layers.{layer}.{name}"] = shape
        inputs = options.hidden
    found["readout.weight"] = (vocabulary, options.hidden)
    found["readout.bias"] = (vocabulary,)
    return found


def count(options: ModelOptions, vocabulary: int) -> int:
    """The number of parameters."""
    return sum(prod(shape) for shape in shapes(options, vocabulary).values())
