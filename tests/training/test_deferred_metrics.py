"""Numbers that are read later are the same numbers, and a step that is not finite does no harm until then."""

from pathlib import Path

import numpy as np
import pytest
import torch
from running import TINY, assert_same_run, interrupted

from charlm.data.corpus import Corpus
from charlm.errors import DivergedError
from charlm.model.checkpoint import read_tensors
from charlm.training.resume import resume
from charlm.training.step import DeferredMetrics, StepMetrics, all_finite, zero_gradients_unless
from charlm.training.train import train


def read_late(monkeypatch: pytest.MonkeyPatch, steps: int = 16) -> None:
    """Let the CPU be read as a GPU is."""
    monkeypatch.setattr(DeferredMetrics, "for_device", classmethod(lambda cls, device: cls(steps)))


def test_readings_come_back_in_order_and_once() -> None:
    meter = DeferredMetrics(3)
    for number in range(3):
        assert not meter.full
        meter.add(number + 1, torch.tensor(float(number)), torch.tensor(10.0 * number))
    assert meter.full
    assert meter.read() == [StepMetrics(1, 0.0, 0.0), StepMetrics(2, 1.0, 10.0), StepMetrics(3, 2.0, 20.0)]
    assert meter.read() == [] and not meter.full


@pytest.mark.parametrize(("loss", "norm", "ok"), [(1, 2, True), (float("nan"), 2, False), (1, float("inf"), False)])
def test_gradients_of_a_step_that_is_not_finite_are_silenced(loss: float, norm: float, ok: bool) -> None:
    gradients = [torch.tensor([1.0, float("nan")]), torch.tensor([[float("inf")], [3.0]])]
    wanted = [g.clone() if ok else torch.zeros_like(g) for g in gradients]
    zero_gradients_unless(gradients, all_finite(torch.tensor(loss), torch.tensor(norm)))
    for found, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, want, equal_nan=True)


@pytest.mark.parametrize("more", [{}, {"eval_every": 7}, {"report_every": 5, "save_every": 3}])
def test_a_run_read_late_is_the_run_read_at_once(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, int]
) -> None:
    values = {**TINY, "steps": 40, "dropout": 0.2, **more}
    at_once = train(small_corpus, root=tmp_path, run="once", **values)
    read_late(monkeypatch)
    late = train(small_corpus, root=tmp_path, run="late", **values)
    assert_same_run(at_once.path, late.path)


def test_a_run_read_late_goes_on_bit_for_bit(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_late(monkeypatch)
    values = {**TINY, "steps": 30, "report_every": 9}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    parts = resume(interrupted(small_corpus, tmp_path, "parts", 11, **values), corpus=small_corpus)
    assert_same_run(whole.path, parts.path)


def test_divergence_read_late_names_its_step_and_spoils_nothing(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        **TINY, "cell": "rnn", "activation": "linear", "optimizer": "sgd", "lr": 500.0, "clip_norm": 0.0,
        "steps": 400, "eval_every": 0, "report_every": 0, "save_every": 2, "schedule": "constant", "warmup": 2000,
        "dropout": 0.0,
    }  # fmt: skip
    said = []
    for name in ("once", "late"):
        with pytest.raises(DivergedError, match=r"at step (\d+)") as caught:
            train(small_corpus, root=tmp_path, run=name, **values)
        said.append(str(caught.value).split(";")[0])
        for file in ("last.safetensors", "progress.safetensors"):
            arrays = read_tensors(tmp_path / name / file, "")[0]
            assert all(np.isfinite(array).all() for array in arrays.values()), file
        read_late(monkeypatch)
    assert said[0] == said[1]
