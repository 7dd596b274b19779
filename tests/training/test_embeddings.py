"""Embeddings from a file: they are where a run starts, and frozen ones stay as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import TINY, assert_same_run, interrupted

from charlm.data.corpus import Corpus
from charlm.errors import InputError, UsageError
from charlm.model import checkpoint
from charlm.model.network import Network
from charlm.training.events import Notice
from charlm.training.resume import resume
from charlm.training.train import plan, train

SIZE = 6
VALUES: dict[str, Any] = {**TINY, "input": "embedding", "steps": 6, "weight_decay": 0.1}


def vectors(corpus: Corpus, path: Path, leave_out: str = "") -> np.ndarray:
    """A file of random vectors, and the table (V, E) as it is there; not a number where the file has nothing."""
    random = np.random.default_rng(1)
    table = np.full((corpus.vocabulary.size, SIZE), np.nan, np.float32)
    lines = []
    for rank, code in enumerate(corpus.vocabulary.codes):
        if chr(code) in leave_out:
            continue
        table[rank + 2] = random.standard_normal(SIZE)
        name = chr(code) if chr(code).isalpha() else f"U+{code:04X}"
        lines.append(" ".join([name, *(repr(float(number)) for number in table[rank + 2])]))
    path.write_text("\n".join(lines) + "\nnobody 1 2 3 4 5 6\n", encoding="utf-8")
    return table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vectors.txt"


def embedding_of(path: Path) -> np.ndarray:
    return checkpoint.load(path).weights["embedding.weight"]


def test_a_run_starts_from_the_file_and_says_what_it_lacks(small_corpus: Corpus, tmp_path: Path, file: Path) -> None:
    table = vectors(small_corpus, file, leave_out="eo")
    said: list[str] = []

    def note(event: Any) -> None:
        said.extend([event.text] if isinstance(event, Notice) else [])

    done = train(small_corpus, root=tmp_path, run="new", embeddings=str(file), report=note, **VALUES)
    model = checkpoint.load(done.model)
    assert model.options.embedding == SIZE
    found = embedding_of(done.path / "last.safetensors")
    known = ~np.isnan(table[:, 0])
    first = Network(model.options, small_corpus.vocabulary.size, seed=0).arrays()["embedding.weight"]
    moved = np.abs(found - np.where(known[:, None], table, first)).max()
    assert 1e-4 < moved < 0.1, "a few steps away from where the file and the seed put them"
    (line,) = [line for line in said if "embeddings" in line]
    assert f"of {known.sum()} symbols from {file}, which has 1 of others; 4 that it lacks start at random" in line
    assert "boundary, unknown, 'e' (U+0065), 'o' (U+006F)" in line


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_embeddings_stay_while_the_rest_learns_also_when_resumed(
    small_corpus: Corpus, tmp_path: Path, file: Path, optimizer: str
) -> None:
    table = vectors(small_corpus, file)
    values = {**VALUES, "embeddings": str(file), "freeze_embeddings": True, "optimizer": optimizer}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    path = interrupted(small_corpus, tmp_path, "parts", 3, **values)
    file.unlink()
    parts = resume(path, corpus=small_corpus)
    assert_same_run(whole.path, parts.path)
    found = embedding_of(parts.path / "last.safetensors")
    assert np.array_equal(found[2:], table[2:])
    other = checkpoint.load(parts.path / "last.safetensors").weights
    first = Network(checkpoint.load(whole.model).options, small_corpus.vocabulary.size, seed=0).arrays()
    assert all(not np.array_equal(other[name], first[name]) for name in first if name != "embedding.weight")
    assert np.array_equal(found[:2], first["embedding.weight"][:2])


def test_embeddings_of_another_model_can_be_frozen(small_corpus: Corpus, tmp_path: Path) -> None:
    source = train(small_corpus, root=tmp_path, run="source", **VALUES)
    more = {key: value for key, value in VALUES.items() if key not in ("hidden", "input")}
    done = train(small_corpus, root=tmp_path, run="next", init_from=source.model, freeze_embeddings=True, **more)
    assert np.array_equal(embedding_of(done.path / "last.safetensors"), embedding_of(source.model))


def test_the_readout_may_have_the_vectors_too(small_corpus: Corpus, tmp_path: Path, file: Path) -> None:
    vectors(small_corpus, file)
    values = {**VALUES, "hidden": SIZE, "tied": True, "embeddings": str(file)}
    assert train(small_corpus, root=tmp_path, run="tied", **values).step == 6
    with pytest.raises(UsageError, match=f"--tied needs an embedding of 8 numbers.*it has {SIZE}"):
        plan(small_corpus, **{**values, "hidden": 8})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"input": "one-hot"}, "--embeddings is about embeddings, and --input one-hot has none"),
        ({"embedding": 5}, "--embedding 5 does not fit --embeddings .* vectors have 6"),
        ({"embeddings": "nowhere.txt"}, "--embeddings nowhere.txt cannot be read"),
        ({"freeze_embeddings": True, "tied": True, "hidden": SIZE}, "--freeze-embeddings with --tied"),
    ],
)
def test_what_does_not_fit_is_refused(
    small_corpus: Corpus, tmp_path: Path, file: Path, more: dict[str, Any], words: str
) -> None:
    vectors(small_corpus, file)
    for do in (plan, train):
        with pytest.raises((UsageError, InputError), match=words) as caught:
            place = {"root": tmp_path / "runs"} if do is train else {}
            do(small_corpus, **{**place, **VALUES, "embeddings": str(file), **more})
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_a_file_and_another_model_cannot_both_be_the_start(small_corpus: Corpus, tmp_path: Path, file: Path) -> None:
    vectors(small_corpus, file)
    source = train(small_corpus, root=tmp_path, run="source", **VALUES)
    with pytest.raises(UsageError, match="--embeddings and --init-from both"):
        train(small_corpus, root=tmp_path, run="next", init_from=source.model, embeddings=str(file))


def test_freezing_one_hot_input_is_refused(small_corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="--freeze-embeddings is about embeddings"):
        plan(small_corpus, hidden=8, freeze_embeddings=True)
