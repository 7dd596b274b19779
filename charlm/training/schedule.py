"""The learning-rate scheduler, and the length of a run: functions of the fraction that is done."""

from dataclasses import dataclass
from math import cos, floor, pi

from charlm.config import TrainOptions

FINAL_RATE_SHARE = 0.01
"""What the cosine ends at, as a share of the highest rate; at exactly 0 the last steps would be wasted."""


@dataclass(frozen=True)
class RunLength:
    """When a run is over: after so many steps, or after so many seconds."""

    steps: int | None
    seconds: float | None = None

    def fraction_done(self, step: int, seconds: float) -> float:
        """How much is done, 0 to 1."""
        if self.seconds is not None:
            return min(1.0, seconds / self.seconds) if self.seconds > 0 else 1.0
        return min(1.0, step / self.steps) if self.steps else 1.0

    def outlasts(self, other: "RunLength") -> bool:
        """Whether it is the longer one; of steps and seconds either is."""
        if self.seconds is not None:
            return other.seconds is None or self.seconds > other.seconds
        return self.steps is not None and (other.steps is None or self.steps > other.steps)


def learning_rate(options: TrainOptions, step: int, epoch: float, share: float) -> float:
    """The learning rate of step `step`, counted from 0, with `share` of the run done before it.

    `cosine` falls along half a cosine to a hundredth (Loshchilov & Hutter 2017, without restarts);
    `step` multiplies by `decay` at the start of epoch `decay_after`, as char-rnn did, and every `decay_every`
    epochs from there on. All begin with a linear rise over `warmup` steps.
    """
    rise = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    if options.schedule == "cosine":
        fall = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + cos(pi * share))
    elif options.schedule == "step":
        fall = options.decay ** max(0, floor((epoch - options.decay_after) / options.decay_every) + 1)
    else:
        fall = 1.0
    return options.lr * rise * fall
