"""What each wiring of the layers buys: `python -m benchmarks.wiring data/shakespeare --time 10m`.

Each run is `charlm train --time …` on a prepared corpus, one after the other, with the machine to itself. Every wiring
is trained twice for the same time: with the units of the plain network, and with so many that it has as many parameters
as the plain network has, within 2 %. Reported are the loss on the whole valid split, and how many characters were seen.

    --wirings plain skip                only these
    --layers 3 --hidden 256 --cell lstm the plain network
    --set dropout=0 --set seed=1        options of every run
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import charlm
from benchmarks.results import describe_machine
from charlm.config import ModelOptions
from charlm.learn import auto
from charlm.model import parameters
from charlm.text.corpus import find_corpus

EMBEDDED = {"input": "embedding"}
WIRINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "skip": {"skip": True},
    "residual": {"between": "residual"},
    "highway": {"between": "highway"},
    "layer-norm": {"layer_norm": True},
    "residual, layer-norm": {"between": "residual", "layer_norm": True},
    "skip, layer-norm": {"skip": True, "layer_norm": True},
    "embedding": EMBEDDED,
    "tied": {**EMBEDDED, "tied": True},
    "locked dropout": {"dropout_kind": "locked"},
    "embedding dropout": {"embedding_dropout": 0.1},
}
"""By name; what is only for training leaves the network plain, and is trained once."""

HEAD = ("wiring", "layers x hidden", "parameters", "nats", "bits", "characters seen", "steps")
CLOSE = 0.02
"""How far apart equal numbers of parameters may be."""


@dataclass(frozen=True)
class Row:
    """A run."""

    name: str
    size: str
    parameters: int
    nats: float
    characters: int
    steps: int

    def cells(self) -> tuple[str, ...]:
        """As text."""
        number, bits = f"{self.parameters:,}", f"{self.nats / log(2):.4f}"
        return self.name, self.size, number, f"{self.nats:.4f}", bits, f"{self.characters:,}", f"{self.steps:,}"


def main() -> None:
    """Run all of them and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--time", default="10m")
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--wirings", nargs="+", choices=WIRINGS, default=list(WIRINGS))
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    asked = parser.parse_args()
    corpus = charlm.Corpus.load(find_corpus(asked.corpus))
    plain = {"cell": asked.cell, "layers": asked.layers, "hidden": asked.hidden, "time": asked.time}
    plain |= dict(pair.split("=", 1) for pair in asked.set)
    print(describe_machine().split(". Medians")[0])
    print(f"{corpus.name}, {asked.time} each, {asked.cell}\n\n| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for name, values in jobs(plain, asked.wirings, corpus.symbols.size):
        print(f"| {' | '.join(run(corpus, name, values).cells())} |", flush=True)


def jobs(plain: dict[str, Any], names: list[str], vocabulary: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and options of every run: with the plain network's units, and with its number of parameters."""
    wanted = count(plain, vocabulary)
    for name in names:
        values = {**plain, **WIRINGS[name]}
        yield name, values
        if abs(count(values, vocabulary) / wanted - 1) > CLOSE:
            yield f"{name}, as many parameters", {**values, "hidden": equal(values, vocabulary, wanted)}


def equal(values: dict[str, Any], vocabulary: int, wanted: int) -> int:
    """The number of units with which a wiring has nearly so many parameters.

    Raises:
        SystemExit: no number of units comes close enough.
    """
    low, high = 1, 65536
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count({**values, "hidden": middle}, vocabulary) < wanted else (low, middle)
    found = min((max(1, low - 1), low), key=lambda h: abs(count({**values, "hidden": h}, vocabulary) - wanted))
    if abs(count({**values, "hidden": found}, vocabulary) / wanted - 1) > CLOSE:
        raise SystemExit(f"no number of units has {wanted:,} parameters with {values}; choose a larger --hidden")
    return found


def count(values: dict[str, Any], vocabulary: int) -> int:
    """The number of parameters of a network whose embedding is `auto`."""
    known = {key: value for key, value in values.items() if key in ModelOptions.specs()}
    options = ModelOptions.of({"dropout": 0.0, **known})
    return parameters.count(options.replace(embedding=auto.embedding_size(options)), vocabulary)


def run(corpus: charlm.Corpus, name: str, values: dict[str, Any]) -> Row:
    """Train once."""
    with tempfile.TemporaryDirectory() as folder:
        done = charlm.train(corpus, root=Path(folder), **values)
        model = charlm.load(done.model)
        if done.valid_nats is None:
            raise SystemExit(f"{corpus.name} has no valid split to judge by; prepare it with --valid-fraction 0.1")
        options, training = model.options, model.training["options"]
        characters = done.step * training["batch_size"] * training["seq_len"]
        number = parameters.count(options, model.symbols.size)
        return Row(name, f"{options.layers} x {options.hidden}", number, done.valid_nats, characters, done.step)


if __name__ == "__main__":
    main()
