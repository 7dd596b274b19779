"""The nats of a model on a text, of the whole and of blocks, by all the processes together.

Not here: what else is said of the text (`charlm.evaluation.evaluate`), and of several models
(`charlm.evaluation.compare`).
"""

from dataclasses import dataclass
from functools import partial
from math import isfinite, log
from time import perf_counter

import numpy as np

from charlm import cells, memory
from charlm.callbacks import EvalProgressFn, NoticeFn, ScoreProgressFn
from charlm.config import MeasureOptions
from charlm.data.direction import BACKWARD
from charlm.errors import CharlmError
from charlm.evaluation import scoring
from charlm.evaluation.bidirectional import BLOCK_SYMBOLS
from charlm.evaluation.scoring import Score
from charlm.evaluation.texts import EvalText
from charlm.evaluation.warm_up import WARM_UP_SYMBOLS
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.runtime import malloc
from charlm.runtime.device import describe_device, find_device, set_threads
from charlm.runtime.distributed import join


@dataclass(frozen=True)
class Measure:
    """What a model made of a text.

    Attributes:
        score: nats and symbols.
        blocks: (K,) nats of the blocks that were asked for.
        seconds: scoring took.
        default_off: of an exact score: how many bits in all the default protocol is above it.
    """

    score: Score
    blocks: np.ndarray
    seconds: float
    default_off: float | None = None


def measure(
    model: Model,
    text: EvalText,
    starts: np.ndarray,
    options: MeasureOptions,
    *,
    exact: bool = False,
    progress: EvalProgressFn | None = None,
    report: NoticeFn | None = None,
) -> Measure:
    """Score a text, by all the processes that there are together.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: in the model's symbols.
        starts: (K,) where its blocks begin, counted from the left (`charlm.evaluation.block_losses`).
        options: batch size, device and threads.
        exact: score in one pass, and say how far the default protocol is off.
        progress: called with how many characters are done.
        report: called with the device, in one line.

    Raises:
        CharlmError: the loss is no finite number.
        UsageError: it would need more memory than there is.
    """
    group = join()
    network = _network(model, text.symbols, options, report)
    total = (1 + exact) * text.symbols
    score_text = partial(
        scoring.score,
        network,
        text.ids,
        starts_at_boundary=model.starts_at_boundary,
        batch_size=options.batch_size,
        shard=(group.rank, group.world_size),
    )
    block_losses, began = text.block_losses(starts), perf_counter()
    score = score_text(exact=exact, block_losses=block_losses, progress=_from(progress, 0, total))
    if not exact:
        score = score.summed_over(group)
    if not isfinite(score.nats):
        raise CharlmError(
            f"{model.path or 'the model'} gives {text.name} a loss that is no finite number: its state grows without "
            f"bound, as that of a linear or relu rnn can; it cannot be scored"
        )
    seconds = perf_counter() - began
    if not exact:
        return Measure(score, group.all_reduce_sum(block_losses.nats), seconds)
    default = score_text(progress=_from(progress, text.symbols, total))
    return Measure(score, block_losses.nats, seconds, (default.summed_over(group).nats - score.nats) / log(2))


def protocol(exact: bool, noun: str) -> str:
    """How a text is scored, in words, with the lengths in symbols of the given name."""
    if exact:
        return "exact: one pass, the state carried through the whole text"
    return f"segments of {scoring.SEGMENT_SYMBOLS} {noun}s, each warmed up on the {WARM_UP_SYMBOLS} before it"


def read_from(model: Model) -> str:
    """From which side a model reads, to be said of its protocol; nothing of one that reads from the left."""
    if model.options.bidirectional:
        return ", from both sides: each character given all others, a pseudo-likelihood and no code length"
    return ", from right to left" if model.options.direction == BACKWARD else ""


def _network(model: Model, characters: int, options: MeasureOptions, report: NoticeFn | None) -> Network:
    """The network on its device, once it is known that scoring by segments fits into memory, which an exact score is
    compared with."""
    device = find_device(options.device)
    set_threads(options.threads)
    if device.type == "cpu":
        read = _side_by_side(model, characters, options.batch_size) * scoring.CHUNK_SYMBOLS
        malloc.configure_malloc(model.options.cell, model.options.hidden, read, held_layers=0)
    needed = _bytes(model, characters, options.batch_size)
    memory.check(needed, "scoring so many segments side by side", "choose a smaller --batch-size")
    if report is not None:
        report(describe_device(device, options.device))
    return Network.from_model(model, device)


def _side_by_side(model: Model, characters: int, batch: int) -> int:
    """Segments that are scored together."""
    return min(scoring.max_segments(model.vocabulary.size, batch), characters // scoring.SEGMENT_SYMBOLS + 1)


def _bytes(model: Model, characters: int, batch: int) -> int:
    """What the largest arrays of scoring come to: of each symbol of a window a few rows of V and of H numbers."""
    segments = _side_by_side(model, characters, batch)
    gates = len(cells.of(model.options).gates)
    numbers = segments * scoring.CHUNK_SYMBOLS * (3 * model.vocabulary.size + (gates + 2) * model.options.hidden)
    checkpoints = 0
    if model.options.bidirectional:
        state = len(cells.of(model.options).state) * model.options.layers * model.options.hidden
        checkpoints = BLOCK_SYMBOLS * model.options.readout_size + characters // BLOCK_SYMBOLS * state
    return 4 * (numbers + checkpoints)


def _from(progress: EvalProgressFn | None, before: int, total: int) -> ScoreProgressFn | None:
    """Progress of one of several passes, of which those before it have read `before` of the `total` characters."""
    if progress is None:
        return None
    return lambda done, nats: progress(before + done, total, nats / done)
