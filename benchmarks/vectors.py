"""The embedding of a model as a file of vectors: `python -m benchmarks.vectors runs/other > vectors.txt`.

A run on another text can then begin with it: `charlm train --input embedding --embeddings vectors.txt`.
"""

import sys
from collections.abc import Iterator

import numpy as np

import charlm
from charlm.data.word2vec import names
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training.runs import find_model


def main() -> None:
    """Print the vectors of a model's symbols."""
    model = charlm.load(find_model(sys.argv[1]))
    table = model.weights.get("embedding.weight")
    if table is None:
        raise SystemExit(f"{sys.argv[1]} has no embedding; train one with --input embedding")
    print("\n".join(lines(model.vocabulary, table)))


def lines(vocabulary: Vocabulary, embedding: np.ndarray) -> Iterator[str]:
    """The vectors (V, E) as the lines of a file that `charlm.data.word2vec.read_vectors` reads back to the bit.

    Words that differ only in the blank before them have one name in such a file, which has the vector of the first.
    """
    written: set[str] = set()
    for symbol, vector in enumerate(embedding):
        name = names(vocabulary, symbol)[-1]
        if name not in written:
            written.add(name)
            yield " ".join([name, *map(str, vector.tolist())])


if __name__ == "__main__":
    main()
