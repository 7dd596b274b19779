"""A command line in this process, as tests/cli has it, and a trained run to attack."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from texts import text_of

from charlm.cli import main as entry

Run = Callable[..., tuple[int, str, str]]
SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-len", "16", "--threads", "1"]


@pytest.fixture
def charlm(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command line: exit code, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = entry.run(list(words))
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, its corpus and a run of a few steps."""
    folder = tmp_path_factory.mktemp("built")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("sea.txt").write_text(text_of(3000), encoding="utf-8")
        assert entry.run(["prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.1"]) == 0
        assert entry.run(["train", *SMALL, "--steps", "3", "--run", "one"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def house(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder to be in."""
    shutil.copytree(built, tmp_path / "house")
    monkeypatch.chdir(tmp_path / "house")
    return tmp_path / "house"


@pytest.fixture
def refused(charlm: Run) -> Callable[..., str]:
    """The one error line of a command line that must end with exit code 2 and print nothing."""

    def run(*words: str) -> str:
        code, out, err = charlm(*words)
        errors = [line for line in err.splitlines() if line.startswith("error:")]
        assert (code, out, len(errors)) == (2, "", 1), (words, code, out[:200], err[:2000])
        assert "Traceback" not in err and "bug in charlm" not in err
        return errors[0]

    return run
