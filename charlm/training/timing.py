"""How fast a run is, from the seconds its parts took: what it reports, and how it lands on `--time`."""

from dataclasses import dataclass


@dataclass
class Throughput:
    """Seconds and characters of the parts of a run, for its speed and for landing on `--time`.

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
