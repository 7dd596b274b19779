"""Presets say what their sources say, win over defaults and over nothing else, and train."""

from pathlib import Path

import numpy as np
import pytest
from running import TINY, assert_same_run, interrupted, rows

from charlm.config import TrainOptions, preset_names, training
from charlm.data.prepare import prepare
from charlm.errors import CharlmError, UsageError
from charlm.model import checkpoint
from charlm.spec import AUTO
from charlm.training import auto, presets
from charlm.training.events import Notice
from charlm.training.resume import resume
from charlm.training.runs import describe
from charlm.training.train import plan, train

pytestmark = pytest.mark.every_case
GIST = {
    "cell": ("rnn", "hs[t] = tanh(Wxh x + Whh h + bh)"),
    "activation": ("tanh", "np.tanh"),
    "layers": (1, "one hidden layer"),
    "hidden": (100, "hidden_size = 100"),
    "input": ("one-hot", "encode in 1-of-k representation"),
    "dropout": (0.0, "none"),
    "weight_drop": (0.0, "none"),
    "batch_size": (1, "one pointer p into the data"),
    "seq_len": (25, "seq_length = 25"),
    "cold_starts": (0.0, "hprev = np.zeros only at n == 0 and at the end of the data"),
    "window_loss": ("sum", "loss += over t; gradients add up over t"),
    "init": ("normal", "np.random.randn(...)*0.01"),
    "init_scale": (0.01, "np.random.randn(...)*0.01"),
    "optimizer": ("adagrad", "mem += dparam * dparam"),
    "lr": (0.1, "learning_rate = 1e-1"),
    "epsilon": (1e-4, "np.sqrt(mem + 1e-8): the root of 1e-8"),
    "weight_decay": (0.0, "none"),
    "schedule": ("constant", "learning_rate never changes"),
    "warmup": (0, "none"),
    "clip_norm": (0.0, "none"),
    "clip_value": (5.0, "np.clip(dparam, -5, 5, out=dparam)"),
}
CHAR_RNN = {
    "cell": ("lstm", "-model lstm"),
    "layers": (2, "-num_layers 2"),
    "hidden": (128, "-rnn_size 128"),
    "input": ("one-hot", "OneHot(input_size)"),
    "dropout": (0.0, "-dropout 0"),
    "weight_drop": (0.0, "none"),
    "batch_size": (50, "-batch_size 50"),
    "seq_len": (50, "-seq_length 50"),
    "cold_starts": (0.0, "init_state_global = rnn_state[#rnn_state]"),
    "window_loss": ("sum", "the line grad_params:div(opt.seq_length) is a comment"),
    "init": ("uniform", "params:uniform(-0.08, 0.08)"),
    "init_scale": (0.08, "params:uniform(-0.08, 0.08)"),
    "forget_bias": (1.0, "setting forget gate biases to 1"),
    "optimizer": ("rmsprop", "optim.rmsprop"),
    "lr": (0.002, "-learning_rate 2e-3"),
    "rms_decay": (0.95, "-decay_rate 0.95"),
    "epsilon": (1e-8, "optim.rmsprop: epsilon = config.epsilon or 1e-8, added to the root"),
    "weight_decay": (0.0, "none"),
    "schedule": ("step", "learning_rate_decay at i % ntrain == 0"),
    "decay": (0.97, "-learning_rate_decay 0.97"),
    "decay_after": (10.0, "-learning_rate_decay_after 10"),
    "decay_every": (1.0, "at each end of an epoch"),
    "warmup": (0, "none"),
    "clip_norm": (0.0, "none"),
    "clip_value": (5.0, "-grad_clip 5, grad_params:clamp"),
    "epochs": (50.0, "-max_epochs 50"),
}
SHAKESPEARE = {
    **CHAR_RNN,
    "layers": (3, "a 3-layer RNN with 512 hidden nodes on each layer"),
    "hidden": (512, "a 3-layer RNN with 512 hidden nodes on each layer"),
    "dropout": (0.5, "of the experiment before: dropout of 0.5 after each layer"),
    "batch_size": (100, "of the experiment before: batches of 100 examples"),
    "seq_len": (100, "of the experiment before: length 100 characters"),
}
SOURCES = {
    "min-char-rnn": (GIST, {}),
    "char-rnn": (CHAR_RNN, {"valid_fraction": (0.05, "-val_frac 0.05"), "test_fraction": (0.0, "1 - 0.95 - 0.05")}),
    "karpathy-shakespeare": (
        SHAKESPEARE,
        {"valid_fraction": (0.05, "char-rnn's -val_frac"), "test_fraction": (0.0, "char-rnn's 1 - 0.95 - 0.05")},
    ),
    "karpathy-2015": (
        {
            **CHAR_RNN,
            "layers": (3, "1 to 3 layers"),
            "hidden": (512, "64 to 512 units"),
            "batch_size": (100, "batch size 100"),
            "seq_len": (100, "unrolled for 100 time steps"),
            "forget_bias": (0.0, "all parameters uniformly in [-0.08, 0.08]; the other bias has that share"),
            "decay": (0.95, "a factor of 0.95 after each additional epoch"),
            "decay_after": (10.0, "decay the rate after 10 epochs"),
        },
        {"valid_fraction": (0.1, "80/10/10"), "test_fraction": (0.1, "80/10/10")},
    ),
    "torch-rnn": (
        {
            **CHAR_RNN,
            "cell": ("lstm", "-model_type lstm"),
            "input": ("embedding", "nn.LookupTable(V, D)"),
            "embedding": (64, "-wordvec_size 64"),
            "window_loss": ("mean", "nn.CrossEntropyCriterion over N * T"),
            "init": ("normal", "weight:normal(0, std)"),
            "init_scale": (AUTO, "std = 1 / sqrt(hidden_dim + input_dim)"),
            "forget_bias": (1.0, "bias[{{H + 1, 2 H}}]:fill(1)"),
            "optimizer": ("adam", "optim.adam"),
            "epsilon": (1e-8, "optim.adam's default"),
            "decay": (0.5, "-lr_decay_factor 0.5"),
            "decay_after": (4.0, "epoch = floor(i / num_train) + 1 is 5 when 4 are over"),
            "decay_every": (5.0, "-lr_decay_every 5"),
        },
        {"valid_fraction": (0.1, "preprocess.py --val_frac 0.1"), "test_fraction": (0.1, "--test_frac 0.1")},
    ),
    "keras-lstm128": (
        {
            **CHAR_RNN,
            "layers": (1, "a single LSTM"),
            "hidden": (128, "LSTM(128)"),
            "batch_size": (128, "batch_size=128"),
            "seq_len": (40, "maxlen = 40"),
            "cold_starts": (1.0, "an LSTM that is not stateful"),
            "window_loss": ("mean", "categorical_crossentropy, the mean over the batch"),
            "init": ("glorot", "kernel glorot_uniform, recurrent orthogonal, bias zeros"),
            "forget_bias": (1.0, "unit_forget_bias=True"),
            "lr": (0.01, "RMSprop(lr=0.01)"),
            "rms_decay": (0.9, "rho=0.9"),
            "epsilon": (1e-7, "K.epsilon()"),
            "schedule": ("constant", "decay=0."),
            "clip_value": (0.0, "none"),
            "epochs": (60.0, "epochs=60"),
        },
        {},
    ),
    "pytorch-tutorial-rnn": (
        {
            **GIST,
            "activation": ("linear", "hidden = self.i2h(input_combined)"),
            "hidden": (128, "RNN(n_letters, 128, n_letters)"),
            "dropout": (0.1, "nn.Dropout(0.1)"),
            "seq_len": (20, "max_length = 20"),
            "cold_starts": (1.0, "hidden = rnn.initHidden() for each name"),
            "window_loss": ("sum", "loss += criterion(output, target)"),
            "init": ("uniform", "nn.Linear's own"),
            "init_scale": (AUTO, "nn.Linear's own: 1 / sqrt of what it reads"),
            "optimizer": ("sgd", "p.data.add_(-learning_rate, p.grad.data)"),
            "lr": (0.0005, "learning_rate = 0.0005"),
            "momentum": (0.0, "none"),
            "clip_value": (0.0, "none"),
            "steps": (100_000, "n_iters = 100000"),
        },
        {"documents": ("line", "a name per line")},
    ),
    "awd-lstm": (
        {
            **CHAR_RNN,
            "layers": (3, "--nlayers 3"),
            "hidden": (1000, "--nhid 1000"),
            "input": ("embedding", "nn.Embedding"),
            "embedding": (200, "--emsize 200"),
            "dropout": (0.25, "--dropouth 0.25"),
            "dropout_kind": ("locked", "LockedDropout"),
            "weight_drop": (0.5, "--wdrop 0.5"),
            "batch_size": (128, "--batch_size 128"),
            "seq_len": (150, "--bptt 150"),
            "cold_starts": (0.0, "repackage_hidden(hidden)"),
            "window_loss": ("mean", "the mean of the cross-entropy"),
            "init": ("uniform", "nn.LSTM's own"),
            "init_scale": (AUTO, "nn.LSTM's own: 1 / sqrt(nhid)"),
            "forget_bias": (0.0, "nn.LSTM has none"),
            "optimizer": ("adam", "--optimizer adam"),
            "lr": (0.002, "--lr 2e-3"),
            "epsilon": (1e-8, "torch.optim.Adam's default"),
            "weight_decay": (1.2e-6, "--wdecay 1.2e-6"),
            "decay": (0.1, "lr /= 10"),
            "decay_after": (300.0, "--when 300 400"),
            "decay_every": (100.0, "--when 300 400"),
            "clip_norm": (0.25, "--clip 0.25"),
            "clip_value": (0.0, "none"),
            "epochs": (500.0, "--epochs 500"),
        },
        {},
    ),
}
"""Of each preset the figures of its source, with the words that say so there."""

WITHOUT_EFFECT = {
    "torch-rnn": {"rms_decay"},
    "awd-lstm": {"rms_decay"},
    "keras-lstm128": {"init_scale", "decay", "decay_after", "decay_every"},
    "pytorch-tutorial-rnn": {"epsilon"},
}
"""What a preset leaves out of those it is told from above, since nothing reads it there."""

SMALL = {**TINY, "hidden": 4, "embedding": 3, "batch_size": 2, "seq_len": 8}
EVERY = pytest.mark.parametrize("name", preset_names())


def test_every_preset_of_the_table_has_a_file_and_no_other() -> None:
    assert set(SOURCES) == set(preset_names())


@EVERY
def test_the_merged_configuration_is_that_of_the_source(name: str) -> None:
    told, asked = SOURCES[name]
    wanted = {key: value for key, (value, _) in told.items() if key not in WITHOUT_EFFECT.get(name, ())}
    preset = presets.load(name)
    assert preset.train == wanted
    assert preset.prepare == {key: value for key, (value, _) in asked.items()}
    options = TrainOptions.of(presets.with_preset({"preset": name}))
    assert {key: getattr(options, key) for key in wanted} == wanted
    assert options.preset == name


@EVERY
def test_nothing_of_a_preset_depends_on_the_text_or_on_the_defaults(name: str) -> None:
    """Two texts, of which one is short, make the same network and the same learning."""
    chosen = TrainOptions.of(presets.with_preset({"preset": name}))
    few, _ = auto.resolve(chosen, 60, 20_000, 500)
    many, _ = auto.resolve(chosen, 300, 50_000_000, 900_000)
    panels = {key: spec.panel for key, spec in TrainOptions.specs().items()}
    unread = {"embedding"} if chosen.input == "one-hot" else set()
    for key in panels.keys() - unread:
        if panels[key] in ("Model", "Learning"):
            assert getattr(few, key) == getattr(many, key), key
    lasting = {"cold_starts", "optimizer", "schedule", "clip_norm", "clip_value", "window_loss", "init", "warmup"}
    assert lasting <= presets.load(name).train.keys()


@EVERY
def test_words_of_a_preset_are_sentences(name: str) -> None:
    preset = presets.load(name)
    for words in (preset.about, *preset.differs):
        assert words[0].isupper() or words[0].isdigit() or words.startswith(("char-rnn", "torch-rnn"))
        assert words.endswith(".") and "\n" not in words
    assert "https://" in preset.source


@EVERY
def test_every_preset_trains_and_says_whose_it_is(name: str, small_corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="of", preset=name, steps=4, **SMALL)
    assert f'preset = "{name}"' in (done.path / "config.toml").read_text(encoding="utf-8")
    assert {row["preset"] for row in rows(done.path)} == {name}
    description = describe(checkpoint.read_header(done.model))
    assert description["options"]["preset"] == description["preset"]["name"] == name
    changed = {"hidden", "embedding", "batch_size", "seq_len", "epochs", "steps"}
    assert set(description["preset"]["changed"]) == changed & presets.load(name).train.keys()


@EVERY
def test_a_run_of_a_preset_resumes_as_if_never_stopped(name: str, small_corpus, tmp_path: Path) -> None:
    whole = train(small_corpus, root=tmp_path, run="whole", preset=name, steps=7, **SMALL)
    parts = interrupted(small_corpus, tmp_path, "parts", 3, preset=name, steps=7, **SMALL)
    assert_same_run(whole.path, resume(parts, corpus=small_corpus, preset=name).path)


def test_another_preset_cannot_be_resumed(small_corpus, tmp_path: Path) -> None:
    parts = interrupted(small_corpus, tmp_path, "parts", 2, preset="char-rnn", steps=7, **SMALL)
    with pytest.raises(UsageError, match="--preset cannot change"):
        resume(parts, corpus=small_corpus, preset="torch-rnn")
    plain = interrupted(small_corpus, tmp_path, "plain", 2, steps=7, **SMALL)
    with pytest.raises(UsageError, match="--preset cannot change"):
        resume(plain, corpus=small_corpus, preset="char-rnn")


def test_a_run_without_a_preset_names_none(small_corpus, tmp_path: Path) -> None:
    done = train(small_corpus, root=tmp_path, run="plain", steps=3, **SMALL)
    assert all("preset" not in row for row in rows(done.path))
    assert describe(checkpoint.read_header(done.model))["preset"] is None


@pytest.mark.parametrize("length", [{"steps": 9}, {"time": 60.0}, {"epochs": 2.0}])
@pytest.mark.parametrize("name", ["char-rnn", "pytorch-tutorial-rnn"])
def test_a_length_that_is_given_takes_the_place_of_the_presets(name: str, length: dict[str, float]) -> None:
    options = TrainOptions.of(presets.with_preset({"preset": name, **length}))
    wanted = {"steps": None, "time": None, **length}
    assert {key: getattr(options, key) for key in wanted} == wanted


def test_values_win_over_the_preset_and_none_of_a_length_says_nothing() -> None:
    options = TrainOptions.of(presets.with_preset({"preset": "char-rnn", "hidden": 7, "lr": AUTO, "steps": None}))
    assert (options.hidden, options.lr, options.layers, options.epochs) == (7, AUTO, 2, 50)
    with pytest.raises(UsageError, match="--hidden"):
        TrainOptions.of(presets.with_preset({"preset": "char-rnn", "hidden": None}))
    assert presets.with_preset({"hidden": 7}) == {"hidden": 7}


def test_an_option_that_contradicts_the_presets_own_is_refused_before_anything_is_made(
    small_corpus, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--init-scale 0.08 .*--init glorot"):
        train(small_corpus, root=tmp_path, preset="char-rnn", init="glorot", steps=1, **SMALL)
    assert not list(tmp_path.iterdir())
    train(small_corpus, root=tmp_path, preset="char-rnn", init="glorot", init_scale=AUTO, steps=1, **SMALL)


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    for call in (lambda: presets.load("charrnn"), lambda: presets.with_preset({"preset": "charrnn"})):
        with pytest.raises(UsageError, match="--preset must be one of awd-lstm.*; did you mean char-rnn") as caught:
            call()
        assert "\n" not in str(caught.value)
    for odd in ("../presets/char-rnn", "", "char-rnn.toml", "\x1b[31m", 5):
        with pytest.raises(UsageError, match="--preset must be one of"):
            presets.load(odd)


def test_what_a_preset_asks_of_the_corpus_is_said_where_it_differs(
    small_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.training.trainer.UNTIMED_SECONDS", 0.0)
    tenths = prepare(small_text, out=str(tmp_path), name="tenths", valid_fraction=0.1, test_fraction=0.1)
    lines = prepare(small_text, out=str(tmp_path), name="lines", documents="line")

    def said(corpus, name: str) -> list[str]:
        heard: list[str] = []
        small = {**SMALL, "steps": 2, "preset": name}
        plan(corpus, measure=1, report=lambda event: isinstance(event, Notice) and heard.append(event.text), **small)
        return heard

    assert said(tenths, "torch-rnn") == said(tenths, "min-char-rnn") == said(lines, "pytorch-tutorial-rnn") == []
    (told,) = said(tenths, "char-rnn")
    assert "--valid-fraction 0.05 --test-fraction 0, and this one has 0.1, 0.1" in told
    (told,) = said(lines, "char-rnn")
    assert "--test-fraction 0, and this one has 0.05" in told and "--valid" not in told
    (told,) = said(tenths, "pytorch-tutorial-rnn")
    assert "--documents line, and this one has file" in told


def test_with_the_weights_of_a_model_the_network_is_its_own(small_corpus, tmp_path: Path) -> None:
    first = train(small_corpus, root=tmp_path, run="first", cell="gru", steps=2, **SMALL)
    values = {key: value for key, value in SMALL.items() if key not in ("hidden", "embedding")}
    done = train(small_corpus, root=tmp_path, run="second", preset="char-rnn", init_from=first.model, steps=2, **values)
    header = checkpoint.read_header(done.model)
    assert (header.options.cell, header.options.layers, header.options.hidden) == ("gru", 1, 4)
    assert header.training["options"]["optimizer"] == "rmsprop"


@pytest.mark.parametrize(
    "text",
    ["about = 3", "[train]\nhiden = 3", "[train]\nhidden = 0\n", "= 3", "about = 'a'\nsource = 'b'\ndiffers = []\n",
     "about = 'a'\nsource = 'b'\ndiffers = []\n[train]\n[prepare]\nunit = 'stone'"],
)  # fmt: skip
def test_a_damaged_file_is_one_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(training, "PRESETS_FOLDER", tmp_path)
    monkeypatch.setattr(presets, "PRESETS_FOLDER", tmp_path)
    with pytest.raises(CharlmError, match="broken.toml cannot be used: .*; install charlm again") as caught:
        presets.load("broken")
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


def test_every_preset_starts_from_the_weights_that_its_source_says(small_corpus, tmp_path: Path) -> None:
    """Seen through one step of a rate so small that it changes nothing that is looked at."""

    def first(name: str) -> dict[str, np.ndarray]:
        values = {**SMALL, "hidden": 32, "lr": 1e-12, "steps": 1}
        return checkpoint.load(train(small_corpus, root=tmp_path, run=name, preset=name, **values).model).weights

    gist, torch_rnn, char_rnn = first("min-char-rnn"), first("torch-rnn"), first("char-rnn")
    assert all(weight.std() == pytest.approx(0.01, rel=0.1) for weight in gist.values() if weight.ndim == 2)
    assert all(np.abs(weight).max() < 1e-6 for weight in gist.values() if weight.ndim == 1)
    assert torch_rnn["layers.1.weight_hh"].std() == pytest.approx(1 / 8, rel=0.1)
    assert torch_rnn["layers.1.bias_ih"][32:64] == pytest.approx(np.ones(32))
    for name, weight in char_rnn.items():
        body = np.delete(weight, np.s_[32:64]) if name.endswith("bias_ih") else weight
        assert 0.07 < np.abs(body).max() <= 0.08 + 1e-6, name
