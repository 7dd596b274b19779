"""Whatever can be done with a network can be done with one of every cell, also of one from outside the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from texts import text_of

import charlm
from charlm import cells
from charlm.cells._plugin import forget
from charlm.cli import main as entry
from charlm.model.checkpoint import load, read_tensors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-cell.md").read_text(encoding="utf-8")
(LEAKY,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WITH = {"leaky": ["--plugin", "leaky.py"]}
NEW = [name for name in cells.names() if name not in ("rnn", "lstm", "gru")]
SMALL = "--hidden 6 --layers 2 --batch-size 4 --seq-len 16 --threads 1 --schedule constant --warmup 0 --lr 0.01"
SAME = f"{SMALL} --weight-decay 0.01 --dropout 0"

Shell = Callable[..., str]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Every test begins and ends with the cells of the package only."""
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a text of lines and the plugin of the page."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "leaky.py").write_text(LEAKY)
    (folder / "lines.txt").write_text("the sea\nand the wind\n\n")
    (folder / "sea.txt").write_text(text_of(3000), encoding="utf-8")
    charlm.prepare(folder / "sea.txt", out=str(folder / "data"), valid_fraction=0.1, test_fraction=0.2)
    return folder


@pytest.fixture
def shell(house: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines, each as in a fresh process; what they print, their exit code 0."""
    monkeypatch.chdir(house)

    def run(line: str, *more: str, code: int = 0) -> str:
        forget()
        capfd.readouterr()
        found = entry.run([*line.split(), *more])
        out, err = capfd.readouterr()
        assert found == code, (line, err)
        return out if not code else err

    return run


@pytest.mark.cases(2)
@pytest.mark.parametrize("cell", [*NEW, "leaky"])
def test_every_command_takes_it(shell: Shell, cell: str) -> None:
    given = WITH.get(cell, [])

    def of(line: str, *more: str) -> str:
        return shell(line, *more, *given, "--model", cell)

    shell(f"train sea --cell {cell} {SAME} --steps 8 --run {cell}-whole", *given)
    shell(f"train sea --cell {cell} {SAME} --steps 5 --run {cell}", *given)
    shell(f"train --resume {cell} --steps 8", *given)
    whole, parts = (read_tensors(Path(f"runs/{name}/progress.safetensors"), "")[0] for name in (f"{cell}-whole", cell))
    for name, weight in whole.items():
        np.testing.assert_array_equal(weight, parts[name], err_msg=name)

    found = json.loads(of("eval --exact --json"))
    assert 1 < found["bits_per_char"] < (1000 if cell == "sum" else 7)  # a sum grows with the text
    one = of("sample --length 12 --seed 3")
    assert of("sample --length 12 --seed 3 --num 8").startswith(one) and len(one) == 12
    part = cells.make(cell).state[-1] if not given else "h"
    assert of("sample --length 200 --seed 3 --clamp", f"1:2:{part}=50") != of("sample --length 200 --seed 3")
    assert len(of("score lines.txt").splitlines()) == 3
    of("compress lines.txt --force")
    of("decompress lines.txt.charlm --out back.txt --force")
    assert Path("back.txt").read_bytes() == Path("lines.txt").read_bytes()

    of("inspect surprise --chars 200 --json")
    assert json.loads(of(f"inspect cells --chars 200 --unit 1:2 --part {part} --json"))["units"]
    of("inspect find sea.txt --shuffles 10 --json")
    of("inspect ablate --chars 200 --unit 0:1 --json")
    gates = json.loads(of("inspect gates --chars 200 --json"))
    forget()
    if given:
        charlm.plugin(given[1])
    options = load(f"runs/{cell}/model.safetensors").options
    known = {gate for layer in (0, 1) for gate in cells.of(options).at(layer).gates}
    assert {gate["gate"] for gate in gates["gates"]} <= known and len(gates["outputs"]) == 2
    measured = json.loads(of("inspect gradients --window 12 --positions 3 --chars 500 --json"))["models"][0]
    assert of("inspect gradients --window 12 --positions 3 --chars 500")
    for layer in measured["layers"]:
        assert (layer["bound"] is not None) == (cell == "preactivation-rnn")
        assert bool(layer["recurrent"]) == cells.of(options).recurrent
    forget()


@pytest.mark.parametrize("cell", [name for name in NEW if not cells.make(name).recurrent])
def test_what_needs_recurrent_weights_is_refused_where_there_are_none(shell: Shell, cell: str) -> None:
    said = shell(f"train sea --cell {cell} {SMALL} --steps 2 --weight-drop 0.5 --run {cell}-drop", code=2)
    assert f"--weight-drop 0.5 drops recurrent weights, and the cell {cell} has none" in said
    shell(f"train sea --cell {cell} {SMALL} --steps 1 --run {cell}-none")
    said = shell(f"inspect gradients --window 4 --positions 2 --scale-recurrent 2 --model {cell}-none", code=2)
    assert f"the cell {cell} has none" in said


def test_the_width_of_the_window_is_the_model_s(shell: Shell) -> None:
    for context in (1, 8, 11):
        shell(f"train sea --cell window-mlp --context {context} {SMALL} --steps 2 --run w{context}")
        assert f"window-mlp ({context}), 2 x 6" in shell(f"info w{context}")
        model = load(f"runs/w{context}/model.safetensors")
        assert model.options.context == context
        assert model.weights["layers.1.weight_ih"].shape == (6 * context, 6)
    shell(f"train sea --init-from w11 {SMALL} --steps 2 --run again")
    assert load("runs/again/model.safetensors").options.context == 11
    assert "--context 8 does not fit" in shell(f"train sea --init-from w11 {SMALL} --context 8 --steps 2", code=2)
    assert "--context must be" in shell(f"train sea --cell window-mlp {SMALL} --context 0", code=2)


def test_a_model_that_tells_no_context_is_as_it_was(shell: Shell) -> None:
    """Only another width than 8 is written, so that files from before are read, and read those."""
    for context, told in ((8, False), (3, True)):
        shell(f"train sea --cell lstm --context {context} {SMALL} --steps 1 --run c{context}")
        raw = Path(f"runs/c{context}/model.safetensors").read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        assert ("context" in json.loads(header["__metadata__"]["config"])) is told
        assert load(f"runs/c{context}/model.safetensors").options.context == context


def test_a_gradient_that_leaves_by_another_part_than_h_is_told_there(shell: Shell) -> None:
    shell(f"train sea --cell preactivation-rnn {SMALL} --steps 2 --run pre")
    shell(f"train sea --cell window-mlp --context 4 {SMALL} --steps 2 --run win")
    said = shell("inspect gradients --window 3 --positions 4 --chars 500 --model pre")
    assert "of the gradient is left, at a" in said and "gradients must vanish" in said or "gradients may" in said
    said = shell("inspect gradients --window 3 --positions 4 --chars 500 --model win")
    assert "of the gradient is left, at s" in said and "largest singular value" not in said
    assert "carousel" not in said
    said = shell("inspect gradients --window 12 --positions 4 --chars 500 --model win")
    assert "after 12 characters 0 of the gradient is left" in said


def test_the_file_of_the_page_in_a_copy_of_the_package_is_a_cell_of_its_own(house: Path, tmp_path: Path) -> None:
    """Nothing but the file is added."""
    shutil.copytree(ROOT / "charlm", tmp_path / "charlm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "corpora", tmp_path / "corpora")
    (tmp_path / "charlm" / "cells" / "leaky.py").write_text(LEAKY)
    lines = [
        f"train {house / 'data' / 'sea'} --cell leaky {SAME} --steps 5 --run inside",
        "train --resume inside --steps 8",
        f"eval --nats {house / 'lines.txt'}",
        "sample --length 9 --seed 1",
        f"score {house / 'lines.txt'}",
        f"inspect gates {house / 'sea.txt'} --chars 200",
        f"inspect gradients {house / 'sea.txt'} --window 4 --positions 2 --chars 200",
    ]
    program = (
        "import sys, charlm, charlm.cells; from charlm.cli.main import run\n"
        "assert charlm.__file__.startswith(sys.argv[1]), charlm.__file__\n"
        "assert 'leaky' in charlm.cells.names()\n"
        "for line in sys.argv[2:]:\n    code = run(line.split())\n    assert not code, (line, code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *lines],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "inside" / "model.safetensors").is_file()
