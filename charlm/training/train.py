"""Starting a run: from a corpus and options to a `Trainer` that runs.

train(corpus, cell="gru", hidden=128, steps=200)     a new run
plan(corpus, …)                                      what a run would do, and how long it would take
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from charlm import cells
from charlm.callbacks import ignore
from charlm.config import ModelOptions, TrainOptions
from charlm.data.batches import Batches
from charlm.data.corpus import Corpus, find_corpus
from charlm.errors import CorpusError, UsageError
from charlm.model import checkpoint, initializers, parameters
from charlm.model.network import Network
from charlm.runtime import malloc
from charlm.runtime.device import check_memory, describe_device, find_device, set_precision, set_threads
from charlm.runtime.distributed import ProcessGroup, join
from charlm.training import auto, pretrained
from charlm.training.events import Notice, Plan, Report, Result
from charlm.training.interrupts import run_saving_on_interrupt
from charlm.training.run_folder import RunFolder, TrainState
from charlm.training.trainer import Trainer

OPTIMIZER_ARRAYS = {"sgd": 1, "rmsprop": 1, "adagrad": 1, "adam": 2, "adamw": 2}
"""Numbers that each optimizer keeps per parameter."""

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
        root: the folder of all runs.
        init_from: a model file whose weights to start from; symbols are matched by character.
        report: called with every event of `charlm.training.events`.
        stop: asked after every step; True saves everything and raises `Interrupted`. Without it, Ctrl-C saves
            everything and raises `KeyboardInterrupt`.
        clock: seconds, from any origin.
        started: when the run began by that clock; `--time` counts from there.
        values: any option of `charlm.config.TrainOptions`, by name; they override those of a `preset`.

    Raises:
        UsageError, CorpusError, RunError, CheckpointError, InputError: before anything is trained; `InputError` about
            the vectors that `embeddings` names.
        CharlmError: the run cannot be written.
        DivergedError, Interrupted: see `charlm.training.trainer`.
    """
    group = join()
    report = report if report and group.is_main else ignore
    started = clock() if started is None else started
    corpus = _shared_corpus(corpus, group)
    source = None if init_from is None else checkpoint.load(Path(init_from))
    vectors = group.on_main(lambda: pretrained.load_vectors(values, corpus.vocabulary, source))
    options, notices = auto.resolve_options(corpus, values, source, vectors)
    device = configure_device(options)
    planned = make_plan(corpus, options, device)
    check_memory(planned.memory, device)
    network = new_network(options, corpus)
    notices += pretrained.load_pretrained(network, corpus.vocabulary, options, source, vectors)
    network.to_device(device, options.precision)
    group.check_batch_size(options.batch_size)
    name = f"{corpus.name}-{options.cell}-{options.layers}x{options.hidden}"
    with group.on_main(lambda: RunFolder.create(run, name, Path(root))) as folder:
        group.on_main(lambda: folder.write_config(options, corpus.name))
        for notice in notices:
            report(Notice(notice))
        trainer = Trainer(
            corpus, options, network, folder, TrainState(),
            report=report, clock=clock, started=started, stop=stop, group=group,
        )  # fmt: skip
        report(replace(planned, path=folder.path))
        trainer.begin()
        return trainer.run() if stop else run_saving_on_interrupt(trainer)


def plan(
    corpus: Corpus | str | Path | None = None, *, measure: int = 5, report: Report | None = None, **values: Any
) -> tuple[Plan, float]:
    """What `train` would do, without writing anything.

    Args:
        corpus: as in `train`.
        measure: steps to time, after a second of steps that are not counted.
        report: called with notices of what had to shrink or does not fit, as by `train`.
        values: as in `train`.

    Returns:
        The plan, and the milliseconds of a step.

    Raises:
        CorpusError, UsageError: as in `train`.
    """
    if type(measure) is not int or measure < 1:
        raise UsageError(f"measure is the steps to time, an integer from 1 on, got {measure!r}")
    corpus, report = open_corpus(corpus), report or ignore
    vectors = pretrained.load_vectors(values, corpus.vocabulary, None)
    options, notices = auto.resolve_options(corpus, values, None, vectors)
    for notice in notices:
        report(Notice(notice))
    device = configure_device(options)
    planned = make_plan(corpus, options, device)
    check_memory(planned.memory, device)
    network = new_network(options, corpus).to_device(device, options.precision)
    trainer = Trainer(
        corpus, options, network, RunFolder(Path()), TrainState(),
        report=ignore, notify=lambda line: report(Notice(line)), clock=time.perf_counter, started=0.0,
    )  # fmt: skip
    return planned, trainer.time_steps(measure)


def open_corpus(corpus: Corpus | str | Path | None) -> Corpus:
    """The corpus itself, or the one of that name or folder."""
    return corpus if isinstance(corpus, Corpus) else Corpus.load(find_corpus(corpus))


def configure_device(options: TrainOptions) -> torch.device:
    """The device of a run; sets threads, precision, and on the CPU how freed memory is kept."""
    device = find_device(options.device)
    set_threads(options.threads)
    if device.type == "cpu":
        layers = options.layers * (2 if options.bidirectional else 1)
        malloc.configure_malloc(options.cell, options.hidden, options.batch_size * options.seq_len, layers)
    set_precision(options.precision, device)
    return device


def make_plan(corpus: Corpus, options: TrainOptions, device: torch.device) -> Plan:
    """What a run will do, and about how much memory it takes."""
    batches = Batches(corpus.split("train"), options.batch_size, options.seq_len)
    weights = parameters.count(options, corpus.vocabulary.size)
    gates = len(cells.of(options).gates)
    sides = 2 if options.bidirectional else 1
    per_unit = 2 * gates + 4 + 4 * options.layer_norm + 4 * (options.between == "highway") + 2 * options.skip
    per_character = sides * options.layers * options.hidden * per_unit + 3 * corpus.vocabulary.size
    floats = weights * (2 + OPTIMIZER_ARRAYS[options.optimizer]) + options.batch_size * options.seq_len * per_character
    return Plan(
        options=options,
        corpus=corpus.name,
        symbol=corpus.vocabulary.tokenizer.noun,
        parameters=weights,
        memory=4 * floats,
        used=batches.used,
        dropped=batches.dropped,
        batches_per_epoch=batches.batches_per_epoch,
        steps=auto.steps_of(options, batches),
        device=describe_device(device, options.device),
    )


def new_network(options: TrainOptions, corpus: Corpus) -> Network:
    """A network with its first weights, which follow from the seed."""
    network = Network(model_options(options), corpus.vocabulary.size, options.seed)
    initializers.initialize(network.named_weights(), options)
    return network


def model_options(options: TrainOptions) -> ModelOptions:
    """Those of the network alone."""
    return ModelOptions(**{name: getattr(options, name) for name in ModelOptions.specs()})


def _shared_corpus(corpus: Corpus | str | Path | None, group: ProcessGroup) -> Corpus:
    """The corpus, which every process must have a copy of."""
    corpus = open_corpus(corpus)
    if group.on_main(corpus.identity) != corpus.identity():
        raise CorpusError(
            f"{corpus.path} is not the corpus that the first process reads; prepare the same text with the same "
            f"options on every machine"
        )
    return corpus
