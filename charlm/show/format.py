"""Readable numbers and networks, and texts without control characters."""

from collections.abc import Mapping
from math import log
from typing import Any


def count(number: float) -> str:
    """A number in short: `1.23M`."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{suffix}"
    return f"{number:.3g}"


def size(number: float) -> str:
    """A number of bytes in short: `4.2 MB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float | None) -> str:
    """Seconds as `1:02:03`, `2:03` or `9s`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


def loss(nats: float) -> str:
    """A loss in both units: `1.5305 nats, 2.208 bits`."""
    return f"{nats:.4f} nats, {nats / log(2):.3f} bits"


def cell_words(options: Mapping[str, Any]) -> str:
    """A cell type with its own setting, if it has one: `rnn (relu)`, `window-mlp (8)`."""
    setting = {"rnn": "activation", "preactivation-rnn": "activation", "window-mlp": "context"}.get(options["cell"])
    return f"{options['cell']} ({options[setting]})" if setting else str(options["cell"])


_CONTROL_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""What is shown for control characters: ␛ for ESC, U+FFFD for those above ASCII and for direction marks."""


def visible(text: str) -> str:
    """Make control characters visible; line ends and tabs stay.

    Texts of models and corpora are not trusted, and a terminal obeys escape sequences.
    """
    return text.translate(_CONTROL_PICTURES)


def line(text: str, max_length: int = 200) -> str:
    """Put a text into one line, control characters visible, its middle left out if it is too long."""
    joined = " ".join(visible(text).split())
    half = (max_length - 3) // 2
    return joined if len(joined) <= max_length else f"{joined[:half]}...{joined[-half:]}"


DIRECTION_WORDS = {"forward": "", "backward": "reads from right to left", "bidirectional": "reads from both sides"}


def wiring_words(config: Mapping[str, Any]) -> str:
    """How layers are connected and in which direction a network reads: `, skip connections, residual`.

    Empty for a plain stack that reads forward."""
    words = [
        "skip connections" if config["skip"] else "",
        config["between"] if config["between"] != "plain" else "",
        "layer normalisation" if config["layer_norm"] else "",
        "readout tied to the embedding" if config["tied"] else "",
        DIRECTION_WORDS[config["direction"]],
    ]
    return "".join(f", {word}" for word in words if word)
