"""Dynamic evaluation is the paper's rule, never looks ahead, and leaves the model and the static number alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from charlm import cells
from charlm.cells._plugin import forget, plugin
from charlm.cli import main as entry
from charlm.evaluation import dynamic, scoring
from charlm.evaluation.dynamic import DynamicUpdate, windows
from charlm.model import checkpoint
from charlm.model.network import Network

CPU = torch.device("cpu")
KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
LETTERS = "\n abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model writes little to learn how large its gradients are."""
    monkeypatch.setattr(dynamic, "SAMPLES", 2)
    monkeypatch.setattr(dynamic, "LENGTH", 60)


def text(characters: int, seed: int = 0, few: bool = False) -> np.ndarray:
    """A boundary, then random symbols, of all or of five only."""
    ids = np.random.default_rng(seed).integers(2, 7 if few else 29, characters + 1)
    ids[0] = 0
    return ids.astype(np.uint8)


def losses(model, ids, rule):
    return torch.cat(list(windows(model, ids, rule, CPU))).numpy()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_without_a_rate_it_is_the_exact_protocol(make_text_model, kind, decay) -> None:
    model = make_text_model(kind[0], activation=kind[1], layers=2, scale=0.2)
    ids = text(333)
    network = Network(model.options, model.vocabulary.size).load_weights(model.weights).to_device(CPU)
    exact = scoring.score(network, ids, exact=True)
    found = dynamic.score(model, ids, DynamicUpdate(20, 0.0, decay), CPU)
    assert found.characters == exact.characters
    assert found.nats == pytest.approx(exact.nats, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("entering", ["one-hot", "embedding"])
def test_it_is_the_papers_rule(make_text_model, kind, entering) -> None:
    """A twin in float64: autograd of the plain loop, and each weight on its own."""
    model = make_text_model(kind[0], activation=(*kind, "tanh")[1], layers=2, scale=0.2, input=entering)
    ids, rule = (
        text(40 if kind[0] == "sum" else 150),
        DynamicUpdate(7, 0.01, 0.05),
    )  # what adds up soon has losses of hundreds
    network = Network(model.options, model.vocabulary.size).load_weights(model.weights).double()
    weights = list(network.parameters())

    def window(at: int, ids: np.ndarray, states):
        read = torch.from_numpy(ids[at : at + rule.window + 1].astype(np.int64))[:, None]
        logits, states = network(read[:-1], states)
        nats = F.cross_entropy(logits[:, 0], read[1:, 0], reduction="none")
        gradients = torch.autograd.grad(nats.mean(), weights)
        return nats.detach(), gradients, [tuple(part.detach() for part in state) for state in states]

    squares = []
    for written in dynamic._written(model).T:
        states = network.initial_state(1)
        for at in range(0, len(written) - 1, rule.window):
            _, gradients, states = window(at, written, states)
            squares.append([gradient**2 for gradient in gradients])
    sizes = [torch.stack(parts).mean(0).sqrt() for parts in zip(*squares, strict=True)]
    mean = torch.cat([size.flatten() for size in sizes]).mean()
    first, wanted, states = [weight.detach().clone() for weight in weights], [], network.initial_state(1)
    for at in range(0, len(ids) - 1, rule.window):
        nats, gradients, states = window(at, ids, states)
        wanted += nats.tolist()
        with torch.no_grad():
            for weight, begun, gradient, size in zip(weights, first, gradients, sizes, strict=True):
                away = rule.rate * gradient / (size + dynamic.SOFTEN * mean)
                back = torch.minimum(size / mean, torch.tensor(1 / rule.decay)) * rule.decay
                weight.copy_(weight - away + back * (begun - weight))
    np.testing.assert_allclose(losses(model, ids, rule), wanted, rtol=0, atol=1e-4)
    static = losses(model, ids, DynamicUpdate(7, 0.0, 0.0))
    assert np.abs(static - wanted).max() > 0.01, "the weights did move"


@pytest.mark.parametrize("name", cells.names())
@pytest.mark.parametrize("place", [1, 19, 20, 21, 77])
def test_what_comes_later_changes_nothing_before(make_text_model, name, place) -> None:
    model, ids = make_text_model(name), text(120)
    other = ids.copy()
    other[place + 1 :] = text(len(ids), seed=5)[1 : len(ids) - place]
    one, two = (losses(model, read, DynamicUpdate(20, 0.01, 0.01)) for read in (ids, other))
    np.testing.assert_array_equal(one[:place], two[:place])
    assert not np.array_equal(one, two)


@pytest.mark.cases(1)
@pytest.mark.parametrize("name", [name for name in cells.names() if name != "sum"])  # for it the rate is too high
def test_it_follows_a_text_and_leaves_the_model_alone(make_text_model, name) -> None:
    model, ids = make_text_model(name), text(2000, few=True)
    before = {key: weight.copy() for key, weight in model.weights.items()}
    static, found = (losses(model, ids, DynamicUpdate(20, rate, 0.001)) for rate in (0.0, 0.002))
    assert found[1000:].mean() < static[1000:].mean() - 0.2
    assert all(np.array_equal(before[key], weight) for key, weight in model.weights.items())
    np.testing.assert_array_equal(losses(model, ids, DynamicUpdate(20, 0.002, 0.001)), found)


def test_a_cell_from_outside(make_text_model, tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "interface.md").read_text(encoding="utf-8")
    (tmp_path / "minimal.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    try:
        plugin(str(tmp_path / "minimal.py"))
        test_it_is_the_papers_rule(make_text_model, ("minimal",), "one-hot")
    finally:
        forget()


@pytest.fixture
def model_file(make_text_model, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, make_text_model("lstm"))
    (tmp_path / "text.txt").write_text("abcab " * 200)
    return path


def test_eval_says_both_numbers(model_file, capfd) -> None:
    """The static one as without, the dynamic one beside it; and the file is not touched."""
    words = ["eval", str(model_file.parent / "text.txt"), "--model", str(model_file), "--threads", "1"]
    before = model_file.read_bytes()

    def printed(*more: str) -> tuple[str, str]:
        capfd.readouterr()
        assert entry.run([*words, *more]) == 0
        return capfd.readouterr()

    static, both = (json.loads(printed("--json", *more)[0]) for more in ((), ("--dynamic",)))
    timed = {"seconds", "chars_per_second"}
    assert {key: both[key] for key in static if key not in timed} == {k: static[k] for k in static if k not in timed}
    assert both["dynamic_bits_per_char"] == pytest.approx(both["dynamic_nats_per_char"] / np.log(2))
    assert both["dynamic_bits_per_char"] < both["bits_per_char"] - 0.5
    assert "every 20 characters, rate 0.001, decay" in both["dynamic_protocol"]
    assert f"{both['dynamic_bits_per_char']:.4f} bits per character" in printed("--dynamic")[0]
    out, err = printed("--dynamic", "--bits")
    assert out == f"{static['bits_per_char']:.6f}\n" and f"{both['dynamic_bits_per_char']:.4f} bits" in err
    exact = json.loads(printed("--json", "--dynamic", "--exact", "--dynamic-lr", "0")[0])
    assert exact["dynamic_bits_per_char"] == pytest.approx(exact["bits_per_char"], rel=1e-6)
    assert model_file.read_bytes() == before


def test_weights_that_run_away_are_no_failure(make_text_model, model_file, capfd) -> None:
    """A state without bounds; the static number is there all the same."""
    checkpoint.save(model_file, make_text_model("rnn", activation="relu", scale=0.1))
    words = ["eval", str(model_file.parent / "text.txt"), "--model", str(model_file), "--dynamic", "--dynamic-lr", "9"]
    assert entry.run([*words, "--json"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["dynamic_bits_per_char"] is None and found["dynamic_nats_per_char"] is None
    assert 0 < found["bits_per_char"] < 20 and "smaller --dynamic-lr" in err
    assert entry.run(words) == 0
    assert "no finite number" in capfd.readouterr().out


def test_a_model_that_cannot_write_has_its_static_number(make_text_model, model_file, capfd) -> None:
    """It expects nothing but z, whose state grows beyond all numbers; the text has none."""
    model = make_text_model("rnn", activation="relu", scale=0.0, hidden=1)
    z = model.vocabulary.encode_text("z")[0]
    model.weights["layers.0.weight_ih"][0, z] = model.weights["readout.weight"][z, 0] = 1e4
    model.weights["layers.0.weight_hh"][:] = 1e4
    model.weights["readout.bias"][z] = 20
    checkpoint.save(model_file, model)
    words = ["eval", str(model_file.parent / "text.txt"), "--model", str(model_file), "--dynamic", "--json"]
    assert entry.run(words) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["dynamic_bits_per_char"] is None and found["bits_per_char"] > 28
    assert "--dynamic gives no number" in err
