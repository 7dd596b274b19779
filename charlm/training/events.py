"""What training tells whoever watches: one callback, called with one of these."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from pathlib import Path

from charlm.config import TrainOptions


@dataclass(frozen=True)
class Plan:
    """What a run is going to do, known before it begins.

    Attributes:
        options: every `auto` resolved.
        corpus: its name.
        parameters: of the network.
        memory: bytes for weights, gradients, optimizer and one step, about.
        symbol: what one symbol is, in a word: `character`, `byte` or `word`; losses are per symbol.
        used, dropped: symbols of the train split that batches reach, and do not.
        batches_per_epoch: steps per epoch.
        steps: in all; None where the clock decides.
        device: where it computes.
        path: the folder of the run, None in a dry run.
        first_step: where it goes on, 0 for a new run.
    """

    options: TrainOptions
    corpus: str
    symbol: str
    parameters: int
    memory: int
    used: int
    dropped: int
    batches_per_epoch: int
    steps: int | None
    device: str
    path: Path | None = None
    first_step: int = 0


@dataclass(frozen=True)
class Stepped:
    """One step was taken.

    Attributes:
        step: steps so far.
        epoch: passes over the text so far.
        share: of the run, 0 to 1.
        seconds: of the run so far.
        seconds_left: at the speed so far; None before it is known.
        nats: the loss of the last step that was read, per character; on a GPU that may be an earlier one.
        learning_rate: of this step.
        grad_norm: of the same step, before clipping.
        chars_per_second: of training alone, recently.
        due: whether this is one of the steps that `--report-every` asks for.
    """

    step: int
    epoch: float
    share: float
    seconds: float
    seconds_left: float | None
    nats: float
    learning_rate: float
    grad_norm: float
    chars_per_second: float
    due: bool


@dataclass(frozen=True)
class Evaluated:
    """The valid split, or a fixed stretch of it, was scored.

    Attributes:
        step: steps so far.
        nats: cross-entropy per character.
        characters: how many were scored.
        whole: whether that is the whole validation split, or its beginning.
        best: whether no evaluation before was better.
        train_nats: mean training loss since the last report.
    """

    step: int
    nats: float
    characters: int
    whole: bool
    best: bool
    train_nats: float | None

    @property
    def bits(self) -> float:
        """Cross-entropy in bits per character."""
        return self.nats / log(2)


@dataclass(frozen=True)
class FinalEvaluation:
    """The evaluation at the end is going on.

    Attributes:
        done, characters: scored so far, and in all.
        nats: per character so far.
        seconds_left: at the speed so far.
    """

    done: int
    characters: int
    nats: float
    seconds_left: float


@dataclass(frozen=True)
class Sampled:
    """A short sample of the model as it is."""

    step: int
    text: str


@dataclass(frozen=True)
class Notice:
    """Something chosen for the user, or that they should know."""

    text: str


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        path: the folder of the run.
        model: the best model's file.
        step: steps taken.
        seconds: spent, resumed parts added up.
        valid_nats: the best model's loss on the valid split, with `--time` perhaps on its beginning alone; None where
            there is no valid split.
        valid_characters: how many characters that is over.
        best_step: the step the best model is from.
        stopped: why it ended: `finished`, `patience`.
    """

    path: Path
    model: Path
    step: int
    seconds: float
    valid_nats: float | None
    valid_characters: int
    best_step: int
    stopped: str


Event = Plan | Stepped | Evaluated | FinalEvaluation | Sampled | Notice | Result
Report = Callable[[Event], None]
"""The one callback. What it raises ends the run; a display must not raise."""
