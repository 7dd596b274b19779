"""What presets need of the optimisers, the schedule and the loss is what the originals compute, by slow twins."""

from pathlib import Path

import numpy as np
import pytest
import torch
from running import TINY, rows

from charlm.config import TrainOptions
from charlm.model import checkpoint
from charlm.model.network import Network
from charlm.training.optimizer import make_optimizer
from charlm.training.presets import with_preset
from charlm.training.schedule import learning_rate
from charlm.training.train import train

pytestmark = pytest.mark.every_case


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def gist_step(
    w: dict[str, np.ndarray], ids: np.ndarray, h: np.ndarray
) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
    """Loss of a window in nats, gradient of its sum, and the state after it: a tanh rnn, one character at a time."""
    states, outputs = [h], []
    for symbol in ids[:-1]:
        a = w["ih"][:, symbol] + w["b_ih"] + w["hh"] @ states[-1] + w["b_hh"]
        states.append(np.tanh(a))
        outputs.append(softmax(w["hy"] @ states[-1] + w["b_y"]))
    loss = -sum(np.log(p[symbol]) for p, symbol in zip(outputs, ids[1:], strict=True))
    g = {name: np.zeros_like(value) for name, value in w.items()}
    back = np.zeros_like(h)
    for t in reversed(range(len(outputs))):
        error = outputs[t].copy()
        error[ids[t + 1]] -= 1
        g["hy"] += np.outer(error, states[t + 1])
        g["b_y"] += error
        a = (w["hy"].T @ error + back) * (1 - states[t + 1] ** 2)
        g["ih"][:, ids[t]] += a
        g["hh"] += np.outer(a, states[t])
        g["b_ih"] += a
        g["b_hh"] += a
        back = w["hh"].T @ a
    return loss, g, states[-1]


NAMES = {"ih": "layers.0.weight_ih", "hh": "layers.0.weight_hh", "b_ih": "layers.0.bias_ih",
         "b_hh": "layers.0.bias_hh", "hy": "readout.weight", "b_y": "readout.bias"}  # fmt: skip


@pytest.mark.parametrize("clip", [5.0, 0.3])
def test_min_char_rnn_learns_as_a_twin_in_numpy(small_corpus, tmp_path: Path, clip: float) -> None:
    """Sum over the window, each element clipped, Adagrad, the state carried: twenty steps from the same weights."""
    steps, hidden, window = 20, 12, 25
    values = {"preset": "min-char-rnn", "hidden": hidden, "clip_value": clip, "steps": steps, "report_every": 1}
    done = train(small_corpus, root=tmp_path, run="gist", eval_every=0, sample_every=0, **values)

    chosen = TrainOptions.of({**with_preset(values), "epsilon": 1e-4})
    network = Network(chosen, small_corpus.vocabulary.size, 0)
    from charlm.model import initializers

    initializers.initialize(network.named_weights(), chosen)
    first = network.arrays()
    w = {name: first[long].astype(float) for name, long in NAMES.items()}
    memory = {name: np.zeros_like(value) for name, value in w.items()}
    ids, h, losses, clipped = np.asarray(small_corpus.split("train")), np.zeros(hidden), [], 0
    for step in range(steps):
        loss, gradient, h = gist_step(w, ids[step * window : (step + 1) * window + 1], h)
        losses.append(loss / window)
        for name, g in gradient.items():
            clipped += int((np.abs(g) > clip).sum())
            g = np.clip(g, -clip, clip)
            memory[name] += g * g
            w[name] -= 0.1 * g / (np.sqrt(memory[name]) + 1e-4)
    assert (clipped > 0) == (clip < 5), "the smaller threshold is one that bites"
    assert [row["train_nats"] for row in rows(done.path)] == pytest.approx(losses, rel=1e-4)
    last = checkpoint.load(done.path / "last.safetensors").weights
    for name, long in NAMES.items():
        np.testing.assert_allclose(last[long], w[name], rtol=2e-3, atol=2e-4, err_msg=long)


def test_adagrad_s_epsilon_outside_the_root_is_near_the_gist_s_inside_it() -> None:
    """g / (sqrt(m) + sqrt(e)) and g / sqrt(m + e) are within a factor of sqrt(2), whatever the memory m."""
    m = np.logspace(-30, 10, 400)
    ratio = np.sqrt(m + 1e-8) / (np.sqrt(m) + 1e-4)
    assert 1 / np.sqrt(2) - 1e-9 <= ratio.min() < 0.72 and ratio.max() <= 1
    plain = np.sqrt(m + 1e-8) / (np.sqrt(m) + 1e-8)
    assert plain.max() > 1000, "the same number outside the root would be another rule"


@pytest.mark.parametrize(
    ("values", "divisor"),
    [
        ({"optimizer": "rmsprop", "rms_decay": 0.9, "epsilon": 1e-2}, lambda m, g: (0.9 * m + 0.1 * g * g, 1e-2)),
        ({"optimizer": "rmsprop", "rms_decay": 0.0, "epsilon": 1e-30}, lambda m, g: (g * g, 1e-30)),
        ({"optimizer": "rmsprop", "epsilon": 1e-8}, lambda m, g: (0.95 * m + 0.05 * g * g, 1e-8)),
        ({"optimizer": "adagrad", "epsilon": 0.5}, lambda m, g: (m + g * g, 0.5)),
    ],
)
def test_steps_follow_the_equation_with_its_decay_and_epsilon(values, divisor) -> None:
    chosen = TrainOptions(
        layers=1, skip=False, layer_norm=False, hidden=5, dropout=0.0, lr=0.01, weight_decay=0.0, **values
    )
    network = Network(chosen, 7)
    stepping = make_optimizer(network, chosen)
    weight = network.weight("layers.0.weight_hh")
    wanted, m = weight.detach().double().numpy().copy(), 0.0
    for step in range(5):
        for every in network.parameters():
            every.grad = torch.randn(every.shape, generator=torch.Generator().manual_seed(step))
        g = weight.grad.double().numpy()
        m, epsilon = divisor(m, g)
        wanted -= 0.01 * g / (np.sqrt(m) + epsilon)
        stepping.step()
    np.testing.assert_allclose(weight.detach().numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_epsilon_of_adam_is_used(optimizer: str) -> None:
    """A first step is lr g / (|g| + epsilon)."""
    chosen = TrainOptions(
        layers=1,
        skip=False,
        layer_norm=False,
        hidden=5,
        dropout=0.0,
        lr=0.01,
        weight_decay=0.0,
        optimizer=optimizer,
        epsilon=1.0,
    )
    network = Network(chosen, 7)
    stepping = make_optimizer(network, chosen)
    before = network.arrays()["readout.bias"]
    for every in network.parameters():
        every.grad = torch.full_like(every, 0.25)
    stepping.step()
    np.testing.assert_allclose(before - network.arrays()["readout.bias"], 0.01 * 0.25 / 1.25, rtol=1e-4)


def test_char_rnn_s_rate_is_the_one_of_its_own_loop() -> None:
    """Its loop multiplies behind the last step of an epoch, from the tenth epoch on."""
    chosen, windows, current = TrainOptions.of({**with_preset({"preset": "char-rnn"})}), 7, 0.002
    for step in range(14 * windows):
        assert learning_rate(chosen, step, step / windows, 0.0) == pytest.approx(current, rel=1e-9), step
        if (step + 1) % windows == 0 and (step + 1) / windows >= 10:
            current *= 0.97


def test_torch_rnn_s_rate_is_the_one_of_its_own_loop_but_for_one_step() -> None:
    """Its loop multiplies before the last step of an epoch, where the next epoch's number can be divided by 5."""
    chosen, windows, current = TrainOptions.of({**with_preset({"preset": "torch-rnn"})}), 7, 0.002
    for iteration in range(1, 21 * windows):
        at_end = iteration % windows == 0
        if at_end and (iteration // windows + 1) % 5 == 0:
            current *= 0.5
        if not at_end:
            step = iteration - 1
            assert learning_rate(chosen, step, step / windows, 0.0) == pytest.approx(current, rel=1e-9), iteration


def test_awd_lstm_s_rate_is_divided_by_ten_at_300_and_400() -> None:
    chosen = TrainOptions.of({**with_preset({"preset": "awd-lstm"})})
    rates = [learning_rate(chosen, 9, epoch, 0.0) for epoch in (0, 299.99, 300, 399.99, 400, 499.99)]
    assert rates == pytest.approx([0.002, 0.002, 2e-4, 2e-4, 2e-5, 2e-5], rel=1e-9)


def test_the_gradient_of_the_sum_is_the_windows_length_times_that_of_the_mean(small_corpus, tmp_path: Path) -> None:
    values = {**TINY, "optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "warmup": 0, "clip_norm": 0.0}
    summed = train(small_corpus, root=tmp_path, run="sum", window_loss="sum", lr=0.01, steps=5, **values)
    mean = train(small_corpus, root=tmp_path, run="mean", lr=0.16, steps=5, **values)
    one, other = (checkpoint.load(done.path / "last.safetensors").weights for done in (summed, mean))
    for name, weight in one.items():
        np.testing.assert_allclose(weight, other[name], rtol=1e-4, atol=1e-6, err_msg=name)
    first, second = rows(summed.path)[0], rows(mean.path)[0]
    assert first["train_nats"] == pytest.approx(second["train_nats"], rel=1e-5), "what is reported is the mean"
    assert first["grad_norm"] == pytest.approx(16 * second["grad_norm"], rel=1e-3)
