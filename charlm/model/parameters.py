"""Names, shapes and number of a network's parameters, and whether its options agree. No arrays here.

Shapes: V symbols, E embedding, H hidden, G gates of the cell.
"""

from math import prod

from charlm import cells
from charlm.config import ModelOptions
from charlm.errors import UsageError
from charlm.spec import AUTO

REVERSE = "reverse."
"""Prefix of the names of the layers that read from the right, in a bidirectional network."""


def check(options: ModelOptions) -> None:
    """Check that the options agree; sizes may still be `auto`.

    Raises:
        UsageError: with tied embeddings, there is no embedding, or it has another size than the readout's input.
    """
    if not options.tied:
        return
    if options.input != "embedding":
        raise UsageError(
            f"--tied shares the table of embeddings with the readout, and --input {options.input} has none; "
            f"give --input embedding, or leave out --tied"
        )
    if AUTO not in (options.hidden, options.embedding) and options.embedding != options.readout_size:
        of = f"{options.layers} layers of --hidden" if options.skip else "--hidden"
        of = f"both sides' {of}" if options.bidirectional else of
        raise UsageError(
            f"--tied needs an embedding of {options.readout_size} numbers, as many as the readout reads of {of} "
            f"{options.hidden}, and it has {options.embedding}; change --hidden, or leave out --embedding or --tied"
        )


def input_size(options: ModelOptions, vocab_size: int) -> int:
    """Return how many numbers the first layer reads per character: E, or V with one-hot input."""
    return options.embedding if options.input == "embedding" else vocab_size


def shapes(options: ModelOptions, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model file, by its name there.

    `embedding.weight (V, E)` is absent with one-hot input. `layers.{l}.…` are the cell's own; for
    rnn, lstm and gru they have torch's meaning and gate order. `charlm.model.wiring` has the products: with
    skip, a layer above the first reads H + E or H + V numbers, and the readout reads all layers.
    `readout.weight` is absent with tied embeddings. A bidirectional network has all layers twice, those that read
    from the right as `reverse.layers.{l}.…`, and its readout reads the outputs of the others first.
    """
    shapes_by_name: dict[str, tuple[int, ...]] = {}
    if options.input == "embedding":
        shapes_by_name["embedding.weight"] = (vocab_size, options.embedding)
    stack = _stack(options, vocab_size)
    shapes_by_name |= {name: shape for name, shape in stack.items() if name.startswith("layers.")}
    if not options.tied:
        shapes_by_name["readout.weight"] = (vocab_size, options.readout_size)
    shapes_by_name["readout.bias"] = (vocab_size,)
    shapes_by_name |= stack
    return shapes_by_name | (
        {f"{REVERSE}{name}": shape for name, shape in stack.items()} if options.bidirectional else {}
    )


def _stack(options: ModelOptions, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the layers, and of the wiring between them."""
    cell, shapes_by_name = cells.of(options), {}
    inputs = first_inputs = input_size(options, vocab_size)
    for layer in range(options.layers):
        for name, shape in cell.at(layer).shapes(inputs, options.hidden).items():
            shapes_by_name[f"layers.{layer}.{name}"] = shape
        inputs = options.hidden + (first_inputs if options.skip else 0)
    for layer in range(options.layers) if options.layer_norm else ():
        shapes_by_name[f"norm.{layer}.weight"] = shapes_by_name[f"norm.{layer}.bias"] = (options.hidden,)
    for layer in range(1, options.layers) if options.between == "highway" else ():
        shapes_by_name[f"highway.{layer}.weight"] = (options.hidden, options.hidden)
        shapes_by_name[f"highway.{layer}.bias"] = (options.hidden,)
    return shapes_by_name


def count(options: ModelOptions, vocab_size: int) -> int:
    """Return the number of parameters."""
    return sum(prod(shape) for shape in shapes(options, vocab_size).values())
