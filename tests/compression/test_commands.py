"""`charlm compress` and `charlm decompress`: names, streams, refusals, and what is left on the disk."""

import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from texts import text_of

from charlm.cli import main as entry
from charlm.compression import arithmetic_coding
from charlm.model import checkpoint
from charlm.model.checkpoint import Model

from .conftest import Make

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def house(trained: Model, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, another model and a text."""
    for name, model in (("runs/sea/model.safetensors", trained), ("other.safetensors", make("gru"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(tmp_path / name, model)
    (tmp_path / "sea.txt").write_text(text_of(1500, seed=9), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def charlm(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = entry.run(list(words))
        return code, *capfd.readouterr()

    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_there_and_back(house: Path, charlm: Run) -> None:
    original = Path("sea.txt").read_bytes()
    code, out, err = charlm("compress", "sea.txt")
    assert (code, out) == (0, "sea.txt.charlm\n")
    assert "model: runs/sea/model.safetensors" in err
    for word in ("1,500 in", "per character", "by the model's probabilities", "0 are unknown", "streams"):
        assert word in err
    assert Path("sea.txt").read_bytes() == original and len(original) / 2 > Path("sea.txt.charlm").stat().st_size
    Path("sea.txt").unlink()
    assert charlm("decompress", "sea.txt.charlm")[:2] == (0, "sea.txt\n")
    assert Path("sea.txt").read_bytes() == original


def test_json_and_streams(house: Path, charlm: Run) -> None:
    code, out, _ = charlm("compress", "sea.txt", "--streams", "3", "--json", "-o", "x")
    found = json.loads(out)
    assert code == 0 and found["file"] == "x" and found["streams"] == 3
    assert found["compressed_bytes"] == Path("x").stat().st_size
    assert charlm("compress", "sea.txt", "--streams", "0")[0] == 2
    assert charlm("compress", "sea.txt", "--json", "-o", "-")[0] == 2


def test_through_pipes(house: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\xff\0the sea\r\n" + text_of(900).encode()
    passed = data
    for words in (["compress", "-"], ["decompress", "-"]):
        done = subprocess.run(
            [sys.executable, "-m", "charlm", *words, "--quiet"], input=passed, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        passed = done.stdout
    assert passed == data
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert charlm("compress", "-", "-o", "piped")[:2] == (0, "piped\n")
    assert charlm("decompress", "piped", "-o", "back")[:2] == (0, "back\n")
    assert Path("back").read_bytes() == data


def test_refusals_leave_nothing(house: Path, charlm: Run) -> None:
    assert charlm("compress", "sea.txt")[0] == 0
    good = Path("sea.txt.charlm").read_bytes()
    Path("bent.charlm").write_bytes(good[:50] + bytes((good[50] ^ 4,)) + good[51:])
    Path("short.charlm").write_bytes(good[:60])
    Path("text.charlm").write_text("no compressed file")
    Path("folder").mkdir()
    before = names(house)
    for words, said in (
        (["compress", "sea.txt"], "sea.txt.charlm exists; give --force"),
        (["decompress", "sea.txt.charlm"], "sea.txt exists; give --force"),
        (["compress", "sea.txt", "-o", "sea.txt", "--force"], "is the file to be read"),
        (["compress", "sea.txt", "-o", "folder", "--force"], "folder is a folder"),
        (["compress", "sea.txt", "-o", os.devnull, "--force"], "is no plain file"),
        (["compress", "sea.txt", "-o", "nowhere/x"], "the folder nowhere does not exist"),
        (["compress", "missing"], "missing cannot be read"),
        (["compress", "folder"], "folder cannot be read"),
        (["compress", "sea.txt", "--model", "nothing", "-o", "x"], "neither a model file nor a run"),
        (["decompress", "sea.txt"], "does not end in .charlm"),
        (["decompress", ".charlm"], "does not end in .charlm"),
        (["compress", "sea.txt", "--out", ""], "'' is a folder"),
        (["decompress", "sea.txt.charlm", "-o", "x", "--model", "other.safetensors"], "with another model than other"),
        (["decompress", "bent.charlm"], "bent.charlm cannot be decompressed: it is damaged"),
        (["decompress", "short.charlm"], "it is damaged"),
        (["decompress", "text.charlm"], "not a file that `charlm compress` wrote"),
    ):
        code, out, err = charlm(*words)
        errors = [line for line in err.splitlines() if line.startswith("error:")]
        assert (code, out, len(errors)) == (2, "", 1), (words, err)
        assert said in errors[0] and "bug" not in errors[0]
        assert names(house) == before
    assert charlm("compress", "sea.txt", "--force")[0] == 0
    assert Path("sea.txt.charlm").read_bytes() == good


def test_without_the_coder_a_line_says_what_to_install(
    house: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert charlm("compress", "sea.txt")[0] == 0
    whole = importlib.import_module

    def missing(name: str, *more: Any) -> Any:
        if name == "constriction":
            raise ImportError(name)
        return whole(name, *more)

    monkeypatch.setattr(arithmetic_coding, "import_module", missing)
    for words in (["compress", "sea.txt", "-o", "x"], ["decompress", "sea.txt.charlm", "-o", "x"]):
        code, out, err = charlm(*words)
        assert (code, out) == (2, "") and "pip install constriction" in err
    monkeypatch.setattr(arithmetic_coding, "import_module", whole)
    monkeypatch.setattr(arithmetic_coding, "version", lambda name: "0.3.5")
    assert "constriction 0.3.5 is too old" in charlm("compress", "sea.txt", "-o", "x")[2]
    assert not Path("x").exists()


@pytest.mark.cases(1)
@pytest.mark.parametrize("kernels", ["Nehalem", "Haswell"])
def test_what_one_processor_compressed_another_decompresses(house: Path, charlm: Run, kernels: str) -> None:
    """As far as OpenBLAS can be told to be on another one; without torch, too."""
    assert charlm("compress", "sea.txt")[0] == 0
    program = "import sys; sys.modules['torch'] = None; from charlm.cli.main import run; sys.exit(run(sys.argv[1:]))"
    words = ["decompress", "sea.txt.charlm", "-o", "back.txt"]
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path("back.txt").read_bytes() == Path("sea.txt").read_bytes()
