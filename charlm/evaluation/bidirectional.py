"""The loss of a bidirectional network on each symbol of a text, given all others on both sides of it.

A text is N + 1 symbols, the boundary first. The symbol at position p is predicted from 0 … p - 1, read from the left,
and from N … p + 1, read from the right; behind the text is a boundary too. One reading needs the state from the left
end, the other that from the right end. So the text is read from the right first, and the states are kept at some
positions; then it is read from the left a block at a time, and each block from its right end once more. That takes
half as long again, and memory that grows with the text only by a state every `BLOCK_SYMBOLS` symbols.

The sum over a text is a pseudo-likelihood (Besag 1975), not the likelihood of the text: each symbol is predicted by
help of the others, and these by help of it. It is no code length, and not comparable to that of other models.

Not here: which segments of a text, and what is read before them (`charlm.evaluation.scoring`).

Shapes: T time, B batch, V symbols.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.data.memmap import PageReleaser
from charlm.model.network import Network, States
from charlm.model.parameters import REVERSE
from charlm.tokenizers.vocabulary import BOUNDARY

CHUNK_SYMBOLS = 128
"""Symbols per call of the network, which bounds the memory for logits."""

BLOCK_SYMBOLS = 64 * CHUNK_SYMBOLS
"""Symbols of all segments together between two positions whose states are kept."""


def right_symbols(ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The symbols right behind those at some positions (…) of a text (N + 1,); a boundary behind the last one."""
    symbols = ids[np.minimum(positions + 1, len(ids) - 1)].astype(np.int64)
    symbols[positions + 1 >= len(ids)] = BOUNDARY
    return symbols


def read_from_right(network: Network, ids: np.ndarray, states: States) -> tuple[Tensor, States]:
    """Read symbols from the last to the first.

    Args:
        network: a bidirectional one.
        ids: (T, B) symbols in the order of the text.
        states: from what is further to the right.

    Returns:
        What the output layer gets (T, B, R / 2) after each of them, and the states after all.
    """
    top, states = network.run_layers(network.to_tensor(ids[::-1]), states, side=REVERSE)
    return top.flip(0), states


def score_segments(
    network: Network, ids: np.ndarray, starts: np.ndarray, size: int, left: States, right: States
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Segments of a text side by side, a block at a time.

        text        start |--- block 0 ---|--- block 1 ---|--- block 2 ---| end
        first pass        .      checkpoint <------- checkpoint <------- right      (from right to left)
        then       left ----> block 0 ------> block 1 ------> block 2               (from left to right)
                              and each block once more from its right checkpoint

    Args:
        network: a bidirectional one.
        ids: (N + 1,) the text, the boundary first.
        starts: (B,) the position before the first symbol of each segment.
        size: S, symbols of each.
        left: states before it, from reading up to, and without, the symbol at its start.
        right: states behind it, from reading from the right down to, and without, the symbol behind its last.

    Yields:
        Input positions (T·B,), each one before that of a symbol, and the nats (T·B,) of those symbols.
    """
    length = CHUNK_SYMBOLS * max(1, BLOCK_SYMBOLS // CHUNK_SYMBOLS // len(starts))
    blocks = [range(first, min(first + length, size)) for first in range(0, size, length)]
    checkpoints = checkpoint_right_states(network, ids, starts, blocks, right)
    for block, states in zip(blocks, checkpoints, strict=True):
        losses, left = score_block(network, ids, starts, block, left, states)
        yield from losses


def checkpoint_right_states(
    network: Network, ids: np.ndarray, starts: np.ndarray, blocks: list[range], states: States
) -> list[States]:
    """The states right of each block of symbols, from those behind the last one."""
    checkpoints, pages = [states], PageReleaser(ids)
    for block in reversed(blocks[1:]):
        for positions in reversed(_chunks(starts, block)):
            _, states = read_from_right(network, right_symbols(ids, positions), states)
        checkpoints.append(states)
        pages.advance(len(block) * len(starts))
    return checkpoints[::-1]


def score_block(
    network: Network, ids: np.ndarray, starts: np.ndarray, block: range, left: States, right: States
) -> tuple[list[tuple[np.ndarray, Tensor]], States]:
    """What `score_segments` yields for a block, and the states left of the next one.

    Args:
        network, ids, starts: as there.
        block: the offsets of its symbols in each segment.
        left, right: the states before and behind it.
    """
    chunks, tops, losses = _chunks(starts, block), [], []
    for positions in reversed(chunks):
        top, right = read_from_right(network, right_symbols(ids, positions), right)
        tops.append(top)
    for positions, right_top in zip(chunks, reversed(tops), strict=True):
        left_top, left = network.run_layers(network.to_tensor(ids[positions - 1]), left)
        logits = network.logits(torch.cat([left_top, right_top], -1))
        targets = network.to_tensor(ids[positions])
        nats = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
        losses.append((positions.ravel() - 1, nats))
    return losses, left


def _chunks(starts: np.ndarray, block: range) -> list[np.ndarray]:
    """The positions (T, B) of a block's symbols, CHUNK_SYMBOLS of each segment at a time."""
    firsts = range(block.start, block.stop, CHUNK_SYMBOLS)
    return [starts + np.arange(first, min(first + CHUNK_SYMBOLS, block.stop))[:, None] + 1 for first in firsts]


def conditionals(network: Network, ids: np.ndarray, positions: np.ndarray) -> Tensor:
    """What each symbol could be, given all others of a text that is read at once.

    Args:
        network: a bidirectional one.
        ids: (N + 1,) the text, the boundary first.
        positions: (K,) of symbols from 1 to N; the symbol there is not used for itself, but for the others.

    Returns:
        (K, V) log-probabilities.
    """
    every = np.arange(1, len(ids))[:, None]
    right, _ = read_from_right(network, right_symbols(ids, every), network.initial_state(1))
    left, _ = network.run_layers(network.to_tensor(ids[every - 1]), network.initial_state(1))
    at = torch.from_numpy(positions - 1).to(network.device)
    return F.log_softmax(network.logits(torch.cat([left, right], -1)[at, 0]).float(), -1)
