"""Options of a training run, and the presets that set them.

What is left out: what an `auto` becomes, which depends on the corpus (`charlm.training.auto`).
"""

from dataclasses import dataclass
from pathlib import Path

from charlm.config.network import ModelOptions
from charlm.errors import UsageError
from charlm.spec import AUTO, left_open, option

_NETWORK = ModelOptions.specs()

PRESETS = Path(__file__).parent.parent / "presets"
"""The folder of the presets of `charlm train` (`charlm.training.presets`)."""


def preset_names() -> tuple[str, ...]:
    """The presets of `charlm train`, by listing their folder: adding one is adding a file."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.toml")))


@dataclass(frozen=True)
class TrainOptions(ModelOptions):
    """A training run: the network, how it learns, for how long, and where."""

    alternatives = ("epochs", "steps", "time")

    layers: int = left_open(_NETWORK["layers"], "2 of an lstm where --hidden is not given either, else 1")
    hidden: int = left_open(
        _NETWORK["hidden"],
        "256; 512, or 384 where --layers of an lstm is not given either, for texts of 500 kB or more where --time is "
        "5m or more, or 20 million characters are to be seen; as few as 64 where --time is short for the text",
    )
    skip: bool = left_open(_NETWORK["skip"], "on for an lstm where neither --layers nor --hidden is given, else off")
    layer_norm: bool = left_open(_NETWORK["layer_norm"], "as --skip")

    preset: str | None = option(
        None,
        "choice",
        "Take the settings of a known system for whatever is given neither here nor in a --config file; "
        "charlm presets tells of each.",
        choices=preset_names,
        panel="Learning",
    )
    batch_size: int = option(
        AUTO,
        "integer",
        "Lanes of text read side by side.",
        low=1,
        panel="Learning",
        auto="16 below 512 hidden units, else 32; less where the text has not ten windows for each lane",
    )
    seq_len: int = option(
        AUTO,
        "integer",
        "Characters per window of truncated back-propagation; the state is carried on.",
        low=1,
        panel="Learning",
        auto="64; less where the text is too short",
    )
    cold_starts: float = option(
        AUTO,
        "number",
        "Share of windows that begin from the zero state, as evaluation and sampling do; the others carry it on.",
        low=0,
        high=1,
        panel="Learning",
        auto="0.1 for an lstm where neither --layers nor --hidden is given, else 0.02",
    )
    window_loss: str = option(
        "mean",
        "choice",
        "What is followed of a window: the mean loss of its characters, or their sum, the mean over the lanes.",
        choices=("mean", "sum"),
        panel="Learning",
    )
    init: str = option(
        "orthogonal",
        "choice",
        "Initial weights: recurrent ones orthogonal for each gate and the rest uniform; or all uniform, with biases; "
        "or normal; or uniform by Glorot's rule, with recurrent ones orthonormal.",
        choices=("orthogonal", "uniform", "normal", "glorot"),
        panel="Learning",
    )
    init_scale: float = option(
        AUTO,
        "number",
        "Largest size of initial weights that are uniform, standard deviation of normal ones.",
        above=0,
        high=100,
        panel="Learning",
        auto="uniform 1 / sqrt(hidden), normal 1 / sqrt(numbers that a unit reads); an untied embedding: normal with 1",
    )
    forget_bias: float = option(
        AUTO,
        "number",
        "Initial bias of forget gates; without effect where the cell has none.",
        low=0,
        high=100,
        panel="Learning",
        auto="the cell's own: 1 for lstm",
    )
    optimizer: str = option(
        "adamw", "choice", "Optimiser.", choices=("sgd", "rmsprop", "adagrad", "adam", "adamw"), panel="Learning"
    )
    lr: float = option(
        AUTO,
        "number",
        "Learning rate at its highest.",
        above=0,
        high=1000,
        panel="Learning",
        auto="adam and adamw 0.008 x sqrt(256 / hidden / layers), at most 0.008; rmsprop 0.002; adagrad 0.02; sgd 0.5",
    )
    schedule: str = option(
        "cosine",
        "choice",
        "Course of the learning rate over the run.",
        choices=("constant", "step", "cosine"),
        panel="Learning",
    )
    decay: float = option(0.95, "number", "Factor of the step schedule.", above=0, high=1, panel="Learning")
    decay_after: float = option(
        10, "number", "Epochs before the step schedule begins to decay.", low=0, panel="Learning"
    )
    decay_every: float = option(
        1, "number", "Epochs between two decays of the step schedule.", low=0.001, panel="Learning"
    )
    warmup: int = option(
        AUTO,
        "integer",
        "Steps over which the rate rises from zero.",
        low=0,
        panel="Learning",
        auto="100, at most a tenth of the steps",
    )
    weight_decay: float = option(
        AUTO,
        "number",
        "Decay of the weight matrices.",
        low=0,
        high=1000,
        panel="Learning",
        auto="adamw 1 / (4 x rate x steps per pass), at most 0.1; else 0",
    )
    weight_drop: float = option(
        0.0, "number", "Share of the recurrent weights dropped in each window.", low=0, below=1, panel="Learning"
    )
    dropout_kind: str = option(
        "element",
        "choice",
        "What --dropout draws anew: every element of every step, or one mask for all steps of a window.",
        choices=("element", "locked"),
        panel="Learning",
    )
    embedding_dropout: float = option(
        0.0, "number", "Share of the symbols whose input is dropped in each window.", low=0, below=1, panel="Learning"
    )
    embeddings: str | None = option(
        None,
        "text",
        "A file of vectors, in the text format of word2vec or GloVe, that the embedding starts from.",
        panel="Learning",
    )
    freeze_embeddings: bool = option(False, "switch", "Leave the embedding as it starts.", panel="Learning")
    momentum: float = option(0.9, "number", "Momentum of sgd.", low=0, below=1, panel="Learning")
    rms_decay: float = option(
        0.95, "number", "Share of its average that rmsprop keeps at each step.", low=0, below=1, panel="Learning"
    )
    epsilon: float = option(
        AUTO,
        "number",
        "Added to the root that rmsprop, adagrad, adam and adamw divide by.",
        low=1e-30,
        high=1,
        panel="Learning",
        auto="1e-8; adagrad 1e-10",
    )
    clip_norm: float = option(1.0, "number", "Largest norm of the whole gradient; 0 = off.", low=0, panel="Learning")
    clip_value: float = option(
        0.0, "number", "Largest size of each gradient element; 0 = off.", low=0, panel="Learning"
    )

    epochs: float = option(20, "number", "Passes over the text.", above=0, panel="Length")
    steps: int | None = option(None, "integer", "Steps to train; takes the place of --epochs.", low=1, panel="Length")
    time: float | None = option(
        None,
        "duration",
        "Time to train, start and evaluation included (90s, 10m, 2h); takes the place of --epochs. "
        "The learning rate follows the clock, so that two such runs are never equal.",
        above=0,
        panel="Length",
    )
    patience: int = option(
        0,
        "integer",
        "Stop after so many evaluations without a better validation loss; 0 = never.",
        low=0,
        panel="Length",
    )

    device: str = option(
        AUTO,
        "choice",
        "Where to compute.",
        choices=("cpu", "cuda", "mps"),
        panel="Running",
        auto="cuda where there is one, else cpu",
    )
    precision: str = option(
        "float32", "choice", "Arithmetic of the products.", choices=("float32", "tf32", "bfloat16"), panel="Running"
    )
    threads: int = option(
        AUTO, "integer", "Processor threads.", low=1, high=4096, auto="torch's own choice", panel="Running"
    )
    seed: int = option(0, "integer", "Seed of everything random.", low=0, panel="Running")
    eval_every: int = option(
        AUTO,
        "integer",
        "Steps between evaluations; 0 = only at the end.",
        low=0,
        panel="Running",
        auto="after 8 times as many characters as an evaluation reads, so that it takes less than a tenth of the "
        "time; at least 50",
    )
    eval_chars: int = option(
        AUTO,
        "count",
        "Characters of the valid split read by each evaluation; the whole split decides at the end.",
        low=1,
        panel="Running",
        auto="the whole split, at most 200k and at most an eighth of the train split",
    )
    sample_every: int = option(
        AUTO,
        "integer",
        "Steps between short samples; 0 = never.",
        low=0,
        panel="Running",
        auto="every fourth evaluation",
    )
    save_every: int = option(
        AUTO,
        "integer",
        "Steps between saves of last.safetensors and the progress; 0 = only at the end or when stopped.",
        low=0,
        panel="Running",
        auto="at each evaluation, and after ten minutes without one",
    )
    report_every: int = option(
        100, "integer", "Steps between reports and rows of metrics.jsonl; 0 = only the last.", low=0, panel="Running"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.time is not None:
            raise UsageError("--steps and --time both say when to stop; give one of them")
