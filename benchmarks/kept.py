"""Results of long benchmarks, a line of JSON each: a second call goes on where the first was stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, Any]


class Rows:
    """Results by what they are of, kept in a file as they come.

    Args:
        path: the file; its folder is made.
        tell: what is printed of a new one.
    """

    def __init__(self, path: Path, tell: Callable[[Result], str]) -> None:
        self.path, self._tell = path, tell
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.found: list[Result] = [json.loads(line) for line in lines]

    def get(self, key: Result) -> Result | None:
        """The result of this, if it is there already."""
        return next((row for row in self.found if all(row.get(name) == value for name, value in key.items())), None)

    def add(self, key: Result, make: Callable[[], Result]) -> None:
        """Make a result, unless there is one, and write it down."""
        if self.get(key) is not None:
            return
        row = key | make()
        self.found.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(self._tell(row), flush=True)
