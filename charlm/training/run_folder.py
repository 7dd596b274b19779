"""The folder of a training run: its files, its logs, and what is needed to go on as if never stopped.

    model.safetensors     the best model by validation loss
    last.safetensors      the latest one
    progress.safetensors  weights, optimizer, carried state and counters of one moment, in one file
    metrics.jsonl         a row per report
    samples.txt           the short samples
    config.toml           the merged options, every auto resolved
    curve.svg             a plot of the metrics, which the command draws when all else is saved

`progress` is written first and holds everything, so that a run killed between two renames still
resumes from one consistent moment; the logs are then cut back to where they stood at that moment.
A process that trains holds the folder's lock, so that no two processes write the same files.
"""

import difflib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any, Self

import tomli_w

from charlm.config import TrainOptions
from charlm.errors import CharlmError, CheckpointError, RunError, UsageError
from charlm.files import failures, present, write_atomically
from charlm.lock import Lock
from charlm.model.checkpoint import Arrays, check_cell, read_tensors, write_tensors
from charlm.schema import Schema, check, is_amount, is_count, is_float, is_text, or_null

MAX_NAME_BYTES = 200
"""Bytes that the name of a run may have, so that the files made beside it fit a file system too."""

FORMAT = 1
"""Version of progress.safetensors."""


@dataclass
class TrainState:
    """The counters of a run.

    Attributes:
        step: steps taken.
        seconds: spent so far.
        learning_rate, grad_norm: of the latest step.
        best_nats, best_step, best_characters: the best evaluation so far, None before there is one.
        evals_since_best: evaluations since then.
        loss_sum, loss_count: sum and number of the losses of steps since the last row of metrics.
        evaluated: the step of the latest evaluation, -1 before there is one.
        evaluation_speed, saving: characters per second of the latest evaluation, seconds of the latest save; a
            schedule by the clock depends on them.
        finished: why the run is over, None while it is not.
        metrics_bytes, samples_bytes: how long the logs were.
    """

    step: int = 0
    seconds: float = 0.0
    best_nats: float | None = None
    best_step: int = 0
    best_characters: int = 0
    evals_since_best: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    learning_rate: float = 0.0
    grad_norm: float = 0.0
    evaluated: int = -1
    evaluation_speed: float | None = None
    saving: float | None = None
    finished: str | None = None
    metrics_bytes: int = 0
    samples_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The keys of progress.safetensors."""
        return {_STATE_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainState":
        """The counters, from those keys; unknown ones are ignored.

        Raises:
            TypeError: a counter is of another kind than it starts as, or cannot be reached by counting.
        """
        keys = {_STATE_KEYS.get(field.name, field.name): field.name for field in fields(cls)}
        state = cls(**{keys[key]: value for key, value in values.items() if key in keys})
        _check_types(state)
        return state


_STATE_KEYS = {"evals_since_best": "stale", "loss_sum": "row_nats", "loss_count": "row_steps"}
"""Keys on disk that are older than the names here."""


@dataclass(frozen=True)
class TrainCheckpoint:
    """The content of progress.safetensors: counters, options, the corpus and its folder, arrays by kind and name."""

    state: TrainState
    options: TrainOptions
    corpus: dict[str, Any]
    corpus_path: str
    arrays: dict[str, Arrays]


class RunFolder:
    """One run's folder. Made by `create` or `find`, it is locked until the end of its `with`.

    Args:
        path: the folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model.safetensors"
        self.last = path / "last.safetensors"
        self.progress = path / "progress.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples.txt"
        self.config = path / "config.toml"
        self.curve = path / "curve.svg"
        self._lock = Lock(path / ".lock")

    def __reduce__(self) -> tuple[type["RunFolder"], tuple[Path]]:
        """A copy for another process: it knows the path, and does not hold the lock."""
        return RunFolder, (self.path,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    @classmethod
    def create(cls, run: str | Path | None, usual: str, root: Path) -> "RunFolder":
        """Make the folder of a new run. One in which nothing was saved yet, as a killed run leaves it, is taken too.

        Args:
            run: a name below `root`, a path, or None for `usual`.
            usual: a name, numbered if taken.
            root: the folder of all runs.

        Raises:
            RunError: it exists, or another process begins it.
        """
        if run is not None:
            folder = cls(_run_path(run, root))
            with failures(folder.path, "making"), suppress(FileExistsError):
                folder.path.mkdir(parents=True)
            if folder._saved_something() and not present(folder.progress):
                raise RunError(f"{folder.path} exists, and no run that can go on is in it; choose another --run")
            if folder._saved_something() or not folder._check_free():
                word = quote(str(run))
                raise RunError(f"{folder.path} exists; go on with it: --resume {word}, or choose another --run")
            return folder
        number = 1
        while True:
            folder = cls(root / (usual if number == 1 else f"{usual}-{number}"))
            with failures(folder.path, "making"), suppress(FileExistsError):
                folder.path.mkdir(parents=True)
                if folder._check_free():
                    return folder
            number += 1

    @classmethod
    def find(cls, run: str | Path, root: Path) -> "RunFolder":
        """The folder of a run that can be resumed.

        Raises:
            RunError: there is none, and the nearest name is suggested; or another process trains there.
        """
        path = _run_path(run, root)
        folder = cls(path)
        if not present(folder.progress):
            if present(path) and not folder._saved_something():
                raise RunError(f"{path} ended before anything was saved; begin it again: --run {quote(str(run))}")
            raise RunError(
                f"{path} has no {folder.progress.name} to resume from; {nearest(run, root, folder.progress)}"
            )
        folder._acquire_lock()
        return folder

    def write_config(self, options: TrainOptions, corpus: str) -> None:
        """Save the merged options so that `charlm train --config` takes them again."""
        head = f"# charlm train {corpus} --config {self.config.name}\n"
        write_atomically(self.config, head + tomli_w.dumps({"train": options.values()}))

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl; what was not measured, or is no finite number, is left out."""
        known = {
            key: value for key, value in row.items() if isinstance(value, str) or value is not None and isfinite(value)
        }
        self._append(self.metrics, json.dumps(known) + "\n")

    def log_sample(self, step: int, text: str) -> None:
        """Append a sample to samples.txt under a line with its step."""
        self._append(self.samples, f"--- step {step} ---\n{text}\n")

    def save(self, checkpoint: TrainCheckpoint) -> None:
        """Write progress.safetensors, the logs' lengths noted."""
        checkpoint.state.metrics_bytes = _size(self.metrics)
        checkpoint.state.samples_bytes = _size(self.samples)
        tensors = {
            f"{kind}.{name}": array for kind, arrays in checkpoint.arrays.items() for name, array in arrays.items()
        }
        metadata = {
            "format": FORMAT,
            "config": checkpoint.options.values(),
            "progress": checkpoint.state.to_json(),
            "corpus": checkpoint.corpus,
            "place": checkpoint.corpus_path,
        }
        write_tensors(self.progress, tensors, metadata)

    def restore(self) -> TrainCheckpoint:
        """Read progress.safetensors.

        Raises:
            CheckpointError: the file is damaged or from a newer charlm.
        """
        tensors, metadata = read_tensors(self.progress, "it was cut short or damaged, and the run cannot be resumed")
        if isinstance(metadata["config"], dict):
            check_cell(self.progress, metadata["config"])
        try:
            options = TrainOptions.of(metadata["config"])
            state = TrainState.from_json(metadata["progress"])
            corpus, corpus_path = metadata["corpus"], metadata["place"]
            if not isinstance(corpus, dict) or not isinstance(corpus_path, str):
                raise TypeError("it names no corpus and no place of it")
        except (CharlmError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self.progress} cannot be resumed: {error}; the file is damaged") from None
        arrays: dict[str, Arrays] = {}
        for key, array in tensors.items():
            kind, _, name = key.partition(".")
            arrays.setdefault(kind, {})[name] = array
        return TrainCheckpoint(state, options, corpus, corpus_path, arrays)

    def truncate_logs(self, state: TrainState) -> None:
        """Cut the logs back to that moment, and remove what a killed writer left half done."""
        _truncate(self.metrics, state.metrics_bytes)
        _truncate(self.samples, state.samples_bytes)
        self._remove_temporary_files()

    def _append(self, path: Path, text: str) -> None:
        """Add `text` to a log, whole or not at all."""
        before = _size(path)
        with failures(path, "writing"):
            try:
                with path.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
                    file.write(text)
            except OSError:
                _truncate(path, before)
                raise

    def _remove_temporary_files(self) -> None:
        for file in (self.model, self.last, self.progress, self.config, self.curve):
            for left in self.path.glob(f".{file.name}.*"):
                left.unlink(missing_ok=True)

    def _acquire_lock(self) -> None:
        with failures(self._lock.path, "locking"):
            if not self._lock.take():
                raise RunError(
                    f"{self.path} is in use: another process trains there; wait until it ends, or stop it first"
                )

    def _check_free(self) -> bool:
        """Lock the folder for a new run; False where another process saved something there meanwhile."""
        self._acquire_lock()
        if self._saved_something():
            self._lock.release()
            return False
        self._remove_temporary_files()
        return True

    def _saved_something(self) -> bool:
        """Whether there is more than what a run makes before its first save."""
        if not self.path.is_dir():
            return present(self.path)
        return any(not file.name.startswith(".") and file != self.config for file in self.path.iterdir())


def runs(root: Path) -> list[Path]:
    """The runs below `root` that have a model or can be resumed, newest first."""
    folders = {path.parent for name in ("model", "progress") for path in root.glob(f"*/{name}.safetensors")}
    return sorted(folders, key=_changed, reverse=True)


def nearest(word: str | Path, root: Path, wanted: Path) -> str:
    """Which run below `root` may be meant, of those that have a file of the wanted one's name; or else all of them."""
    names = [run.name for run in runs(root) if present(run / wanted.name)]
    near = difflib.get_close_matches(str(word), names, n=1)
    return f"did you mean {near[0]}?" if near else f"below {root} there are: {', '.join(names) or 'none'}"


def shell_quoted(path: Path) -> str:
    """A run's folder as a word of a command line: quoted where that is needed, and not to be taken for a name."""
    return quote(str(path) if len(path.parts) > 1 else f".{os.sep}{path}")


def _check_types(state: TrainState) -> None:
    """Raise a `TypeError` if a counter is of another type than it starts as, or cannot be reached by counting."""
    values = {_STATE_KEYS.get(name, name): value for name, value in vars(state).items()}
    check(values, {**dict.fromkeys(values, is_count), **_STATE_SCHEMA})


_STATE_SCHEMA: Schema = {
    "seconds": is_amount,
    "best_nats": or_null(is_float),
    "row_nats": is_float,
    "learning_rate": is_float,
    "grad_norm": is_float,
    "evaluated": lambda value: type(value) is int and (value == -1 or is_count(value)),
    "evaluation_speed": or_null(lambda value: is_float(value) and value > 0),
    "saving": or_null(lambda value: is_float(value) and value >= 0),
    "finished": or_null(is_text),
}
"""What those keys may hold that are no counts."""


def _changed(run: Path) -> int:
    return max(path.stat().st_mtime_ns for path in run.glob("*.safetensors"))


def _run_path(run: str | Path, root: Path) -> Path:
    """A bare name lies below `root`; anything with a folder in it is a path."""
    if not 0 < len(os.fsencode(Path(run).name)) <= MAX_NAME_BYTES:
        raise UsageError(f"the name of a run must have 1 to {MAX_NAME_BYTES} bytes, got {str(run)!r:.80}")
    return root / run if isinstance(run, str) and Path(run).name == run and run not in (".", "..") else Path(run)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _truncate(path: Path, size: int) -> None:
    if _size(path) > size:
        with failures(path, "writing"), path.open("r+b") as file:
            file.truncate(size)
