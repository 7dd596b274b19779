"""How many gaps models fill rightly: `python -m benchmarks.gaps runs/forward runs/bidirectional --data data`.

Of the valid split, every line of some length gets one gap, at a random place; each model fills it (`charlm score
--cloze`). Reported are the share that came out as it was, with its standard error, and the time that a line took.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import charlm
from charlm.evaluation.texts import own_corpus
from charlm.tokenizers.vocabulary import BOUNDARY
from charlm.training.runs import find_model

SHORTEST = 20
"""Characters of a line that gets a gap."""


def main() -> None:
    """A line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--lines", type=int, default=1000)
    asked = parser.parse_args()
    models = {word: charlm.load(find_model(word)) for word in asked.models}
    first = next(iter(models.values()))
    if first.vocabulary.tokenizer.longer or any(model.corpus != first.corpus for model in models.values()):
        raise SystemExit("the models must be of characters or bytes, and of one corpus")
    whole, gapped = lines_of(own_corpus(first, data=asked.data), asked.lines)
    if not whole:
        raise SystemExit(f"its valid split has no line of {SHORTEST} characters")
    for word, model in models.items():
        list(charlm.fill(model, gapped[:1]))  # which loads what it needs
        began = time.perf_counter()
        filled = [found.text for found in charlm.fill(model, gapped)]
        took = (time.perf_counter() - began) / len(whole)
        share = np.mean([one == other for one, other in zip(filled, whole, strict=True)])
        error = (share * (1 - share) / len(whole)) ** 0.5
        print(f"{word}: {100 * share:.1f} % ± {100 * error:.1f} of {len(whole):,} gaps, {1000 * took:.1f} ms each")


def lines_of(corpus: charlm.Corpus, number: int) -> tuple[list[str], list[str]]:
    """Lines of the valid split that have no `_`, and the same with a gap each."""
    random = np.random.default_rng(0)
    ids = corpus.split("valid").astype(np.int64)
    parts = np.split(ids, np.flatnonzero(ids == BOUNDARY))
    lines = [line for part in parts for line in corpus.vocabulary.decode(part).split("\n")]
    whole = [line for line in lines if len(line) >= SHORTEST and "_" not in line][:number]
    places = [int(random.integers(len(line))) for line in whole]
    return whole, [f"{line[:at]}_{line[at + 1 :]}" for line, at in zip(whole, places, strict=True)]


if __name__ == "__main__":
    main()
