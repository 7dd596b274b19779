"""Checkpoints of a run: the state to resume from, and model files that say how they were trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from charlm.config import TrainOptions
from charlm.data.batches import Batches
from charlm.model import checkpoint
from charlm.model.checkpoint import Arrays, Model
from charlm.model.network import Network, States
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training.optimizer import state_arrays
from charlm.training.run_folder import RunFolder, TrainCheckpoint, TrainState


@dataclass(frozen=True)
class CheckpointWriter:
    """What a run's files are made of; it changes none of it.

    Args:
        folder: where they go.
        network, optimizer, batches, vocabulary, options: the parts of the run.
        corpus: what a model file says of its text.
        corpus_path: the folder of the corpus, noted for resuming only.
        group: its main process writes, and the others only contribute the states of their sequences.
    """

    folder: RunFolder
    network: Network
    optimizer: Optimizer
    batches: Batches
    vocabulary: Vocabulary
    options: TrainOptions
    corpus: dict[str, Any]
    corpus_path: str
    group: ProcessGroup = SINGLE_PROCESS

    def save_state(self, train_state: TrainState, states: States) -> None:
        """Write everything that is needed to go on: counters, weights, optimizer, carried states (B, H)."""
        carried: Arrays = {
            f"{layer}.{name}": self.group.all_gather(tensor).float().cpu().numpy()
            for layer, state in enumerate(states)
            for name, tensor in zip(self.network.cell.state, state, strict=True)
        }
        if not self.group.is_main:
            return
        arrays = {"weights": self.network.arrays(), "optimizer": state_arrays(self.optimizer), "states": carried}
        self.folder.save(TrainCheckpoint(train_state, self.options, self.corpus, self.corpus_path, arrays))

    def save_model(self, path: Path, step: int, valid_nats: float | None = None, characters: int = 0) -> None:
        """Write the network as it is as a model file, with its loss over `characters` of valid where it has one."""
        if not self.group.is_main:
            return
        network = self.network.options.values()
        training = {
            "step": step,
            "epoch": step / self.batches.batches_per_epoch,
            "characters": step * self.batches.batch_size * self.batches.seq_len,
            "valid_nats": valid_nats,
            "valid_characters": characters,
            "options": {name: value for name, value in self.options.values().items() if name not in network},
        }
        checkpoint.save(
            path, Model(self.network.options, self.vocabulary, self.network.arrays(), self.corpus, training)
        )

    def update_score(self, path: Path, model: Model, valid_nats: float, characters: int) -> None:
        """Write a model again with another score."""
        if not self.group.is_main:
            return
        training = {**model.training, "valid_nats": valid_nats, "valid_characters": characters}
        checkpoint.save(path, Model(model.options, self.vocabulary, model.weights, self.corpus, training))

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl, which says of what preset the run is, if it is of one."""
        if self.group.is_main:
            self.folder.log({**row, "preset": self.options.preset})
