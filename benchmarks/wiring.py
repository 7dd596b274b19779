"""The wirings that `benchmarks.worth` compares, and how many units give a network as many parameters as another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.training import auto

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
    "frozen embedding": {**EMBEDDED, "freeze_embeddings": True},
    "tied": {**EMBEDDED, "tied": True},
    "locked dropout": {"dropout_kind": "locked"},
    "embedding dropout": {"embedding_dropout": 0.1},
    "weight drop": {"weight_drop": 0.2},
}
"""By name; what is only for training leaves the network plain, and is trained once."""

CLOSE = 0.02
"""How far apart equal numbers of parameters may be."""


def loaded(vectors: Path | None) -> dict[str, dict[str, Any]]:
    """Wirings whose embedding is that of a file, if there is one."""
    if vectors is None:
        return {}
    size = len(vectors.read_text(encoding="utf-8").splitlines()[-1].split()) - 1
    values = {**EMBEDDED, "embeddings": str(vectors), "embedding": size}
    return {"loaded embedding": values, "loaded embedding, frozen": {**values, "freeze_embeddings": True}}


def jobs(
    plain: dict[str, Any], wirings: dict[str, dict[str, Any]], vocabulary: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and options of every run: with the plain network's units, and with its number of parameters."""
    wanted = count(plain, vocabulary)
    for name, options in wirings.items():
        values = {**plain, **options}
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
    """The number of parameters of a network; an embedding that is not given is `auto`'s."""
    known = {key: value for key, value in values.items() if key in ModelOptions.specs()}
    options = ModelOptions.of({"dropout": 0.0, **known})
    size = known.get("embedding") or auto.embedding_size(options)
    return parameters.count(options.replace(embedding=size), vocabulary)
