"""A step of truncated back-propagation through time: one window of T characters in B lanes.

    logits, state = network(inputs, state)            the state is carried from window to window,
    loss = cross-entropy(logits, targets)             in nats per character,
    gradient of the loss through this window only     and cut off here
    clip, step

Some lanes begin a window cold, as a text does: a network that only ever carries its state does not learn to begin.
What is left out: when to read the losses, to evaluate, to save and to end (`charlm.training.trainer`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from charlm.config import TrainOptions
from charlm.data.batches import Batches
from charlm.model.network import DropoutMasks, Network, RightContext, States, reset_states
from charlm.model.parameters import REVERSE
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.tokenizers.vocabulary import BOUNDARY
from charlm.training import dropout, step
from charlm.training.cuda_graph import CudaGraphRunner
from charlm.training.data_loader import DataLoader, to_device
from charlm.training.optimizer import apply_gradients, clip_gradients, set_learning_rate

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
    def for_device(cls, device: torch.device) -> "DeferredMetrics":
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


@dataclass(frozen=True)
class RightBatch:
    """What a bidirectional network reads from the right of a window of T characters.

    Attributes:
        further: (T, B) int64, what its other stack reads before, from further to the right.
        ids: (T, B) int64, the symbol behind each that is to be predicted; the last one first.
        cold: (B,) booleans, the lanes that begin without what was read before.
    """

    further: Tensor
    ids: Tensor
    cold: Tensor


StepOutput = tuple[Tensor, Tensor, States]
"""The loss and the norm of the gradient of a window, scalars, and the states behind it."""


@dataclass
class TrainStep:
    """A network that learns, window by window.

    Attributes:
        network, optimizer: what changes.
        lanes: the train split.
        has_ends: whether documents end within it, so that it teaches the boundary by itself.
        options: every `auto` resolved.
        states: carried from window to window.
        ranks: the processes that train together, a part of the lanes each.
        tell: told what makes steps slower than they could be.
        meter: losses and norms of the steps that were not read yet.
    """

    network: Network
    optimizer: Optimizer
    batches: Batches
    has_ends: bool
    options: TrainOptions
    states: States
    group: ProcessGroup = SINGLE_PROCESS
    tell: Callable[[str], None] = lambda why: None
    step: DeferredMetrics = field(init=False)
    _loader: DataLoader = field(init=False)
    _weights: list[Tensor] = field(init=False)
    _random: dropout.StepRandom = field(init=False)
    _dropout: DropoutMasks = field(init=False)
    _resets: dropout.StateResets = field(init=False)
    _right_resets: dropout.StateResets = field(init=False)
    _cuda_graph: CudaGraphRunner[StepOutput] | None = field(init=False)
    _next_states: States = field(init=False)

    def __post_init__(self) -> None:
        self.meter = DeferredMetrics.for_device(self.network.device)
        self._weights = list(self.network.parameters())
        self._loader = DataLoader(self.batches, self.network.device)
        self._random = dropout.StepRandom(self.options.seed)
        self._dropout = self._dropout_masks()
        batch = self.batches.batch_size
        drawn = self.options.cold_starts, self.options.seed, batch, self.group.own_slice(batch)
        self._resets, self._right_resets = dropout.StateResets(*drawn), dropout.StateResets(*drawn, REVERSE)
        # What several GPUs say to one another is not recorded.
        recorded = self.network.device.type == "cuda" and self.group.world == 1
        self._cuda_graph = CudaGraphRunner(self._weights, self.tell) if recorded else None
        self._next_states = self.states

    def forward_backward(self, number: int) -> None:
        """The clipped gradient of a window, whose loss and norm go to the meter; `apply` is to follow."""
        inputs, targets = self._loader.batch(number)
        before = self._states_before(number, inputs)
        right = self._right_batch(number) if self.network.options.bidirectional else None
        self._random.seek(number)
        if self._cuda_graph is None:
            loss, norm, self._next_states = self._forward_backward(inputs, targets, before, right)
        else:
            loss, norm, self._next_states = self._cuda_graph(self._forward_backward, inputs, targets, before, right)
        self.meter.add(loss, norm)

    def update(self, learning_rate: float) -> None:
        """Move the weights by the gradient, and the states to the end of its window."""
        set_learning_rate(self.optimizer, learning_rate)
        apply_gradients(self.optimizer)
        for weight in self._weights:
            weight.grad = None
        self.states = self._next_states

    def _forward_backward(
        self, inputs: Tensor, targets: Tensor, before: States, right: RightBatch | None
    ) -> StepOutput:
        """Forward, back, and clip; where numbers are read later, a step that is not sound is made one of nothing."""
        behind = None if right is None else self._right_states(right)
        with self._autocast():
            logits, after = self.network(inputs, before, self._dropout, behind)
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        (loss * self.batches.seq_len if self.options.window_loss == "sum" else loss).backward()
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        loss = self.group.all_reduce_mean_(gradients, loss)
        norm = clip_gradients(gradients, self.options)
        if self.meter.deferred:
            ok = step.all_finite(loss, norm)
            step.zero_gradients_unless(gradients, ok)
            after = [
                tuple(torch.where(ok, part, old) for part, old in zip(state, earlier, strict=True))
                for state, earlier in zip(after, before, strict=True)
            ]
        return loss.detach(), norm, [tuple(part.detach() for part in state) for state in after]

    def _states_before(self, number: int, inputs: Tensor) -> States:
        """What a window begins with; lanes that begin cold read a boundary where the text has none."""
        states = self.states
        if self.batches.starts_epoch(number):
            states = self.network.initial_state(self.batches.batch_size // self.group.world)
        drawn = self._resets.at(number)
        if drawn is None:
            return states
        cold = to_device(drawn, self.network.device)
        if not self.has_ends:
            inputs[0].masked_fill_(cold, BOUNDARY)
        return reset_states(states, cold)

    def _right_batch(self, number: int) -> RightBatch:
        """What is read from the right; some lanes begin cold there, and those that come to the end of the text."""
        ids, at_end = self._loader.right_context(number)
        further, ids = ids.tensor_split([self.batches.seq_len])
        if not self.has_ends:
            further[0].fill_(BOUNDARY)
        drawn = self._right_resets.at(number)
        cold = at_end if drawn is None else at_end | to_device(drawn, self.network.device)
        if not self.has_ends:
            ids[0].masked_fill_(cold, BOUNDARY)
        return RightBatch(further, ids, cold)

    def _right_states(self, right: RightBatch) -> RightContext:
        """The symbols behind those of a window, and the state that comes from there.

        That is the state of the window behind this one, read without a gradient, which begins as a text does; from
        further away nothing comes.
        """
        with torch.no_grad(), self._autocast():
            _, states = self.network.run_layers(
                right.further, self.network.initial_state(right.ids.shape[1]), side=REVERSE
            )
        return RightContext(right.ids, reset_states(states, right.cold))

    def _dropout_masks(self) -> DropoutMasks:
        options, noise, own = self.options, self._random, (self.group.rank, self.group.world)
        return DropoutMasks(
            activations=dropout.dropout_masks(
                options.dropout, noise, part=own, locked=options.dropout_kind == "locked"
            ),
            weights=dropout.dropout_masks(options.weight_drop, noise, "weights "),
            symbols=dropout.dropout_masks(options.embedding_dropout, noise, "symbols "),
        )

    def _autocast(self) -> torch.autocast:
        wanted = self.options.precision == "bfloat16"
        return torch.autocast(self.network.device.type, torch.bfloat16, enabled=wanted)
