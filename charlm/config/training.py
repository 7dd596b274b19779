"""Options of a training run; the rules of `auto` are in `charlm.training.auto`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from charlm.config.network import ModelOptions
from charlm.errors import UsageError
from charlm.spec import AUTO, option, with_auto_rule

_NETWORK = ModelOptions.specs()
_learning, _length, _running = (partial(option, panel=panel) for panel in ("Learning", "Length", "Running"))

PRESETS_FOLDER = Path(__file__).parent.parent / "presets"
"""The folder of the presets (`charlm.training.presets`)."""


def preset_names() -> tuple[str, ...]:
    """The presets of `charlm train`: each file in their folder is one."""
    return tuple(sorted(path.stem for path in PRESETS_FOLDER.glob("*.toml")))


@dataclass(frozen=True)
class TrainOptions(ModelOptions):
    """The options of a training run: network, learning, length and machine."""

    alternatives = ("epochs", "steps", "time")

    layers: int = with_auto_rule(_NETWORK["layers"], "2 of an lstm where --hidden is not given either, else 1")
    hidden: int = with_auto_rule(
        _NETWORK["hidden"],
        "256; 512, or 384 where --layers of an lstm is not given either, for texts of 500 kB or more where --time is "
        "5m or more, or 20 million characters are to be seen; as few as 64 where --time is short for the text",
    )
    skip: bool = with_auto_rule(
        _NETWORK["skip"], "on for an lstm where neither --layers nor --hidden is given, else off"
    )
    layer_norm: bool = with_auto_rule(_NETWORK["layer_norm"], "as --skip")

    preset: str | None = _learning(
        None,
        "choice",
        "Take the settings of a known system for whatever is given neither here nor in a --config file; "
        "charlm presets tells of each.",
        choices=preset_names,
    )
    batch_size: int = _learning(
        AUTO,
        "integer",
        "Lanes of text read side by side.",
        low=1,
        auto="16 below 512 hidden units, else 32; less where the text has not ten windows for each lane",
    )
    seq_len: int = _learning(
        AUTO,
        "integer",
        "Characters per window of truncated back-propagation; the state is carried on.",
        low=1,
        auto="64; less where the text is too short",
    )
    cold_starts: float = _learning(
        AUTO,
        "number",
        "Share of windows that begin from the zero state, as evaluation and sampling do; the others carry it on.",
        low=0,
        high=1,
        auto="0.1 for an lstm where neither --layers nor --hidden is given, else 0.02",
    )
    window_loss: str = _learning(
        "mean",
        "choice",
        "What is followed of a window: the mean loss of its characters, or their sum, the mean over the lanes.",
        choices=("mean", "sum"),
    )
    init: str = _learning(
        "orthogonal",
        "choice",
        "Initial weights: recurrent ones orthogonal for each gate and the rest uniform; or all uniform, with biases; "
        "or normal; or uniform by Glorot's rule, with recurrent ones orthonormal.",
        choices=("orthogonal", "uniform", "normal", "glorot"),
    )
    init_scale: float = _learning(
        AUTO,
        "number",
        "Largest size of initial weights that are uniform, standard deviation of normal ones.",
        above=0,
        high=100,
        auto="uniform 1 / sqrt(hidden), normal 1 / sqrt(numbers that a unit reads); an untied embedding: normal with 1",
    )
    forget_bias: float = _learning(
        AUTO,
        "number",
        "Initial bias of forget gates; without effect where the cell has none.",
        low=0,
        high=100,
        auto="the cell's own: 1 for lstm",
    )
    optimizer: str = _learning("adamw", "choice", "Optimiser.", choices=("sgd", "rmsprop", "adagrad", "adam", "adamw"))
    lr: float = _learning(
        AUTO,
        "number",
        "Learning rate at its highest.",
        above=0,
        high=1000,
        auto="adam and adamw 0.008 x sqrt(256 / hidden / layers), at most 0.008; rmsprop 0.002; adagrad 0.02; sgd 0.5",
    )
    schedule: str = _learning(
        "cosine", "choice", "Course of the learning rate over the run.", choices=("constant", "step", "cosine")
    )
    decay: float = _learning(0.95, "number", "Factor of the step schedule.", above=0, high=1)
    decay_after: float = _learning(10, "number", "Epochs before the step schedule begins to decay.", low=0)
    decay_every: float = _learning(1, "number", "Epochs between two decays of the step schedule.", low=0.001)
    warmup: int = _learning(
        AUTO, "integer", "Steps over which the rate rises from zero.", low=0, auto="100, at most a tenth of the steps"
    )
    weight_decay: float = _learning(
        AUTO,
        "number",
        "Decay of the weight matrices.",
        low=0,
        high=1000,
        auto="adamw 1 / (4 x rate x steps per pass), at most 0.1; else 0",
    )
    weight_drop: float = _learning(
        0.0, "number", "Share of the recurrent weights dropped in each window.", low=0, below=1
    )
    dropout_kind: str = _learning(
        "element",
        "choice",
        "What --dropout draws anew: every element of every step, or one mask for all steps of a window.",
        choices=("element", "locked"),
    )
    embedding_dropout: float = _learning(
        0.0, "number", "Share of the symbols whose input is dropped in each window.", low=0, below=1
    )
    embeddings: str | None = _learning(
        None, "text", "A file of vectors, in the text format of word2vec or GloVe, that the embedding starts from."
    )
    freeze_embeddings: bool = _learning(False, "switch", "Leave the embedding as it starts.")
    momentum: float = _learning(0.9, "number", "Momentum of sgd.", low=0, below=1)
    rms_decay: float = _learning(
        0.95, "number", "Share of its average that rmsprop keeps at each step.", low=0, below=1
    )
    epsilon: float = _learning(
        AUTO,
        "number",
        "Added to the root that rmsprop, adagrad, adam and adamw divide by.",
        low=1e-30,
        high=1,
        auto="1e-8; adagrad 1e-10",
    )
    clip_norm: float = _learning(1.0, "number", "Largest norm of the whole gradient; 0 = off.", low=0)
    clip_value: float = _learning(0.0, "number", "Largest size of each gradient element; 0 = off.", low=0)

    epochs: float = _length(20, "number", "Passes over the text.", above=0)
    steps: int | None = _length(None, "integer", "Steps to train; takes the place of --epochs.", low=1)
    time: float | None = _length(
        None,
        "duration",
        "Time to train, start and evaluation included (90s, 10m, 2h); takes the place of --epochs. "
        "The learning rate follows the clock, so that two such runs are never equal.",
        above=0,
    )
    patience: int = _length(
        0, "integer", "Stop after so many evaluations without a better validation loss; 0 = never.", low=0
    )

    device: str = _running(
        AUTO, "choice", "Where to compute.", choices=("cpu", "cuda", "mps"), auto="cuda where there is one, else cpu"
    )
    precision: str = _running(
        "float32", "choice", "Arithmetic of the products.", choices=("float32", "tf32", "bfloat16")
    )
    threads: int = _running(AUTO, "integer", "Processor threads.", low=1, high=4096, auto="torch's own choice")
    seed: int = _running(0, "integer", "Seed of everything random.", low=0)
    eval_every: int = _running(
        AUTO,
        "integer",
        "Steps between evaluations; 0 = only at the end.",
        low=0,
        auto="after 8 times as many characters as an evaluation reads, so that it takes less than a tenth of the "
        "time; at least 50",
    )
    eval_chars: int = _running(
        AUTO,
        "count",
        "Characters of the valid split read by each evaluation; the whole split decides at the end.",
        low=1,
        auto="the whole split, at most 200k and at most an eighth of the train split",
    )
    sample_every: int = _running(
        AUTO, "integer", "Steps between short samples; 0 = never.", low=0, auto="every fourth evaluation"
    )
    save_every: int = _running(
        AUTO,
        "integer",
        "Steps between saves of last.safetensors and the progress; 0 = only at the end or when stopped.",
        low=0,
        auto="at each evaluation, and after ten minutes without one",
    )
    report_every: int = _running(
        100, "integer", "Steps between reports and rows of metrics.jsonl; 0 = only the last.", low=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.time is not None:
            raise UsageError("--steps and --time both say when to stop; give one of them")
