"""Resuming a run from its last save, as if it had never stopped.

resume("runs/NAME")
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charlm.callbacks import ignore
from charlm.config import TrainOptions
from charlm.data.corpus import Corpus
from charlm.errors import CheckpointError, CorpusError, RunError, UsageError
from charlm.files import present
from charlm.model import parameters
from charlm.model.checkpoint import Arrays
from charlm.model.network import Network, States
from charlm.runtime.device import check_memory
from charlm.runtime.distributed import ProcessGroup, join
from charlm.spec import AUTO, flag
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training import auto
from charlm.training.events import Report, Result
from charlm.training.interrupts import run_saving_on_interrupt
from charlm.training.optimizer import load_state_arrays
from charlm.training.run_folder import RunFolder, TrainCheckpoint
from charlm.training.schedule import RunLength
from charlm.training.train import Clock, configure_device, make_plan, model_options, open_corpus
from charlm.training.trainer import Trainer

RESUMABLE = {
    "epochs", "steps", "time", "patience", "device", "threads",
    "eval_every", "eval_chars", "sample_every", "save_every", "report_every",
}  # fmt: skip
"""What may change when a run is resumed; anything else would make it another run."""


def resume(
    run: str | Path,
    *,
    corpus: Corpus | str | Path | None = None,
    root: str | Path = "runs",
    report: Report | None = None,
    stop: Callable[[], bool] | None = None,
    clock: Clock = time.perf_counter,
    started: float | None = None,
    **values: Any,
) -> Result:
    """Continue a run as if it had never stopped: weights, optimizer, schedule, position in the text, state, logs.

    Args:
        run: its name or folder.
        corpus: where its corpus is now, if it was moved.
        values: new values for its length or reporting; see `RESUMABLE`.
        root, report, stop, clock, started: as in `train`.

    Raises:
        RunError: there is no such run, another process trains it, or it is finished and no longer length was given.
        UsageError: an option was given that a running model cannot change.
    """
    group = join()
    report = report if report and group.is_main else ignore
    started = clock() if started is None else started
    with group.on_main(lambda: RunFolder.find(run, Path(root))) as folder:
        saved = group.on_main(folder.restore)
        corpus = _same_corpus(saved, corpus)
        options, _ = auto.resolve_for(corpus, _changed_options(saved.options, values, folder))
        group.check_batch_size(options.batch_size)
        device = configure_device(options)
        weights = _checked_weights(saved, options, corpus.vocabulary, folder)
        plan = make_plan(corpus, options, device)
        check_memory(plan.memory, device)
        network = Network(model_options(options), corpus.vocabulary.size).load_weights(weights)
        network.to_device(device, options.precision)
        trainer = Trainer(
            corpus, options, network, folder, saved.state,
            report=report, clock=clock, started=started, stop=stop, group=group,
        )  # fmt: skip
        load_state_arrays(trainer.optimizer, saved.arrays.get("optimizer", {}), saved.state.step)
        trainer.states = _carried_states(network, saved.arrays.get("states", {}), options.batch_size, group)
        _check_unfinished(trainer, folder, saved.options)
        group.on_main(lambda: folder.truncate_logs(saved.state))
        report(replace(plan, path=folder.path, first_step=saved.state.step))
        group.on_main(lambda: folder.write_config(options, corpus.name))
        trainer.repair_best()
        return trainer.run() if stop else run_saving_on_interrupt(trainer)


def _changed_options(options: TrainOptions, values: dict[str, Any], folder: RunFolder) -> TrainOptions:
    """The saved options with new lengths; what would change the run itself is refused."""
    TrainOptions.of(values)
    for name, value in values.items():
        if name not in RESUMABLE and TrainOptions.specs()[name].read(name, value) not in (getattr(options, name), AUTO):
            raise UsageError(
                f"{flag(name)} cannot change while {folder.path} goes on (it has {getattr(options, name)}); "
                f"leave it out, or start a new run with --init-from {folder.model}"
            )
    changes = {name: value for name, value in values.items() if name in RESUMABLE and value is not None}
    if "time" in changes:
        changes["steps"] = None
    elif "steps" in changes or "epochs" in changes:
        changes = {"steps": None, "time": None, **changes}
    return options.replace(**changes)


def _same_corpus(saved: TrainCheckpoint, corpus: Corpus | str | Path | None) -> Corpus:
    """The corpus that the run began with, by name and SHA-256."""
    corpus = open_corpus(corpus if corpus is not None else _corpus_path(saved))
    if corpus.identity() != saved.corpus:
        raise CorpusError(
            f"{corpus.path} is not the corpus this run began with (its text or its options changed since); "
            f"prepare that text again, or start a new run with --init-from"
        )
    return corpus


def _corpus_path(saved: TrainCheckpoint) -> str:
    """Where the corpus was when the run was saved, or its name if it is no longer there."""
    if present(Path(saved.corpus_path) / "corpus.json"):
        return saved.corpus_path
    return str(saved.corpus.get("name", ""))


def _checked_weights(
    saved: TrainCheckpoint, options: TrainOptions, vocabulary: Vocabulary, folder: RunFolder
) -> Arrays:
    expected = parameters.shapes(options, vocabulary.size)
    weights = saved.arrays.get("weights", {})
    if {name: weight.shape for name, weight in weights.items()} != expected:
        raise CheckpointError(f"{folder.progress}: its weights do not fit its options; the file is damaged")
    if not all(weight.dtype == np.float32 and np.isfinite(weight).all() for weight in weights.values()):
        raise CheckpointError(f"{folder.progress}: its weights are no finite numbers of 32 bits; the file is damaged")
    return weights


def _carried_states(network: Network, arrays: Arrays, batch_size: int, group: ProcessGroup) -> States:
    """The carried states (B, H) of this process' sequences, as they were saved."""
    own = group.own_slice(batch_size)
    try:
        return [
            tuple(
                torch.from_numpy(arrays[f"{layer}.{name}"]).to(network.device).view(zeros.shape)[own]
                for name, zeros in zip(network.cell.state, state, strict=True)
            )
            for layer, state in enumerate(network.initial_state(batch_size))
        ]
    except (KeyError, RuntimeError, TypeError):
        raise CheckpointError("the saved state does not fit the network; the progress file is damaged") from None


def _check_unfinished(trainer: Trainer, folder: RunFolder, before: TrainOptions) -> None:
    """A finished run continues only if it was made longer, or if it ended by a patience that is larger now."""
    state, patience = trainer.state, trainer.options.patience
    if state.finished is None:
        return
    impatient = state.finished == "patience"
    longer = trainer.run_length.outlasts(RunLength(auto.steps_of(before, trainer.batches), before.time))
    larger = impatient and not 0 < patience <= state.evals_since_best
    if trainer.run_length.fraction_done(state.step, state.seconds) >= 1 or not (longer or larger):
        raise RunError(
            f"{folder.path} is finished ({state.finished}, step {state.step:,}); its model is {folder.model}; "
            f"to go on give a longer --epochs, --steps or --time{', or a larger --patience' if impatient else ''}"
        )
    state.finished = None
    if impatient and not larger:
        state.evals_since_best = 0  # a longer run is to have its patience again
