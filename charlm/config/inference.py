"""Options of scoring, sampling and compressing with a model."""

from dataclasses import dataclass

from charlm.errors import UsageError
from charlm.spec import AUTO, Options, option


@dataclass(frozen=True)
class MeasureOptions(Options):
    """How a text is scored by one model or several."""

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
    """How a text is scored, and with which baselines."""

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
    """How text is sampled."""

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
    cloze: bool = option(
        False,
        "switch",
        "Fill the gaps of each line with what the model finds likeliest, given all that is known of it.",
    )
    gap: str = option("_", "text", "What stands for one missing character (byte, word) with --cloze.")
    batch_size: int = option(
        256, "integer", "Lines scored side by side, at most; does not change the result.", low=1, high=65536
    )
    device: str = option("cpu", "choice", "Where to compute.", choices=("cpu", "cuda", "mps"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gap != self.default("gap") and not self.cloze:
            raise UsageError(f"--gap {self.gap} is what --cloze fills; add --cloze, or leave it out")


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
