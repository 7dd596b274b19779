"""The display of a training run: a progress bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import tomli_w
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from charlm.config import TrainOptions
from charlm.show.format import cell_words, count, duration, loss, size, visible, wiring_words
from charlm.show.terminal import PROGRESS_LINE_SECONDS, REDRAW_SECONDS, Terminal
from charlm.training.events import Evaluated, Event, FinalEvaluation, Notice, Plan, Result, Sampled, Stepped


class TrainingDisplay:
    """The report callback of the command line; training continues if the terminal fails.

    Attributes:
        path: the folder of the run; None before it is known.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.path: Path | None = None
        self._terminal = terminal
        self._symbol = "character"
        self._bar: Progress | None = None
        self._drawn = 0.0
        if terminal.live:
            self._bar = Progress(
                TextColumn("{task.percentage:>3.0f}%"),
                BarColumn(bar_width=20),
                TextColumn("{task.description}"),
                console=terminal.console,
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
            )
            self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> Self:
        self._guarded(lambda: self._bar.start() if self._bar else None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._terminal.stop(self._bar)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Plan):
            self.path, self._symbol = event.path, event.symbol
        self._guarded(lambda: self._show(event))

    def _guarded(self, action: Callable[[], object]) -> None:
        if not self._terminal.guarded(action) and self._bar is not None:
            # The bar has replaced sys.stderr, which must be restored.
            bar, self._bar = self._bar, None
            self._terminal.stop(bar)

    def _show(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self._step(event)
        elif isinstance(event, Evaluated):
            self._evaluated(event)
        elif isinstance(event, FinalEvaluation):
            self._final_evaluation(event)
        elif isinstance(event, Sampled):
            self._sampled(event)
        elif isinstance(event, Notice):
            self._terminal.say(event.text)
        elif isinstance(event, Plan):
            for line in plan_lines(event):
                self._terminal.say(line)
        elif isinstance(event, Result):
            self._terminal.say(result_line(event, self._symbol), style="bold")

    def _step(self, event: Stepped) -> None:
        if self._bar is not None:
            now = time.perf_counter()
            if now - self._drawn >= REDRAW_SECONDS:
                self._drawn = now
                self._bar.update(
                    self._task, completed=event.share, description=step_line(event, self._symbol), refresh=True
                )
        elif event.due:
            self._drawn = time.perf_counter()
            self._terminal.say(f"{event.share:4.0%}  {step_line(event, self._symbol)}")

    def _final_evaluation(self, event: FinalEvaluation) -> None:
        now = time.perf_counter()
        if now - self._drawn < (REDRAW_SECONDS if self._bar is not None else PROGRESS_LINE_SECONDS):
            return
        self._drawn = now
        line = (
            f"scoring valid  {event.done:,} of {event.characters:,}  {loss(event.nats)}  "
            f"{duration(event.seconds_left)} left"
        )
        if self._bar is not None:
            self._bar.update(self._task, description=line, refresh=True)
        else:
            self._terminal.say(line)

    def _sampled(self, event: Sampled) -> None:
        title = f"sample at step {event.step:,}"
        if self._terminal.live:
            self._terminal.console.print(Panel(Text(visible(event.text)), title=title, title_align="left"))
        else:
            self._terminal.say(f"--- {title} ---\n{event.text}\n---")

    def _evaluated(self, event: Evaluated) -> None:
        train = "" if event.train_nats is None else f"train {event.train_nats:.4f}  "
        mark = "  best" if event.best else ""
        scope = f"{'all' if event.whole else 'the first'} {event.characters:,}"
        self._terminal.say(
            f"step {event.step:,}  {train}valid {loss(event.nats)} per {self._symbol} over {scope}{mark}",
            style="green" if event.best else "",
        )


def step_line(event: Stepped, symbol: str) -> str:
    """Progress in one line: `step 1,200  epoch 1.22  1.5301 nats, 2.207 bits  98.1k chars/s  1:02 left`."""
    plural = {"character": "chars"}.get(symbol, f"{symbol}s")
    return (
        f"step {event.step:,}  epoch {event.epoch:.2f}  {loss(event.nats)}  "
        f"{count(event.chars_per_second)} {plural}/s  {duration(event.seconds_left)} left"
    )


def plan_lines(plan: Plan) -> list[str]:
    """The plan of a run: corpus, network, optimiser and length, a line each."""
    options = plan.options
    input_words = f"embedding {options.embedding}" if options.input == "embedding" else options.input
    length = f"{duration(options.time)} by the clock" if plan.steps is None else f"{plan.steps:,} steps"
    start = f", from step {plan.first_step:,}" if plan.first_step else ""
    return [
        f"corpus: {plan.corpus}, {plan.used:,} {plan.symbol}s to train on in {plan.batches_per_epoch:,} windows, "
        f"{plan.dropped:,} left over",
        f"network: {cell_words(options.values())} {options.layers}x{options.hidden}, {input_words}"
        f"{wiring_words(vars(options))}, {_dropout(options)}, {count(plan.parameters)} parameters, "
        f"about {size(plan.memory)} of memory",
        f"learning: {options.optimizer} {options.lr:g} {options.schedule}, batch {options.batch_size}, "
        f"window {options.seq_len}, {length}{start}, seed {options.seed}",
        *([f"preset: {options.preset}"] if options.preset else []),
        plan.device,
        *([f"run: {plan.path}"] if plan.path else []),
    ]


def settings_line(plan: Plan) -> str:
    """All options of a run, as in its `config.toml`."""
    return tomli_w.dumps({"train": plan.options.values()}).rstrip("\n")


def _dropout(options: TrainOptions) -> str:
    """The rates of dropout: `dropout 0.4, 0.5 of recurrent weights`."""
    kind = "locked dropout" if options.dropout_kind == "locked" and options.dropout else "dropout"
    kinds = {"of recurrent weights": options.weight_drop, "of symbols": options.embedding_dropout}
    return ", ".join([f"{kind} {options.dropout:g}", *(f"{rate:g} {what}" for what, rate in kinds.items() if rate)])


def result_line(result: Result, symbol: str) -> str:
    """The result of a run in one line."""
    score = (
        f"best at step {result.best_step:,}: {loss(result.valid_nats)} per {symbol} "
        f"over {result.valid_characters:,} of valid"
        if result.valid_nats is not None
        else "no valid split to judge by"
    )
    reason = "" if result.stopped == "finished" else f" ({result.stopped})"
    return f"done in {duration(result.seconds)}, {result.step:,} steps{reason}; {score}"
