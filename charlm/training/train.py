"""Starting and resuming a run: from a corpus and options to a `Trainer` that goes.

train(corpus, cell="gru", hidden=128, steps=200)     a new run
resume("runs/NAME")                                  goes on as if never stopped
plan(corpus, …)                                      what a run would do, and how long it would take
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charlm import cells
from charlm.config import ModelOptions, TrainOptions
from charlm.data import direction
from charlm.data.batches import Batches
from charlm.data.corpus import Corpus, find_corpus
from charlm.errors import CheckpointError, CorpusError, RunError, UsageError
from charlm.files import present
from charlm.model import checkpoint, initializers, parameters
from charlm.model.checkpoint import Arrays
from charlm.model.network import Network
from charlm.runtime import malloc
from charlm.runtime.device import check_memory, describe_device, find_device, set_precision, set_threads
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup, join
from charlm.spec import AUTO, flag
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training import auto, presets, pretrained
from charlm.training.checkpoints import CheckpointWriter
from charlm.training.events import Event, Notice, Plan, Report, Result
from charlm.training.optimizer import load_state_arrays, make_optimizer
from charlm.training.run_folder import RunFolder, TrainCheckpoint, TrainState
from charlm.training.schedule import RunLength
from charlm.training.step import TrainStep
from charlm.training.trainer import Trainer

RESUMABLE = {
    "epochs", "steps", "time", "patience", "device", "threads",
    "eval_every", "eval_chars", "sample_every", "save_every", "report_every",
}  # fmt: skip
"""What may change when a run is resumed; anything else would make it another run."""

MOMENTS = {"sgd": 1, "rmsprop": 1, "adagrad": 1, "adam": 2, "adamw": 2}
"""Numbers that each optimiser keeps per parameter."""

Clock = Callable[[], float]


def train(
    corpus: Corpus | str | Path | None = None,
    *,
    run: str | Path | None = None,
    root: str | Path = "runs",
    init_from: str | Path | None = None,
    report: Report | None = None,
    stop: Callable[[], bool] | None = None,
    clock: Clock = time.perf_counter,
    started: float | None = None,
    **values: Any,
) -> Result:
    """Train a new model.

    Args:
        corpus: a prepared corpus, its folder, or its name below `data`; None for the most recent.
        run: name or folder of the run; None for CORPUS-CELL-LAYERSxHIDDEN, numbered if taken.
        root: where runs lie.
        init_from: a model file whose weights to start from; symbols are matched by character.
        report: called with every event of `charlm.training.events`.
        stop: asked after every step; True saves everything and raises `Interrupted`.
        clock: seconds, from any origin.
        started: when the run began by that clock; `--time` counts from there.
        values: any option of `charlm.config.TrainOptions`, by name; those of a `preset` stand below the others.

    Raises:
        UsageError, CorpusError, RunError, CheckpointError, InputError: before anything is trained; `InputError` of
            the vectors that `embeddings` names.
        CharlmError: the run cannot be written where it should lie.
        DivergedError, Interrupted: see `charlm.training.trainer`.
    """
    ranks = join()
    tell = report if report and ranks.is_main else _ignore
    begun = clock() if started is None else started
    found = _shared_corpus(corpus, ranks)
    source = None if init_from is None else checkpoint.load(Path(init_from))
    vectors = ranks.on_main(lambda: pretrained.load_vectors(values, found.vocabulary, source))
    options, notices = _resolved(
        found, pretrained.with_embedding_size(vectors, pretrained.with_source_network(source, values))
    )
    device = _compute(options)
    check_memory(_plan(found, options, device).memory, device)
    network = _new(options, found)
    if source is not None:
        notices.append(pretrained.copy_weights(source, network, found.vocabulary))
    if vectors is not None:
        notices.append(pretrained.copy_embeddings(vectors, network, found.vocabulary, options))
    network.to_device(device, options.precision)
    ranks.check_batch_size(options.batch_size)
    with _led(ranks, lambda: RunFolder.create(run, usual_name(found.name, options), Path(root))) as folder:
        ranks.on_main(lambda: folder.write_config(options, found.name))
        for notice in notices:
            tell(Notice(notice))
        trainer = _trainer(found, options, network, folder, TrainState(), tell, stop, clock, begun, ranks)
        tell(replace(_plan(found, options, device), path=folder.path))
        trainer.begin()
        return trainer.run()


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
    """Go on with a run as if it had never stopped: weights, optimiser, schedule, place in the text, state, logs.

    Args:
        run: its name or folder.
        corpus: where its corpus is now, if not where it was.
        values: new values for its length or reporting; see `RESUMABLE`.
        root, report, stop, clock, started: as in `train`.

    Raises:
        RunError: there is no such run, another process trains it, or it is finished and no longer length was given.
        UsageError: an option was given that a running model cannot change.
    """
    ranks = join()
    tell = report if report and ranks.is_main else _ignore
    begun = clock() if started is None else started
    with _led(ranks, lambda: RunFolder.find(run, Path(root))) as folder:
        saved = ranks.on_main(folder.restore)
        found = _same_corpus(saved, corpus)
        options, _ = _decided(found, _changed(saved.options, values, folder))
        ranks.check_batch_size(options.batch_size)
        device = _compute(options)
        weights = _fitting(saved, options, found.vocabulary, folder)
        check_memory(_plan(found, options, device).memory, device)
        network = Network(_model_options(options), found.vocabulary.size).load_weights(weights)
        network.to_device(device, options.precision)
        trainer = _trainer(found, options, network, folder, saved.state, tell, stop, clock, begun, ranks)
        load_state_arrays(trainer.train_step.optimizer, saved.arrays.get("optimizer", {}), saved.state.step)
        trainer.train_step.states = _states(network, saved.arrays.get("states", {}), options.batch_size, ranks)
        _check_unfinished(trainer, folder, saved.options)
        ranks.on_main(lambda: folder.truncate_logs(saved.state))
        tell(replace(_plan(found, options, device), path=folder.path, first_step=saved.state.step))
        ranks.on_main(lambda: folder.write_config(options, found.name))
        trainer.repair_best()
        return trainer.run()


def plan(
    corpus: Corpus | str | Path | None = None, *, measure: int = 5, report: Report | None = None, **values: Any
) -> tuple[Plan, float]:
    """What `train` would do, without writing anything.

    Args:
        corpus: as in `train`.
        measure: steps to time, after a second of steps that are not counted.
        report: told of what had to shrink or does not fit, as `train` would say it.
        values: as in `train`.

    Returns:
        The plan, and the milliseconds of a step.

    Raises:
        CorpusError, UsageError: as in `train`.
    """
    if type(measure) is not int or measure < 1:
        raise UsageError(f"measure is the steps to time, an integer from 1 on, got {measure!r}")
    found = _corpus(corpus)
    options, notices = _resolved(
        found, pretrained.with_embedding_size(pretrained.load_vectors(values, found.vocabulary, None), values)
    )
    for notice in notices:
        (report or _ignore)(Notice(notice))
    device = _compute(options)
    check_memory(_plan(found, options, device).memory, device)
    network = _new(options, found).to_device(device, options.precision)
    folder, clock = RunFolder(Path()), time.perf_counter
    trainer = _trainer(found, options, network, folder, TrainState(), _ignore, None, clock, 0.0, notice=report)
    return _plan(found, options, device), trainer.time_steps(measure)


def usual_name(corpus: str, options: TrainOptions) -> str:
    """The name of a run that was given none."""
    return f"{corpus}-{options.cell}-{options.layers}x{options.hidden}"


def _corpus(corpus: Corpus | str | Path | None) -> Corpus:
    return corpus if isinstance(corpus, Corpus) else Corpus.load(find_corpus(corpus))


def _led(group: ProcessGroup, make: Callable[[], RunFolder]) -> RunFolder:
    """The folder of the run, which the first process makes or finds and locks; the others know where it is."""
    made: list[RunFolder] = []

    def path() -> Path:
        made.append(make())
        return made[0].path

    where = group.on_main(path)
    return made[0] if made else RunFolder(where)


def _shared_corpus(corpus: Corpus | str | Path | None, group: ProcessGroup) -> Corpus:
    """The corpus, of which every process reads a copy; that of the first counts."""
    found = _corpus(corpus)
    if group.on_main(found.identity) != found.identity():
        raise CorpusError(
            f"{found.path} is not the corpus that the first process reads; prepare the same text with the same options "
            f"on every machine"
        )
    return found


def _resolved(corpus: Corpus, values: dict[str, Any]) -> tuple[TrainOptions, list[str]]:
    options, notices = _decided(corpus, TrainOptions.of(presets.with_preset(values)))
    return options, notices + presets.corpus_notices(options.preset, corpus.options)


def _new(options: TrainOptions, corpus: Corpus) -> Network:
    network = Network(_model_options(options), corpus.vocabulary.size, options.seed)
    initializers.initialize(network, options)
    return network


def _decided(corpus: Corpus, options: TrainOptions) -> tuple[TrainOptions, list[str]]:
    """Whatever is `auto` decided for this corpus; what was decided before stays."""
    valid = len(corpus.split("valid")) - 1 if corpus.has("valid") else 0
    resolved, notices = auto.resolve(options, corpus.vocabulary.size, len(corpus.split("train")) - 1, valid)
    if options.patience and not (valid and resolved.eval_every):
        why = "there is no valid split" if not valid else "--eval-every 0 leaves out all evaluations"
        raise UsageError(f"--patience {options.patience} counts evaluations, and {why}; leave it out")
    if options.weight_drop and not cells.of(options).recurrent:
        raise UsageError(
            f"--weight-drop {options.weight_drop:g} drops recurrent weights, and the cell {options.cell} has none; "
            f"leave it out"
        )
    if options.bidirectional:
        notices.append(
            "bidirectional: losses are of each character given both sides, and compare with no other model's"
        )
    if not valid:
        notices.append(f"{corpus.name} has no valid split: the latest model is kept as the best")
    return resolved, notices


def _compute(options: TrainOptions) -> torch.device:
    device = find_device(options.device)
    set_threads(options.threads)
    if device.type == "cpu":
        held = options.layers * (2 if options.bidirectional else 1)
        malloc.configure_malloc(options.cell, options.hidden, options.batch_size * options.seq_len, held)
    set_precision(options.precision, device)
    return device


def _trainer(
    corpus: Corpus, options: TrainOptions, network: Network, folder: RunFolder, state: TrainState,
    report: Report, stop: Callable[[], bool] | None, clock: Clock, started: float, group: ProcessGroup = SINGLE_PROCESS,
    notice: Report | None = None,
) -> Trainer:  # fmt: skip
    text, vocabulary = direction.training(corpus.split("train"), options.direction), corpus.vocabulary.size
    lanes = Batches(text, options.batch_size, options.seq_len, group.rank, group.world, vocabulary)
    if options.freeze_embeddings:
        network.weight("embedding.weight").requires_grad_(False)
    optimizer = make_optimizer(network, options)
    identity, place = corpus.identity(), str(corpus.path)
    has_ends, states = corpus.documents_of("train") > 0, network.initial_state(options.batch_size // group.world)

    def tell(why: str) -> None:
        (notice or report)(Notice(why))

    return Trainer(
        train_step=TrainStep(network, optimizer, lanes, has_ends, options, states, group, tell),
        valid=direction.reading(corpus.checked("valid"), options.direction) if corpus.has("valid") else None,
        vocabulary=corpus.vocabulary,
        options=options,
        writer=CheckpointWriter(folder, network, optimizer, lanes, corpus.vocabulary, options, identity, place, group),
        run_length=_length(options, lanes),
        state=state,
        report=report,
        stop=stop or _never,
        clock=clock,
        started=started,
        group=group,
    )


def _length(options: TrainOptions, batches: Batches) -> RunLength:
    return RunLength(
        auto.planned_steps(options, len(batches.ids) - 1, batches.batch_size, batches.seq_len), options.time
    )


def _plan(corpus: Corpus, options: TrainOptions, device: torch.device) -> Plan:
    lanes = Batches(corpus.split("train"), options.batch_size, options.seq_len)
    number = parameters.count(options, corpus.vocabulary.size)
    gates = len(cells.of(options).gates)
    sides = 2 if options.bidirectional else 1
    numbers = 2 * gates + 4 + 4 * options.layer_norm + 4 * (options.between == "highway") + 2 * options.skip
    per_character = sides * options.layers * options.hidden * numbers + 3 * corpus.vocabulary.size
    floats = number * (2 + MOMENTS[options.optimizer]) + options.batch_size * options.seq_len * per_character
    return Plan(
        options=options,
        corpus=corpus.name,
        symbol=corpus.vocabulary.tokenizer.noun,
        parameters=number,
        memory=4 * floats,
        used=lanes.used,
        dropped=lanes.dropped,
        batches_per_epoch=lanes.batches_per_epoch,
        steps=auto.planned_steps(options, len(lanes.ids) - 1, options.batch_size, options.seq_len),
        device=describe_device(device, options.device),
    )


def _model_options(options: TrainOptions) -> ModelOptions:
    return ModelOptions(**{name: getattr(options, name) for name in ModelOptions.specs()})


def _changed(options: TrainOptions, values: dict[str, Any], folder: RunFolder) -> TrainOptions:
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


def _same_corpus(checkpoint: TrainCheckpoint, corpus: Corpus | str | Path | None) -> Corpus:
    """The corpus the run began with, by name and SHA-256."""
    found = _corpus(corpus if corpus is not None else _place_of(checkpoint))
    if found.identity() != checkpoint.corpus:
        raise CorpusError(
            f"{found.path} is not the corpus this run began with (its text or its options changed since); "
            f"prepare that text again, or start a new run with --init-from"
        )
    return found


def _place_of(checkpoint: TrainCheckpoint) -> str:
    """Where the corpus was when the run was saved, or its name where it is no longer there."""
    return (
        checkpoint.corpus_path
        if present(Path(checkpoint.corpus_path) / "corpus.json")
        else str(checkpoint.corpus.get("name", ""))
    )


def _fitting(checkpoint: TrainCheckpoint, options: TrainOptions, vocabulary: Vocabulary, folder: RunFolder) -> Arrays:
    expected = parameters.shapes(options, vocabulary.size)
    weights = checkpoint.arrays.get("weights", {})
    if {name: weight.shape for name, weight in weights.items()} != expected:
        raise CheckpointError(f"{folder.progress}: its weights do not fit its options; the file is damaged")
    if not all(weight.dtype == np.float32 and np.isfinite(weight).all() for weight in weights.values()):
        raise CheckpointError(f"{folder.progress}: its weights are no finite numbers of 32 bits; the file is damaged")
    return weights


def _states(network: Network, arrays: Arrays, batch: int, group: ProcessGroup) -> list[tuple[torch.Tensor, ...]]:
    """The carried state of this process' lanes, as it was saved."""
    states = network.initial_state(batch)
    try:
        return [
            tuple(
                torch.from_numpy(arrays[f"{layer}.{name}"]).to(network.device).view(part.shape)[group.own_slice(batch)]
                for name, part in zip(network.cell.state, state, strict=True)
            )
            for layer, state in enumerate(states)
        ]
    except (KeyError, RuntimeError, TypeError):
        raise CheckpointError("the saved state does not fit the network; the progress file is damaged") from None


def _check_unfinished(trainer: Trainer, folder: RunFolder, before: TrainOptions) -> None:
    """A finished run goes on only where it was made longer, or where its patience was at its end and is larger now."""
    progress, patience = trainer.state, trainer.options.patience
    if progress.finished is None:
        return
    impatient = progress.finished == "patience"
    longer = trainer.run_length.outlasts(_length(before, trainer.train_step.batches))
    larger = impatient and not 0 < patience <= progress.stale
    if trainer.run_length.fraction_done(progress.step, progress.seconds) >= 1 or not (longer or larger):
        raise RunError(
            f"{folder.path} is finished ({progress.finished}, step {progress.step:,}); its model is {folder.model}; "
            f"to go on give a longer --epochs, --steps or --time{', or a larger --patience' if impatient else ''}"
        )
    progress.finished = None
    if impatient and not larger:
        progress.stale = 0  # whoever asks for more is to get some


def _ignore(event: Event) -> None:
    """Report to nobody."""


def _never() -> bool:
    return False
