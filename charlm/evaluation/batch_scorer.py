"""Many short texts side by side, each from a cold start: how surprised a model is by every symbol of each.

Texts of similar lengths run together, the longest first, and one that has ended is dropped, so that what a text
scores depends on nothing but itself, up to rounding. A text of any length is read by `score_stream`, piece by piece.

NumPy answers first, since it is there at once and is the quicker for few texts. Loading torch takes about a second
and pays if many texts come; `BatchScorer.load` does so when asked. What is left out: what the texts are
(`charlm.evaluation.score_lines`), and segments of one long text (`charlm.evaluation.scoring`).

Shapes: T symbols of a chunk, B texts side by side, V symbols of the vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from charlm.cells import State
from charlm.model.checkpoint import Model
from charlm.model.logits import cross_entropy
from charlm.model.stepper import Stepper

CHUNK_SYMBOLS = 32
"""Symbols of each text that are read before those that ended are dropped."""

MAX_PADDED_SYMBOLS = 1 << 26
"""Bytes that the arrays of a window may come to, roughly."""

MIN_TORCH_BATCH = 16
"""Texts side by side from which torch is quicker than NumPy on the CPU."""


class _Engine(Protocol):
    """What reads windows; its states (B, H) are its own."""

    def start(self, batch: int) -> list[State]:
        """The state before any text."""

    def read(self, ids: np.ndarray, targets: np.ndarray, states: list[State]) -> tuple[np.ndarray, list[State]]:
        """The nats (T, B), float32, of `targets` (T, B), each after its symbol of `ids`; and the new states."""


class BatchScorer:
    """A model that reads many texts.

    Args:
        model: of any cell.
        device: `cpu`, or another device of torch, which loads torch at once.
    """

    def __init__(self, model: Model, device: str = "cpu") -> None:
        self._model, self._device = model, device
        self._few: _Engine = _Stepping(model)
        self._many: _Engine = self._few
        row = 2 * model.vocabulary.size + 8 * model.options.hidden
        self._most = max(1, MAX_PADDED_SYMBOLS // (4 * CHUNK_SYMBOLS * row))
        if device != "cpu":
            self.load()
            self._few = self._many

    def load(self) -> None:
        """Load torch, and use it from now on where it is the quicker."""
        if self._many is self._few:
            self._many = _Windows(self._model, self._device)

    def score_batch(self, texts: Sequence[np.ndarray], batch: int) -> list[np.ndarray]:
        """Read texts from cold starts.

        Args:
            texts: (n + 1,) symbols each, of which the first is input only.
            batch: how many side by side, at most.

        Returns:
            Of each the nats (n,), float32.
        """
        nats: list[np.ndarray] = [np.zeros(0, np.float32)] * len(texts)
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        size = min(batch, self._most)
        for first in range(0, len(order), size):
            chosen = order[first : first + size]
            for index, losses in zip(chosen, self._group([texts[index] for index in chosen]), strict=True):
                nats[index] = losses
        return nats

    def score_stream(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Read one text from a cold start.

        Args:
            pieces: its symbols, cut anywhere; the first symbol is input only.

        Yields:
            The nats (n,), float32, of the others, a few at a time.
        """
        states, last = self._few.start(1), np.zeros(0, np.int64)
        for piece in pieces:
            ids = np.concatenate([last, piece])
            for at in range(0, len(ids) - 1, CHUNK_SYMBOLS):
                targets = ids[at + 1 : at + 1 + CHUNK_SYMBOLS, None]
                nats, states = self._few.read(ids[at : at + len(targets), None], targets, states)
                yield nats[:, 0]
            last = ids[-1:]

    def _group(self, texts: list[np.ndarray]) -> list[np.ndarray]:
        """Texts side by side, the longest first."""
        lengths = np.array([len(text) - 1 for text in texts])
        ids: np.ndarray = np.zeros((lengths[0] + 1, len(texts)), np.int64)
        for column, text in enumerate(texts):
            ids[: len(text), column] = text
        nats = np.zeros((lengths[0], len(texts)), np.float32)
        engine = self._many if len(texts) >= MIN_TORCH_BATCH else self._few
        states = engine.start(len(texts))
        for at in range(0, lengths[0], CHUNK_SYMBOLS):
            live = int(np.count_nonzero(lengths > at))
            states = [tuple(array[:live] for array in state) for state in states]
            read = ids[at : min(at + CHUNK_SYMBOLS, lengths[0]), :live]
            targets = ids[at + 1 : at + 1 + len(read), :live]
            nats[at : at + len(read), :live], states = engine.read(read, targets, states)
        return [nats[:length, column] for column, length in enumerate(lengths)]


class _Stepping:
    """In NumPy."""

    def __init__(self, model: Model) -> None:
        self._stepper = Stepper(model)

    def start(self, batch: int) -> list[State]:
        return self._stepper.start(batch)

    def read(self, ids: np.ndarray, targets: np.ndarray, states: list[State]) -> tuple[np.ndarray, list[State]]:
        nats = np.empty(ids.shape, np.float32)
        with np.errstate(all="ignore"):  # a state that grows without bound speaks in the result
            for t, read in enumerate(ids):
                logits, states = self._stepper.step(read, states)
                nats[t] = cross_entropy(logits, targets[t])
        return nats, states


class _Windows:
    """In torch."""

    def __init__(self, model: Model, device: str) -> None:
        import torch

        from charlm.evaluation import scoring
        from charlm.model.network import Network

        self._network = Network.from_model(model, torch.device(device))
        self._surprises = scoring.symbol_losses
        self._inference: Any = torch.inference_mode

    def start(self, batch: int) -> list[State]:
        return self._network.initial_state(batch)

    def read(self, ids: np.ndarray, targets: np.ndarray, states: list[State]) -> tuple[np.ndarray, list[State]]:
        with self._inference():
            states, nats = self._surprises(self._network, ids, targets, states)
            return nats.cpu().numpy(), states
