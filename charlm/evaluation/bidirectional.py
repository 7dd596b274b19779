"""How surprised a bidirectional network is by each symbol of a text, given all others on both sides of it.

A text is N + 1 symbols, the boundary first. The symbol at place p is predicted from 0 … p - 1, read from the left, and
from N … p + 1, read from the right; what stands behind the text is a boundary too. One reading needs the state that
comes from the left end, and one that from the right end, so the text is read from the right first, and the states are
kept at some places of it; then it is read from the left a block at a time, and each block from its right end once
more. That takes half as long again, and memory that does not grow with the text but by a state every `BLOCK` symbols.

The sum over a text is a pseudo-likelihood (Besag 1975), not the likelihood of the text: each symbol is predicted by
help of the others, and these by help of it. It is no code length, and compares with that of no other kind of model.

What is left out: which stretches of a text, and what is read before them (`charlm.evaluation.scoring`).

Shapes: T time, B batch, V symbols.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.data.memmap import PageReleaser
from charlm.model.network import Network, States
from charlm.model.parameters import REVERSE
from charlm.tokenizers.vocabulary import BOUNDARY

WINDOW = 128
"""Symbols per call of the network, which bounds the memory for logits."""

BLOCK = 64 * WINDOW
"""Symbols of all stretches together between two places whose states are kept."""


def right_symbols(ids: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The symbols right behind those at some places (…) of a text (N + 1,); a boundary behind the last one."""
    found = ids[np.minimum(places + 1, len(ids) - 1)].astype(np.int64)
    found[places + 1 >= len(ids)] = BOUNDARY
    return found


def read_from_right(network: Network, ids: np.ndarray, states: States) -> tuple[Tensor, States]:
    """Read symbols from the last to the first.

    Args:
        network: a bidirectional one.
        ids: (T, B) symbols in the order of the text.
        states: from what is further to the right.

    Returns:
        What is handed to the readout (T, B, R / 2) when each of them is read, and the states when all are.
    """
    top, states = network.run_layers(network.to_tensor(ids[::-1]), states, side=REVERSE)
    return top.flip(0), states


def score_segments(
    network: Network, ids: np.ndarray, starts: np.ndarray, size: int, left: States, right: States
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Stretches of a text side by side.

    Args:
        network: a bidirectional one.
        ids: (N + 1,) the text, the boundary first.
        starts: (B,) of each stretch the place before its first symbol.
        size: S, symbols of each.
        left: states before it, from reading up to, and without, the symbol at its start.
        right: states behind it, from reading from the right down to, and without, the symbol behind its last.

    Yields:
        Input places (T, B), each one before that of a symbol, and the nats (T, B) of those symbols.
    """
    blocks = np.arange(0, size, WINDOW * max(1, BLOCK // WINDOW // len(starts)))
    ends = [*blocks[1:], size]
    kept, pages = [], PageReleaser(ids)
    for first, end in zip(blocks[::-1], ends[::-1], strict=True):
        kept.append(right)
        right = deque(checkpoint_right_states(network, ids, starts, int(first), int(end), right), maxlen=1).pop()[2]
        pages.advance((int(end) - int(first)) * len(starts))
    for first, end, states in zip(blocks, ends, reversed(kept), strict=True):
        tops = [found[:2] for found in checkpoint_right_states(network, ids, starts, int(first), int(end), states)]
        for places, other in reversed(tops):
            before = places - 1
            own, left = network.run_layers(network.to_tensor(ids[before]), left)
            logits = network.logits(torch.cat([own, other], -1))
            wanted = network.to_tensor(ids[places])
            losses = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), reduction="none")
            yield before, losses.view(wanted.shape)


def checkpoint_right_states(
    network: Network, ids: np.ndarray, starts: np.ndarray, first: int, end: int, states: States
) -> Iterator[tuple[np.ndarray, Tensor, States]]:
    """The windows of a block, the last one first: places (T, B) of their symbols, what is read from the right there,
    and the states after it."""
    for at in reversed(range(first, end, WINDOW)):
        places = starts[None, :] + np.arange(at, min(at + WINDOW, end))[:, None] + 1
        top, states = read_from_right(network, right_symbols(ids, places), states)
        yield places, top, states


def conditionals(network: Network, ids: np.ndarray, places: np.ndarray) -> Tensor:
    """What each symbol could be, given all others of a text that is read at once.

    Args:
        network: a bidirectional one.
        ids: (N + 1,) the text, the boundary first.
        places: (K,) of symbols from 1 to N; what stands there is not looked at for itself, but for the others.

    Returns:
        (K, V) log-probabilities.
    """
    every = np.arange(1, len(ids))[:, None]
    other, _ = read_from_right(network, right_symbols(ids, every), network.initial_state(1))
    own, _ = network.run_layers(network.to_tensor(ids[every - 1]), network.initial_state(1))
    at = torch.from_numpy(places - 1).to(network.device)
    return F.log_softmax(network.logits(torch.cat([own, other], -1)[at, 0]).float(), -1)
