"""Files that an earlier version wrote are read as they were: a corpus, a model, and a run that goes on.

`old_files/COMMIT` is what that commit made; its expected.json says what came of it there.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import charlm

OLD = Path(__file__).parent / "old_files" / "3de55b0"
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in the current folder."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sampled(path: Path) -> str:
    (sample,) = charlm.samples(charlm.load(path), prompt="(", seed=1, length=120)
    return sample.text


def test_a_corpus_is_read(old: Path) -> None:
    corpus = charlm.Corpus.load("data/brackets")
    sizes = {split: len(corpus.split(split)) for split in ("train", "valid", "test")}
    assert sizes == {"train": 5401, "valid": 301, "test": 302}
    text = corpus.vocabulary.decode(corpus.split("train")[1:].tolist())
    assert len(text) == 5400 and set(text) == set('\n"()[]abcd{}')


def test_a_model_scores_and_samples_as_then(old: Path) -> None:
    model = charlm.load("runs/old/model.safetensors")
    assert charlm.evaluate(model).score.nats_per_char == pytest.approx(EXPECTED["test_nats"], abs=1e-5)
    assert sampled(old / "runs/old/model.safetensors") == EXPECTED["sample"]


def test_a_run_goes_on_as_then(old: Path) -> None:
    wanted = EXPECTED["resumed"]
    run = charlm.resume("runs/old")
    assert (run.step, run.best_step) == (wanted["step"], wanted["best_step"])
    assert run.valid_nats == pytest.approx(wanted["valid_nats"], abs=1e-4)
    assert sampled(run.model) == wanted["sample"]
