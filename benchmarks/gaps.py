"""How many gaps models fill rightly: `python -m benchmarks.gaps runs/forward runs/bidirectional --data data`.

Of the valid split, every line of some length gets one gap, at a random place; each model fills it (`charlm score
--cloze`). Reported are the share that came out as it was, with its standard error, and the time that a line took.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import charlm
from charlm.use.models import find_model
from charlm.use.texts import own_corpus

SHORTEST = 20
"""Characters of a line that gets a gap."""


def main() -> None:
    """A line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--lines", type=int, default=1000)
    asked = parser.parse_args()
    for word in asked.models:
        model = charlm.load(find_model(word))
        whole, gapped = lines_of(own_corpus(model, data=asked.data), asked.lines)
        began = time.perf_counter()
        filled = [found.text for found in charlm.fill(model, gapped)]
        took = (time.perf_counter() - began) / len(whole)
        share = np.mean([one == other for one, other in zip(filled, whole, strict=True)])
        error = (share * (1 - share) / len(whole)) ** 0.5
        print(f"{word}: {100 * share:.1f} % ± {100 * error:.1f} of {len(whole):,} gaps, {1000 * took:.1f} ms each")


def lines_of(corpus: charlm.Corpus, number: int) -> tuple[list[str], list[str]]:
    """Lines of the valid split that have no `_`, and the same with a gap each."""
    random = np.random.default_rng(0)
    text = corpus.symbols.decode(corpus.split("valid")[1:].astype(np.int64))
    whole = [line for line in text.split("\n") if len(line) >= SHORTEST and "_" not in line][:number]
    places = [int(random.integers(len(line))) for line in whole]
    return whole, [f"{line[:at]}_{line[at + 1 :]}" for line, at in zip(whole, places, strict=True)]


if __name__ == "__main__":
    main()
