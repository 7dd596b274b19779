"""A model measures a text: its nats, of the whole and of pieces.

What is left out: what else there is to say of the text (`charlm.evaluation.evaluate`), and of several models
(`charlm.evaluation.compare`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, log
from time import perf_counter

import numpy as np

from charlm import cells, memory
from charlm.config import MeasureOptions
from charlm.data.direction import BACKWARD
from charlm.data.sources import Report
from charlm.errors import CharlmError
from charlm.evaluation import scoring
from charlm.evaluation.bidirectional import BLOCK
from charlm.evaluation.block_losses import BlockLosses
from charlm.evaluation.scoring import Score
from charlm.evaluation.texts import EvalText
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.runtime import malloc
from charlm.runtime.device import describe_device, find_device, set_threads
from charlm.runtime.distributed import join

Progress = Callable[[int, int, float], None]
"""Called with the characters scored so far, how many there are, and the nats per character so far. An exact
evaluation reads them twice: the default protocol, to be compared, comes second."""


@dataclass(frozen=True)
class Measure:
    """What a model made of a text.

    Attributes:
        score: nats and symbols.
        pieces: (K,) nats of the pieces that were asked for.
        seconds: scoring took.
        default_off: of an exact score: how many bits in all the default protocol is above it.
    """

    score: Score
    pieces: np.ndarray
    seconds: float
    default_off: float | None = None


def measure(
    model: Model,
    text: EvalText,
    starts: np.ndarray,
    options: MeasureOptions,
    *,
    exact: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Measure:
    """Score a text, by all the processes that there are together.

    Args:
        model: from `charlm.model.checkpoint.load`.
        text: in the model's symbols.
        starts: (K,) where pieces of it begin, counted from the left (`charlm.evaluation.scoring`).
        options: batch size, device and threads.
        exact: score in one pass, and say how far the default protocol is off.
        progress: told how many characters are done.
        report: told the device, in one line.

    Raises:
        CharlmError: the loss is no finite number.
        UsageError: it would need more memory than there is.
    """
    ranks = join()
    network = _network(model, text.symbols, options, report)
    passes = 1 + exact
    pieces = text.pieces(starts)

    def exactly() -> Score:
        return scoring.score(
            network, text.ids, exact=True, pieces=pieces, progress=_of(text.symbols, passes, 0, progress)
        )

    def by_segments(pieces: BlockLosses | None, before: int) -> Score:
        found = scoring.score(
            network,
            text.ids,
            bounded=model.starts_at_boundary,
            batch=options.batch_size,
            part=(ranks.rank, ranks.world),
            pieces=pieces,
            progress=_of(text.symbols, passes, before, progress),
        )
        nats, characters = ranks.all_reduce_sum(np.array([found.nats, found.characters]))
        return Score(float(nats), int(characters))

    began = perf_counter()
    result = exactly() if exact else by_segments(pieces, 0)
    if not isfinite(result.nats):
        raise CharlmError(
            f"{model.path or 'the model'} gives {text.name} a loss that is no finite number: its state grows without "
            f"bound, as that of a linear or relu rnn can; it cannot be scored"
        )
    seconds = perf_counter() - began
    sums = pieces.nats if exact else ranks.all_reduce_sum(pieces.nats)
    off = (by_segments(None, text.symbols).nats - result.nats) / log(2) if exact else None
    return Measure(result, sums, seconds, off)


def protocol(exact: bool, noun: str) -> str:
    """How a text is scored, in words, with the lengths in symbols of the given name."""
    if exact:
        return "exact: one pass, the state carried through the whole text"
    return f"segments of {scoring.SEGMENT} {noun}s, each warmed up on the {scoring.WARM_UP} before it"


def read_from(model: Model) -> str:
    """From which side a model reads, to be said of its protocol; nothing of one that reads from the left."""
    if model.options.bidirectional:
        return ", from both sides: each character given all others, a pseudo-likelihood and no code length"
    return ", from right to left" if model.options.direction == BACKWARD else ""


def _network(model: Model, characters: int, options: MeasureOptions, report: Report | None) -> Network:
    """The network on its device, once it is known that scoring by segments fits into memory, which an exact score is
    compared with."""
    device = find_device(options.device)
    set_threads(options.threads)
    if device.type == "cpu":
        read = _side_by_side(model, characters, options.batch_size) * scoring.WINDOW
        malloc.configure_malloc(model.options.cell, model.options.hidden, read, held=0)
    needed = _bytes(model, characters, options.batch_size)
    memory.check(needed, "scoring so many segments side by side", "choose a smaller --batch-size")
    if report is not None:
        report(describe_device(device, options.device))
    return Network.from_model(model, device)


def _side_by_side(model: Model, characters: int, batch: int) -> int:
    """Segments that are scored together."""
    return min(scoring.max_segments(model.vocabulary.size, batch), characters // scoring.SEGMENT + 1)


def _bytes(model: Model, characters: int, batch: int) -> int:
    """What the largest arrays of scoring come to: of each symbol of a window a few rows of V and of H numbers."""
    segments = _side_by_side(model, characters, batch)
    gates = len(cells.of(model.options).gates)
    numbers = segments * scoring.WINDOW * (3 * model.vocabulary.size + (gates + 2) * model.options.hidden)
    kept = 0
    if model.options.bidirectional:
        state = len(cells.of(model.options).state) * model.options.layers * model.options.hidden
        kept = BLOCK * model.options.readout_size + characters // BLOCK * state
    return 4 * (numbers + kept)


def _of(characters: int, passes: int, before: int, progress: Progress | None) -> scoring.Progress | None:
    """Progress of one of several passes, of which those before it have read `before` characters."""
    if progress is None:
        return None
    return lambda done, nats: progress(before + done, passes * characters, nats / done)
