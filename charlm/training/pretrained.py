"""The weights that a run starts from: those of another model (`--init-from`), or an embedding from a file
(`--embeddings`).

Not here: reading the file (`charlm.data.word2vec`), and first weights at random (`charlm.model.initializers`).
"""

from collections.abc import Mapping
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
from charlm.tokenizers.vocabulary import FIRST_SYMBOL, Vocabulary


def load_pretrained(
    network: Network, vocabulary: Vocabulary, options: TrainOptions, source: Model | None, vectors: Vectors | None
) -> list[str]:
    """Let a new network start from a model or from vectors, if there are any; returns notices of what was matched.

    Raises:
        UsageError: the symbols of `source` are of another unit.
    """
    notices = [] if source is None else [copy_weights(source, network, vocabulary)]
    return notices if vectors is None else [*notices, copy_embeddings(vectors, network, vocabulary, options)]


def with_source_network(source: Model | None, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, by name, with the network of `source`, if there is one.

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
    old = {code: id for id, code in enumerate(source.vocabulary.codes.tolist(), FIRST_SYMBOL)}
    pairs = [(id, id) for id in range(FIRST_SYMBOL)]
    pairs += [(old[code], id) for id, code in enumerate(vocabulary.codes.tolist(), FIRST_SYMBOL) if code in old]
    old_ids, new_ids = (np.array(ids) for ids in zip(*pairs, strict=True))
    for name, weight in source.weights.items():
        if name in ("embedding.weight", "readout.weight", "readout.bias"):
            arrays[name][new_ids] = weight[old_ids]
        elif (offset := _symbol_columns(name, source.options)) is not None:
            arrays[name][:, :offset] = weight[:, :offset]
            arrays[name][:, offset + new_ids] = weight[:, offset + old_ids]
        else:
            arrays[name] = weight
    network.load_weights(arrays)
    tokenizer = vocabulary.tokenizer
    new = [tokenizer.describe(code) for code in vocabulary.codes.tolist() if code not in old]
    listed = f"{', '.join(new[:10])}{' …' if len(new) > 10 else ''}"
    untrained = f"new symbols, which start untrained: {listed}" if new else "no new symbols"
    return f"weights from {source.path}: {len(pairs) - FIRST_SYMBOL} {tokenizer.noun}s matched; {untrained}"


def _symbol_columns(name: str, options: ModelOptions) -> int | None:
    """The column from which on a matrix has one for each symbol; None if it has none."""
    if options.input != "one-hot" or not name.endswith(".weight_ih"):
        return None
    if name.removeprefix(REVERSE).startswith("layers.0."):
        return 0
    return options.hidden if options.skip else None


def load_vectors(values: dict[str, Any], vocabulary: Vocabulary, source: Model | None) -> Vectors | None:
    """The vectors of the file that the options name; None if they name none.

    Args:
        values: options of `charlm.config.TrainOptions`, by name.
        vocabulary: of the corpus.
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


def with_embedding_size(vectors: Vectors | None, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, by name, with an embedding of the vectors' size.

    Raises:
        UsageError: another one was given.
    """
    if vectors is None:
        return values
    size = values.get("embedding")
    if size not in (None, AUTO) and TrainOptions.specs()["embedding"].read("embedding", size) != vectors.size:
        raise UsageError(
            f"--embedding {size} does not fit --embeddings {values['embeddings']}, whose vectors have {vectors.size} "
            f"numbers; leave it out"
        )
    return {**values, "embedding": vectors.size}


def copy_embeddings(vectors: Vectors, network: Network, vocabulary: Vocabulary, options: TrainOptions) -> str:
    """Let the embedding start from the vectors; symbols that the file lacks start as usual. Says which those are."""
    arrays = network.arrays()
    arrays["embedding.weight"][vectors.ids] = vectors.values
    network.load_weights(arrays)
    missing = sorted(set(range(vocabulary.size)) - {int(symbol) for symbol in vectors.ids})
    names = ["boundary", "unknown", *(vocabulary.tokenizer.describe(code) for code in vocabulary.codes.tolist())]
    notice = f"embeddings of {len(vectors.ids):,} symbols from {options.embeddings}"
    if vectors.others:
        notice += f", which has {vectors.others:,} of others"
    if missing:
        start = "start and stay" if options.freeze_embeddings else "start"
        listed = ", ".join(names[symbol] for symbol in missing[:10])
        notice += f"; {len(missing):,} that it lacks {start} at random: {listed}{' …' if len(missing) > 10 else ''}"
    return notice
