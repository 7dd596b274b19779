"""Options of `charlm inspect`."""

from dataclasses import dataclass

from charlm.errors import UsageError
from charlm.spec import Options, option


@dataclass(frozen=True)
class ReadOptions(Options):
    """Which part of a text is read."""

    split: str | None = option(
        None,
        "choice",
        "Split of the model's own corpus. Default: test, or valid where there is none.",
        choices=("train", "valid", "test"),
    )
    chars: int = option(100_000, "count", "Characters to read, from the text's beginning.", low=1)


@dataclass(frozen=True)
class SurpriseOptions(ReadOptions):
    """How the surprise of each character is shown."""

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
    """How gradients through time are measured."""

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
    """How learning curves are shown."""

    x: str = option("steps", "choice", "What the curves run over.", choices=("steps", "characters", "seconds"))
    samples: int = option(8, "integer", "Samples of each run side by side in the report.", low=1, high=100)


FEATURE_NAMES = (
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
"""The features of a text that a unit may follow (`charlm.inspect.features`)."""


@dataclass(frozen=True)
class FindOptions(ReadOptions):
    """How units that follow a feature are found."""

    chars: int = option(200_000, "count", "Characters to read, from the text's beginning.", low=1)
    feature: str | None = option(None, "choice", "Look for this feature alone.", choices=FEATURE_NAMES)
    part: str = option(
        "all", "text", "Part of the state to look at: h, another one such as the c of an lstm, through a tanh, or all."
    )
    best: int = option(3, "integer", "Units to show for each feature.", low=1, high=1000)
    shuffles: int = option(40, "integer", "Shifted features that make the baseline.", low=10, high=1000)
    seed: int = option(0, "integer", "Seed of the shifts.", low=0)


@dataclass(frozen=True)
class AblateOptions(ReadOptions):
    """How a unit is ablated."""

    chars: int = option(50_000, "count", "Characters to read, from the text's beginning.", low=1)
    feature: str | None = option(None, "choice", "Tell the loss on and off this feature alone.", choices=FEATURE_NAMES)
    to: str = option("mean", "choice", "What the unit's state is held at.", choices=("mean", "zero"))
