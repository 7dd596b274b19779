"""Cells from outside the package: trained, resumed, scored and sampled with `--plugin`, and never without."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from texts import text_of

import charlm
from charlm import cells
from charlm.cells._plugin import forget, plugin
from charlm.cli import main as entry
from charlm.config import ModelOptions, own_cells
from charlm.errors import CheckpointError, UsageError
from charlm.model.checkpoint import load, read_tensors
from charlm.model.network import Network

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
MINIMAL = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
SMALL = ["--hidden", "6", "--batch-size", "4", "--seq-len", "16", "--threads", "1"]

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Every test begins and ends with the cells of the package only."""
    forget()
    yield
    forget()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines in a folder with a corpus and the plugin of the page, each as in a fresh process."""
    monkeypatch.chdir(tmp_path)
    Path("minimal.py").write_text(MINIMAL)
    Path("sea.txt").write_text(text_of(3000), encoding="utf-8")
    assert entry.run(["prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.1"]) == 0

    def run(*words: str) -> tuple[int, str, str]:
        forget()
        capfd.readouterr()
        code = entry.run(list(words))
        return (code, *capfd.readouterr())

    return run


WITH = ["--plugin", "minimal.py"]


def ok(done: tuple[int, str, str]) -> str:
    assert done[0] == 0, done
    return done[1]


def refused(done: tuple[int, str, str]) -> str:
    code, out, err = done
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out, len(lines)) == (2, "", 1) and "Traceback" not in err and "bug in" not in err, done
    return lines[0]


def test_the_cell_of_the_page_is_about_fifteen_lines_and_learns(shell: Shell) -> None:
    assert MINIMAL.count("\n") < 30
    assert ok(shell("train", *WITH, "--cell", "minimal", *SMALL, "--layers", "2", "--steps", "40", "--lr", "0.03")) == (
        "runs/sea-minimal-2x6/model.safetensors\n"
    )
    assert float(ok(shell("eval", *WITH, "--nats"))) < 3.0
    one = ok(shell("sample", *WITH, "--length", "20", "--seed", "1"))
    assert len(one) == 20
    both = ok(shell("sample", *WITH, "--length", "20", "--seed", "1", "--num", "2"))
    assert both.startswith(one)
    assert "minimal, 2 x 6" in ok(shell("info", *WITH))
    assert "minimal 2x6" in ok(shell("runs", *WITH))


def test_resuming_with_the_plugin_is_as_if_never_stopped(shell: Shell) -> None:
    words = ["train", *WITH, "--cell", "minimal", *SMALL, "--schedule", "constant", "--warmup", "0", "--lr", "0.01"]
    words += ["--weight-decay", "0.01", "--dropout", "0"]
    ok(shell(*words, "--steps", "8", "--run", "whole"))
    ok(shell(*words, "--steps", "5", "--run", "parts"))
    ok(shell("train", "--resume", "parts", *WITH, "--steps", "8"))
    whole, parts = (read_tensors(Path(f"runs/{name}/progress.safetensors"), "")[0] for name in ("whole", "parts"))
    for name, weight in whole.items():
        np.testing.assert_array_equal(weight, parts[name])


def test_without_the_plugin_everything_is_refused_with_a_line_that_says_what_is_missing(shell: Shell) -> None:
    ok(shell("train", *WITH, "--cell", "minimal", *SMALL, "--steps", "3", "--run", "one"))
    for words in (
        ["train", "--cell", "minimal"],
        ["train", "--resume", "one", "--steps", "9"],
        ["train", "--init-from", "one"],
        ["train", "--config", "runs/one/config.toml", "--run", "two"],
        ["eval"],
        ["sample"],
        ["info"],
        ["info", "one", "--json"],
    ):
        assert "--plugin" in refused(shell(*words)), words
    code, out, _ = shell("runs")
    assert code == 0 and "unreadable" in out and "--plugin" in out
    ok(shell("train", *WITH, "--init-from", "one", *SMALL, "--steps", "2", "--run", "two"))
    forget()
    with pytest.raises(CheckpointError, match="'minimal'"):
        load("runs/one/model.safetensors")


def test_in_a_fresh_process_and_as_a_library(shell: Shell, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

    def process(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
        )

    words = ["--cell", "minimal", *SMALL, "--steps", "3", "--run", "one"]
    done = process("-m", "charlm", "train", "--plugin", "minimal", *words)  # as a module, from the working folder
    assert done.returncode == 0, done.stderr
    done = process("-m", "charlm", "sample", *WITH, "--length", "9", "--seed", "1")
    assert done.returncode == 0 and len(done.stdout) == 9
    done = process("-m", "charlm", "sample")
    assert done.returncode == 2 and done.stderr.count("\n") <= 2 and "--plugin" in done.stderr
    program = (
        "import charlm; assert charlm.plugin('minimal.py') == 'minimal'; m = charlm.load('runs/one/model.safetensors');"
        "import sys; sys.stdout.write(''.join(charlm.stream(m, length=9, seed=1))); assert 'torch' not in sys.modules"
    )
    library = process("-c", program)
    assert (library.returncode, len(library.stdout)) == (0, 9), library.stderr


def test_the_plugins_numpy_and_torch_compute_the_same(tmp_path: Path) -> None:
    (tmp_path / "minimal.py").write_text(MINIMAL)
    cell = cells.make(plugin(tmp_path / "minimal.py"))
    random = np.random.default_rng(0)
    p = {name: random.normal(size=shape) for name, shape in cell.shapes(3, 4).items()}
    x, h = random.normal(size=(2, 8)), random.normal(size=(2, 4))
    (one,), _ = cell.step(np, p, x, None, (h,))
    tensors = {name: torch.from_numpy(weight) for name, weight in p.items()}
    (other,), _ = cell.step(torch, tensors, torch.from_numpy(x), None, (torch.from_numpy(h),))
    np.testing.assert_allclose(one, other.numpy(), rtol=1e-12)


FADING = """
from charlm.cells import LinearCell


class Fading(LinearCell):
    name = "fading"
    gates = ("n",)

    def shapes(self, inputs, hidden):
        return {**super().shapes(inputs, hidden), "rate": (hidden,)}

    def coefficients(self, xp, p, x):
        n = xp.tanh(x)
        return p["rate"] * p["rate"], n, {"n": n}


CELL = Fading
"""
"""A cell that is linear in its state, whose coefficient is the same at every character."""

SUMMING = """
from charlm.cells import WindowCell


class Summing(WindowCell):
    name = "summing"
    gates = ("n",)

    def step(self, xp, p, x, below, state):
        (h,) = state
        return (h + x,), {"n": x}

    def window(self, xp, p, x, state):
        h = xp.cumsum(x, 0) + state[0]
        return h, (h[-1],)


CELL = Summing
"""


@pytest.mark.parametrize(("code", "path"), [(FADING, "scan"), (SUMMING, "whole")], ids=["linear", "window"])
def test_a_plugin_without_recurrent_weights_takes_a_window_at_once(tmp_path: Path, code: str, path: str) -> None:
    (tmp_path / "own.py").write_text(code)
    options = ModelOptions(cell=plugin(tmp_path / "own.py"), layers=2, hidden=5, embedding=3, dropout=0.0)
    network = Network(options, 7, seed=1).double().to_device(torch.device("cpu"))
    assert network.backend == path and not any("_hh" in name for name in network.named_weights())
    ids = torch.randint(7, (9, 3), generator=torch.Generator().manual_seed(0))
    found = {}
    for network.backend in (path, "plain"):
        logits, last = network(ids, network.initial_state(3))
        loss = logits.square().sum() + last[1][0].sum()
        found[network.backend] = [logits, *torch.autograd.grad(loss, list(network.parameters()))]
    for one, other in zip(found[path], found["plain"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


UNFIT = {
    "another's name": (MINIMAL.replace('"minimal"', '"lstm"'), "which charlm has itself"),
    "no name": (MINIMAL.replace('name = "minimal"', "pass"), "names its cell None"),
    "an odd name": (MINIMAL.replace('"minimal"', '"../x"'), "small letters"),
    "no CELL": (MINIMAL.replace("CELL = Minimal", ""), "CELL ="),
    "CELL no class": (MINIMAL.replace("CELL = Minimal", "CELL = Minimal()"), "CELL ="),
    "CELL no cell": (MINIMAL.replace("CELL = Minimal", "CELL = int"), "CELL ="),
    "no step": (MINIMAL.replace("def step", "def stop"), "TypeError"),
    "a step that fails": (MINIMAL.replace("(h,) = state", "1 / 0"), "ZeroDivisionError"),
    "a step of another size": (MINIMAL.replace("return (h,)", "return (h, h)"), "a state of 1 parts"),
    "gates left out": (MINIMAL.replace(', "n": n}', "}"), "the gates f, n by name"),
    "gates that are no tuple": (MINIMAL.replace('("f", "n")', '"fn"'), "the gates 'fn'"),
    "a state without h": (MINIMAL.replace("    name =", '    state = ("c",)\n    name ='), "first part must be h"),
    "an unknown activation": (MINIMAL.replace("    name =", '    activations = ("swish",)\n    name ='), "swish"),
    "wrong shapes": (
        MINIMAL.replace("    def step", "    def shapes(self, inputs, hidden):\n        return {}\n\n    def step"),
        "weight_ih must have the shape",
    ),
    "coefficients of another size": (FADING.replace("n, {", "n.sum(0), {"), "coefficients must return"),
    "another state below": (
        MINIMAL.replace(
            "    def step", "    def at(self, layer):\n        return self if layer else TWO()\n\n    def step"
        ).replace("CELL =", "class TWO(Minimal):\n    state = ('h', 'c')\n\n\nCELL ="),
        "in its lowest layer",
    ),
    "a window of another size": (SUMMING.replace("return h, (h[-1],)", "return h[0], (h[-1],)"), "window must return"),
    "not Python": ("class :\n", "SyntaxError"),
    "an exit": ("import sys\nsys.exit('gone')\n", "SystemExit"),
    "an import that fails": ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
}


@pytest.mark.parametrize(("code", "words"), UNFIT.values(), ids=UNFIT)
def test_what_is_no_cell_is_one_line(shell: Shell, code: str, words: str) -> None:
    assert code != MINIMAL
    Path("bad.py").write_text(code)
    line = refused(shell("train", "--plugin", "bad.py", "--cell", "minimal", *SMALL, "--steps", "1"))
    assert words in line and "--plugin bad.py" in line
    assert not cells_outside()


def cells_outside() -> set[str]:
    return set(cells.names()) - set(own_cells())


@pytest.mark.parametrize("place", ["nothing.py", "no_such_module", "", ".", "sea.txt", "a b", "\0", "../x.y"])
def test_a_plugin_that_is_not_there_is_one_line(shell: Shell, place: str) -> None:
    assert "cannot be loaded" in refused(shell("info", "--plugin", place))


def test_two_plugins_may_not_share_a_name_and_one_may_be_given_twice(shell: Shell) -> None:
    Path("copy.py").write_text(MINIMAL)
    assert "as" in refused(shell("train", *WITH, "--plugin", "copy.py", *SMALL, "--steps", "1"))
    Path("second.py").write_text(MINIMAL.replace('"minimal"', '"second"'))
    ok(shell("train", *WITH, *WITH, "--plugin", "second.py", "--cell", "second", *SMALL, "--steps", "1"))
    with pytest.raises(UsageError, match="did you mean minimal"):
        charlm.plugin("minimal.py")
        cells.make("minimall")


def test_neither_a_configuration_nor_a_run_can_name_a_plugin(shell: Shell) -> None:
    Path("bad.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    for content in ('plugin = "bad.py"\n', '[train]\nplugin = ["bad.py"]\n'):
        Path("c.toml").write_text(content)
        assert "plugin" in refused(shell("train", "--config", "c.toml", *SMALL, "--steps", "1"))
    assert not Path("ran").exists()


def test_layers_of_a_plugin_s_cell_are_connected_in_every_way(shell: Shell) -> None:
    wired = ["--skip", "--between", "highway", "--layer-norm", "--tied", "--input", "embedding", "--layers", "3"]
    drops = ["--dropout-kind", "locked", "--dropout", "0.2", "--embedding-dropout", "0.1"]
    ok(shell("train", "--cell", "minimal", "--run", "wired", "--steps", "6", *WITH, *SMALL, *wired, *drops))
    found = json.loads(ok(shell("eval", "--json", "--exact", *WITH)))
    assert 0 < found["nats_per_char"] < 5
    assert len(ok(shell("sample", "--length", "30", "--seed", "1", *WITH))) >= 30
    assert json.loads(ok(shell("inspect", "gates", "--json", *WITH)))["gates"]
    ok(shell("inspect", "gradients", "--window", "5", "--positions", "2", "--json", *WITH))
