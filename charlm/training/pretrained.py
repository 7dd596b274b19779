"""The weights that a run starts from, where another model gives them (`--init-from`).

What is left out: an embedding from a file (`charlm.training.pretrained`), and first weights at random
    (`charlm.model.initializers`).
"""

from pathlib import Path
from typing import Any

import numpy as np

from charlm.config import ModelOptions, TrainOptions
from charlm.data.word2vec import Vectors, read_vectors
from charlm.errors import UsageError
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.model.parameters import REVERSE
from charlm.spec import AUTO, flag
from charlm.tokenizers.vocabulary import Vocabulary


def with_source_network(source: Model | None, values: dict[str, Any]) -> dict[str, Any]:
    """The options, by name, with the network of `source`, where there is one.

    Raises:
        UsageError: one that was given differs.
    """
    if source is None:
        return values
    network = {name: value for name, value in source.options.values().items() if name != "dropout"}
    specs = TrainOptions.specs()
    for name, value in network.items():
        if values.get(name) not in (None, AUTO) and specs[name].read(name, values[name]) != value:
            raise UsageError(
                f"{flag(name)} {values[name]} does not fit --init-from {source.path}, which has {value}; leave it out"
            )
    return {**values, **network}


def copy_weights(source: Model, network: Network, vocabulary: Vocabulary) -> str:
    """Copy the weights of `source`; rows and columns of symbols go to where the same character is now. Says which.

    Raises:
        UsageError: its symbols are of another unit.
    """
    if source.vocabulary.unit != vocabulary.unit:
        raise UsageError(
            f"--init-from {source.path} reads {source.vocabulary.unit}s, the corpus has {vocabulary.unit}s; "
            f"prepare the text with --unit {source.vocabulary.unit}"
        )
    arrays = network.arrays()
    old = {code: rank + 2 for rank, code in enumerate(source.vocabulary.codes.tolist())}
    pairs = [(0, 0), (1, 1)]
    pairs += [(old[code], rank + 2) for rank, code in enumerate(vocabulary.codes.tolist()) if code in old]
    there, here = (np.array(part) for part in zip(*pairs, strict=True))
    for name, weight in source.weights.items():
        if name in ("embedding.weight", "readout.weight", "readout.bias"):
            arrays[name][here] = weight[there]
        elif (before := _columns_before(name, source.options)) is not None:
            arrays[name][:, :before] = weight[:, :before]
            arrays[name][:, before + here] = weight[:, before + there]
        else:
            arrays[name] = weight
    network.load_weights(arrays)
    kind = vocabulary.tokenizer
    new = [kind.describe(code) for code in vocabulary.codes.tolist() if code not in old]
    told = (
        f"new symbols, which start untrained: {', '.join(new[:10])}{' …' if len(new) > 10 else ''}"
        if new
        else "no new symbols"
    )
    return f"weights from {source.path}: {len(pairs) - 2} {kind.noun}s matched; {told}"


def _columns_before(name: str, options: ModelOptions) -> int | None:
    """After how many columns a matrix has one for each symbol; None where it has none."""
    if options.input != "one-hot" or not name.endswith(".weight_ih"):
        return None
    if name.removeprefix(REVERSE).startswith("layers.0."):
        return 0
    return options.hidden if options.skip else None


def load_vectors(values: dict[str, Any], vocabulary: Vocabulary, source: Model | None) -> Vectors | None:
    """The vectors of the file that the options name; None where they name none.

    Args:
        values: options of `charlm.config.TrainOptions`, by name.
        symbols: of the corpus.
        source: the model that the other weights start from, if any.

    Raises:
        InputError: the file cannot be used.
        UsageError: the model has an embedding of its own.
    """
    path = TrainOptions.specs()["embeddings"].read("embeddings", values.get("embeddings"))
    if path is None:
        return None
    if source is not None:
        raise UsageError("--embeddings and --init-from both say what the embedding starts from; give one of them")
    return read_vectors(Path(path), vocabulary)


def with_embedding_size(found: Vectors | None, values: dict[str, Any]) -> dict[str, Any]:
    """The options, by name, with an embedding of the vectors' size.

    Raises:
        UsageError: another one was given.
    """
    if found is None:
        return values
    given = values.get("embedding")
    if given not in (None, AUTO) and TrainOptions.specs()["embedding"].read("embedding", given) != found.size:
        raise UsageError(
            f"--embedding {given} does not fit --embeddings {values['embeddings']}, whose vectors have {found.size} "
            f"numbers; leave it out"
        )
    return {**values, "embedding": found.size}


def copy_embeddings(found: Vectors, network: Network, vocabulary: Vocabulary, options: TrainOptions) -> str:
    """Let the embedding start from the vectors; symbols that the file lacks start as usual. Says which those are."""
    arrays = network.arrays()
    arrays["embedding.weight"][found.ids] = found.values
    network.load_weights(arrays)
    lacking = sorted(set(range(vocabulary.size)) - {int(symbol) for symbol in found.ids})
    names = ["boundary", "unknown", *(vocabulary.tokenizer.describe(code) for code in vocabulary.codes.tolist())]
    told = f"embeddings of {len(found.ids):,} symbols from {options.embeddings}"
    if found.others:
        told += f", which has {found.others:,} of others"
    if lacking:
        start = "start and stay" if options.freeze_embeddings else "start"
        listed = ", ".join(names[symbol] for symbol in lacking[:10])
        told += f"; {len(lacking):,} that it lacks {start} at random: {listed}{' …' if len(lacking) > 10 else ''}"
    return told
