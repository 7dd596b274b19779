"""Finding a model by what a user calls it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from charlm.errors import CheckpointError
from charlm.files import present
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
