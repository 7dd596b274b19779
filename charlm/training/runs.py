"""Finding a model by what a user calls it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.config import ModelOptions
from charlm.errors import CheckpointError
from charlm.files import present
from charlm.model.checkpoint import Header, read_header
from charlm.training import presets
from charlm.training.run_folder import RunFolder, nearest, runs


def find_model(word: str | Path | None = None, root: Path = Path("runs")) -> Path:
    """The model file that is meant.

    Args:
        word: a model file, a run's folder, a run's name below `root`, or None for the most recent run's best.
        root: where runs lie.

    Raises:
        CheckpointError: there is none; the nearest name is suggested.
    """
    if word is None:
        finished = [run / "model.safetensors" for run in runs(root) if (run / "model.safetensors").is_file()]
        if not finished:
            raise CheckpointError(f"there is no trained model below {root}; train one first: charlm train")
        return finished[0]
    for path in (Path(word), root / word):
        if present(path) and path.is_file():
            return path
        if present(path / "model.safetensors"):
            return path / "model.safetensors"
    for path in (Path(word), root / word):
        if present(last := RunFolder(path).last):
            raise CheckpointError(f"{path} has no best model yet; its last weights are {last}")
    wanted = RunFolder(root / word).model
    hint = nearest(word, root, wanted)
    raise CheckpointError(f"{str(word)!r} is neither a model file nor a run with a {wanted.name}; {hint}")


def short_names(paths: Sequence[Path]) -> list[str]:
    """A name for each model file, by which a user can tell them apart: the run's, the file's, or else the path."""
    names = [path.absolute().parent.name if path.stem in ("model", "last") else path.stem for path in paths]
    often = Counter(names)
    return [name if often[name] == 1 else str(path) for name, path in zip(names, paths, strict=True)]


@dataclass(frozen=True)
class RunSummary:
    """One run of `charlm runs`; `header` is None where there is no model that can be read, `problem` says why."""

    name: str
    path: Path
    header: Header | None
    size: int
    changed: float
    problem: str = ""

    def to_row(self) -> dict[str, Any]:
        """The keys of `charlm runs --json`; None where there is nothing to tell."""
        header = self.header
        training = header.training if header else {}
        options = header.options if header else None
        return {
            "run": self.name,
            "network": _network(options) if options else None,
            "parameters": header.parameters if header else None,
            "step": training.get("step"),
            "valid_nats": training.get("valid_nats"),
            "bytes": self.size,
            "changed": self.changed,
            "problem": self.problem or None,
        }


def _network(options: ModelOptions) -> str:
    """A network in a word or two; losses of one that reads from both sides compare with no other's."""
    both = " both sides" if options.bidirectional else ""
    return f"{options.cell} {options.layers}x{options.hidden}{both}"


def describe(header: Header) -> dict[str, Any]:
    """The keys of `charlm info --json`."""
    training = {key: value for key, value in header.training.items() if key != "options"}
    return {
        "model": str(header.path),
        "bytes": header.path.stat().st_size,
        "format": header.format,
        "version": header.version,
        "parameters": header.parameters,
        "config": {**header.options.values(), "unit": header.vocabulary.unit},
        "vocabulary": header.vocabulary.size,
        "symbols": header.vocabulary.to_json(),
        "corpus": header.corpus,
        "training": training,
        "preset": _preset(header),
        "options": header.training.get("options", {}),
        "tensors": {name: list(shape) for name, shape in header.shapes.items()},
    }


def _preset(header: Header) -> dict[str, Any] | None:
    """The preset that a model says it was trained by, and the settings in which it is not."""
    options = header.training.get("options", {})
    name = options.get("preset")
    if not isinstance(name, str):
        return None
    return {"name": name, "changed": presets.departures(name, {**header.options.values(), **options})}


def summarize(root: Path = Path("runs")) -> list[RunSummary]:
    """The runs below `root`, newest first."""
    return [_summary(run) for run in runs(root)]


def _summary(run: Path) -> RunSummary:
    size = sum(_size(path) for path in run.iterdir())
    changed = max(path.stat().st_mtime for path in run.glob("*.safetensors"))
    try:
        return RunSummary(run.name, run, read_header(run / "model.safetensors"), size, changed)
    except CheckpointError as error:
        return RunSummary(run.name, run, None, size, changed, str(error))


def _size(path: Path) -> int:
    """Bytes of a file; 0 for a folder, and for what a run that is saving has just renamed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
