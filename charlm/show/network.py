"""A network in a few words, from its options as plain values."""

from collections.abc import Mapping
from typing import Any


def wiring(config: Mapping[str, Any]) -> str:
    """What connects its layers, after a comma each: `, skip connections, residual, tied`; nothing for a plain stack."""
    words = [
        "skip connections" if config["skip"] else "",
        config["between"] if config["between"] != "plain" else "",
        "layer normalisation" if config["layer_norm"] else "",
        "readout tied to the embedding" if config["tied"] else "",
    ]
    return "".join(f", {word}" for word in words if word)
