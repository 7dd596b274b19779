"""The cross-entropy of a network on a text: nats summed first, divided last.

A text is N + 1 symbols of which the first, the boundary, is input only; the N that follow are each
scored exactly once. Two protocols:

- *segments*, the default: the text is cut into segments of `SEGMENT_SYMBOLS` symbols that run side by side,
  each warmed up on the symbols before it (`charlm.evaluation.warm_up`; the first starts from the zero
  state). What a segment scores depends on the text alone, not on how many run side by side.
- *exact*: one pass, the state carried through the whole text.

A bidirectional network scores each symbol given all others (`charlm.evaluation.bidirectional`): then a segment is
warmed up from both sides, and the exact protocol carries a state from each end.

Not here: which text (`charlm.evaluation.evaluate`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.callbacks import ScoreProgressFn
from charlm.data.memmap import PageReleaser
from charlm.evaluation.bidirectional import CHUNK_SYMBOLS as CHUNK_SYMBOLS
from charlm.evaluation.bidirectional import read_from_right, right_symbols, score_segments
from charlm.evaluation.block_losses import BlockLosses
from charlm.evaluation.warm_up import WARM_UP_SYMBOLS, warm_up_ids
from charlm.model.network import Network, States, reset_states
from charlm.runtime.distributed import ProcessGroup
from charlm.tokenizers.vocabulary import BOUNDARY

SEGMENT_SYMBOLS = 1024
"""Symbols scored by one segment."""

MAX_LOGITS_BYTES = 1 << 28
"""Bytes that the logits of a chunk may take, and what is made of them: with a large vocabulary fewer segments run at
once."""


@dataclass(frozen=True)
class Score:
    """A sum of losses.

    Attributes:
        nats: summed over the characters.
        characters: how many, document ends included.
    """

    nats: float
    characters: int

    @property
    def nats_per_char(self) -> float:
        """Cross-entropy in nats per character."""
        return self.nats / self.characters

    @property
    def bits_per_char(self) -> float:
        """Cross-entropy in bits per character: nats / ln 2."""
        return self.nats_per_char / log(2)

    @property
    def perplexity(self) -> float:
        """e to the nats per character; infinite beyond float64."""
        return exp(self.nats_per_char) if self.nats_per_char < 709 else inf

    def summed_over(self, group: ProcessGroup) -> "Score":
        """The score of all the shards that the processes scored."""
        nats, characters = group.all_reduce_sum(np.array([self.nats, self.characters]))
        return Score(float(nats), int(characters))


Losses = tuple[np.ndarray, Tensor]
"""Positions (T,) in the text, counted from the first symbol that is scored, and the losses (T,) there."""


def score(
    network: Network,
    ids: np.ndarray,
    *,
    exact: bool = False,
    starts_at_boundary: bool = True,
    batch_size: int = 64,
    shard: tuple[int, int] = (0, 1),
    block_losses: BlockLosses | None = None,
    progress: ScoreProgressFn | None = None,
) -> Score:
    """Score a text, or a shard of it.

    Args:
        network: used as it is; neither its weights nor any state of it change.
        ids: (N + 1,) symbols, the boundary first.
        exact: carry the state through the whole text instead of scoring segments.
        starts_at_boundary: whether a warm-up begins with a boundary.
        batch_size: segments side by side, at most; see `max_segments`.
        shard: which of how many shards to score; all together score every symbol once. Ignored with `exact`.
        block_losses: filled with the losses of blocks of the text, with those of the shard alone.
        progress: called with how many characters are done, and their nats.
    """
    nats, done, pages = 0.0, 0, PageReleaser(ids)
    batch_size = max_segments(network.vocab_size, batch_size)
    with torch.inference_mode():
        for positions, tensor in _losses(network, ids, exact, starts_at_boundary, batch_size, shard):
            losses = tensor.cpu().double()  # mps has no float64
            nats += float(losses.sum())
            if block_losses is not None:
                block_losses.add(positions, losses.numpy())
            done += losses.numel()
            pages.advance(losses.numel())
            if progress is not None:
                progress(done, nats)
    return Score(nats, done)


def max_segments(vocab_size: int, batch_size: int) -> int:
    """How many segments run at once: `batch`, or fewer if their logits would take more than `MAX_LOGITS_BYTES`."""
    return max(1, min(batch_size, MAX_LOGITS_BYTES // (4 * CHUNK_SYMBOLS * 3 * vocab_size)))


def _losses(
    network: Network, ids: np.ndarray, exact: bool, starts_at_boundary: bool, batch_size: int, shard: tuple[int, int]
) -> Iterator[Losses]:
    """The losses of the text, or of a shard of its segments, a chunk at a time; the exact protocol has one segment."""
    characters, both = len(ids) - 1, network.options.bidirectional
    starts, size = np.zeros(1, np.int64), characters
    if not exact:
        starts, size = np.array_split(np.arange(0, characters, SEGMENT_SYMBOLS), shard[1])[shard[0]], SEGMENT_SYMBOLS
    losses = _segments_from_both if both else _segments
    if both:  # those near the end are shorter, or have less behind them
        near_end = starts + size + WARM_UP_SYMBOLS > characters
        for start in starts[near_end]:
            yield from losses(network, ids, start[None], size, starts_at_boundary)
        starts = starts[~near_end]
    for first in range(0, len(starts), batch_size):
        yield from losses(network, ids, starts[first : first + batch_size], size, starts_at_boundary)


def _segments(
    network: Network, ids: np.ndarray, starts: np.ndarray, size: int, starts_at_boundary: bool
) -> Iterator[Losses]:
    """Losses of segments that run side by side, CHUNK_SYMBOLS of each at a time."""
    states = _warm_up(network, ids, starts, starts_at_boundary)
    characters = len(ids) - 1
    for offset in range(0, size, CHUNK_SYMBOLS):
        positions = starts + np.arange(offset, min(offset + CHUNK_SYMBOLS, size))[:, None]
        if positions[0, 0] >= characters:
            return
        inside = positions < characters
        clipped = np.minimum(positions, characters - 1)
        states, losses = symbol_losses(network, ids[clipped], ids[clipped + 1], states)
        yield positions[inside], losses[torch.from_numpy(inside).to(losses.device)]


def _warm_up(network: Network, ids: np.ndarray, starts: np.ndarray, starts_at_boundary: bool) -> States:
    """States (B, H) after the warm-up before each start; zeros for the one that starts the text."""
    states = network.initial_state(len(starts))
    if starts[-1] == 0:
        return states
    before = warm_up_ids(ids, starts, starts_at_boundary)
    for first in range(0, WARM_UP_SYMBOLS, CHUNK_SYMBOLS):
        _, states = network.run_layers(network.to_tensor(before[first : first + CHUNK_SYMBOLS]), states)
    return reset_states(states, torch.from_numpy(starts == 0).to(network.device))


def _segments_from_both(
    network: Network, ids: np.ndarray, starts: np.ndarray, size: int, starts_at_boundary: bool
) -> Iterator[Losses]:
    """Losses of segments of one length that run side by side, each warmed up from both sides."""
    size = min(size, len(ids) - 1 - int(starts[-1]))
    left = _warm_up(network, ids, starts, starts_at_boundary)
    right = _warm_up_from_right(network, ids, starts + size, starts_at_boundary)
    return score_segments(network, ids, starts, size, left, right)


def _warm_up_from_right(network: Network, ids: np.ndarray, ends: np.ndarray, starts_at_boundary: bool) -> States:
    """States (B, H) after the warm-up behind each end, or as many symbols as there are."""
    states = network.initial_state(len(ends))
    length = min(WARM_UP_SYMBOLS, len(ids) - 1 - int(ends[-1]))
    for offset in reversed(range(0, length, CHUNK_SYMBOLS)):
        positions = ends + np.arange(offset, min(offset + CHUNK_SYMBOLS, length))[:, None] + 1
        behind = right_symbols(ids, positions)
        if starts_at_boundary and offset + CHUNK_SYMBOLS >= length:
            behind[-1] = BOUNDARY
        _, states = read_from_right(network, behind, states)
    return states


def symbol_losses(network: Network, inputs: np.ndarray, targets: np.ndarray, states: States) -> tuple[States, Tensor]:
    """Read a chunk of symbols.

    Args:
        network: used as it is.
        inputs, targets: (T, B) symbols, and those that follow each.
        states: before the chunk.

    Returns:
        The states after it, and the nats (T, B) of each target.
    """
    logits, states = network(network.to_tensor(inputs), states)
    target_ids = network.to_tensor(targets)
    losses = F.cross_entropy(logits.flatten(0, 1).float(), target_ids.flatten(), reduction="none")
    return states, losses.view(target_ids.shape)
