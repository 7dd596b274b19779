"""A full disk or a file that may not grow is one error: what was there stays, and room is all it takes to go on."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import command, forks
from running import TINY, assert_same_run, interrupted, rows
from soaking import Soak
from texts import text_of

from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.model import checkpoint
from charlm.training.resume import resume
from charlm.training.run_folder import RunFolder
from charlm.training.train import train

resource = pytest.importorskip("resource")

pytestmark = forks

OFTEN: dict[str, Any] = {**TINY, "sample_every": 3, "save_every": 1, "eval_every": 2, "threads": 1}


def limit(size: int) -> Callable[[], None]:
    """No file of the process may grow beyond so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def one_error(done: tuple[int, str, str], reason: str) -> str:
    code, out, err = done
    assert (code, out) == (1, ""), err
    assert err.startswith("error: ") and err.count("\n") == 1 and reason in err, err
    return err


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def words_of(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def assert_whole(run: Path, before: dict[str, bytes]) -> None:
    """Nothing half written, and nothing of before is gone."""
    now = content(run)
    assert not [name for name in now if name.startswith(".")]
    assert set(before) <= set(now)
    for name in ("model.safetensors", "last.safetensors"):
        if name in now:
            checkpoint.load(run / name)
    if "progress.safetensors" in now:
        RunFolder(run).restore()
    if "metrics.jsonl" in now:
        rows(run)


def test_files_that_may_not_grow_fail_a_run_that_goes_on_once_they_may(
    small_corpus: Corpus, tmp_path: Path, soak: Soak
) -> None:
    values = {**OFTEN, "steps": 10}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    parts = interrupted(small_corpus, tmp_path, "parts", 5, **values)
    size = {file.stem: file.stat().st_size for file in parts.iterdir()}
    assert size["config"] < size["model"] < size["progress"]
    named = []
    for number, allowed in enumerate(
        (0, size["progress"] - 200, size["config"] - 1, size["model"] - 1, size["model"] + 9)[: soak.count(2, 5)]
    ):
        run = tmp_path / f"limited-{number}"
        shutil.copytree(parts, run)
        before = content(run)
        words = ["train", "--resume", str(run), str(small_corpus.path), "--quiet"]
        named.append(one_error(command(words, limit(allowed)), "File too large"))
        assert_whole(run, before)
        after = content(run)
        assert all(after[name] == before[name] for name in ("config.toml", "last.safetensors", "progress.safetensors"))
        assert all(after[name].startswith(before[name]) for name in ("metrics.jsonl", "samples.txt"))
        assert_same_run(whole.path, resume(run, corpus=small_corpus).path)
    assert [any(name in error for error in named) for name in ("config", "progress")] == [True, True]


@pytest.mark.cases(1)
@pytest.mark.parametrize(("log", "every"), [("metrics.jsonl", "report_every"), ("samples.txt", "sample_every")])
def test_a_log_that_may_not_grow_has_no_torn_row_and_goes_on_once_it_may(
    small_corpus: Corpus, tmp_path: Path, log: str, every: str
) -> None:
    values = {
        **TINY, "hidden": 1, "steps": 60, "eval_every": 0, "save_every": 0, "report_every": 0, "sample_every": 0,
        "threads": 1, every: 1,
    }  # fmt: skip
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    allowed = (whole.path / "progress.safetensors").stat().st_size + 9
    assert allowed < (whole.path / log).stat().st_size
    words = ["train", str(small_corpus.path), "--run", str(tmp_path / "parts"), *words_of(values), "--quiet"]
    assert log in one_error(command(words, limit(allowed)), "File too large")
    lines = (tmp_path / "parts" / log).read_bytes()
    assert lines.endswith(b"\n") and 0 < len(lines) <= allowed
    whole_text = (whole.path / log).read_text()
    assert whole_text.startswith(lines.decode()) if log == "samples.txt" else rows(tmp_path / "parts")
    assert_same_run(whole.path, resume(tmp_path / "parts", corpus=small_corpus).path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 192 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "none", disk], capture_output=True)
    except OSError as error:
        pytest.skip(f"a small disk needs mount: {error}")
    if done.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path, free: int) -> Path:
    """Leave only so many bytes on the disk; the file that fills it."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(disk).free - free))
    assert shutil.disk_usage(disk).free == free
    return ballast


def test_a_full_disk_fails_a_run_that_goes_on_once_there_is_room(
    small_corpus: Corpus, tmp_path: Path, disk: Path, soak: Soak
) -> None:
    values = {**OFTEN, "steps": 12}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    tries = range(0, 11, 1 if soak.whole else 5)
    errors = []
    for pages in tries:
        run = disk / f"run-{pages}"
        ballast = fill(disk, pages * 4096)
        begin = ["train", str(small_corpus.path), "--run", str(run), *words_of(values), "--quiet"]
        errors.append(one_error(command(begin), "No space left"))
        if run.exists():
            assert_whole(run, {})
        ballast.unlink()
        if (run / "progress.safetensors").exists():
            ballast = fill(disk, 4096)
            before = content(run)
            errors.append(
                one_error(command(["train", "--resume", str(run), str(small_corpus.path), "--quiet"]), "No space")
            )
            assert_whole(run, before)
            ballast.unlink()
            assert_same_run(whole.path, resume(run, corpus=small_corpus).path)
        else:
            assert_same_run(whole.path, train(small_corpus, run=run, **values).path)
        shutil.rmtree(run)
    kinds = {
        name for name in ("model", "last", "progress", "metrics", "samples", "config") for e in errors if name in e
    }
    assert len(kinds) > 1
    soak.saw(
        "a disk that is full in the middle of a run (tmpfs)",
        f"{len(errors)} runs, stopped while writing {', '.join(sorted(kinds))}: one error line, exit code 1, whole "
        f"files, and the weights of an undisturbed run once there was room",
    )


@pytest.mark.parametrize("characters", [300, 6000])
@pytest.mark.parametrize("there", [False, True])
def test_preparing_where_files_may_not_grow_leaves_what_was_there(tmp_path: Path, characters: int, there: bool) -> None:
    """corpus.json is the largest file of a short text, train.bin of a long one."""
    text, data = tmp_path / "sea.txt", tmp_path / "data"
    text.write_text(text_of(100, seed=1))
    before = content(prepare(text, out=str(data)).path) if there else {}
    text.write_text(text_of(characters))
    words = ["prepare", str(text), "--out", str(data), "--force", "--quiet"]
    for allowed in (0, 200, 500):
        assert "sea" in one_error(command(words, limit(allowed)), "File too large")
        assert [path.name for path in data.iterdir()] == (["sea"] if there else [])
        assert not there or content(data / "sea") == before
    assert command(words)[0] == 0
    assert Corpus.load(data / "sea").characters == characters


def test_preparing_on_a_full_disk_leaves_what_was_there(tmp_path: Path, disk: Path) -> None:
    text = tmp_path / "sea.txt"
    text.write_text(text_of(9000, seed=1))
    before = content(prepare(text, out=str(disk)).path)
    text.write_text(text_of(40000))
    words = ["prepare", str(text), "--out", str(disk), "--force", "--quiet"]
    for pages in (0, 3, 9):
        ballast = fill(disk, pages * 4096)
        one_error(command(words), "No space left")
        assert content(disk / "sea") == before
        assert {path.name for path in disk.iterdir()} == {"sea", "ballast"}
        ballast.unlink()
    assert command(words)[0] == 0
    assert Corpus.load(disk / "sea").characters == 40000
