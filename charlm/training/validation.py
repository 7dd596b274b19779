"""Scoring the validation split while a run goes on, without changing anything of the training.

Not here: when to validate, and what is made of a score (`charlm.training.trainer`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.callbacks import ScoreProgressFn
from charlm.evaluation import scoring
from charlm.evaluation.scoring import Score
from charlm.model.network import Network
from charlm.runtime.distributed import ProcessGroup
from charlm.training.time_budget import Throughput


@dataclass(frozen=True)
class Validator:
    """Scores networks on the validation split.

    Attributes:
        ids: (N + 1,) its symbols as the network reads them, the boundary first; None if there is no such split.
        starts_at_boundary: whether every segment is to begin as a text does (`charlm.evaluation.scoring`).
        group: the processes that share the work.
        throughput: told how fast evaluations are.
        clock: seconds, from any origin.
    """

    ids: np.ndarray | None
    starts_at_boundary: bool
    group: ProcessGroup
    throughput: Throughput
    clock: Callable[[], float]

    @property
    def characters(self) -> int:
        """Characters of the whole split, 0 if there is none."""
        return 0 if self.ids is None else len(self.ids) - 1

    def score(self, network: Network, characters: int, progress: ScoreProgressFn | None = None) -> Score:
        """The score of the first `characters` of the split.

        Raises:
            ValueError: there is no validation split.
        """
        if self.ids is None:
            raise ValueError("there is no validation split")
        part = self.group.rank, self.group.world_size
        ids, at_boundary = self.ids[: characters + 1], self.starts_at_boundary
        score = scoring.score(network, ids, starts_at_boundary=at_boundary, shard=part, progress=progress)
        return score.summed_over(self.group)

    def timed_score(self, network: Network, characters: int, progress: ScoreProgressFn | None = None) -> Score:
        """The same, and note how fast it was: the end of a run with `--time` is planned by it."""
        began = self.clock()
        score = self.score(network, characters, progress)
        self.throughput.evaluation(score.characters, self.clock() - began)
        return score
