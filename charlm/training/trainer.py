"""The training loop: a window after the other, and between them what looks at the weights.

    until the run is over:
        back-propagate through a window, read its loss, step          (`charlm.training.step`)
        now and then: log, sample, evaluate, keep the best, save

Evaluating, sampling and saving look at the weights and change nothing: they have a state and random
numbers of their own. What is left out: making the parts and choosing their sizes
(`charlm.training.train`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite, isnan, log, nan

import numpy as np

from charlm.config import TrainOptions
from charlm.errors import DivergedError, Interrupted
from charlm.evaluation.scoring import Progress as ScoreProgress
from charlm.evaluation.scoring import Score, score
from charlm.model import checkpoint
from charlm.model.network import Network
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.spec import AUTO
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training import time_budget
from charlm.training.checkpoints import CheckpointWriter
from charlm.training.events import Evaluated, FinalEvaluation, Notice, Report, Result, Sampled, Stepped
from charlm.training.preview import preview
from charlm.training.run_folder import RunFolder, TrainState, shell_quoted
from charlm.training.schedule import RunLength, learning_rate
from charlm.training.step import StepMetrics, TrainStep
from charlm.training.time_budget import Throughput, TimeBudget

UNTIMED_SECONDS = 1.0
"""Seconds of steps before some are timed: the first ones took twice as long."""

MAX_SECONDS_UNSAVED = 600.0
"""Seconds after which `--save-every auto` saves though no evaluation came by."""


@dataclass
class Trainer:
    """One run in progress: the parts, and the counters that change.

    Attributes:
        learner: takes the steps.
        valid: ids of the valid split as the network reads it, the boundary first, None where there is none.
        symbols: the table of symbols.
        options: every `auto` resolved.
        keeper: writes the run's files.
        length: when the run is over.
        progress: the counters.
        report: told of every step.
        stop: asked after every step whether to save and leave.
        clock: seconds from any origin.
        started: when the run began by that clock.
        ranks: the processes that train together; each has a trainer, and all take the same decisions.
    """

    train_step: TrainStep
    valid: np.ndarray | None
    vocabulary: Vocabulary
    options: TrainOptions
    writer: CheckpointWriter
    run_length: RunLength
    state: TrainState
    report: Report
    stop: Callable[[], bool]
    clock: Callable[[], float]
    started: float
    group: ProcessGroup = SINGLE_PROCESS
    _throughput: Throughput = field(init=False)
    _budget: TimeBudget = field(init=False)
    _nats: float = field(init=False, default=nan)

    def __post_init__(self) -> None:
        expected = time_budget.estimated_save_seconds(sum(w.numel() for w in self.train_step.network.parameters()))
        saving = expected if self.state.saving is None else self.state.saving
        self._throughput = Throughput(self.clock(), evaluating=self.state.evaluation_speed, saving=saving)
        self._budget = TimeBudget(self.run_length.seconds, self._final_characters(), self._throughput)
        self._earlier = self.state.seconds

    @property
    def folder(self) -> RunFolder:
        """Where everything is kept."""
        return self.writer.folder

    def run(self) -> Result:
        """Train to the end.

        Raises:
            DivergedError: a loss or gradient was not finite; it was not applied.
            Interrupted: `stop` said so; everything is saved.
        """
        why = "finished" if self.state.step and self._share() >= 1 else self._early_stop_reason()
        while why is None:
            if self.group.all_reduce_any(self.stop()):
                self._leave()
            self._step(self._share())
            why = self._after_step()
        return self._finish(why)

    def begin(self) -> None:
        """Save before the first step, so that a run can be resumed from its very beginning."""
        self._save_progress()

    def time_steps(self, count: int) -> float:
        """Milliseconds of a step, over `count` of them after some to warm up. Writes nothing, but does train.

        The median; their mean where the numbers of several steps are read together.
        """
        began, warming = self.clock(), 0
        while warming < 2 or self.clock() - began < UNTIMED_SECONDS:
            self._step(0.0)
            self._read()
            warming += 1
        times = []
        for number in range(count):
            began = self.clock()
            self._step(0.0)
            if number == count - 1:
                self._read()
            times.append(self.clock() - began)
        return 1000 * float(np.mean(times) if self.train_step.meter.deferred else np.median(times))

    def _seconds(self) -> float:
        return self._earlier + self.clock() - self.started

    def _share(self) -> float:
        """How much of the run is done; with --time, what the end will take is set aside."""
        seconds = self._seconds()
        if self.run_length.seconds is None:
            return self.run_length.fraction_done(self.state.step, seconds)
        return self.group.broadcast(self._budget.fraction_used(seconds, self.state))

    def _final_characters(self) -> int:
        return 0 if self.valid is None else len(self.valid) - 1

    def _step(self, share: float) -> None:
        """One window; on the CPU its loss is read before it is applied, elsewhere those of several steps together."""
        began = self.clock()
        number, lanes, meter = self.state.step, self.train_step.batches, self.train_step.meter
        rate = learning_rate(self.options, number, number / lanes.batches_per_epoch, share)
        self.train_step.forward_backward(number)
        if not meter.deferred:
            self._read()
        self.train_step.update(rate)
        self.state.step += 1
        self._throughput.launched(lanes.batch_size * lanes.seq_len, self.clock() - began)
        if not meter.deferred:
            self._throughput.count()
        elif meter.full or isnan(self._nats) or _due(self.state.step, self.options.report_every):
            self._read()
        self.state.learning_rate = rate
        self._tell(share)

    def _read(self) -> None:
        """Take down the numbers of the steps since the last reading.

        Raises:
            DivergedError: one of them was not finite.
        """
        if self.train_step.meter.deferred:
            began = self.clock()
            readings = self.train_step.meter.read()
            self._throughput.synced(self.clock() - began)
        else:
            readings = self.train_step.meter.read()
        for back, reading in zip(range(len(readings) - 1, -1, -1), readings, strict=True):
            if not (isfinite(reading.nats) and isfinite(reading.norm)):
                self._diverged(reading, self.state.step - back + (0 if self.train_step.meter.deferred else 1))
            self.state.row_nats += reading.nats
            self.state.row_steps += 1
            self.state.grad_norm = reading.norm
            self._nats = reading.nats

    def _tell(self, share: float) -> None:
        step, seconds = self.state.step, self._seconds()
        spent = self.clock() - self.started
        ahead = None
        if self.run_length.seconds is not None:
            ahead = max(0.0, self.run_length.seconds - seconds)
        elif self.run_length.steps is not None:
            ahead = (self.run_length.steps - step) * spent / self._throughput.steps
        self.report(
            Stepped(
                step=step,
                epoch=step / self.train_step.batches.batches_per_epoch,
                share=share if self.run_length.seconds is not None else self.run_length.fraction_done(step, seconds),
                seconds=seconds,
                seconds_left=ahead,
                nats=self._nats,
                learning_rate=self.state.learning_rate,
                grad_norm=self.state.grad_norm,
                chars_per_second=self._throughput.speed(),
                due=_due(step, self.options.report_every),
            )
        )

    def _after_step(self) -> str | None:
        """Everything that looks at the weights between two steps; returns why the run is over, if it is."""
        if self.run_length.seconds is not None and self.state.step == time_budget.TIMED_EVALUATION_STEP:
            self._time_evaluation(self.run_length.seconds)
        step, over = self.state.step, self._share() >= 1
        options = self.options
        if over or any(_due(step, every) for every in (options.report_every, options.sample_every, options.eval_every)):
            self._read()
        if _due(step, options.sample_every):
            self._sample()
        if over:
            return "finished"
        nats = self._evaluate(self.options.eval_chars) if self._evaluation_due() else None
        if nats is not None or _due(step, self.options.report_every):
            self._log(nats)
        if nats is not None:
            self._keep(nats, self.options.eval_chars)
        if self._save_due(nats is not None):
            self.save()
        return self._early_stop_reason()

    def _early_stop_reason(self) -> str | None:
        """`patience` where that is at its end."""
        return "patience" if self.options.patience and self.state.stale >= self.options.patience else None

    def _time_evaluation(self, budget: float) -> None:
        """Score a little of the valid split, only to time it."""
        if self.valid is None or self._throughput.evaluating is not None:
            return
        self._read()
        began = self.clock()
        scored = self._score(self.train_step.network, int(time_budget.MIN_TIMED_EVALUATION * budget) + 1)
        self._throughput.evaluation(scored.characters, self.clock() - began)

    def _evaluation_due(self) -> bool:
        """Whether to evaluate now; with --time, not where the end is nearer than the evaluation is long."""
        if self.valid is None or not _due(self.state.step, self.options.eval_every):
            return False
        if self.run_length.seconds is None:
            return True
        fits = self._budget.can_evaluate(self.options.eval_chars, self._seconds(), self.state)
        return self.group.broadcast(fits) > 0

    def _evaluate(self, characters: int, *, final: bool = False) -> float:
        """Nats per character over the first `characters` of the valid split."""
        began = self.clock()
        result = self._score(self.train_step.network, characters, self._judging(characters) if final else None)
        self._throughput.evaluation(result.characters, self.clock() - began)
        best = self.state.best_nats
        mean = self.state.row_nats / self.state.row_steps if self.state.row_steps else None
        nats = result.nats_per_char
        self.state.evaluated = self.state.step
        better = isfinite(nats) and (best is None or nats < best)
        whole = result.characters == self._final_characters()
        self.report(Evaluated(self.state.step, nats, result.characters, whole, better, mean))
        return nats

    def _score(self, network: Network, characters: int, progress: ScoreProgress | None = None) -> Score:
        if self.valid is None:
            raise ValueError("there is no valid split")
        part = self.group.rank, self.group.world
        ids = self.valid[: characters + 1]
        return self.group.total(score(network, ids, bounded=not self.train_step.has_ends, part=part, progress=progress))

    def _judging(self, characters: int) -> ScoreProgress:
        """Report the long evaluation at the end, and leave it when asked to; resuming begins it again.

        Several processes are not at the same place in it, and go on to its end.
        """
        began = self.clock()

        def progress(done: int, nats: float) -> None:
            if self.group.world == 1 and self.stop():
                self._leave()
            spent = self.clock() - began
            self.report(FinalEvaluation(done, characters, nats / done, spent * (characters - done) / done))

        return progress

    def _keep(self, nats: float, characters: int) -> None:
        """Note an evaluation; where it is the best so far, the weights become the model.

        The progress goes to the disk first: a run killed in between makes the same model again.
        """
        best = self.state.best_nats
        if not isfinite(nats) or (best is not None and nats >= best):
            self.state.stale += 1
            return
        self.state.best_nats, self.state.best_step, self.state.stale = nats, self.state.step, 0
        self.state.best_characters = min(characters, self._final_characters())
        self._save_progress()
        self._save_best()

    def _log(self, valid_nats: float | None) -> None:
        """A row of metrics.jsonl."""
        progress = self.state
        self.writer.log(
            {
                "step": progress.step,
                "epoch": round(progress.step / self.train_step.batches.batches_per_epoch, 6),
                "characters": progress.step * self.train_step.batches.batch_size * self.train_step.batches.seq_len,
                "seconds": round(self._seconds(), 3),
                "train_nats": progress.row_nats / progress.row_steps if progress.row_steps else None,
                "valid_nats": valid_nats,
                "valid_bits": None if valid_nats is None else valid_nats / log(2),
                "learning_rate": progress.learning_rate,
                "grad_norm": progress.grad_norm,
                "chars_per_second": round(self._throughput.speed(), 1) if progress.row_steps else None,
            }
        )
        progress.row_nats, progress.row_steps = 0.0, 0

    def _sample(self) -> None:
        """A short sample of the network as it is, kept and reported."""
        if not self.group.is_main:
            return
        text = preview(self.train_step.network, self.vocabulary, self.options.seed + self.state.step)
        self.folder.log_sample(self.state.step, text)
        self.report(Sampled(self.state.step, text))

    def _save_due(self, evaluated: bool) -> bool:
        if self.options.save_every == AUTO:
            return evaluated or self.group.broadcast(self.clock() - self._throughput.saved > MAX_SECONDS_UNSAVED) > 0
        return _due(self.state.step, self.options.save_every)

    def save(self) -> None:
        """Write the progress, then the latest model, and the best where there can be no better judge."""
        self._read()
        began = self.clock()
        self._save_progress()
        self._save_latest()
        self._throughput.saving, self._throughput.saved = self.clock() - began, self.clock()

    def _save_latest(self) -> None:
        self.writer.save_model(self.folder.last, self.state.step)
        if self.valid is None:
            self.writer.save_model(self.folder.model, self.state.step)

    def _save_progress(self) -> None:
        self.state.seconds = self._seconds()
        self.state.evaluation_speed, self.state.saving = self._throughput.evaluating, self._throughput.saving
        self.writer.save_state(self.state, self.train_step.states)

    def _save_best(self) -> None:
        self.writer.save_model(self.folder.model, self.state.step, self.state.best_nats, self.state.best_characters)

    def repair_best(self) -> None:
        """After a resume: make the best model fit the progress.

        It is written again where the run was killed before it reached the disk, and scored again where
        a finished run goes on, which had judged it by more than an evaluation on the way reads.
        """
        if self.state.best_nats is None:
            return
        if self.state.best_step == self.state.step:
            self._save_best()
        self.rescore_best(min(self.options.eval_chars, self._final_characters()))

    def _leave(self) -> None:
        self.save()
        if self.state.best_nats is None and not self.folder.model.exists():
            self.writer.save_model(self.folder.model, self.state.step)
        step, run = self.state.step, shell_quoted(self.folder.path)
        raise Interrupted(f"stopped at step {step:,}, everything is saved; go on with: charlm train --resume {run}")

    def _diverged(self, reading: StepMetrics, step: int) -> None:
        what, value = ("loss", reading.nats) if not isfinite(reading.nats) else ("gradient norm", reading.norm)
        best = self.state.best_nats
        kept = (
            f"the best model ({best:.4f} nats) is kept in {self.folder.model}"
            if best is not None
            else "there is no model yet"
        )
        advice = f"--lr {self.options.lr / 3:.2g}" + ("" if self.options.clip_norm else " or --clip-norm 1")
        raise DivergedError(
            f"training diverged at step {step:,}: the {what} is {value}, and was not applied; {kept}; try {advice}"
        )

    def _finish(self, why: str) -> Result:
        """Judge the last and the best model by the whole valid split, keep the better, save everything."""
        self._save_progress()
        if self.valid is not None:
            self._judge()
        elif self.state.row_steps:
            self._log(None)
        self._save_latest()
        if not self.folder.model.exists():
            self.writer.save_model(self.folder.model, self.state.step)
        self.state.finished = why
        self._save_progress()
        progress = self.state
        result = Result(
            path=self.folder.path,
            model=self.folder.model,
            step=progress.step,
            seconds=progress.seconds,
            valid_nats=progress.best_nats,
            valid_characters=progress.best_characters,
            best_step=progress.best_step if self.valid is not None else progress.step,
            stopped=why,
        )
        self.report(result)
        return result

    def _judge(self) -> None:
        whole = self._final_characters()
        reads = int(self.group.broadcast(self._budget.final_eval(self.state)[0]))
        if reads < whole:
            self.report(
                Notice(f"no time for the whole valid split: its first {reads:,} of {whole:,} characters decide")
            )
        if self.state.best_nats is not None:
            self.rescore_best(reads)
        if self.state.evaluated != self.state.step:
            nats = self._evaluate(reads, final=True)
            self._log(nats)
            self._keep(nats, reads)

    def rescore_best(self, reads: int) -> None:
        """Score the best model so far on the first `reads` characters; its own weights, not the network's."""
        if self.state.best_characters == reads or self.valid is None:
            return
        model = self.group.on_main(lambda: checkpoint.load(self.folder.model))
        network = Network(model.options, self.vocabulary.size).load_weights(model.weights)
        network.to_device(self.train_step.network.device, self.options.precision)
        nats = self._score(network, reads, self._judging(reads)).nats_per_char
        self.state.best_nats, self.state.best_characters = nats, reads
        self.writer.update_score(self.folder.model, model, nats, reads)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
