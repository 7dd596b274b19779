"""Throughput of a run, and the time that a `--time` run keeps for its end.

At the end the last model, and the best one unless that was done already, are scored on the whole validation split,
and everything is saved. How long that will take is estimated from what it took so far; a split that would take too
long is read in part.
"""

from dataclasses import dataclass

from charlm.training.run_folder import TrainState

MIN_TIMED_EVALUATION = 500
"""Characters for each second of `--time` that are scored once, early, to learn how long the end will take."""

TIMED_EVALUATION_STEP = 2
"""Steps before that, so that everything has run once."""

ASSUMED_DISK_SPEED = 2e8
"""Bytes a second at which a first save is expected to be written; later ones are measured."""

FINAL_SAVES = 2.0
"""The best model, the latest and the state, for which the time of one save is known."""

MAX_RESERVED_SHARE = 0.25
"""Share of `--time` that the evaluation at the end may take; of a larger valid split it reads what fits."""


def estimated_save_seconds(parameters: int) -> float:
    """Seconds that saving is expected to take before it was done once: four float32 arrays of the parameters."""
    return 4 * 4 * parameters / ASSUMED_DISK_SPEED


@dataclass
class Throughput:
    """Seconds and characters of the parts of a run, for its speed and for `--time`.

    Args:
        saved: when everything was last saved, or the run began.
        steps, characters, training: training steps that are done, their characters, and their seconds.
        recent: characters per second of late.
        evaluating: characters per second of the latest evaluation, None before there is one.
        saving: seconds of the latest save.
    """

    saved: float
    steps: int = 0
    characters: int = 0
    training: float = 0.0
    recent: float = 0.0
    evaluating: float | None = None
    saving: float = 0.0
    _open: tuple[int, int, float] = (0, 0, 0.0)

    def launched(self, characters: int, seconds: float) -> None:
        """Add a training step that was asked for; on a GPU it may not be done yet."""
        steps, before, spent = self._open
        self._open = steps + 1, before + characters, spent + seconds

    def synced(self, seconds: float) -> None:
        """Add what it took until everything that was asked for was done."""
        steps, characters, spent = self._open
        self._open = steps, characters, spent + seconds
        self.count()

    def count(self) -> None:
        """Count the steps that were asked for; the recent speed is a mean over about fifty."""
        steps, characters, seconds = self._open
        self._open = 0, 0, 0.0
        if not steps:
            return
        self.steps += steps
        self.characters += characters
        self.training += seconds
        now = characters / max(seconds, 1e-9)
        weight = min(1.0, steps * max(0.02, 1 / self.steps))
        self.recent += weight * (now - self.recent)

    def speed(self) -> float:
        """Characters per second of training alone."""
        return self.recent

    def evaluation(self, characters: int, seconds: float) -> None:
        """Note how fast the latest evaluation was."""
        self.evaluating = characters / max(seconds, 1e-9)

    def evaluation_speed(self) -> float:
        """Characters per second of evaluating; before the first, twice the training's, which is little."""
        if self.evaluating is not None:
            return self.evaluating
        return max(1.0, 2 * self.characters / self.training) if self.training > 0 else 1e9


@dataclass(frozen=True)
class TimeBudget:
    """Time kept for the end of a run.

    Args:
        seconds: of the whole run, None if the clock does not decide.
        final_characters: of the validation split.
        throughput: how fast things go.
    """

    seconds: float | None
    final_characters: int
    throughput: Throughput

    def final_eval(self, state: TrainState) -> tuple[int, int]:
        """How many characters decide at the end, and how many models must be scored on them.

        The last one is; and the best so far, unless it was scored on the whole split already.
        """
        if self.seconds is None:
            return self.final_characters, 2
        affordable = int(MAX_RESERVED_SHARE * self.seconds * self.throughput.evaluation_speed())
        if state.best_nats is None or state.best_characters == self.final_characters <= affordable:
            return min(self.final_characters, max(1, affordable)), 1
        return min(self.final_characters, max(1, affordable // 2)), 2

    def reserve(self, state: TrainState) -> float:
        """Seconds to set aside."""
        reads, evaluations = self.final_eval(state)
        return FINAL_SAVES * self.throughput.saving + reads * evaluations / self.throughput.evaluation_speed()

    def fraction_used(self, seconds: float, state: TrainState) -> float:
        """How much of the time before the end is used, 0 to 1."""
        usable = (self.seconds or 0.0) - self.reserve(state)
        return min(1.0, seconds / usable) if usable > 0 else 1.0

    def can_evaluate(self, characters: int, seconds: float, state: TrainState) -> bool:
        """Whether an evaluation of so many characters fits before the end."""
        takes = characters / self.throughput.evaluation_speed()
        return (self.seconds or 0.0) - self.reserve(state) - seconds > takes
