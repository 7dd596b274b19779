"""On an NVIDIA GPU: the same numbers as on the CPU, and models that need no GPU afterwards."""

from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from wirings import CASES, label

from charlm.config import ModelOptions
from charlm.data.batches import Batches
from charlm.data.corpus import Corpus
from charlm.errors import DivergedError
from charlm.evaluation.evaluate import evaluate
from charlm.model import checkpoint
from charlm.model.checkpoint import Model
from charlm.model.network import DropoutMasks, Network
from charlm.model.stepper import Stepper
from charlm.runtime.device import find_device
from charlm.sampling.sample import stream
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training import step as steps
from charlm.training.data_loader import DataLoader
from charlm.training.dropout import StepRandom, dropout_masks
from charlm.training.events import Notice
from charlm.training.resume import resume
from charlm.training.train import train
from charlm.training.trainer import Trainer

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU")]

CELLS = [
    ("rnn", "tanh"), ("rnn", "relu"), ("rnn", "sigmoid"), ("rnn", "linear"), ("lstm", "tanh"), ("gru", "tanh"),
    ("min-gru", "tanh"), ("window-mlp", "tanh"), ("depth-gated-lstm", "tanh"),
]  # fmt: skip
SIZES: dict[str, Any] = {"hidden": 16, "batch_size": 4, "seq_len": 16, "sample_every": 0, "steps": 8, "dropout": 0.2}


@pytest.fixture(autouse=True)
def as_torch_begins() -> None:
    """torch lets cuDNN round to TF32 until it is told not to; other tests of the process have told it."""
    torch.backends.cudnn.allow_tf32 = True


def network_of(cell: str, activation: str, entering: str = "one-hot") -> Network:
    options = ModelOptions(
        cell=cell, activation=activation, layers=2, hidden=8, input=entering, embedding=5, dropout=0.0
    )
    return Network(options, 7, seed=1)


@pytest.mark.parametrize("entering", ["one-hot", "embedding"])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_outputs_and_gradients_are_those_of_the_plain_loop_on_the_cpu(
    cell: str, activation: str, entering: str
) -> None:
    ids = torch.randint(7, (12, 3), generator=torch.Generator().manual_seed(0))
    found = []
    for device in ("cpu", "cuda"):
        network = network_of(cell, activation, entering)
        if device == "cuda":
            network.to_device(find_device(device))
        logits, _ = network(ids.to(device), network.initial_state(3))
        logits.square().sum().backward()
        found.append([logits.detach().cpu(), *(w.grad.cpu() for w in network.parameters() if w.grad is not None)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("case", CASES, ids=label)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_every_wiring_is_that_of_the_cpu(cell: str, case: dict[str, Any]) -> None:
    options = ModelOptions.of({"embedding": 5, "cell": cell, "layers": 3, "hidden": 7, "dropout": 0.0, **case})
    ids = torch.randint(9, (12, 3), generator=torch.Generator().manual_seed(0))
    found = []
    for device in ("cpu", "cuda"):
        network = Network(options, 9, seed=1)
        if device == "cuda":
            network.to_device(find_device(device))
        logits, _ = network(ids.to(device), network.initial_state(3), DropoutMasks(symbols=lambda _, ones: ones * 2))
        logits.square().sum().backward()
        found.append([logits.detach().cpu(), *(w.grad.cpu() for w in network.parameters() if w.grad is not None)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_wired_run_with_every_dropout_trains_and_is_read_without_the_gpu(
    small_corpus: Corpus, tmp_path: Path, precision: str
) -> None:
    wired = {"layers": 3, "skip": True, "between": "highway", "layer_norm": True, "tied": True, "input": "embedding"}
    drops = {"dropout_kind": "locked", "embedding_dropout": 0.2, "weight_drop": 0.2}
    values = {**SIZES, **wired, **drops, "device": "cuda", "precision": precision}
    run = train(small_corpus, root=tmp_path, run="wired", **values)
    model = checkpoint.load(run.model)
    scores = [evaluate(model, data=small_corpus.path.parent, device=d).score.nats_per_char for d in ("cpu", "cuda")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    assert len("".join(stream(model, length=30, seed=1, device="cuda"))) == 30


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_a_model_trained_on_the_gpu_evaluates_and_samples_without_it(
    small_corpus: Corpus, tmp_path: Path, cell: str, activation: str
) -> None:
    values = {**SIZES, "cell": cell, "activation": activation}
    run = train(small_corpus, root=tmp_path, run="gpu", device="cuda", **values)
    model = checkpoint.load(run.model)
    data = small_corpus.path.parent
    scores = [evaluate(model, data=data, device=device).score.nats_per_char for device in ("cpu", "cuda")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert len("".join(stream(model, length=30, seed=1))) == 30
    assert len("".join(stream(model, length=30, seed=1, device="cuda"))) == 30


def test_a_run_of_the_cpu_goes_on_on_the_gpu(small_corpus: Corpus, tmp_path: Path) -> None:
    run = train(small_corpus, root=tmp_path, run="moved", device="cpu", **SIZES)
    more = resume(run.path, corpus=small_corpus, steps=16, device="cuda")
    assert more.step == 16 and more.valid_nats is not None and np.isfinite(more.valid_nats)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_every_precision_trains(small_corpus: Corpus, tmp_path: Path, precision: str) -> None:
    run = train(small_corpus, root=tmp_path, run="precise", device="cuda", precision=precision, **SIZES)
    assert run.valid_nats is not None and run.valid_nats < 4


RECORDED: list[dict[str, Any]] = [
    *({"cell": cell, "activation": activation, "layers": 2} for cell, activation in CELLS),
    *({"cell": "lstm", "layers": 3, "dropout": 0.0, **case} for case in CASES),
    {"cell": "lstm", "layers": 2, "dropout": 0.0, "precision": "bfloat16"},
    {"cell": "gru", "layers": 2, "dropout_kind": "locked", "weight_drop": 0.2, "embedding_dropout": 0.2},
    {"cell": "lstm", "direction": "bidirectional"},
    {"cell": "gru", "window_loss": "sum", "clip_value": 0.1},
]


@pytest.mark.parametrize("values", RECORDED, ids=label)
def test_recorded_passes_give_the_numbers_of_passes_asked_for_one_by_one(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> None:
    # adamw would make whole steps of the last bits of gradients that are nearly nothing
    usual = {"hidden": 7, "embedding": 7, "cold_starts": 0.5, "optimizer": "sgd", "lr": 0.5, "device": "cuda"}
    wanted = {**SIZES, **usual, **values}
    if wanted.get("tied") and wanted.get("skip"):
        wanted["embedding"] = 21
    replay, replayed = torch.cuda.CUDAGraph.replay, []
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: replayed.append(self) or replay(self))
    found, told = [], []
    for number, count in enumerate((SIZES["steps"], 0)):
        run = train(small_corpus, root=tmp_path, run=f"run{number}", report=told.append, **wanted)
        found.append(checkpoint.load(run.model).weights)
        assert len(replayed) == count
        replayed.clear()
        monkeypatch.setattr(steps, "CudaGraphRunner", lambda weights, tell: None)
    assert found[0].keys() == found[1].keys()
    assert not any("slower" in event.text for event in told if isinstance(event, Notice))
    for name, weight in found[0].items():
        np.testing.assert_allclose(weight, found[1][name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_step_that_is_not_sound_ends_a_recorded_run(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {
        **SIZES, "cell": "rnn", "activation": "linear", "optimizer": "sgd", "lr": 500.0, "clip_norm": 0.0, "steps": 400,
        "eval_every": 0, "report_every": 0, "schedule": "constant", "warmup": 2000, "dropout": 0.0,
    }  # fmt: skip
    with pytest.raises(DivergedError):
        train(small_corpus, root=tmp_path, run="diverging", device="cuda", **values)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_nothing_in_a_step_waits_for_the_gpu(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the first, which is recorded and compared, and those at which the numbers of the last few are read."""
    step, quiet = Trainer.train_batch, []

    def watched(self: Trainer, fraction_done: float) -> None:
        reads = isnan(self._nats) or self.train_step.metrics.unread + 1 >= self.train_step.metrics.capacity
        quiet.append(not reads)
        torch.cuda.set_sync_debug_mode("default" if reads else "error")
        try:
            step(self, fraction_done)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "train_batch", watched)
    values = {**SIZES, "steps": 40, "report_every": 0, "eval_every": 0, "cold_starts": 0.5}
    values |= {"layers": 2, "skip": True, "layer_norm": True, "embedding_dropout": 0.2, "dropout_kind": "locked"}
    train(small_corpus, root=tmp_path, run="quiet", device="cuda", **values)
    assert sum(quiet) > 30


def test_text_and_windows_are_on_the_gpu(small_corpus: Corpus) -> None:
    lanes = Batches(small_corpus.split("train"), 4, 16)
    stage = DataLoader(lanes, torch.device("cuda"))
    assert stage.holds_whole_text and not DataLoader(lanes, torch.device("cuda"), memory_budget=10).holds_whole_text
    for step in (0, 1, lanes.batches_per_epoch):
        for found, wanted in zip(stage.batch(step), lanes.batch_at(step), strict=True):
            assert found.device.type == "cuda" and np.array_equal(found.cpu().numpy(), wanted)


def test_masks_of_the_gpu_follow_from_seed_step_and_layer() -> None:
    ones = torch.ones(16, 8, 64, device="cuda")
    drop = dropout_masks(0.25, StepRandom(3, 7))
    assert drop is not None
    first = drop(0, ones)
    torch.manual_seed(1)
    assert torch.equal(drop(0, ones), first) and not torch.equal(drop(1, ones), first)
    assert abs(float((first == 0).float().mean()) - 0.25) < 0.03


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_stepping_on_the_gpu_is_stepping_in_numpy(cell: str, activation: str) -> None:
    network = network_of(cell, activation)
    model = Model(network.options, Vocabulary("char", np.arange(97, 102)), network.arrays())
    one, other = Stepper(model), Stepper(model, "cuda")
    here, there = one.start(3), other.start(3)
    for ids in ([1, 2, 3], [4, 5, 6], [2, 2, 2]):
        wanted, here = one.step(np.array(ids), here)
        found, there = other.step(np.array(ids), there)
        assert np.allclose(wanted, found, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "min-gru", "window-mlp"])
def test_a_bidirectional_run_trains_and_is_read_without_the_gpu(
    small_corpus: Corpus, tmp_path: Path, cell: str, precision: str
) -> None:
    values = {**SIZES, "cell": cell, "layers": 2, "direction": "bidirectional", "cold_starts": 0.3}
    run = train(small_corpus, root=tmp_path, device="cuda", precision=precision, **values)
    model = checkpoint.load(run.model)
    for exact in (False, True):
        scores = [
            evaluate(model, data=small_corpus.path.parent, device=device, exact=exact).score.nats_per_char
            for device in ("cpu", "cuda")
        ]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
