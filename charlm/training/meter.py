"""What the steps say of themselves, left on the device until it is asked for.

Reading a number from a device other than the CPU waits for everything that was asked of it before. The loss and
the gradient's norm of a step are therefore kept there, and read for several steps at once. A step whose numbers are
not finite must do no harm until then: `sound` says so on the device, and `Meter.read` says which step it was.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

MAX_UNREAD_STEPS = 16
"""Steps between two readings where reading waits."""


@dataclass(frozen=True)
class StepMetrics:
    """One step: its loss in nats per character, and the norm of its gradient before clipping."""

    nats: float
    norm: float


@dataclass
class DeferredMetrics:
    """The steps that were taken and not read yet.

    Attributes:
        capacity: how many there may be; 1 reads every step, which on the CPU costs nothing.
    """

    capacity: int
    _kept: list[Tensor] = field(default_factory=list)

    @classmethod
    def on(cls, device: torch.device) -> "DeferredMetrics":
        """The meter for a device."""
        return cls(1 if device.type == "cpu" else MAX_UNREAD_STEPS)

    @property
    def deferred(self) -> bool:
        """Whether numbers are read later than they are made."""
        return self.capacity > 1

    @property
    def full(self) -> bool:
        """Whether it is time to read."""
        return len(self._kept) >= self.capacity

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Keep the numbers of a step."""
        self._kept.append(torch.stack([loss.detach().float(), norm.detach().float()]))

    def read(self) -> list[StepMetrics]:
        """Every step since the last reading, oldest first."""
        if not self._kept:
            return []
        kept, self._kept = torch.stack(self._kept), []
        return [StepMetrics(nats, norm) for nats, norm in kept.tolist()]


def all_finite(loss: Tensor, norm: Tensor) -> Tensor:
    """Whether a step may be applied, as a boolean on the device."""
    return torch.isfinite(loss.detach()) & torch.isfinite(norm)


def zero_gradients_unless(gradients: list[Tensor], ok: Tensor) -> None:
    """Make the gradients zero, in place, where a step may not be applied.

    The optimiser may still move by what it remembers; the run ends at the next reading all the same.
    """
    for gradient in gradients:
        gradient.copy_(torch.where(ok, gradient, 0.0))
