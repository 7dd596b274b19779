"""Numbers as people read them."""

from math import log


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
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}" if minutes else f"{left}s"


def loss(nats: float) -> str:
    """A loss in both units: `1.5305 nats, 2.208 bits`."""
    return f"{nats:.4f} nats, {nats / log(2):.3f} bits"
