"""What the tests of a run share: tiny sizes, ways to stop it, and what two runs must have in common."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.corpus import Corpus
from charlm.errors import Interrupted
from charlm.model import checkpoint
from charlm.model.checkpoint import read_tensors
from charlm.training.events import Event, Stepped
from charlm.training.train import train

TINY: dict[str, Any] = {
    "hidden": 8,
    "batch_size": 4,
    "seq_len": 16,
    "report_every": 2,
    "eval_every": 3,
    "sample_every": 0,
}
ROUGH = {"optimizer": "sgd", "schedule": "constant"}
WALL_CLOCK = {"seconds", "chars_per_second"}


def stop_after(steps: int) -> Callable[[], bool]:
    """Asked once before every step: true once `steps` of them were let through."""
    asked = count()
    return lambda: next(asked) >= steps


class BySteps:
    """A clock that follows the steps, an eighth of a second each, so that sums of them are exact."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def report(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self.seconds += 0.125


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = checkpoint.load(one).weights, checkpoint.load(other).weights
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name


def assert_same_run(one: Path, other: Path) -> None:
    """Everything a run leaves is equal, but for what a clock measured."""
    assert_same_weights(one / "last.safetensors", other / "last.safetensors")
    assert_same_weights(one / "model.safetensors", other / "model.safetensors")
    first, second = (read_tensors(path / "progress.safetensors", "")[0] for path in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name
    assert rows(one) == rows(other)
    if (one / "samples.txt").exists() or (other / "samples.txt").exists():
        assert (one / "samples.txt").read_text() == (other / "samples.txt").read_text()


def rows(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in WALL_CLOCK} for row in found]


def interrupted(corpus: Corpus, root: Path, name: str, after: int, **values: Any) -> Path:
    with pytest.raises(Interrupted):
        train(corpus, root=root, run=name, stop=stop_after(after), **values)
    return root / name
