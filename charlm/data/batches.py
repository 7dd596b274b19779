"""The contiguous lanes of truncated back-propagation through time.

A text of N symbols is cut into B lanes of n = (N - 1) // B; each is read in windows of T, whose
targets are the inputs moved on by one:

        s0 s1 s2 … | lane 0   ->   inputs (T, B): column b is lane b, rows are time
        sn …       | lane 1        targets (T, B): the symbol after each input
        s2n …      | lane 2

Window k + 1 goes on where window k ended, so that a state carried along has read its whole lane.
Which window comes at which step follows from the step alone: nothing of a position is stored. The
last n mod T symbols of each lane are left over, so that every window has the same shape.

Lanes are numbered over all processes of a run; one process owns whole lanes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import as_strided

from charlm.data.corpus import check_ids
from charlm.errors import CorpusError
from charlm.tokenizers.vocabulary import BOUNDARY


@dataclass(frozen=True)
class Batches:
    """A text as B lanes of windows.

    Args:
        ids: (N,) symbols in the order in which they are read (`charlm.data.direction`); not copied.
        batch: B, over all processes.
        seq_len: T.
        rank, world: which process of how many; it owns B / world lanes.
        vocabulary: V, where the windows are to be looked through for ids that the table does not have.
    """

    ids: np.ndarray
    batch_size: int
    seq_len: int
    rank: int = 0
    world_size: int = 1
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        if self.batches_per_epoch < 1:
            raise CorpusError(too_short(len(self.ids) - 1, self.batch_size, self.seq_len))

    @property
    def length(self) -> int:
        """n, the characters of one lane."""
        return (len(self.ids) - 1) // self.batch_size

    @property
    def batches_per_epoch(self) -> int:
        """Windows per epoch."""
        return self.length // self.seq_len

    @property
    def used(self) -> int:
        """Characters that one epoch trains on."""
        return self.batches_per_epoch * self.seq_len * self.batch_size

    @property
    def dropped(self) -> int:
        """Characters of the text that no window reaches."""
        return len(self.ids) - 1 - self.used

    def first_position(self, step: int) -> int:
        """Where in its lane the window of a step begins; steps are counted from 0, epochs follow one another."""
        return (step % self.batches_per_epoch) * self.seq_len

    def positions(self, step: int) -> np.ndarray:
        """Where in the text the inputs of a step are (T, B / world) int64; the targets are one further."""
        own = self.batch_size // self.world_size
        starts = np.arange(self.rank * own, (self.rank + 1) * own) * self.length + self.first_position(step)
        return starts[None, :] + np.arange(self.seq_len)[:, None]

    def batch_at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets (T, B / world) as int64.

        Raises:
            CorpusError: one is outside the table. To look here costs 1 or 2 µs a window; a text of gigabytes would
                be read at every start.
        """
        first = self.first_position(step)
        ids = self._columns[first : first + self.seq_len + 1].astype(np.int64)
        if self.vocab_size is not None:
            check_ids(ids, self.vocab_size)
        return ids[:-1], ids[1:]

    @cached_property
    def _columns(self) -> np.ndarray:
        """The lanes of this process side by side (n + 1, B / world), without a copy; the last row is targets alone."""
        own = self.batch_size // self.world_size
        text = np.asarray(self.ids)[self.rank * own * self.length :]
        (size,) = text.strides  # below zero where a text is read from its end
        return as_strided(text, (self.length + 1, own), (size, self.length * size), writeable=False)

    def right_positions(self, step: int) -> np.ndarray:
        """Where in the text (or beyond its end) that stands which `behind` gives (2 T, B / world) int64."""
        return self.positions(step)[:1] + np.arange(2 * self.seq_len + 1, 1, -1)[:, None]

    def right_context(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What stands to the right of the targets of a step, for a network that reads from there as well.

        Returns:
            (2 T, B / world) int64, the last first: T further symbols, then those right behind each target. Beyond the
            end of the text is the boundary. And which lanes (B / world,) have that among the further ones.

        Raises:
            CorpusError: one is outside the table.
        """
        places = self.right_positions(step)
        ids = np.asarray(self.ids)[np.minimum(places, len(self.ids) - 1)].astype(np.int64)
        if self.vocab_size is not None:
            check_ids(ids, self.vocab_size)
        outside = places >= len(self.ids)
        ids[outside] = BOUNDARY
        return ids, outside[0]

    def starts_epoch(self, step: int) -> bool:
        """Whether this step begins at the lanes' beginnings, where the state is zero."""
        return step % self.batches_per_epoch == 0


def too_short(characters: int, batch: int, seq_len: int) -> str:
    """The refusal of a text shorter than batch x seq_len, with the largest that fit."""
    if characters < 1:
        return "the train split is empty; prepare a longer text"
    fits = []
    if characters >= seq_len:
        fits.append(f"--batch-size {characters // seq_len} fits with this window")
    if characters >= batch:
        fits.append(f"--seq-len {characters // batch} with this batch")
    return (
        f"the train split has {characters:,} characters, --batch-size {batch} x --seq-len {seq_len} needs "
        f"{batch * seq_len:,}; at most {', '.join(fits) or f'--batch-size 1 --seq-len {characters} fits'}"
    )
