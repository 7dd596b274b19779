"""Who meets whom, at which sizes, and what we ask of ourselves."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch

import charlm
from benchmarks.contest import Contender, Outcome, hold, ratios, weigh
from benchmarks.results import Row
from charlm.config import ModelOptions
from charlm.model import parameters

SHAPES = ((2, 128, 50, 50), (1, 256, 32, 64), (2, 256, 64, 64), (3, 512, 50, 100), (1, 256, 16, 64))
"""Layers, hidden, batch and window: char-rnn's defaults, two middling ones, a large one, and a small batch."""

CELLS = ("rnn", "gru", "lstm")
LETTERS = 63
"""With boundary and unknown these make 65 symbols, as tiny Shakespeare has letters."""


def training(folder: Path) -> Iterator[Row]:
    """A training step: ours against torch's modules, and both against the ceiling."""
    corpus = random_corpus(folder)
    for cell in CELLS:
        found = []
        for layers, hidden, batch, seq_len in SHAPES:
            shape = {"cell": cell, "layers": layers, "hidden": hidden, "batch": batch, "seq_len": seq_len}
            work = _weights(cell, layers, hidden) * 6
            steps = max(3, round(4e10 / (work * batch * seq_len)))
            ours = Contender("ours", "ours:Training", {**shape, "corpus": str(corpus), "steps": steps})
            peer = Contender("peer", "peers:Training", {**shape, "vocabulary": LETTERS + 2, "steps": steps})
            ceilings = [Contender(name, "ceiling:Products", {"library": name}) for name in ("onednn", "mkl")]
            outcomes = hold([ours, peer, *ceilings])
            found.append(ratios(outcomes, "ours", "peer"))
            megabytes = weigh([ours, peer])
            memory = megabytes["ours"] / megabytes["peer"]
            yield _step_row(f"{cell} {layers}x{hidden}, {batch} x {seq_len}", cell, outcomes, work, memory)
        wanted = "≥ 1.15" if cell == "lstm" else ""
        yield Row("training", f"{cell}, geometric mean", "", ratio=geometric_mean(found), wanted=wanted)


def _step_row(what: str, cell: str, outcomes: dict[str, Outcome], work: int, memory: float) -> Row:
    ours, peer = outcomes["ours"], outcomes["peer"]
    best = max(("onednn", "mkl"), key=lambda name: outcomes[name].median)
    share = work * ratios(outcomes, "ours", best)
    theirs = work * ratios(outcomes, "peer", best)
    return Row(
        "training",
        what,
        f"{ours.median:,.0f} chars/s",
        f"{peer.median:,.0f} chars/s",
        ours.spread,
        ratios(outcomes, "ours", "peer"),
        "≥ 0.95" if cell == "lstm" else "≥ 1.8 or 65 %",
        f"{100 * share:.0f} % of the ceiling (peer {100 * theirs:.0f} %), which is {outcomes[best].median / 1e9:.0f} "
        f"GFLOP/s by {best} (mkl {outcomes['mkl'].median / 1e9:.0f}); "
        f"memory {memory:.2f} of the peer's",
    )


def on_a_gpu(folder: Path) -> Iterator[Row]:
    """A training step of the large network on a GPU, where there is one."""
    if not torch.cuda.is_available():
        yield Row("on a GPU", "there is no GPU on this machine", "")
        return
    corpus = random_corpus(folder)
    for cell in CELLS:
        shape = {"cell": cell, "layers": 3, "hidden": 512, "batch": 128, "seq_len": 128, "steps": 30, "device": "cuda"}
        ours = {name: {**shape, "corpus": str(corpus), "precision": name} for name in ("float32", "tf32", "bfloat16")}
        outcomes = hold(
            [
                *(Contender(name, "ours:Training", arguments) for name, arguments in ours.items()),
                Contender("peer", "peers:Training", {**shape, "vocabulary": LETTERS + 2}),
            ]
        )
        for name in ours:
            yield Row(
                "on a GPU",
                f"{cell} 3x512, 128 x 128, {name}",
                f"{outcomes[name].median:,.0f} chars/s",
                f"{outcomes['peer'].median:,.0f} chars/s",
                outcomes[name].spread,
                ratios(outcomes, name, "peer"),
                more=f"{torch.cuda.get_device_name()}; the peer's recurrences round to TF32, as torch lets them",
            )


def sampling(folder: Path) -> Iterator[Row]:
    """One sample, a character at a time; and 64 side by side."""
    for layers, hidden in ((2, 128), (1, 256), (2, 256), (3, 512)):
        model = _random_model(folder, "lstm", layers, hidden)
        shape = {"cell": "lstm", "layers": layers, "hidden": hidden, "vocabulary": LETTERS + 2}
        length = 300 if hidden == 512 else 1000
        outcomes = hold(
            [
                Contender("ours", "ours:Sampling", {"model": str(model), "length": 4 * length}),
                Contender("module", "peers:Sampling", {**shape, "length": length}),
                Contender("cells", "peers:CellSampling", {**shape, "length": length}),
            ]
        )
        for peer, wanted in (("module", "≥ 10"), ("cells", "≥ 3")):
            yield Row(
                "sampling",
                f"lstm {layers}x{hidden}, {'nn.LSTM' if peer == 'module' else 'nn.LSTMCell'}",
                f"{outcomes['ours'].median:,.0f} chars/s",
                f"{outcomes[peer].median:,.0f} chars/s",
                outcomes["ours"].spread,
                ratios(outcomes, "ours", peer),
                wanted,
            )
    outcomes = hold(
        [
            Contender("many", "ours:Sampling", {"model": str(model), "length": 150, "num": 64}),
            Contender("one", "ours:Sampling", {"model": str(model), "length": 1000}),
        ]
    )
    yield Row(
        "sampling",
        "lstm 3x512, --num 64 over --num 1",
        f"{outcomes['many'].median:,.0f} chars/s",
        f"{outcomes['one'].median:,.0f} chars/s",
        outcomes["many"].spread,
        ratios(outcomes, "many", "one"),
        "≥ 6",
    )


def preparing(folder: Path) -> Iterator[Row]:
    """Both passes over a text, SHA-256 and splits included; and the memory that a gigabyte takes."""
    text = _some_text(folder / "text.txt", 100_000_000)
    outcomes = hold(
        [
            Contender("ours", "ours:Preparing", {"path": str(text)}),
            Contender("peer", "peers:Preparing", {"path": str(text)}),
        ],
        rounds=5,
    )
    yield Row(
        "preparing",
        "100 MB of UTF-8, 2 % not ASCII",
        f"{outcomes['ours'].median:.0f} MB/s",
        f"{outcomes['peer'].median:.1f} MB/s",
        outcomes["ours"].spread,
        ratios(outcomes, "ours", "peer"),
        "≥ 100 MB/s, ≥ 8",
    )
    large = _some_text(folder / "large.txt", 1_000_000_000)
    command = [sys.executable, "-m", "charlm", "prepare", str(large), "--out", str(folder / "data")]
    began = time.perf_counter()
    megabytes = _most_memory(command)
    took = time.perf_counter() - began
    large.unlink()
    yield Row(
        "preparing", "1 GB, the whole command", f"{megabytes:.0f} MB", wanted="< 300 MB", more=f"took {took:.0f} s"
    )


def evaluating(folder: Path) -> Iterator[Row]:
    """The default protocol against a training step of the same model."""
    corpus = random_corpus(folder)
    for layers, hidden, batch, seq_len in SHAPES[:4]:
        shape = {"cell": "lstm", "layers": layers, "hidden": hidden, "batch": batch, "seq_len": seq_len}
        run = folder / f"evaluated-{layers}x{hidden}"
        charlm.train(corpus, run=run, cell="lstm", layers=layers, hidden=hidden, steps=1, eval_every=0, sample_every=0)
        outcomes = hold(
            [
                Contender("ours", "ours:Evaluating", {"model": str(run / "model.safetensors"), "data": str(folder)}),
                Contender("training", "ours:Training", {**shape, "corpus": str(corpus), "steps": 5}),
            ],
            rounds=5,
        )
        yield Row(
            "evaluating",
            f"lstm {layers}x{hidden} over its training",
            f"{outcomes['ours'].median:,.0f} chars/s",
            f"{outcomes['training'].median:,.0f} chars/s",
            outcomes["ours"].spread,
            ratios(outcomes, "ours", "training"),
            "≥ 2",
        )


def starting(folder: Path) -> Iterator[Row]:
    """From the start of the process: `--help`, and the first character of a sample."""
    model = _random_model(folder, "lstm", 3, 512)
    commands = {
        "charlm --help": (["--help"], "< 0.4 s"),
        "first character, lstm 3x512": (["sample", "--model", str(model), "--length", "1", "--seed", "1"], "< 0.7 s"),
    }
    times: dict[str, list[float]] = {what: [] for what in commands}
    for _ in range(9):
        for what, (arguments, _wanted) in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "charlm", *arguments], check=True, stdout=subprocess.DEVNULL)
            times[what].append(time.perf_counter() - began)
    for what, (_arguments, wanted) in commands.items():
        yield Row(
            "starting", what, f"{median(times[what]):.2f} s", wanted=wanted, more=f"at most {max(times[what]):.2f} s"
        )


ALL: dict[str, Callable[[Path], Iterator[Row]]] = {
    "training": training,
    "on-a-gpu": on_a_gpu,
    "sampling": sampling,
    "preparing": preparing,
    "evaluating": evaluating,
    "starting": starting,
}


def _weights(cell: str, layers: int, hidden: int) -> int:
    """Weights that multiply: what each character meets once forward and twice backward, two operations each."""
    options = ModelOptions(cell=cell, layers=layers, hidden=hidden)
    shapes = parameters.shapes(options, LETTERS + 2)
    return sum(int(np.prod(shape)) for shape in shapes.values() if len(shape) > 1)


def random_corpus(folder: Path) -> Path:
    """A prepared corpus of 600,000 random letters, a third of them to evaluate on."""
    path = folder / "letters.txt"
    if not path.exists():
        alphabet = np.array([chr(code) for code in range(ord("0"), ord("0") + LETTERS)])
        path.write_text("".join(alphabet[np.random.default_rng(0).integers(LETTERS, size=600_000)]), encoding="utf-8")
        charlm.prepare(path, out=str(folder), valid_fraction=1 / 3, test_fraction=0)
    return folder / "letters"


def _random_model(folder: Path, cell: str, layers: int, hidden: int) -> Path:
    """A model of that shape, hardly trained."""
    run = folder / f"sampled-{cell}-{layers}x{hidden}"
    if not run.exists():
        quiet = {"steps": 1, "eval_every": 0, "sample_every": 0, "eval_chars": 100}
        charlm.train(random_corpus(folder), run=run, cell=cell, layers=layers, hidden=hidden, **quiet)
    return run / "model.safetensors"


def _some_text(path: Path, size: int) -> Path:
    """About `size` bytes of made-up prose in UTF-8, 2 % of its characters beyond ASCII."""
    random = np.random.default_rng(0)
    letters = np.array(list("eeeettaaooiinnsshrdlcumwfgypbvk" + "      " + "\n.,"))
    text = letters[random.integers(len(letters), size=1_000_000)]
    foreign = random.random(len(text)) < 0.02
    text[foreign] = np.array(list("äöüßéèñçåøæ—“”…жшюλπ中文日本"))[random.integers(24, size=int(foreign.sum()))]
    block = "".join(text).encode()
    with path.open("wb") as file:
        for _ in range(-(-size // len(block))):
            file.write(block)
    return path


def _most_memory(command: list[str]) -> float:
    """The largest resident size of a command, in MB."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    return float(done.stdout)
