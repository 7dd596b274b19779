"""Numbers as people read them, and texts that cannot give orders to a terminal."""

from collections.abc import Mapping
from math import log
from typing import Any


def count(number: float) -> str:
    """1,234,567 in short: `1.23M`."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{suffix}"
    return f"{number:.3g}"


def size(number: float) -> str:
    """Bytes in short: `4.2 MB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float | None) -> str:
    """Seconds as `1:02:03`, `2:03` or `9s`."""
    if seconds is None:
        return "?"
    rounded = round(seconds)
    hours, rest = divmod(rounded, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}" if minutes else f"{left}s"


def loss(nats: float) -> str:
    """A loss in both units: `1.5305 nats, 2.208 bits`."""
    return f"{nats:.4f} nats, {nats / log(2):.3f} bits"


def cell_words(options: Mapping[str, Any]) -> str:
    """A cell with the one of its settings that it has, by the names of the options: `rnn (relu)`, `window-mlp (8)`."""
    setting = {"rnn": "activation", "preactivation-rnn": "activation", "window-mlp": "context"}.get(options["cell"])
    return f"{options['cell']} ({options[setting]})" if setting else str(options["cell"])


_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""What stands for a control character: ␛ for ESC, U+FFFD for those above ASCII and for turns of the direction."""


def visible(text: str) -> str:
    """The text with its control characters made visible, line ends and tabs left as they are.

    Texts of models and corpora come from strangers, and a terminal obeys escape sequences.
    """
    return text.translate(_PICTURES)


def line(text: str, longest: int = 200) -> str:
    """The text in one line, visible, its middle left out where it is longer."""
    joined = " ".join(visible(text).split())
    half = (longest - 3) // 2
    return joined if len(joined) <= longest else f"{joined[:half]}...{joined[-half:]}"


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
