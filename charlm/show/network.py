"""A network in a few words, from its options as plain values."""

from collections.abc import Mapping
from typing import Any

DIRECTIONS = {"forward": "", "backward": "reads from right to left", "bidirectional": "reads from both sides"}


def wiring(config: Mapping[str, Any]) -> str:
    """What connects its layers and how it reads, after a comma each: `, skip connections, residual`; nothing for a
    plain stack that reads forward."""
    words = [
        "skip connections" if config["skip"] else "",
        config["between"] if config["between"] != "plain" else "",
        "layer normalisation" if config["layer_norm"] else "",
        "readout tied to the embedding" if config["tied"] else "",
        DIRECTIONS[config["direction"]],
    ]
    return "".join(f", {word}" for word in words if word)
