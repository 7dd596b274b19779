"""How surprised a network is by a text: nats summed first, divided last.

A text is N + 1 symbols of which the first, the boundary, is input only; the N that follow are each
scored exactly once. Two protocols:

- *segments*, the default: the text is cut into segments of `SEGMENT` symbols that run side by side,
  each warmed up on the `WARM_UP` symbols before it (the first starts cold, from the boundary). What
  a segment scores depends on the text alone, not on how many run beside it. A warm-up begins in the
  way that the network learned to begin (`charlm.training.step`): after a boundary, or in mid-text where
  documents end within its train split, so that a boundary there means the start of one.
- *exact*: one pass, the state carried through the whole text.

A bidirectional network scores each symbol given all others (`charlm.evaluation.bidirectional`): then a segment is
warmed up from both sides, and the exact protocol carries a state from each end.

What is left out: which text (`charlm.evaluation.evaluate`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.data.memmap import PageReleaser
from charlm.evaluation.bidirectional import WINDOW as WINDOW
from charlm.evaluation.bidirectional import read_from_right, right_symbols, score_segments
from charlm.evaluation.block_losses import BlockLosses
from charlm.model.network import Network, States, reset_states
from charlm.tokenizers.vocabulary import BOUNDARY

SEGMENT = 1024
"""Symbols scored by one segment."""

WARM_UP = 256
"""Symbols read before a segment to bring the state up; costs a quarter more time."""

ROOM = 1 << 28
"""Bytes that the logits of a window may take, and what is made of them: of a large table fewer segments run at once."""


@dataclass(frozen=True)
class Score:
    """A sum of surprises.

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


Progress = Callable[[int, float], None]
"""Called with the characters scored so far and the sum of their nats."""

Losses = tuple[np.ndarray, Tensor]
"""Places (T,) in the text, counted from the first symbol that is scored, and the losses (T,) there."""


def score(
    network: Network,
    ids: np.ndarray,
    *,
    exact: bool = False,
    bounded: bool = True,
    batch: int = 64,
    part: tuple[int, int] = (0, 1),
    pieces: BlockLosses | None = None,
    progress: Progress | None = None,
) -> Score:
    """Score a text, or a part of it.

    Args:
        network: used as it is; neither its weights nor any state of it change.
        ids: (N + 1,) symbols, the boundary first.
        exact: carry the state through the whole text instead of scoring segments.
        bounded: whether a warm-up begins with a boundary.
        batch: segments side by side, at most; fewer where the table is large (`side_by_side`).
        part: which of how many parts to score; all parts together score every symbol once. Not with `exact`.
        pieces: filled with the nats of pieces of the text, with those of the part alone.
        progress: told how many characters are done, and their nats.
    """
    nats, done, pages = 0.0, 0, PageReleaser(ids)
    with torch.inference_mode():
        for run in _runs(network, ids, exact, bounded, max_segments(network.vocab_size, batch), part):
            for places, found in run:
                losses = found.cpu().double()  # mps has no float64
                nats += float(losses.sum())
                if pieces is not None:
                    pieces.add(places, losses.numpy())
                done += losses.numel()
                pages.advance(losses.numel())
                if progress is not None:
                    progress(done, nats)
    return Score(nats, done)


def _runs(
    network: Network, ids: np.ndarray, exact: bool, bounded: bool, batch: int, part: tuple[int, int]
) -> Iterator[Iterator[Losses]]:
    """What is to be scored, a run of windows after the other."""
    characters, both = len(ids) - 1, network.options.bidirectional
    if exact:
        yield (_exact_from_both if both else _exact)(network, ids)
        return
    starts = np.array_split(np.arange(0, characters, SEGMENT), part[1])[part[0]]
    if both:
        last = starts + SEGMENT + WARM_UP > characters
        yield from (_segments_from_both(network, ids, row[None], bounded) for row in starts[last])
        starts = starts[~last]
    for first in range(0, len(starts), batch):
        segments = _segments_from_both if both else _segments
        yield segments(network, ids, starts[first : first + batch], bounded)


def max_segments(vocabulary: int, batch: int) -> int:
    """How many segments run at once: no more than were asked for, nor than `ROOM` is for with V symbols."""
    return max(1, min(batch, ROOM // (4 * WINDOW * 3 * vocabulary)))


def _segments(network: Network, ids: np.ndarray, starts: np.ndarray, bounded: bool) -> Iterator[Losses]:
    """Losses of segments that run side by side, WINDOW symbols of each at a time."""
    states = _warm(network, ids, starts, bounded)
    characters = len(ids) - 1
    for offset in range(0, SEGMENT, WINDOW):
        positions = starts[None, :] + np.arange(offset, min(offset + WINDOW, SEGMENT))[:, None]
        if positions[0, 0] >= characters:
            return
        inside = positions < characters
        states, losses = _window(network, ids, np.minimum(positions, characters - 1), states)
        yield positions[inside], losses[torch.from_numpy(inside).to(losses.device)]


def _warm(network: Network, ids: np.ndarray, starts: np.ndarray, bounded: bool) -> States:
    """States (B, H) after the WARM_UP symbols before each start; zeros for the one that starts the text."""
    states = network.initial_state(len(starts))
    if starts[-1] == 0:
        return states
    for offset in range(-WARM_UP, 0, WINDOW):
        positions = starts[None, :] + np.arange(offset, min(offset + WINDOW, 0))[:, None]
        before = ids[np.maximum(positions, 0)]
        if bounded and offset == -WARM_UP:
            before[0] = BOUNDARY
        _, states = network.run_layers(network.to_tensor(before), states)
    return reset_states(states, torch.from_numpy(starts == 0).to(network.device))


def _exact_from_both(network: Network, ids: np.ndarray) -> Iterator[Losses]:
    """Losses of the whole text as one stretch, which a state comes to from each end."""
    cold = network.initial_state(1)
    return _flat(score_segments(network, ids, np.zeros(1, np.int64), len(ids) - 1, cold, cold))


def _segments_from_both(network: Network, ids: np.ndarray, starts: np.ndarray, bounded: bool) -> Iterator[Losses]:
    """Losses of segments of one length that run side by side, each warmed up from both sides."""
    size = min(SEGMENT, len(ids) - 1 - int(starts[-1]))
    left, right = _warm(network, ids, starts, bounded), _warm_from_right(network, ids, starts + size, bounded)
    return _flat(score_segments(network, ids, starts, size, left, right))


def _warm_from_right(network: Network, ids: np.ndarray, ends: np.ndarray, bounded: bool) -> States:
    """States (B, H) after the WARM_UP symbols behind each end, or those that there are."""
    states = network.initial_state(len(ends))
    length = min(WARM_UP, len(ids) - 1 - int(ends[-1]))
    for offset in reversed(range(0, length, WINDOW)):
        places = ends[None, :] + np.arange(offset, min(offset + WINDOW, length))[:, None] + 1
        read = right_symbols(ids, places)
        if bounded and offset + WINDOW >= length:
            read[-1] = BOUNDARY
        _, states = read_from_right(network, read, states)
    return states


def _flat(windows: Iterator[Losses]) -> Iterator[Losses]:
    """Places and losses (T, B) in one row."""
    return ((places.ravel(), losses.flatten()) for places, losses in windows)


def _exact(network: Network, ids: np.ndarray) -> Iterator[Losses]:
    states = network.initial_state(1)
    for first in range(0, len(ids) - 1, WINDOW):
        positions = np.arange(first, min(first + WINDOW, len(ids) - 1))[:, None]
        states, losses = _window(network, ids, positions, states)
        yield positions[:, 0], losses[:, 0]


def _window(network: Network, ids: np.ndarray, positions: np.ndarray, states: States) -> tuple[States, Tensor]:
    """Read the symbols at `positions` (T, B); the losses (T, B) are of the symbols after them."""
    return symbol_losses(network, ids[positions], ids[positions + 1], states)


def symbol_losses(network: Network, read: np.ndarray, targets: np.ndarray, states: States) -> tuple[States, Tensor]:
    """Read a window of symbols.

    Args:
        network: used as it is.
        read, targets: (T, B) symbols, and those that follow each.
        states: before the window.

    Returns:
        The states after it, and the nats (T, B) of each target.
    """
    logits, states = network(network.to_tensor(read), states)
    wanted = network.to_tensor(targets)
    losses = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), reduction="none")
    return states, losses.view(wanted.shape)
