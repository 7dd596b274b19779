"""A recorded pass is the pass itself; here whoever records does the work again, which shows where things must lie.

That a GPU's own recording gives the same numbers is tested in `tests/test_cuda.py`.
"""

import gc
import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from charlm import cells
from charlm.config import ModelOptions, TrainOptions
from charlm.data.batches import Batches
from charlm.data.corpus import Corpus
from charlm.model.network import Network, States
from charlm.training import cuda_graph
from charlm.training.cuda_graph import CudaGraphRunner
from charlm.training.data_loader import DataLoader
from charlm.training.events import Notice
from charlm.training.optimizer import make_optimizer
from charlm.training.resume import resume
from charlm.training.step import DeferredMetrics, TrainStep
from charlm.training.train import train

SIZES: dict[str, Any] = {"hidden": 8, "batch_size": 4, "seq_len": 16, "sample_every": 0, "steps": 12, "device": "cpu"}


def options_of(**values: Any) -> tuple[TrainOptions, ModelOptions]:
    """Every `auto` resolved."""
    resolved = {
        "layers": 1,
        "skip": False,
        "layer_norm": False,
        "lr": 0.1,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "dropout": 0.0,
        "embedding": 5,
        "cold_starts": 0.5,
    }
    options = TrainOptions.of({**resolved, **SIZES, **values})
    return options, ModelOptions(**{name: getattr(options, name) for name in ModelOptions.specs()})


class Again:
    """Records by doing the work again, and puts what it makes where it lay at first."""

    def __init__(self, weights: list[Tensor]) -> None:
        self.weights, self.recorded, self.replayed = weights, 0, 0

    def __call__(self, work):
        self.recorded += 1
        made = work()
        gradients = [weight.grad for weight in self.weights]

        def replay() -> None:
            self.replayed += 1
            for old, new in zip(cuda_graph._tensors(made), cuda_graph._tensors(work()), strict=True):
                old.copy_(new)
            for gradient, weight in zip(gradients, self.weights, strict=True):
                if gradient is not None:
                    gradient.copy_(weight.grad)

        return replay, made


@dataclass
class Pair:
    one: Tensor
    others: list[tuple[Tensor, Tensor]]
    nothing: None = None


def test_everything_that_is_given_is_copied_and_everything_that_is_made_stays_in_its_place() -> None:
    weight = torch.ones(3, requires_grad=True)
    frozen = torch.ones(3)
    again = Again([weight, frozen])

    def work(pair: Pair, more: Tensor) -> tuple[Tensor, list[Tensor]]:
        loss = (weight * (pair.one + pair.others[0][0] - pair.others[0][1]) * more).sum()
        loss.backward()
        return loss.detach(), [pair.one * 2]

    recorded = CudaGraphRunner[Any]([weight, frozen], pytest.fail, again)
    places = set()
    for number in range(3):
        one, two, three, more = (torch.full((3,), float(number + k)) for k in range(4))
        loss, (doubled,) = recorded(work, Pair(one, [(two, three)]), more)
        gradient = (one + two - three) * more
        assert torch.equal(weight.grad, gradient) and torch.equal(loss, gradient.sum()) and frozen.grad is None
        assert torch.equal(doubled, 2 * one) and torch.equal(one, torch.full((3,), float(number)))
        places.add((loss.data_ptr(), doubled.data_ptr(), weight.grad.data_ptr()))
        weight.grad = None
    assert len(places) == 1 and (again.recorded, again.replayed) == (1, 3)


def test_what_was_made_may_be_given_next() -> None:
    def work(state: Tensor) -> tuple[Tensor]:
        return (state + 1,)

    recorded = CudaGraphRunner[Any]([], pytest.fail, Again([]))
    (state,) = recorded(work, torch.zeros(2))
    for _ in range(4):
        (state,) = recorded(work, state)
    assert state.tolist() == [5, 5]


@pytest.mark.parametrize("late", [False, True], ids=["read at once", "read late"])
@pytest.mark.parametrize("values", [
    {"cell": "lstm", "layers": 2, "dropout": 0.3, "cold_starts": 0.5},
    {"cell": "gru", "dropout": 0.3, "dropout_kind": "locked", "weight_drop": 0.2, "embedding_dropout": 0.2},
    {"cell": "rnn", "layers": 3, "input": "embedding", "skip": True, "layer_norm": True, "between": "highway"},
    {"cell": "lstm", "direction": "bidirectional", "cold_starts": 0.5, "dropout": 0.3},
    {"cell": "min-gru", "optimizer": "sgd", "window_loss": "sum", "clip_value": 0.1},
])  # fmt: skip
def test_a_run_of_recorded_passes_is_the_run_bit_for_bit(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], late: bool
) -> None:
    if late:
        monkeypatch.setattr(DeferredMetrics, "for_device", classmethod(lambda cls, device: cls(5)))
    plain = train(small_corpus, root=tmp_path, run="plain", **SIZES, **values)
    begin, found = TrainStep.__post_init__, []

    def recorded(self: TrainStep) -> None:
        begin(self)
        found.append(Again(self._weights))
        self._cuda_graph = CudaGraphRunner(self._weights, self.notify, found[-1])

    monkeypatch.setattr(TrainStep, "__post_init__", recorded)
    half = train(small_corpus, root=tmp_path, run="recorded", **SIZES | {"steps": 6}, **values)
    other = resume(half.path, corpus=small_corpus, steps=12)
    assert [(again.recorded, again.replayed) for again in found] == [(1, 6), (1, 6)]
    whole = train(small_corpus, root=tmp_path, run="whole", **SIZES, **values)
    assert whole.model.read_bytes() == plain.model.read_bytes() and whole.valid_nats == plain.valid_nats
    assert other.step == 12


def step(learner: TrainStep, number: int, states: States) -> States:
    """What `Trainer.train_batch` does before the update."""
    inputs, targets = learner.loader.batch(number)
    before = learner.states_before(number, inputs, states)
    loss, grad_norm, after = learner.forward_backward(number, inputs, targets, before)
    learner.metrics.add(number + 1, loss, grad_norm)
    return after


class Deaf(Again):
    """Replays what it was made from for ever."""

    def __call__(self, work):
        _, made = super().__call__(work)
        return lambda: None, made


class Spoilt(Again):
    """Replays to numbers that are none, or without a gradient."""

    def __init__(self, weights: list[Tensor], how: str) -> None:
        super().__init__(weights)
        self.how = how

    def __call__(self, work):
        replay, made = super().__call__(work)
        gradient = self.weights[0].grad
        if self.how == "dropped":
            self.weights[0].grad = None

        def spoilt() -> None:
            replay()
            gradient.mul_(float(self.how))

        return replay if self.how == "dropped" else spoilt, made


@pytest.mark.parametrize("how", ["nan", "inf", "2.0", "dropped"])
def test_a_replay_whose_gradient_is_another_one_is_not_taken(how: str) -> None:
    weight, told = torch.ones(3, requires_grad=True), list[str]()

    def work(x: Tensor) -> tuple[Tensor]:
        loss = (weight * x).sum()
        loss.backward()
        return (loss.detach(),)

    recorded = CudaGraphRunner[Any]([weight], told.append, Spoilt([weight], how))
    for number in (1.0, 2.0):
        recorded(work, torch.full((3,), number))
        assert weight.grad.tolist() == [number] * 3
        weight.grad = None
    assert len(told) == 1 and "other numbers" in told[0]


def test_a_replay_of_a_pass_that_is_not_finite_is_taken() -> None:
    def work(x: Tensor) -> tuple[Tensor]:
        return (x / 0,)

    again = Again([])
    recorded = CudaGraphRunner[Any]([], pytest.fail, again)
    for number in range(1, 4):
        (made,) = recorded(work, torch.full((2,), float(number)))
        assert torch.isinf(made).all()
    assert again.replayed == 3


def refuse(work):
    work()
    raise RuntimeError("operation not permitted when stream is capturing\nmore of it")


@pytest.mark.parametrize("how", ["deaf", "refuse"])
def test_what_cannot_be_recorded_or_is_not_replayed_goes_on_as_ever_and_says_so(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    values = {**SIZES, "cell": "lstm", "dropout": 0.3, "cold_starts": 0.5}
    plain = train(small_corpus, root=tmp_path, run="plain", **values)
    begin = TrainStep.__post_init__

    def recorded(self: TrainStep) -> None:
        begin(self)
        record = Deaf(self._weights) if how == "deaf" else refuse
        self._cuda_graph = CudaGraphRunner(self._weights, self.notify, record)

    monkeypatch.setattr(TrainStep, "__post_init__", recorded)
    told: list[Any] = []
    other = train(small_corpus, root=tmp_path, run="other", report=told.append, **values)
    assert other.model.read_bytes() == plain.model.read_bytes()
    (said,) = [event.text for event in told if isinstance(event, Notice) and "windows" in event.text]
    why = "other numbers" if how == "deaf" else "recorded (operation not permitted when stream is capturing)"
    assert why in said and said.endswith("which is slower") and "\n" not in said


@pytest.mark.parametrize("values", [
    {"cell": "lstm", "layers": 2, "path": "fused"},
    {"cell": "lstm", "layers": 2, "path": "fused", "dropout": 0.3, "clip_value": 1.0},
    {"cell": "gru", "layers": 2, "path": "fused", "weight_drop": 0.2, "embedding_dropout": 0.2},
    {"cell": "rnn", "layers": 3, "input": "embedding", "skip": True, "layer_norm": True, "between": "highway"},
    {"cell": "lstm", "direction": "bidirectional", "window_loss": "sum"},
    *({"cell": cell, "layers": 2, "dropout": 0.3} for cell in cells.names()),
])  # fmt: skip
def test_a_step_reads_no_number_where_numbers_are_read_later(
    small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> None:
    """On torch's `meta` device tensors have shapes and no numbers: whatever reads one fails, as recording it would."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which meta has not
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    options, sizes = options_of(**{name: value for name, value in values.items() if name != "path"})
    network = Network(sizes, small_corpus.vocabulary.size).to_device(torch.device("meta"))
    if "path" in values:
        network.backend, network.fused_stack = values["path"], True
    lanes = Batches(small_corpus.split("train"), options.batch_size, options.seq_len)
    learner = TrainStep(network, make_optimizer(network, options), DataLoader(lanes, network.device), False, options)
    states = learner.zero_states()
    for number in range(3):
        states = step(learner, number, states)
        learner.update(0.1)
    with pytest.raises(RuntimeError):
        learner.metrics.read()


def test_a_learner_that_nobody_holds_is_gone_at_once_with_all_its_memory(
    small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting for Python to look for cycles, which a full GPU does not make it do."""
    options, sizes = options_of(dropout=0.3)
    network = Network(sizes, small_corpus.vocabulary.size)
    lanes = Batches(small_corpus.split("train"), options.batch_size, options.seq_len)
    learner = TrainStep(network, make_optimizer(network, options), DataLoader(lanes, network.device), False, options)
    monkeypatch.setattr(cuda_graph, "TOLERANCE", inf)
    learner._cuda_graph = CudaGraphRunner(learner._weights, pytest.fail, lambda work: (lambda: None, work()))
    step(learner, 0, learner.zero_states())
    there = weakref.ref(learner)
    gc.disable()
    try:
        del learner
        assert there() is None
    finally:
        gc.enable()


def test_structures_are_walked_in_order() -> None:
    a, b, c = torch.zeros(1), torch.ones(1), torch.zeros(2)
    assert [id(x) for x in cuda_graph._tensors((a, [(b,)], Pair(c, [(a, b)]), None))] == [
        id(x) for x in (a, b, c, a, b)
    ]
