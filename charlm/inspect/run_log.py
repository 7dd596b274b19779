"""What a run's own logs say of its learning: losses, rate, gradient norms, and samples as a function of training.

Read are metrics.jsonl, samples.txt and config.toml of a run's folder, as docs/interface.md describes them. They may be
torn at the end, since a run may be writing them, and may come from a stranger: what cannot be read is left out
and said, and a number that is not finite is no number.
What is left out: models; a run is read whose model is gone.
"""

import json
import re
import tomllib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from charlm.errors import RunError
from charlm.files import present
from charlm.training.run_folder import RunFolder, nearest, runs

COLUMNS = ("step", "characters", "seconds", "train_nats", "valid_nats", "learning_rate", "grad_norm")
"""What is taken from a row of metrics.jsonl."""

MAX_LOG_BYTES = 1 << 28
"""Bytes of a log that are read: a million rows of the usual length."""

MAX_ROW_BYTES = 1 << 16
"""Characters of a row; the longest that charlm writes has a few hundred."""

MAX_POINTS = 1000
"""Points of a curve that is drawn; of more, neighbours are averaged."""

_HEAD = re.compile(r"--- step (\d{1,18}) ---")


@dataclass(frozen=True)
class Sample:
    """A short sample on the way.

    Attributes:
        step: when it was made.
        valid_nats: the latest evaluation until then, None before there is one.
        text: 200 characters or so.
    """

    step: int
    valid_nats: float | None
    text: str


@dataclass(frozen=True)
class Course:
    """How one run learned.

    Attributes:
        name: of the run.
        path: its folder.
        network: such as `lstm 2x256`; empty where config.toml does not say.
        clip_norm: the threshold of the gradient's norm; None where there is none or it is not known.
        columns: (R,) by name of `COLUMNS`, in the order of steps; not a number where a row has none.
        samples: in the order of steps.
        notices: what could not be read, a line each.
    """

    name: str
    path: Path
    network: str
    clip_norm: float | None
    columns: dict[str, np.ndarray] = field(repr=False)
    samples: list[Sample] = field(repr=False)
    notices: list[str]

    def curve(self, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
        """The points of y over x where both are known, (P,) each, at most `MAX_POINTS`."""
        known = np.isfinite(self.columns[x]) & np.isfinite(self.columns[y])
        return thinned(self.columns[x][known], self.columns[y][known])

    def to_json(self, x: str = "steps") -> dict[str, Any]:
        """The keys of a run in `charlm inspect learning --json`; x is steps, characters or seconds."""
        over = {"steps": "step"}.get(x, x)
        curves = {}
        for name in COLUMNS[3:]:
            points, values = self.curve(over, name)
            curves[name] = {"x": points.tolist(), "y": values.tolist()}
        return {
            "run": self.name,
            "path": str(self.path),
            "network": self.network,
            "clip_norm": self.clip_norm,
            "clipped": self._clipped(),
            **{name: _last(self.columns[key]) for key, name in (("step", "steps"), *_SAME)},
            "train_nats": self._told("train_nats"),
            "valid_nats": self._told("valid_nats"),
            "curves": curves,
            "samples": [
                {"step": sample.step, "valid_nats": sample.valid_nats, "text": sample.text} for sample in self.samples
            ],
        }

    def _told(self, name: str) -> dict[str, float | None]:
        """The first, last and smallest value of a column, and the step of that."""
        known = np.isfinite(self.columns[name])
        if not known.any():
            return dict.fromkeys(("first", "last", "best", "best_step"))
        values, steps = self.columns[name][known], self.columns["step"][known]
        best = int(values.argmin())
        return {
            "first": float(values[0]),
            "last": float(values[-1]),
            "best": float(values[best]),
            "best_step": int(steps[best]),
        }

    def _clipped(self) -> float | None:
        """Share of the rows whose gradient was above the threshold."""
        norms = self.columns["grad_norm"]
        norms = norms[np.isfinite(norms)]
        return float((norms > self.clip_norm).mean()) if self.clip_norm is not None and norms.size else None


_SAME = (("characters", "characters"), ("seconds", "seconds"))


def find_runs(words: Sequence[str | Path] = (), root: Path = Path("runs")) -> list[Path]:
    """The folders of the runs that are meant.

    Args:
        words: folders, or names below `root`; none for the most recent run that has a log.
        root: where runs lie.

    Raises:
        RunError: one has no metrics.jsonl; the nearest name is suggested.
    """
    if words:
        return [_find(word, root) for word in words]
    with_log = [run for run in runs(root) if RunFolder(run).metrics.is_file()]
    if not with_log:
        raise RunError(f"there is no run with a metrics.jsonl below {root}; train one first: charlm train")
    return with_log[:1]


def read_run(path: Path) -> Course:
    """Read the logs of a run's folder.

    Raises:
        RunError: metrics.jsonl is missing, too long, or has no row that can be read.
    """
    folder, notices = RunFolder(path), list[str]()
    columns = _rows(folder.metrics, notices)
    network, clip_norm = _config(folder.config, notices)
    samples = _samples(folder.samples, columns, notices)
    return Course(path.resolve().name, path, network, clip_norm, columns, samples, notices)


def thinned(x: np.ndarray, y: np.ndarray, most: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of a curve, each the mean of a stretch of neighbours."""
    if len(x) <= most:
        return x, y
    first = np.linspace(0, len(x), most, endpoint=False).astype(np.int64)
    sizes = np.diff(np.append(first, len(x)))
    return np.add.reduceat(x, first) / sizes, np.add.reduceat(y, first) / sizes


def spread_out(samples: Sequence[Any], most: int) -> list[Any]:
    """The first and the last of a list and some between, closer together near the beginning, where more changes."""
    if len(samples) <= most:
        return list(samples)
    if most == 1:
        return [samples[-1]]
    targets = np.geomspace(1, len(samples), most) - 1
    chosen: list[int] = []
    for number, index in enumerate(targets.round().astype(int).tolist()):
        after, room = chosen[-1] + 1 if chosen else 0, len(samples) - most + number
        chosen.append(min(max(index, after), room))
    return [samples[number] for number in chosen]


def _find(word: str | Path, root: Path) -> Path:
    for path in (Path(word), root / word):
        if present(RunFolder(path).metrics):
            return path
    metrics = RunFolder(root / word).metrics
    raise RunError(f"{str(word)!r} is no run with a {metrics.name}; {nearest(word, root, metrics)}")


def _rows(path: Path, notices: list[str]) -> dict[str, np.ndarray]:
    """The columns of metrics.jsonl."""
    if not path.is_file():
        raise RunError(f"{path} is missing: nothing was reported yet; a run writes it every --report-every steps")
    if path.stat().st_size > MAX_LOG_BYTES:
        raise RunError(f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_LOG_BYTES:,} that are read")
    columns = {name: array("d") for name in COLUMNS}
    skipped, latest = 0, -1.0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(MAX_ROW_BYTES):
                row = _row(line)
                if row is None or not row["step"] > latest:
                    skipped += bool(line.strip())
                    continue
                latest = row["step"]
                for name, values in columns.items():
                    values.append(row[name])
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if latest < 0:
        raise RunError(f"{path} has no row that can be read; each must be a JSON object with a step")
    if skipped:
        notices.append(f"{path}: {skipped:,} row{'s' * (skipped > 1)} cannot be read, and are left out")
    return {name: np.array(values) for name, values in columns.items()}


def _row(line: str) -> dict[str, float] | None:
    """The numbers of a row by column; None for what is no row."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    values = {name: _number(row.get(name)) for name in COLUMNS}
    return values if values["step"] >= 0 else None


def _number(value: Any) -> float:
    """A finite number, or nan."""
    if type(value) not in (int, float):
        return nan
    try:
        return float(value) if isfinite(value) else nan
    except OverflowError:
        return nan


def _config(path: Path, notices: list[str]) -> tuple[str, float | None]:
    """The network and the clipping threshold of config.toml."""
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))["train"] if path.is_file() else {}
        network = f"{options['cell']} {options['layers']:d}x{options['hidden']:d}" if options else ""
        threshold = _number(options.get("clip_norm"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        notices.append(f"{path} cannot be read; the network and the clipping threshold are not known")
        return "", None
    return network, threshold if 0 < threshold < inf else None


def _samples(path: Path, columns: dict[str, np.ndarray], notices: list[str]) -> list[Sample]:
    """The samples, of which each begins with a line that says its step, larger than the one before."""
    try:
        if not path.is_file():
            return []
        if path.stat().st_size > MAX_LOG_BYTES:
            raise ValueError
        lines = path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
    except (OSError, ValueError):
        notices.append(f"{path} is too long, or cannot be read; its samples are left out")
        return []
    samples: list[tuple[int, list[str]]] = []
    for line in lines:
        head = _HEAD.fullmatch(line)
        if head is not None and (not samples or int(head[1]) > samples[-1][0]):
            samples.append((int(head[1]), []))
        elif samples:
            samples[-1][1].append(line)
    return [Sample(step, _known_at(columns, step), "\n".join(text)) for step, text in samples]


def _known_at(columns: dict[str, np.ndarray], step: int) -> float | None:
    """The latest evaluation until a step."""
    return _last(columns["valid_nats"][: np.searchsorted(columns["step"], step, side="right")])


def _last(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else None
