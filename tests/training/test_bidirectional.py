"""Training a bidirectional network: what it reads from the right, that it learns, resumes, and is refused rightly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import TINY, assert_same_run, interrupted

from charlm import memory
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import UsageError
from charlm.evaluation.evaluate import evaluate
from charlm.model import checkpoint
from charlm.model.checkpoint import Model
from charlm.model.network import Network, RightContext
from charlm.model.parameters import REVERSE
from charlm.tokenizers.vocabulary import BOUNDARY
from charlm.training import dropout
from charlm.training.events import Event, Notice, Sampled
from charlm.training.resume import resume
from charlm.training.train import plan, train

BOTH = {"direction": "bidirectional"}
RICH: dict[str, Any] = {
    "cell": "lstm", "layers": 3, "input": "embedding", "tied": True, "skip": True, "between": "highway",
    "layer_norm": True, "dropout": 0.4, "dropout_kind": "locked", "embedding_dropout": 0.3, "weight_drop": 0.2,
    "cold_starts": 0.3,
}  # fmt: skip


def test_a_source_of_known_law_is_learned_from_both_sides(tmp_path: Path) -> None:
    """Letters of which each depends on the one before it: given both its neighbours, one has a known entropy."""
    random = np.random.default_rng(0)
    p = random.dirichlet(np.full(6, 0.4), 6)
    bounds, draws = p.cumsum(1), random.random(300_000)
    letters = [0]
    for draw in draws:
        letters.append(min(int(np.searchsorted(bounds[letters[-1]], draw)), 5))
    (tmp_path / "text").write_bytes(bytes(np.array(letters, np.uint8) + ord("a")))
    corpus = prepare(tmp_path / "text", out=str(tmp_path / "data"))
    pi = np.linalg.matrix_power(p, 200)[0]
    joint = np.einsum("a,ab,bc->abc", pi, p, p)
    both = float(-(joint * np.log2(joint / joint.sum(1, keepdims=True))).sum())
    one = float(-(pi[:, None] * p * np.log2(p)).sum())
    sizes = {"cell": "gru", "hidden": 32, "batch_size": 32, "seq_len": 16, "steps": 400, "lr": 0.01, "dropout": 0.0}
    run = train(corpus, root=tmp_path, **BOTH, **sizes)
    model = checkpoint.load(run.model)
    default, exact = (evaluate(model, data=corpus.path.parent, exact=exact) for exact in (False, True))
    assert -0.03 < exact.score.bits_per_char - both < 0.03 and both < 0.85 * one
    assert default.score.bits_per_char == pytest.approx(exact.score.bits_per_char, abs=0.001)
    assert exact.entropy is None and "gap_bits_per_char" not in exact.to_json()
    assert "pseudo-likelihood" in exact.protocol and "pseudo-likelihood" in default.protocol
    assert run.valid_nats is not None and model.training["valid_nats"] == run.valid_nats


@pytest.mark.cases(2)
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cold", [0.0, 0.4])
def test_the_state_from_the_right_is_that_of_the_window_behind(
    small_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: str, cold: float
) -> None:
    """Each step against a network that reads two windows from the right for itself."""
    corpus = prepare(small_text, out=str(tmp_path / "data"), documents=documents, valid_fraction=0.1)
    ends = corpus.documents_of("train") > 0
    assert ends == (documents == "line")
    ids, seen = np.asarray(corpus.split("train")).astype(np.int64), []
    forward = Network.forward

    def watched(self: Network, *arguments: Any) -> Any:
        behind = arguments[-1]
        if isinstance(behind, RightContext):
            seen.append((behind, [w.detach().clone() for w in self.parameters()]))
        return forward(self, *arguments)

    monkeypatch.setattr(Network, "forward", watched)
    batch, size, steps = 4, 16, (len(ids) - 1) // 4 // 16
    values = {**TINY, **BOTH, "cell": "gru", "steps": steps, "cold_starts": cold, "lr": 0.01, "seed": 5}
    run = train(corpus, root=tmp_path, run="r", **values)
    length = (len(ids) - 1) // batch
    assert len(seen) == steps > 20
    model = checkpoint.load(run.model)
    colds = 0
    for step, (behind, weights) in enumerate(seen):
        network = Network(model.options, model.vocabulary.size)
        with torch.no_grad():
            for mine, theirs in zip(network.parameters(), weights, strict=True):
                mine.copy_(theirs)
        drawn = dropout.StateResets(cold, 5, batch, side=REVERSE).at(step)
        for lane in range(batch):
            first = lane * length + step * size + 1  # where the first target is
            near = ids[first + 1 : first + size + 1]
            far = ids[first + size + 1 : first + 2 * size + 1]
            begins_cold = drawn is not None and bool(drawn[lane]) or len(far) < size
            colds += begins_cold
            wanted = np.concatenate((near, np.full(size - len(near), BOUNDARY)))[::-1].copy()
            if begins_cold and not ends:
                wanted[0] = BOUNDARY
            assert behind.ids[:, lane].tolist() == wanted.tolist(), (step, lane)
            states = network.initial_state(1)
            if not begins_cold:
                with torch.no_grad():
                    read = torch.from_numpy(far[::-1].copy())[:, None]
                    read[0] = read[0] if ends else BOUNDARY
                    _, states = network.run_layers(read, states, side=REVERSE)
            for state, found in zip(states, behind.states, strict=True):
                for part, also in zip(state, found, strict=True):
                    assert torch.allclose(part[0], also[lane], atol=1e-6) and not also.requires_grad
    assert colds == 1 if cold == 0 else colds > 50, "the last lane comes to the end of the text"


@pytest.mark.cases(1)
@pytest.mark.parametrize("values", [{"cell": "gru"}, {"cell": "window-mlp"}, {"cell": "min-lstm", "layers": 2}, RICH])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(small_corpus: Corpus, tmp_path: Path, values: Any) -> None:
    values = {**TINY, "epochs": 1.5, "batch_size": 8, **BOTH, **values}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    path = interrupted(small_corpus, tmp_path, "parts", 29, **values)
    assert_same_run(whole.path, resume(path, corpus=small_corpus).path)


def test_another_model_of_both_sides_may_be_the_start_and_no_other(small_corpus: Corpus, tmp_path: Path) -> None:
    first = train(small_corpus, root=tmp_path, run="first", steps=2, **BOTH, **TINY)
    again = train(small_corpus, root=tmp_path, run="again", steps=1, init_from=first.model, lr=1e-9, **TINY)
    one, other = checkpoint.load(first.model), checkpoint.load(again.model)
    assert other.options.bidirectional
    assert all(np.allclose(other.weights[name], weight, atol=1e-6) for name, weight in one.weights.items())
    with pytest.raises(UsageError, match="--direction forward does not fit --init-from"):
        train(small_corpus, root=tmp_path, init_from=first.model, direction="forward", **TINY)


def test_weights_of_symbols_go_where_the_same_characters_are_on_both_sides(tmp_path: Path) -> None:
    texts = {"first": "abcab cab acb\n" * 60, "other": "xbcxb cxb xcb\n" * 60}
    corpora = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        corpora[name] = prepare(tmp_path / name, out=str(tmp_path / "data"))
    first = train(corpora["first"], root=tmp_path / "runs", run="first", steps=3, layers=2, skip=True, **BOTH, **TINY)
    again = train(
        corpora["other"], root=tmp_path / "runs", run="again", steps=1, init_from=first.model, lr=1e-9, **TINY
    )
    one, other = checkpoint.load(first.model), checkpoint.load(again.model)
    for letter in "bc\n":
        mine, theirs = (int(model.vocabulary.encode_text(letter)[0]) for model in (one, other))
        for side in ("", REVERSE):
            for name, before in (("layers.0.weight_ih", 0), ("layers.1.weight_ih", TINY["hidden"])):
                columns = one.weights[side + name][:, before + mine], other.weights[side + name][:, before + theirs]
                assert np.allclose(*columns, atol=1e-6), (letter, side + name)
        assert np.allclose(one.weights["readout.weight"][mine], other.weights["readout.weight"][theirs], atol=1e-6)


def test_both_stacks_are_counted_in_the_memory_that_is_asked_for(
    small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"hidden": 64, "batch_size": 4, "seq_len": 128}
    plans = [plan(small_corpus, measure=1, direction=d, **sizes)[0] for d in ("forward", "bidirectional")]
    activations = [made.memory - 4 * 4 * made.parameters for made in plans]
    assert activations[1] > 1.7 * activations[0]
    model = Model(plans[1].options, small_corpus.vocabulary, {}, small_corpus.identity())
    monkeypatch.setattr(memory, "available", lambda: 1_200_000)
    with pytest.raises(UsageError, match="memory, and 0.0 GB are available"):
        evaluate(model, data=small_corpus.path.parent, batch_size=1)


def test_it_says_what_its_losses_are_and_writes_no_samples(small_corpus: Corpus, tmp_path: Path) -> None:
    events: list[Event] = []
    values = {name: value for name, value in TINY.items() if name != "sample_every"}
    run = train(small_corpus, root=tmp_path, steps=300, report=events.append, **BOTH, **values)
    notes = [event.text for event in events if isinstance(event, Notice)]
    assert any("given both sides" in note for note in notes), notes
    assert not any(isinstance(event, Sampled) for event in events) and not (run.path / "samples.txt").exists()
    assert train(small_corpus, root=tmp_path, steps=1, sample_every=0, **BOTH, **values).step == 1
    with pytest.raises(UsageError, match="--sample-every 5: a bidirectional network writes no samples"):
        train(small_corpus, root=tmp_path, steps=1, sample_every=5, **BOTH, **values)


def test_what_is_carried_is_the_state_from_the_left_alone(small_corpus: Corpus, tmp_path: Path) -> None:
    path = interrupted(small_corpus, tmp_path, "r", 3, steps=9, layers=2, cell="lstm", **BOTH, **TINY)
    arrays, _ = checkpoint.read_tensors(path / "progress.safetensors", "")
    assert sorted(name for name in arrays if name.startswith("states")) == [
        f"states.{n}.{p}" for n in "01" for p in "ch"
    ]
