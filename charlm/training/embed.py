"""The embedding that a run starts from, where a file has one (`--embeddings`).

What is left out: reading the file (`charlm.data.word2vec`), and freezing it (`charlm.training.train`).
"""

from pathlib import Path
from typing import Any

from charlm.config import TrainOptions
from charlm.data.word2vec import Vectors, read_vectors
from charlm.errors import UsageError
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.spec import AUTO
from charlm.tokenizers.vocabulary import Vocabulary


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
