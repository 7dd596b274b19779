"""The contiguous batches of truncated back-propagation through time.

A text of N symbols is cut into B sequences of n = (N - 1) // B symbols. Each is read in chunks of T, whose
targets are the inputs shifted by one:

        s0 s1 s2 … | sequence 0   ->   inputs (T, B): column b is sequence b, rows are time
        sn …       | sequence 1        targets (T, B): the symbol after each input
        s2n …      | sequence 2

Chunk k + 1 begins where chunk k ended, so that a carried state has read all of its sequence before. The step alone
determines the chunk: no position is stored. The last n mod T symbols of each sequence are not used, so that every
chunk has the same shape.

Sequences are numbered over all processes of a run; one process owns whole sequences.
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
    """The batches of a text.

    Args:
        ids: (N,) symbols in the order in which they are read (`charlm.data.direction`); not copied.
        batch_size: B, over all processes.
        seq_len: T.
        rank, world_size: which process of how many; it owns B / world_size sequences.
        vocab_size: V, to check all ids that are read; None for no check.
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
    def row_length(self) -> int:
        """n, the characters of one sequence."""
        return (len(self.ids) - 1) // self.batch_size

    @property
    def batches_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self.row_length // self.seq_len

    @property
    def used(self) -> int:
        """Characters that one epoch predicts."""
        return self.batches_per_epoch * self.seq_len * self.batch_size

    @property
    def dropped(self) -> int:
        """Characters of the text that no batch predicts."""
        return len(self.ids) - 1 - self.used

    def first_position(self, step: int) -> int:
        """The position in each sequence at which a step's chunk begins; steps are counted from 0 over all epochs."""
        return (step % self.batches_per_epoch) * self.seq_len

    def positions(self, step: int) -> np.ndarray:
        """Positions in the text of the inputs of a step, (T, B / world_size) int64; the targets are one further."""
        own = self.batch_size // self.world_size
        starts = np.arange(self.rank * own, (self.rank + 1) * own) * self.row_length + self.first_position(step)
        return starts[None, :] + np.arange(self.seq_len)[:, None]

    def batch_at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets (T, B / world_size) as int64.

        Raises:
            CorpusError: one is outside the vocabulary. The check costs 1 or 2 µs a batch; to check a text of gigabytes
                at every start would take longer.
        """
        first = self.first_position(step)
        ids = self._columns[first : first + self.seq_len + 1].astype(np.int64)
        if self.vocab_size is not None:
            check_ids(ids, self.vocab_size)
        return ids[:-1], ids[1:]

    @cached_property
    def _columns(self) -> np.ndarray:
        """The sequences of this process as columns (n + 1, B / world_size), a view; the last row is only predicted."""
        own = self.batch_size // self.world_size
        text = np.asarray(self.ids)[self.rank * own * self.row_length :]
        (stride,) = text.strides  # negative if the text is read from its end
        return as_strided(text, (self.row_length + 1, own), (stride, self.row_length * stride), writeable=False)

    def right_positions(self, step: int) -> np.ndarray:
        """Positions of what `right_context` returns, (2 T, B / world_size) int64, in the text or beyond its end."""
        return self.positions(step)[:1] + np.arange(2 * self.seq_len + 1, 1, -1)[:, None]

    def right_context(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The symbols to the right of the targets of a step, for a bidirectional network.

        Returns:
            (2 T, B / world_size) int64, the last symbol first: T further symbols, then the one after each target.
            Beyond the end of the text is the boundary. And (B / world_size,) bool, the sequences whose first row is
            beyond the end.

        Raises:
            CorpusError: one is outside the vocabulary.
        """
        positions = self.right_positions(step)
        ids = np.asarray(self.ids)[np.minimum(positions, len(self.ids) - 1)].astype(np.int64)
        if self.vocab_size is not None:
            check_ids(ids, self.vocab_size)
        outside = positions >= len(self.ids)
        ids[outside] = BOUNDARY
        return ids, outside[0]

    def starts_epoch(self, step: int) -> bool:
        """Whether this step begins at the beginning of the sequences, where the state is zero."""
        return step % self.batches_per_epoch == 0


def too_short(characters: int, batch: int, seq_len: int) -> str:
    """The error message for a text shorter than batch x seq_len, with the largest values that fit."""
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
