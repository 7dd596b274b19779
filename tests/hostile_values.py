"""Files of charlm's taken apart and put together again, and values that no writer of them would think of."""

import json
from typing import Any


def taken(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header, its metadata decoded, and the tensors' bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = {key: json.loads(word) for key, word in header["__metadata__"].items()}
    return header, data[8 + size :]


def joined(header: dict[str, Any], tensors: bytes, **raw: str) -> bytes:
    """A file of these; `raw` are metadata that are written as they are."""
    words = {key: json.dumps(value) for key, value in header["__metadata__"].items()} | raw
    text = json.dumps({**header, "__metadata__": words}).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def changed(data: bytes, **parts: Any) -> bytes:
    """The same file with other metadata."""
    header, tensors = taken(data)
    return joined({**header, "__metadata__": {**header["__metadata__"], **parts}}, tensors)


def with_metadata(data: bytes, **raw: str) -> bytes:
    return joined(*taken(data), **raw)


HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 65, 2**31, 2**63, 10**400, -(10**30), 0.5, float("nan"), float("inf"), 1e308, "", "auto", "x",
    "\x1b[2J\x1b]0;owned\x07", "[bold]red[/bold]", "\ud800", "../../etc", "/etc/passwd", "a\nb", "x" * 5000,
    "os.system", [], [[]], [1] * 50, {}, {"a": 1}, {"documents": "line"}, {"unit": "byte", "codes": [1]},
    {"encoding": "rot13"},
]  # fmt: skip
"""Values that no writer of models would think of."""


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, part in inner for way in ((*path, key), *spots(part, (*path, key)))]
