"""A run that was killed, at whatever moment, has whole files and goes on to the weights of one that never was."""

import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from processes import dying_at, ended, fork, forks, kill
from running import TINY, assert_same_run, rows
from soaking import Soak

from charlm.cli import main as entry
from charlm.data.corpus import Corpus
from charlm.model import checkpoint
from charlm.training.events import Result
from charlm.training.resume import resume
from charlm.training.run_folder import RunFolder
from charlm.training.train import train

pytestmark = forks

OFTEN: dict[str, Any] = {**TINY, "dropout": 0.2, "sample_every": 4, "save_every": 1, "eval_every": 2, "threads": 1}

SAVING = ("charlm/files.py", "charlm/lock.py", "charlm/training/run_folder.py", "charlm/training/checkpoints.py")
"""Where the files of a run are written."""


def begin_or_go_on(corpus: Corpus, root: Path, name: str, **values: Any) -> Result:
    """What a user does after a kill: resume, or begin again where nothing was saved yet."""
    if (root / name / "progress.safetensors").exists():
        return resume(name, root=root, corpus=corpus)
    return train(corpus, root=root, run=name, **values)


def assert_whole(run: Path) -> None:
    """Right after a kill: models can be loaded, what resuming needs can be read, no row is torn or there twice."""
    for name in ("model", "last"):
        if (run / f"{name}.safetensors").exists():
            checkpoint.load(run / f"{name}.safetensors")
    if (run / "progress.safetensors").exists():
        RunFolder(run).restore()
    if (run / "metrics.jsonl").exists():
        steps = [row["step"] for row in rows(run)]
        assert steps == sorted(set(steps))


def assert_as_never_killed(whole: Path, run: Path, drawn: str = "") -> None:
    assert_same_run(whole, run)
    steps = [row["step"] for row in rows(run)]
    assert steps == sorted(set(steps))
    assert {file.name for file in run.iterdir()} - {drawn} == {file.name for file in whole.iterdir()}


def is_finished(run: Path) -> bool:
    progress = run / "progress.safetensors"
    return progress.exists() and RunFolder(run).restore().state.finished is not None


def test_a_run_killed_at_random_moments_ends_as_if_it_never_was(
    small_corpus: Corpus, tmp_path: Path, soak: Soak
) -> None:
    """Each run is killed again and again, at a random moment of what is left of it."""
    values = {**OFTEN, "steps": 40}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    began = time.perf_counter()
    assert ended(fork(lambda: train(small_corpus, root=tmp_path, run="timed", **values))) == 0
    lasts = time.perf_counter() - began
    random = Random(1)
    wanted, kills, ends, unsaved = soak.count(3, 50), 0, 0, 0
    while kills < wanted:
        name = f"killed-{ends}"
        while not is_finished(tmp_path / name) and kills < wanted:
            child = fork(lambda name=name: begin_or_go_on(small_corpus, tmp_path, name, **values))
            time.sleep(random.uniform(0, lasts / 2))
            code = kill(child)
            assert code in (0, -9), "the run failed by itself"
            kills += code == -9
            if (tmp_path / name).exists():
                assert_whole(tmp_path / name)
                unsaved += not (tmp_path / name / "progress.safetensors").exists()
        if not is_finished(tmp_path / name):
            begin_or_go_on(small_corpus, tmp_path, name, **values)
        assert_as_never_killed(whole.path, tmp_path / name)
        ends += 1
    soak.saw(
        "SIGKILL of a trainer at random moments, saving after every step",
        f"{kills} kills of {ends} runs ({unsaved} before the first save): each went on to the weights, rows and "
        f"samples of a run never killed, and after each kill every file was whole",
    )


def test_a_run_killed_at_every_line_of_saving_ends_as_if_it_never_was(
    small_corpus: Corpus, tmp_path: Path, soak: Soak
) -> None:
    values = {**OFTEN, "steps": 4, "eval_chars": 40}
    with dying_at(-1, *SAVING) as lines:
        whole = train(small_corpus, root=tmp_path, run="whole", **values)
    assert lines[0] > 300, "these lines are no longer where the files are written"

    def dies(name: str, moment: int) -> None:
        with dying_at(moment, *SAVING):
            train(small_corpus, root=tmp_path, run=name, **values)

    tried = min(soak.count(10, lines[0]), lines[0])
    for number in range(tried):
        moment = number * lines[0] // tried
        name = f"killed-{moment}"
        assert ended(fork(lambda name=name, moment=moment: dies(name, moment))) == -9
        run = tmp_path / name
        if run.exists():
            assert_whole(run)
        if not is_finished(run):
            begin_or_go_on(small_corpus, tmp_path, name, **values)
        assert_same_run(whole.path, run)
    soak.saw(
        "SIGKILL of a trainer before every line of the code that writes its files",
        f"{tried} of {lines[0]} lines of a run of 4 steps: each went on to the weights, rows and samples of a run "
        f"never killed, and after each kill every file was whole",
    )


def test_resuming_can_be_killed_too(small_corpus: Corpus, tmp_path: Path, soak: Soak) -> None:
    values = {**OFTEN, "steps": 6}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)

    def dies(name: str, moment: int, action: Any) -> None:
        with dying_at(moment, *SAVING):
            action(name)

    def begin(name: str) -> None:
        train(small_corpus, root=tmp_path, run=name, **values)

    def go_on(name: str) -> None:
        begin_or_go_on(small_corpus, tmp_path, name, **values)

    def killed(action: Any, name: str, moment: int) -> bool:
        return ended(fork(lambda: dies(name, moment, action))) == -9

    random = Random(2)
    tried, again = soak.count(2, 150), 0
    for number in range(tried):
        name = f"killed-{number}"
        assert killed(begin, name, random.randrange(150, 500))
        for moment in random.choices(range(400), k=5):
            if not is_finished(tmp_path / name):
                again += killed(go_on, name, moment)
                assert_whole(tmp_path / name)
        if not is_finished(tmp_path / name):
            go_on(name)
        assert_same_run(whole.path, tmp_path / name)
    soak.saw(
        "SIGKILL of a run that was resumed, while it saves, again and again", f"{tried} runs, {again} kills: the same"
    )


@pytest.mark.long
def test_a_killed_command_goes_on_by_its_command_line(
    small_corpus: Corpus, tmp_path: Path, soak: Soak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with the real program, from its start."""
    monkeypatch.chdir(tmp_path)
    values = {**OFTEN, "steps": 60}
    whole = train(small_corpus, root=tmp_path / "runs", run="whole", **values)
    words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    charlm = [sys.executable, "-m", "charlm", "train", str(small_corpus.path)]
    tried, random = soak.count(1, 20), Random(3)
    for number in range(tried):
        run = tmp_path / "runs" / f"killed-{number}"
        process = subprocess.Popen(
            [*charlm, *words, "--run", run.name, "--quiet"], cwd=tmp_path, stdout=subprocess.PIPE
        )
        while not (run / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert_whole(run)
        if not is_finished(run):
            assert entry.run(["train", "--resume", run.name, "--quiet"]) == 0
        assert_as_never_killed(whole.path, run, drawn="curve.svg")  # by the command, where it was not killed before
    soak.saw("SIGKILL of `charlm train`, then `--resume`", f"{tried} times, the same weights, rows and samples")
