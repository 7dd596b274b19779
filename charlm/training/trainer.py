"""The training loop: `Trainer.run` is one page, and everything else here is what it calls.

Validating, sampling and saving look at the weights and change nothing: they have states and random numbers of
their own. Not here: making the parts and choosing their sizes (`charlm.training.train`).
"""

from collections.abc import Callable
from math import isfinite, isnan, log, nan
from pathlib import Path

import numpy as np

from charlm.callbacks import ScoreProgressFn
from charlm.config import TrainOptions
from charlm.data import direction
from charlm.data.batches import Batches
from charlm.data.corpus import Corpus
from charlm.errors import DivergedError, Interrupted
from charlm.model import checkpoint
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.sampling.sample import preview
from charlm.spec import AUTO
from charlm.training import auto, time_budget
from charlm.training.checkpoints import CheckpointWriter
from charlm.training.data_loader import DataLoader
from charlm.training.events import Evaluated, FinalEvaluation, Notice, Report, Result, Sampled, Stepped
from charlm.training.optimizer import make_optimizer
from charlm.training.run_folder import RunFolder, TrainState, shell_quoted
from charlm.training.schedule import RunLength, learning_rate
from charlm.training.step import StepMetrics, TrainStep
from charlm.training.time_budget import Throughput, TimeBudget
from charlm.training.validation import Validator

UNTIMED_SECONDS = 1.0
"""Seconds of steps before some are timed: the first ones took twice as long."""

MAX_TIMING_SECONDS = 20.0
"""Seconds after which no further step is timed: a step of a large network may take half a minute."""

MAX_SECONDS_UNSAVED = 600.0
"""Seconds after which `--save-every auto` saves though nothing was validated meanwhile."""


class Trainer:
    """One run: network, optimizer, data loader and counters, and the loop over them.

    Args:
        corpus: prepared.
        options: every `auto` resolved.
        network: on its device.
        folder: where everything is kept.
        state: the counters, which change.
        report: called with every event.
        notify: called with a line about what is slower than it could be; None reports it.
        stop: asked after every step whether to save and leave; None never does.
        clock: seconds, from any origin.
        started: when the run began by that clock.
        group: the processes that train together; each has a trainer, and all take the same decisions.
    """

    def __init__(
        self,
        corpus: Corpus,
        options: TrainOptions,
        network: Network,
        folder: RunFolder,
        state: TrainState,
        *,
        report: Report,
        clock: Callable[[], float],
        started: float,
        stop: Callable[[], bool] | None = None,
        notify: Callable[[str], None] | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.options, self.network, self.folder, self.state, self.group = options, network, folder, state, group
        self.report, self.clock, self.started = report, clock, started
        self.stop = stop or (lambda: False)
        self.vocabulary = corpus.vocabulary
        text = direction.training(corpus.split("train"), options.direction)
        self.batches = Batches(
            text, options.batch_size, options.seq_len, group.rank, group.world_size, corpus.vocabulary.size
        )
        self.loader = DataLoader(self.batches, network.device)
        if options.freeze_embeddings:
            network.weight("embedding.weight").requires_grad_(False)
        self.optimizer = make_optimizer(network, options)
        has_ends = corpus.documents_of("train") > 0
        self.train_step = TrainStep(
            network, self.optimizer, self.loader, has_ends, options, group, notify or self._report_notice
        )
        self.states = self.train_step.zero_states()
        self.writer = CheckpointWriter(
            folder, network, self.optimizer, self.batches, corpus.vocabulary, options,
            corpus.identity(), str(corpus.path), group,
        )  # fmt: skip
        self.run_length = RunLength(auto.steps_of(options, self.batches), options.time)
        expected = time_budget.estimated_save_seconds(sum(weight.numel() for weight in network.parameters()))
        self._throughput = Throughput(
            clock(), evaluating=state.evaluation_speed, saving=expected if state.saving is None else state.saving
        )
        valid = direction.reading(corpus.checked("valid"), options.direction) if corpus.has("valid") else None
        self.validator = Validator(valid, not has_ends, group, self._throughput, clock)
        self._budget = TimeBudget(options.time, self.validator.characters, self._throughput)
        self._earlier_seconds = state.seconds
        self._nats = nan

    def run(self) -> Result:
        """Train to the end.

        Raises:
            DivergedError: a loss or gradient was not finite; it was not applied.
            Interrupted: `stop` said so; everything is saved.
        """
        reason = "finished" if self.state.step and self._fraction_done() >= 1 else self._early_stop_reason()
        while reason is None:
            if self.group.all_reduce_any(self.stop()):
                self._save_and_leave()
            self.train_batch(self._fraction_done())
            self._time_evaluation_if_due()
            over = self._fraction_done() >= 1
            self._read_metrics_if_due(over)
            self._sample_if_due()
            if over:
                reason = "finished"
                break
            valid_nats = self._validate_if_due()
            self._log_if_due(valid_nats)
            self._keep_if_best(valid_nats)
            self._save_if_due(valid_nats)
            reason = self._early_stop_reason()
        return self._finish(reason)

    def train_batch(self, fraction_done: float) -> None:
        """Take one step: batch, forward, backward, clip, optimizer step.

        Metrics are read before the update if it is time to: after every batch on the CPU, so that a loss that is not
        finite is never applied; on a GPU after several.
        """
        began, state, step = self.clock(), self.state, self.train_step
        rate = learning_rate(self.options, state.step, state.step / self.batches.batches_per_epoch, fraction_done)
        inputs, targets = self.loader.batch(state.step)
        before = step.states_before(state.step, inputs, self.states)
        loss, grad_norm, after = step.forward_backward(state.step, inputs, targets, before)
        step.metrics.add(state.step + 1, loss, grad_norm)
        read = step.metrics.full or isnan(self._nats) or _is_due(state.step + 1, self.options.report_every)
        if read:
            self._read_metrics()
        step.update(rate)
        self.states = after
        state.step += 1
        state.learning_rate = rate
        self._throughput.launched(self.batches.batch_size * self.batches.seq_len, self.clock() - began)
        if read:
            self._throughput.count()
        self._report_step(fraction_done)

    def begin(self) -> None:
        """Save before the first step, so that a run can be resumed from its very beginning."""
        self._save_state()

    def time_steps(self, count: int) -> float:
        """Milliseconds of a step, over `count` of them after some to warm up. Writes nothing, but does train.

        The median; the mean if the metrics of several steps are read together. Slow steps are fewer, at least one
        after one: no step begins after `MAX_TIMING_SECONDS`.
        """
        started, warm_up_steps, times = self.clock(), 0, list[float]()
        while (elapsed := self.clock() - started) < (MAX_TIMING_SECONDS if warm_up_steps < 2 else UNTIMED_SECONDS):
            self.train_batch(0.0)
            self._synchronize()
            warm_up_steps += 1
        while not times or len(times) < count and elapsed < MAX_TIMING_SECONDS:
            began = self.clock()
            self.train_batch(0.0)
            times.append(self.clock() - began)
            elapsed = self.clock() - started
        began = self.clock()
        self._synchronize()
        times[-1] += self.clock() - began
        return 1000 * float(np.mean(times) if self.train_step.metrics.deferred else np.median(times))

    def save(self) -> None:
        """Write the state to resume from, then the latest model."""
        self._synchronize()
        began = self.clock()
        self._save_state()
        self._save_latest()
        self._throughput.saving, self._throughput.saved = self.clock() - began, self.clock()

    def repair_best(self) -> None:
        """After a resume: make the best model fit the state.

        It is written again if the run was killed before it reached the disk, and scored again if a finished run
        continues, which had scored it on more characters than a validation on the way reads.
        """
        if self.state.best_nats is None:
            return
        if self.state.best_step == self.state.step:
            self._save_best()
        self._rescore_best(min(self.options.eval_chars, self.validator.characters))

    def _seconds(self) -> float:
        return self._earlier_seconds + self.clock() - self.started

    def _fraction_done(self) -> float:
        """How much of the run is done, 0 to 1; with --time, what the end will take is set aside."""
        seconds = self._seconds()
        if self.run_length.seconds is None:
            return self.run_length.fraction_done(self.state.step, seconds)
        return self.group.broadcast(self._budget.fraction_used(seconds, self.state))

    def _early_stop_reason(self) -> str | None:
        """`patience` if so many evaluations brought no improvement."""
        return "patience" if self.options.patience and self.state.evals_since_best >= self.options.patience else None

    def _read_metrics(self) -> None:
        """Book the steps since the last reading.

        Raises:
            DivergedError: one of them was not finite.
        """
        for metrics in self.train_step.metrics.read():
            if not metrics.finite:
                self._raise_diverged(metrics)
            self.state.loss_sum += metrics.nats
            self.state.loss_count += 1
            self.state.grad_norm = metrics.grad_norm
            self._nats = metrics.nats

    def _synchronize(self) -> None:
        """Wait for the device, and book the steps that it had not finished."""
        if not self.train_step.metrics.unread:
            return
        began = self.clock()
        self._read_metrics()
        self._throughput.synced(self.clock() - began)

    def _read_metrics_if_due(self, over: bool) -> None:
        every = (self.options.report_every, self.options.sample_every, self.options.eval_every)
        if over or any(_is_due(self.state.step, steps) for steps in every):
            self._synchronize()

    def _report_notice(self, line: str) -> None:
        self.report(Notice(line))

    def _report_step(self, fraction_done: float) -> None:
        step, seconds = self.state.step, self._seconds()
        seconds_left = None
        if self.run_length.seconds is not None:
            seconds_left = max(0.0, self.run_length.seconds - seconds)
        elif self.run_length.steps is not None:
            spent = self.clock() - self.started
            seconds_left = (self.run_length.steps - step) * spent / self._throughput.steps
        if self.run_length.seconds is None:
            fraction_done = self.run_length.fraction_done(step, seconds)
        self.report(
            Stepped(
                step=step,
                epoch=step / self.batches.batches_per_epoch,
                share=fraction_done,
                seconds=seconds,
                seconds_left=seconds_left,
                nats=self._nats,
                learning_rate=self.state.learning_rate,
                grad_norm=self.state.grad_norm,
                chars_per_second=self._throughput.speed(),
                due=_is_due(step, self.options.report_every),
            )
        )

    def _time_evaluation_if_due(self) -> None:
        """Score a little of the validation split early in a run with --time, only to learn how fast that is."""
        if self.run_length.seconds is None or self.state.step != time_budget.TIMED_EVALUATION_STEP:
            return
        if self.validator.ids is None or self._throughput.evaluating is not None:
            return
        self._synchronize()
        characters = int(time_budget.MIN_TIMED_EVALUATION * self.run_length.seconds) + 1
        self.validator.timed_score(self.network, characters)

    def _sample_if_due(self) -> None:
        """A short sample of the network as it is, kept and reported."""
        step = self.state.step
        if not _is_due(step, self.options.sample_every) or not self.group.is_main:
            return
        text = preview(Model(self.network.options, self.vocabulary, self.network.arrays()), self.options.seed + step)
        self.folder.log_sample(step, text)
        self.report(Sampled(step, text))

    def _validate_if_due(self) -> float | None:
        """The loss in nats per character; with --time None if the end is nearer than a validation is long."""
        if self.validator.ids is None or not _is_due(self.state.step, self.options.eval_every):
            return None
        if self.run_length.seconds is not None:
            fits = self._budget.can_evaluate(self.options.eval_chars, self._seconds(), self.state)
            if not self.group.broadcast(fits) > 0:
                return None
        return self._validate(self.options.eval_chars)

    def _validate(self, characters: int, progress: ScoreProgressFn | None = None) -> float:
        """Nats per character over the first `characters` of the validation split."""
        state = self.state
        score = self.validator.timed_score(self.network, characters, progress)
        train_nats = state.loss_sum / state.loss_count if state.loss_count else None
        nats, whole = score.nats_per_char, score.characters == self.validator.characters
        state.evaluated = state.step
        self.report(Evaluated(state.step, nats, score.characters, whole, self._is_best(nats), train_nats))
        return nats

    def _is_best(self, nats: float) -> bool:
        return isfinite(nats) and (self.state.best_nats is None or nats < self.state.best_nats)

    def _keep_if_best(self, nats: float | None, characters: int | None = None) -> None:
        """Note a validation; if it is the best so far, the weights become the model.

        The state goes to the disk first: a run killed in between makes the same model again.
        """
        if nats is None:
            return
        if not self._is_best(nats):
            self.state.evals_since_best += 1
            return
        self.state.best_nats, self.state.best_step, self.state.evals_since_best = nats, self.state.step, 0
        self.state.best_characters = min(characters or self.options.eval_chars, self.validator.characters)
        self._save_state()
        self._save_best()

    def _log_if_due(self, valid_nats: float | None) -> None:
        if valid_nats is not None or _is_due(self.state.step, self.options.report_every):
            self._log(valid_nats)

    def _log(self, valid_nats: float | None) -> None:
        """A row of metrics.jsonl."""
        state = self.state
        self.writer.log(
            {
                "step": state.step,
                "epoch": round(state.step / self.batches.batches_per_epoch, 6),
                "characters": state.step * self.batches.batch_size * self.batches.seq_len,
                "seconds": round(self._seconds(), 3),
                "train_nats": state.loss_sum / state.loss_count if state.loss_count else None,
                "valid_nats": valid_nats,
                "valid_bits": None if valid_nats is None else valid_nats / log(2),
                "learning_rate": state.learning_rate,
                "grad_norm": state.grad_norm,
                "chars_per_second": round(self._throughput.speed(), 1) if state.loss_count else None,
            }
        )
        state.loss_sum, state.loss_count = 0.0, 0

    def _save_if_due(self, valid_nats: float | None) -> None:
        if self.options.save_every == AUTO:
            unsaved = self.clock() - self._throughput.saved
            due = valid_nats is not None or self.group.broadcast(unsaved > MAX_SECONDS_UNSAVED) > 0
        else:
            due = _is_due(self.state.step, self.options.save_every)
        if due:
            self.save()

    def _save_state(self) -> None:
        self.state.seconds = self._seconds()
        self.state.evaluation_speed, self.state.saving = self._throughput.evaluating, self._throughput.saving
        self.writer.save_state(self.state, self.states)

    def _save_latest(self) -> None:
        self._save_model(self.folder.last)
        if self.validator.ids is None:
            self._save_model(self.folder.model)

    def _save_best(self) -> None:
        self.writer.save_model(self.folder.model, self.state.step, self.state.best_nats, self.state.best_characters)

    def _save_model(self, path: Path) -> None:
        self.writer.save_model(path, self.state.step)

    def _save_and_leave(self) -> None:
        self.save()
        if self.state.best_nats is None and not self.folder.model.exists():
            self._save_model(self.folder.model)
        step, run = self.state.step, shell_quoted(self.folder.path)
        raise Interrupted(f"stopped at step {step:,}, everything is saved; go on with: charlm train --resume {run}")

    def _raise_diverged(self, metrics: StepMetrics) -> None:
        what, value = ("gradient norm", metrics.grad_norm) if isfinite(metrics.nats) else ("loss", metrics.nats)
        best = self.state.best_nats
        kept = (
            f"the best model ({best:.4f} nats) is kept in {self.folder.model}"
            if best is not None
            else "there is no model yet"
        )
        advice = f"--lr {self.options.lr / 3:.2g}" + ("" if self.options.clip_norm else " or --clip-norm 1")
        raise DivergedError(
            f"training diverged at step {metrics.step:,}: the {what} is {value}, and was not applied; {kept}; "
            f"try {advice}"
        )

    def _finish(self, reason: str) -> Result:
        """Score the last and the best model on the whole validation split, keep the better one, save everything."""
        self._save_state()
        if self.validator.ids is not None:
            self._final_validation()
        elif self.state.loss_count:
            self._log(None)
        self._save_latest()
        if not self.folder.model.exists():
            self._save_model(self.folder.model)
        self.state.finished = reason
        self._save_state()
        self._warn_if_useless()
        state = self.state
        result = Result(
            path=self.folder.path,
            model=self.folder.model,
            step=state.step,
            seconds=state.seconds,
            valid_nats=state.best_nats,
            valid_characters=state.best_characters,
            best_step=state.step if self.validator.ids is None else state.best_step,
            stopped=reason,
        )
        self.report(result)
        return result

    def _warn_if_useless(self) -> None:
        """Say so if the best model is worse than one that holds every symbol equally likely."""
        nats, uniform = self.state.best_nats, log(self.vocabulary.size)
        if nats is not None and nats > uniform:
            self._report_notice(
                f"warning: {nats:.4f} nats are worse than guessing evenly among the {self.vocabulary.size} symbols "
                f"({uniform:.4f}), so the model is of no use yet; train longer, or try --lr {self.options.lr / 3:.2g}"
            )

    def _final_validation(self) -> None:
        """Score the best model so far and the last one on the same characters: all, unless --time is too short."""
        available = self.validator.characters
        characters = int(self.group.broadcast(self._budget.final_eval(self.state)[0]))
        if characters < available:
            self._report_notice(
                f"no time for the whole valid split: its first {characters:,} of {available:,} characters decide"
            )
        if self.state.best_nats is not None:
            self._rescore_best(characters)
        if self.state.evaluated != self.state.step:
            nats = self._validate(characters, self._final_progress(characters))
            self._log(nats)
            self._keep_if_best(nats, characters)

    def _rescore_best(self, characters: int) -> None:
        """Score the best model so far on the first `characters`: its own weights, not the network's."""
        if self.state.best_characters == characters or self.validator.ids is None:
            return
        model = self.group.on_main(lambda: checkpoint.load(self.folder.model))
        network = Network.from_model(model, self.network.device, self.options.precision)
        nats = self.validator.score(network, characters, self._final_progress(characters)).nats_per_char
        self.state.best_nats, self.state.best_characters = nats, characters
        self.writer.update_score(self.folder.model, model, nats, characters)

    def _final_progress(self, characters: int) -> ScoreProgressFn:
        """Report the long evaluation at the end, and leave it if asked to; resuming begins it again.

        Several processes are not at the same position, and read to the end.
        """
        began = self.clock()

        def progress(done: int, nats: float) -> None:
            if self.group.world_size == 1 and self.stop():
                self._save_and_leave()
            spent = self.clock() - began
            self.report(FinalEvaluation(done, characters, nats / done, spent * (characters - done) / done))

        return progress


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
