"""One step of truncated back-propagation through time: a chunk of T characters of each of B sequences.

    logits, states = network(inputs, states)          the states are carried from chunk to chunk,
    loss = cross_entropy(logits, targets)             in nats per character,
    loss.backward()                                   through this chunk only: cut off at its first character
    clip, all-reduce, optimizer step

Some sequences begin a chunk from the zero state, as a text does: a network that only ever carries its state does not
learn to begin. Not here: when to read losses, to validate, to save and to stop (`charlm.training.trainer`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from charlm.config import TrainOptions
from charlm.model.network import DropoutMasks, Network, RightContext, States, reset_states
from charlm.model.parameters import REVERSE
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.tokenizers.vocabulary import BOUNDARY
from charlm.training import dropout
from charlm.training.cuda_graph import CudaGraphRunner
from charlm.training.data_loader import DataLoader, to_device
from charlm.training.optimizer import clip_gradients, set_learning_rate

MAX_UNREAD_STEPS = 16
"""Steps between two readings on a device where reading a number waits for everything before it."""


@dataclass(frozen=True)
class StepMetrics:
    """What is known of one step.

    Attributes:
        step: counted from 1.
        nats: the loss, per character.
        grad_norm: of the gradient before clipping.
    """

    step: int
    nats: float
    grad_norm: float

    @property
    def finite(self) -> bool:
        """Whether the step may be applied."""
        return isfinite(self.nats) and isfinite(self.grad_norm)


@dataclass
class DeferredMetrics:
    """The metrics of steps that were not read yet; they stay on the device until then.

    Reading a number from a GPU waits for everything that was asked of it before, so several steps are read together.
    A step that is not finite must do no harm until then: see `zero_gradients_unless`.

    Attributes:
        capacity: steps that may be unread; 1 reads every step, which costs nothing on the CPU.
    """

    capacity: int
    _unread: list[tuple[int, Tensor]] = field(default_factory=list)

    @classmethod
    def for_device(cls, device: torch.device) -> "DeferredMetrics":
        """The metrics of a network on that device."""
        return cls(1 if device.type == "cpu" else MAX_UNREAD_STEPS)

    @property
    def deferred(self) -> bool:
        """Whether numbers are read later than they are made."""
        return self.capacity > 1

    @property
    def unread(self) -> int:
        """How many steps were not read yet."""
        return len(self._unread)

    @property
    def full(self) -> bool:
        """Whether it is time to read."""
        return self.unread >= self.capacity

    def add(self, step: int, loss: Tensor, grad_norm: Tensor) -> None:
        """Keep the metrics of a step, both scalars on the device."""
        self._unread.append((step, torch.stack([loss.detach().float(), grad_norm.detach().float()])))

    def read(self) -> list[StepMetrics]:
        """Every step since the last reading, oldest first."""
        if not self._unread:
            return []
        steps, numbers = zip(*self._unread, strict=True)
        self._unread = []
        rows = torch.stack(numbers).tolist()
        return [StepMetrics(step, nats, norm) for step, (nats, norm) in zip(steps, rows, strict=True)]


def all_finite(loss: Tensor, grad_norm: Tensor) -> Tensor:
    """Whether both are finite numbers, as a boolean on their device."""
    return torch.isfinite(loss.detach()) & torch.isfinite(grad_norm)


def zero_gradients_unless(gradients: list[Tensor], finite: Tensor) -> None:
    """Make the gradients zero in place if the step is not finite, without waiting for the device.

    The optimizer may still move the weights by its momentum; the run ends at the next reading all the same.
    """
    for gradient in gradients:
        gradient.copy_(torch.where(finite, gradient, 0.0))


@dataclass(frozen=True)
class RightBatch:
    """What a bidirectional network reads to the right of a chunk of T characters.

    Attributes:
        further: (T, B) int64, what its reverse layers read before, from further to the right.
        ids: (T, B) int64, the symbol behind each target; the last one first.
        resets: (B,) booleans, the sequences that begin there without what was read before.
    """

    further: Tensor
    ids: Tensor
    resets: Tensor


StepOutput = tuple[Tensor, Tensor, States]
"""The loss and the norm of the gradient of a chunk, scalars, and the states after it."""


@dataclass
class TrainStep:
    """The network that learns, with all that a step needs.

    Attributes:
        network, optimizer: what changes.
        loader: inputs and targets of every step.
        has_ends: whether documents end within the text, so that it teaches the boundary by itself.
        options: every `auto` resolved.
        group: the processes that train together, each with its share of the sequences.
        notify: called with a line about what makes steps slower than they could be.
    """

    network: Network
    optimizer: Optimizer
    loader: DataLoader
    has_ends: bool
    options: TrainOptions
    group: ProcessGroup = SINGLE_PROCESS
    notify: Callable[[str], None] = lambda line: None
    metrics: DeferredMetrics = field(init=False)
    _weights: list[Tensor] = field(init=False)
    _random: dropout.StepRandom = field(init=False)
    _dropout: DropoutMasks = field(init=False)
    _resets: dropout.StateResets = field(init=False)
    _right_resets: dropout.StateResets = field(init=False)
    _cuda_graph: CudaGraphRunner[StepOutput] | None = field(init=False)

    def __post_init__(self) -> None:
        device, batch_size = self.network.device, self.options.batch_size
        self.metrics = DeferredMetrics.for_device(device)
        self._weights = list(self.network.parameters())
        self._random = dropout.StepRandom(self.options.seed)
        self._dropout = self._dropout_masks()
        drawn = self.options.cold_starts, self.options.seed, batch_size, self.group.own_slice(batch_size)
        self._resets, self._right_resets = dropout.StateResets(*drawn), dropout.StateResets(*drawn, REVERSE)
        # What several GPUs exchange cannot be captured.
        captures = device.type == "cuda" and self.group.world_size == 1
        self._cuda_graph = CudaGraphRunner(self._weights, self.notify) if captures else None

    def zero_states(self) -> States:
        """The states (B, H) of this process' sequences at the start of a text."""
        return self.network.initial_state(self.options.batch_size // self.group.world_size)

    def states_before(self, step: int, inputs: Tensor, carried: States) -> States:
        """The states that a chunk begins with: those carried, but zero at a new epoch and for some sequences.

        A sequence that is reset reads a boundary first, unless the text itself has boundaries; `inputs` (T, B) is
        changed in place.
        """
        states = self.zero_states() if self.loader.batches.starts_epoch(step) else carried
        resets = self._resets.at(step)
        if resets is None:
            return states
        mask = to_device(resets, self.network.device)
        if not self.has_ends:
            inputs[0].masked_fill_(mask, BOUNDARY)
        return reset_states(states, mask)

    def forward_backward(self, step: int, inputs: Tensor, targets: Tensor, states: States) -> StepOutput:
        """Leave the clipped gradient of a chunk in the weights; `update` applies it.

        Args:
            step: counted from 0; dropout follows from it.
            inputs, targets: (T, B) int64.
            states: before the chunk.

        Returns:
            Loss, norm of the gradient before clipping, and the states after the chunk, detached.
        """
        right = self._right_batch(step) if self.network.options.bidirectional else None
        self._random.seek(step)
        if self._cuda_graph is None:
            return self._forward_backward(inputs, targets, states, right)
        return self._cuda_graph(self._forward_backward, inputs, targets, states, right)

    def update(self, learning_rate: float) -> None:
        """Take a step of the optimizer."""
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.step()
        for weight in self._weights:
            weight.grad = None

    def _forward_backward(
        self, inputs: Tensor, targets: Tensor, before: States, right: RightBatch | None
    ) -> StepOutput:
        right_context = None if right is None else self._right_states(right)
        with self._autocast():
            logits, after = self.network(inputs, before, self._dropout, right_context)
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        (loss * self.options.seq_len if self.options.window_loss == "sum" else loss).backward()
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        loss = self.group.all_reduce_mean_(gradients, loss)
        norm = clip_gradients(gradients, self.options)
        if self.metrics.deferred:
            finite = all_finite(loss, norm)
            zero_gradients_unless(gradients, finite)
            after = [
                tuple(torch.where(finite, new, old) for new, old in zip(state, earlier, strict=True))
                for state, earlier in zip(after, before, strict=True)
            ]
        return loss.detach(), norm, [tuple(tensor.detach() for tensor in state) for state in after]

    def _right_batch(self, step: int) -> RightBatch:
        """What is read from the right; some sequences are reset there, and those that reach the end of the text."""
        ids, at_end = self.loader.right_context(step)
        further, ids = ids.tensor_split([self.options.seq_len])
        if not self.has_ends:
            further[0].fill_(BOUNDARY)
        drawn = self._right_resets.at(step)
        resets = at_end if drawn is None else at_end | to_device(drawn, self.network.device)
        if not self.has_ends:
            ids[0].masked_fill_(resets, BOUNDARY)
        return RightBatch(further, ids, resets)

    def _right_states(self, right: RightBatch) -> RightContext:
        """The symbols behind the targets, and the state that comes from there.

        It is the state of the chunk to the right, read without a gradient and begun as a text is; nothing comes from
        further away.
        """
        with torch.no_grad(), self._autocast():
            _, states = self.network.run_layers(
                right.further, self.network.initial_state(right.ids.shape[1]), side=REVERSE
            )
        return RightContext(right.ids, reset_states(states, right.resets))

    def _dropout_masks(self) -> DropoutMasks:
        options, random, part = self.options, self._random, (self.group.rank, self.group.world_size)
        return DropoutMasks(
            activations=dropout.dropout_masks(
                options.dropout, random, part=part, locked=options.dropout_kind == "locked"
            ),
            weights=dropout.dropout_masks(options.weight_drop, random, "weights "),
            symbols=dropout.dropout_masks(options.embedding_dropout, random, "symbols "),
        )

    def _autocast(self) -> torch.autocast:
        enabled = self.options.precision == "bfloat16"
        return torch.autocast(self.network.device.type, torch.bfloat16, enabled=enabled)
