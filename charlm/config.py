"""Every hyperparameter and option: one name, one default, one range, one help text.

What is left out: what an `auto` becomes, which depends on the corpus (`charlm.learn.auto`).
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.errors import UsageError
from charlm.spec import AUTO, Options, option

OUTSIDE: dict[str, Any] = {}
"""The cells that are no part of the package, by name: `charlm.cells._plugin` puts them here."""

PRESETS = Path(__file__).parent / "presets"
"""The folder of the presets of `charlm train` (`charlm.learn.presets`)."""


def own_cells() -> tuple[str, ...]:
    """The cells of the package, by listing its folder: adding a cell is adding a file."""
    folder = Path(__file__).parent / "cells"
    names = (path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return tuple(sorted(names))


def preset_names() -> tuple[str, ...]:
    """The presets of `charlm train`, by listing their folder: adding one is adding a file."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.toml")))


def cell_names() -> tuple[str, ...]:
    """Every cell that is known by now: those of the package, and those of plugins."""
    return tuple(sorted({*own_cells(), *OUTSIDE}))


@dataclass(frozen=True)
class PrepareOptions(Options):
    """How a text becomes a corpus of ids."""

    name: str | None = option(None, "text", "Name of the corpus. Default: the first source's name.")
    out: str = option("data", "text", "Folder in which the folder NAME is written.")
    unit: str = option(
        "char",
        "choice",
        "What one symbol is: a Unicode code point, a byte, or a word.",
        choices=("char", "byte", "word"),
    )
    words: int | None = option(
        None, "count", "Symbols that a table of words has at most. Default: 10k.", low=3, high=500_000
    )
    documents: str = option(
        "file", "choice", "What one document is: a whole file, or each line.", choices=("file", "line")
    )
    encoding: str = option("utf-8", "text", "Encoding of the text (characters only).")
    valid_fraction: float = option(0.05, "number", "Share of the text kept for validation.", low=0, below=1)
    test_fraction: float = option(0.05, "number", "Share of the text kept for the final test.", low=0, below=1)
    min_count: int = option(1, "integer", "Characters (or words) seen less often become the unknown symbol.", low=1)
    newlines: str = option(
        "keep", "choice", "Line ends: kept as they are, or CR LF and CR made LF.", choices=("keep", "lf")
    )
    size: int | None = option(
        None, "count", "Characters to draw from a synthetic source. Default: 2M.", low=1, panel="Synthetic sources"
    )
    seed: int | None = option(
        None, "integer", "Seed of a synthetic source. Default: 0.", low=0, panel="Synthetic sources"
    )
    delay: int | None = option(
        None,
        "integer",
        "Of copy: fillers between a string and its copy. Default: 20.",
        low=0,
        high=1_000_000,
        panel="Synthetic sources",
    )
    copied: int | None = option(
        None, "integer", "Of copy: letters of the string. Default: 5.", low=1, high=10_000, panel="Synthetic sources"
    )
    alphabet: int | None = option(
        None,
        "integer",
        "Of copy and hidden-markov: different letters. Default: 8.",
        low=2,
        high=26,
        panel="Synthetic sources",
    )
    counts: str | None = option(
        None,
        "choice",
        "Of anbn: how n is drawn. Default: uniform.",
        choices=("uniform", "geometric"),
        panel="Synthetic sources",
    )
    mean: int | None = option(
        None, "integer", "Of anbn: mean of n. Default: 10.", low=1, high=100_000, panel="Synthetic sources"
    )
    kinds: int | None = option(
        None, "integer", "Of brackets: kinds of brackets. Default: 3.", low=1, high=4, panel="Synthetic sources"
    )
    depth: int | None = option(
        None,
        "integer",
        "Of brackets: how many pairs may be open at a time; 0 = any number. Default: 0.",
        low=0,
        high=10_000,
        panel="Synthetic sources",
    )
    states: int | None = option(
        None, "integer", "Of hidden-markov: hidden states. Default: 8.", low=1, high=32, panel="Synthetic sources"
    )
    stay: float | None = option(
        None,
        "number",
        "Of hidden-markov: least probability that a state goes on. Default: 0.9.",
        low=0,
        high=0.99,
        panel="Synthetic sources",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.valid_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"--valid-fraction {self.valid_fraction:g} and --test-fraction {self.test_fraction:g} "
                f"leave nothing to train on; their sum must be below 1"
            )

    def drawing(self) -> dict[str, Any]:
        """What was said of a synthetic source, its size and seed too, by name."""
        return {name: value for name, value in self.values().items() if name in SYNTHETIC}


SYNTHETIC = ("size", "seed", "delay", "copied", "alphabet", "counts", "mean", "kinds", "depth", "states", "stay")
"""The options of `prepare` that are about a synthetic source (`charlm.synthetic`)."""


@dataclass(frozen=True)
class ModelOptions(Options):
    """The network: what a model file needs to be rebuilt."""

    cell: str = option(
        "lstm",
        "choice",
        "What a layer is made of.",
        choices=cell_names,
        panel="Model",
        unknown="a cell from outside charlm needs --plugin FILE.py",
    )
    layers: int = option(1, "integer", "Recurrent layers, one above the other.", low=1, high=64, panel="Model")
    hidden: int = option(
        AUTO,
        "integer",
        "Units in each layer.",
        low=1,
        high=65536,
        panel="Model",
        auto="256; 512 for texts of 500 kB or more where --time is 5m or more, or 20 million characters are to be seen",
    )
    input: str = option(
        "one-hot",
        "choice",
        "How a symbol enters: its own column of weights, or an embedding.",
        choices=("one-hot", "embedding"),
        panel="Model",
    )
    embedding: int = option(
        AUTO,
        "integer",
        "Size of the embedding.",
        low=1,
        high=65536,
        auto="64, at most --hidden; as many as --embeddings has; with --tied what the readout reads",
        panel="Model",
    )
    dropout: float = option(
        AUTO,
        "number",
        "Share of activations dropped between layers and before the readout.",
        low=0,
        below=1,
        auto="0.5 x the smaller of 1 - 4 / passes and 1 - 6 / load, at least 0; load is passes x parameters / "
        "characters of the text; with --time, the passes of a machine that does 2.5 x 10^11 operations a second",
        panel="Model",
    )
    activation: str = option(
        "tanh",
        "choice",
        "Nonlinearity of the rnn and the preactivation-rnn.",
        choices=("tanh", "relu", "sigmoid", "linear"),
        panel="Model",
    )
    context: int = option(
        8,
        "integer",
        "Characters in the window of the window-mlp, the last one included.",
        low=1,
        high=1024,
        panel="Model",
    )
    skip: bool = option(
        False, "switch", "Every layer reads the input too, and the readout reads every layer.", panel="Model"
    )
    between: str = option(
        "plain",
        "choice",
        "What a layer above the first hands on: its output, that added to what it read, or a gated mean of both.",
        choices=("plain", "residual", "highway"),
        panel="Model",
    )
    layer_norm: bool = option(
        False, "switch", "Normalise each layer's output before anything but itself reads it.", panel="Model"
    )
    tied: bool = option(False, "switch", "One table for the input's embedding and the readout.", panel="Model")
    direction: str = option(
        "forward",
        "choice",
        "Read and write from left to right, or, backward, from right to left.",
        choices=("forward", "backward"),
        panel="Model",
    )

    @property
    def readout_size(self) -> int:
        """How many numbers the readout reads: H, or with skip those of all layers; `hidden` must be decided."""
        return self.hidden * (self.layers if self.skip else 1)

    def wiring(self) -> dict[str, Any]:
        """What connects the layers in another way than a plain stack, by name; empty for one."""
        return {name: getattr(self, name) for name in WIRING if getattr(self, name) != self.default(name)}


WIRING = ("skip", "between", "layer_norm", "tied")
"""The options of `ModelOptions` that say how layers are connected. A model file names those alone that are not at
their defaults (`charlm.model.checkpoint`)."""


@dataclass(frozen=True)
class TrainOptions(ModelOptions):
    """A training run: the network, how it learns, for how long, and where."""

    alternatives = ("epochs", "steps", "time")

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
        0.02,
        "number",
        "Share of windows that begin from the zero state, as evaluation and sampling do; the others carry it on.",
        low=0,
        high=1,
        panel="Learning",
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
        auto="uniform 1 / sqrt(hidden), normal 1 / sqrt(numbers that a unit reads); an embedding stays normal with 1",
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
        "adamw",
        "choice",
        "Optimiser.",
        choices=("sgd", "rmsprop", "adagrad", "adam", "adamw"),
        panel="Learning",
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
        0.0,
        "number",
        "Share of the recurrent weights dropped in each window.",
        low=0,
        below=1,
        panel="Learning",
    )
    dropout_kind: str = option(
        "element",
        "choice",
        "What --dropout draws anew: every element of every step, or one mask for all steps of a window.",
        choices=("element", "locked"),
        panel="Learning",
    )
    embedding_dropout: float = option(
        0.0,
        "number",
        "Share of the symbols whose input is dropped in each window.",
        low=0,
        below=1,
        panel="Learning",
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
        "float32",
        "choice",
        "Arithmetic of the products.",
        choices=("float32", "tf32", "bfloat16"),
        panel="Running",
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
        100,
        "integer",
        "Steps between reports and rows of metrics.jsonl; 0 = only the last.",
        low=0,
        panel="Running",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.time is not None:
            raise UsageError("--steps and --time both say when to stop; give one of them")


@dataclass(frozen=True)
class MeasureOptions(Options):
    """How a text is scored, by one model or several."""

    split: str | None = option(
        None,
        "choice",
        "Split of the model's own corpus. Default: test, or valid where there is none.",
        choices=("train", "valid", "test"),
    )
    batch_size: int = option(
        64, "integer", "Segments scored side by side; does not change the result.", low=1, high=65536
    )
    device: str = option(
        AUTO, "choice", "Where to compute.", choices=("cpu", "cuda", "mps"), auto="cuda where there is one, else cpu"
    )
    threads: int = option(AUTO, "integer", "Processor threads.", low=1, high=4096, auto="torch's own choice")


@dataclass(frozen=True)
class EvalOptions(MeasureOptions):
    """How a text is scored, and beside what."""

    exact: bool = option(False, "switch", "Carry the state through the whole text in one pass (slower).")
    baselines: bool = option(
        False, "switch", "Put chance, n-grams, gzip, bzip2 and xz beside the model, after the same training text."
    )
    dynamic: bool = option(False, "switch", "Score with weights that follow the text too, as a second number (slow).")
    dynamic_lr: float = option(0.001, "number", "Learning rate of --dynamic.", low=0, high=1000)
    dynamic_decay: float = option(
        0.0, "number", "Share of the way back to the model's weights at each step of --dynamic.", low=0, high=1
    )
    dynamic_window: int = option(20, "integer", "Characters between two steps of --dynamic.", low=1, high=1024)


@dataclass(frozen=True)
class SampleOptions(Options):
    """How new text is drawn."""

    length: int = option(1000, "count", "New characters to write, the prompt not counted.", low=0)
    temperature: float = option(
        1.0, "number", "Divides the logits: below 1 safer, above 1 wilder, 0 always the likeliest.", low=0
    )
    top_k: int = option(0, "integer", "Draw among the K likeliest; 0 = all.", low=0)
    top_p: float = option(
        1.0, "number", "Draw among the likeliest that together reach this probability.", above=0, high=1
    )
    min_p: float = option(0.0, "number", "Drop what is less likely than this share of the likeliest.", low=0, high=1)
    stop: str | None = option(None, "text", "End before this string.")
    until_end: bool = option(False, "switch", "End where the model ends the document.")
    num: int = option(1, "integer", "Independent samples drawn side by side.", low=1, high=100000)
    seed: int | None = option(None, "integer", "Seed of the draws. Default: a new one each time, which is said.", low=0)
    device: str = option("cpu", "choice", "Where to compute.", choices=("cpu", "cuda"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop == "":
            raise UsageError("--stop must be a text of at least one character, got ''")


@dataclass(frozen=True)
class ScoreOptions(Options):
    """How lines are scored."""

    end: str = option(
        AUTO,
        "choice",
        "What the end of a line is scored as.",
        choices=("boundary", "newline", "none"),
        auto="the boundary where the model's corpus has lines as documents, else the newline, or not at all where "
        "a model has none",
    )
    encoding: str = option(
        AUTO,
        "text",
        "Encoding of the lines (characters only).",
        auto="the one that the models' corpora had in common, else utf-8",
    )
    batch_size: int = option(
        256, "integer", "Lines scored side by side, at most; does not change the result.", low=1, high=65536
    )
    device: str = option("cpu", "choice", "Where to compute.", choices=("cpu", "cuda", "mps"))


@dataclass(frozen=True)
class ReadOptions(Options):
    """What of a text an inspection reads."""

    split: str | None = option(
        None,
        "choice",
        "Split of the model's own corpus. Default: test, or valid where there is none.",
        choices=("train", "valid", "test"),
    )
    chars: int = option(100_000, "count", "Characters to read, from the text's beginning.", low=1)


@dataclass(frozen=True)
class SurpriseOptions(ReadOptions):
    """How the surprises of a text are shown."""

    top: int = option(
        0,
        "integer",
        "List every character, with the K symbols that were held likeliest in its place; 0 = no list.",
        low=0,
        high=100,
    )


@dataclass(frozen=True)
class CellsOptions(ReadOptions):
    """How the values of units are shown."""

    part: str = option("h", "text", "Part of the state: h, or c of an lstm, which is shown as tanh(c).")
    palette: str = option(
        "blog", "choice", "Colours of -1 and +1: blue and green, or red and blue.", choices=("blog", "paper")
    )


@dataclass(frozen=True)
class GradientOptions(ReadOptions):
    """How gradients are followed back through time."""

    window: int = option(64, "integer", "Characters that a gradient is followed back.", low=1, high=4096)
    positions: int = option(64, "integer", "Places of the text whose loss is followed back.", low=1, high=65536)
    scale_recurrent: float = option(
        1.0, "number", "Also show each model with its recurrent weights multiplied by this.", above=0, high=1000
    )
    seed: int = option(0, "integer", "Seed of the places and of the random directions.", low=0)


@dataclass(frozen=True)
class SurfaceOptions(Options):
    """The error surface of a network of one unit, and a descent on it."""

    length: int = option(50, "integer", "Steps through time of the network.", low=1, high=10_000)
    first: float = option(0.5, "number", "The state h_0 it starts from.", low=-100, high=100)
    target: float = option(0.7, "number", "What its output is to be at the end.", above=0, below=1)
    w_low: float = option(4.0, "number", "Smallest recurrent weight shown.", low=-100, high=100)
    w_high: float = option(5.6, "number", "Largest recurrent weight shown.", low=-100, high=100)
    b_low: float = option(-2.9, "number", "Smallest bias shown.", low=-100, high=100)
    b_high: float = option(-1.8, "number", "Largest bias shown.", low=-100, high=100)
    points: int = option(201, "integer", "Points of the grid along each axis.", low=2, high=1001)
    start_w: float = option(5.2, "number", "Recurrent weight at which the descents begin.", low=-100, high=100)
    start_b: float = option(-2.3, "number", "Bias at which the descents begin.", low=-100, high=100)
    rate: float = option(0.1, "number", "Learning rate of the descents.", above=0, high=1000)
    steps: int = option(200, "integer", "Steps of each descent.", low=1, high=10_000)
    clip_norm: float = option(1.0, "number", "Largest norm of the gradient of the clipped descent.", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for axis, low, high in (("w", self.w_low, self.w_high), ("b", self.b_low, self.b_high)):
            if low >= high:
                raise UsageError(f"--{axis}-low {low:g} must be below --{axis}-high {high:g}")


@dataclass(frozen=True)
class LearningOptions(Options):
    """How the courses of runs are laid side by side."""

    x: str = option("steps", "choice", "What the curves run over.", choices=("steps", "characters", "seconds"))
    samples: int = option(8, "integer", "Samples of each run side by side in the report.", low=1, high=100)


FEATURES = (
    "quotes",
    "double-quotes",
    "single-quotes",
    "triple-quotes",
    "comment",
    "brackets",
    "column",
    "indentation",
    "capitals",
    "word",
    "newline",
)
"""What of a text a unit may follow (`charlm.inspect.features`)."""


@dataclass(frozen=True)
class FindOptions(ReadOptions):
    """How units that follow a feature are found."""

    chars: int = option(200_000, "count", "Characters to read, from the text's beginning.", low=1)
    feature: str | None = option(None, "choice", "Look for this feature alone.", choices=FEATURES)
    part: str = option(
        "all", "text", "Part of the state to look at: h, another one such as the c of an lstm, through a tanh, or all."
    )
    best: int = option(3, "integer", "Units to show for each feature.", low=1, high=1000)
    shuffles: int = option(40, "integer", "Shifted features that make the baseline.", low=10, high=1000)
    seed: int = option(0, "integer", "Seed of the shifts.", low=0)


@dataclass(frozen=True)
class AblateOptions(ReadOptions):
    """How a unit is taken away."""

    chars: int = option(50_000, "count", "Characters to read, from the text's beginning.", low=1)
    feature: str | None = option(None, "choice", "Tell the loss on and off this feature alone.", choices=FEATURES)
    to: str = option("mean", "choice", "What the unit's state is held at.", choices=("mean", "zero"))


@dataclass(frozen=True)
class CompressOptions(Options):
    """How a file is compressed."""

    streams: int = option(
        AUTO,
        "integer",
        "Parts of the text that are read side by side: more are faster, and each costs some bits.",
        low=1,
        high=4096,
        auto="one for every 8192 characters, at most 64",
    )


@dataclass(frozen=True)
class CatalogueOptions(Options):
    """Which texts are known by name, and where downloaded ones lie."""

    catalogue: str | None = option(None, "text", "A catalogue of your own, a TOML file. Default: the one of charlm.")
    out: str = option("corpora", "text", "Folder in which downloaded texts lie, each in a folder NAME.")


@dataclass(frozen=True)
class GetOptions(CatalogueOptions):
    """How a text is downloaded."""

    timeout: float = option(
        30, "duration", "How long to wait for an answer, or for the next bytes.", above=0, high=86400
    )
    retries: int = option(
        4, "integer", "How often to try again where that may help, after growing pauses.", low=0, high=1000
    )


COMMANDS: dict[str, type[Options]] = {
    "prepare": PrepareOptions,
    "train": TrainOptions,
    "eval": EvalOptions,
    "sample": SampleOptions,
    "inspect surprise": SurpriseOptions,
    "inspect cells": CellsOptions,
    "inspect gradients": GradientOptions,
    "inspect surface": SurfaceOptions,
    "inspect learning": LearningOptions,
    "inspect find": FindOptions,
    "inspect ablate": AblateOptions,
    "inspect gates": ReadOptions,
    "compare": MeasureOptions,
    "compress": CompressOptions,
    "score": ScoreOptions,
    "corpora list": CatalogueOptions,
    "corpora get": GetOptions,
}
"""The option group of each command that has one; `inspect find` is a command within another."""


def read_config(path: Path, command: str, group: type[Options]) -> dict[str, Any]:
    """Read the options of one command from a TOML file.

    Keys are option names with `-` or `_`. Those in a table named after the command count ([inspect.find] for
    `charlm inspect find`), and those at the top that the command has; what another command has is left alone,
    so that commands can share a file.

    Raises:
        UsageError: the file cannot be read, is not TOML, or names an option that no command has.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--config {path} cannot be read: {reason}; it must be a TOML file") from None
    names = {name.split()[0] for name in COMMANDS}
    tables = {name for name, value in document.items() if isinstance(value, dict) and name in names}
    values = {name.replace("-", "_"): value for name, value in document.items() if name not in tables}
    foreign = {name for other in COMMANDS.values() for name in other.specs()} - set(group.specs())
    values = {name: value for name, value in values.items() if name not in foreign}
    values |= {name.replace("-", "_"): value for name, value in _table(document, command).items()}
    group.of(values, where=f" in {path}")
    return values


def _table(document: dict[str, Any], command: str) -> dict[str, Any]:
    """The table of a command, empty where there is none; that of `inspect find` lies in the one of `inspect`."""
    found: Any = document
    for word in command.split():
        found = found.get(word, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
