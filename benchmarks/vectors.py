"""The embedding of a model as a file of vectors: `python -m benchmarks.vectors runs/other > vectors.txt`.

A run on another text can then begin with it: `charlm train --input embedding --embeddings vectors.txt`.
"""

import sys

import charlm
from charlm.data.word2vec import lines
from charlm.training.runs import find_model


def main() -> None:
    """Print the vectors of a model's symbols."""
    model = charlm.load(find_model(sys.argv[1]))
    table = model.weights.get("embedding.weight")
    if table is None:
        raise SystemExit(f"{sys.argv[1]} has no embedding; train one with --input embedding")
    print("\n".join(lines(model.vocabulary, table)))


if __name__ == "__main__":
    main()
