"""The command `charlm train`: start a run, resume one, or plan one with `--dry-run`."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.models import model_path
from charlm.cli.options import Invocation
from charlm.cli.signals import stop
from charlm.errors import UsageError
from charlm.show.format import duration
from charlm.show.terminal import Terminal, result

if TYPE_CHECKING:
    from charlm.data.corpus import Corpus

started = time.perf_counter()
"""When the program began, from which `--time` counts; set by `charlm.cli.main`."""


def train(
    invocation: Invocation,
    corpus: Annotated[
        str | None,
        typer.Argument(metavar="CORPUS", show_default=False,
                       help="A prepared corpus, or a text file. Default: the most recently prepared."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME|DIR", show_default=False, rich_help_panel="Running",
                                 help="Name or folder of the run. Default: CORPUS-CELL-LAYERSxHIDDEN."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", show_default=False, rich_help_panel="Running",
                                 help="Go on with this run as if it had never stopped."),
    ] = None,
    init_from: Annotated[
        str | None, typer.Option("--init-from", metavar="MODEL", show_default=False, rich_help_panel="Running",
                                 help="Start from the weights of this model; symbols are matched by character."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", show_default=False, rich_help_panel="Running",
                           help="Say what would be done and how long it would take, and write nothing."),
    ] = False,
) -> None:  # fmt: skip
    """Train a model; the best and the latest are kept in runs/NAME."""
    if resume is not None and (run is not None or init_from is not None or dry_run):
        raise UsageError("--resume goes on with a run as it is; leave out --run, --init-from and --dry-run")
    from charlm.runtime.distributed import join

    if dry_run:
        if join().world_size > 1:
            raise UsageError("--dry-run looks at one process; start it without torchrun")
        _dry_run(invocation, corpus, init_from)
        return
    from charlm.show.training import TrainingDisplay
    from charlm.training.resume import resume as resume_run
    from charlm.training.train import train as train_model

    group = join()
    terminal = invocation.terminal if group.is_main else Terminal(quiet=True)
    initial_model = None if init_from is None else model_path(invocation, init_from)
    prepared = None if resume is not None else group.on_main(lambda: open_corpus(invocation, corpus))
    display = TrainingDisplay(terminal)
    try:
        with display:
            keywords: dict[str, Any] = {
                "report": display,
                "stop": stop.defer_first(),
                "started": started,
                **invocation.values,
            }
            if resume is not None:
                outcome = resume_run(resume, corpus=corpus, **keywords)
            else:
                outcome = train_model(prepared, run=run, init_from=initial_model, **keywords)
        if group.is_main:
            result(str(outcome.model))
    finally:
        _save_curve_plot(display.path)


def _save_curve_plot(run: Path | None) -> None:
    """Draw curve.svg of a run that has ended, after its result, so that it takes none of `--time`.

    Without matplotlib, or if drawing fails, there is no plot: it must not fail a run.
    """
    if run is None or stop.immediate:
        return
    with suppress(Exception):
        from charlm.inspect.run_log import read_run
        from charlm.show import curves, plots
        from charlm.training.run_folder import RunFolder

        plots.save(RunFolder(run).curve, curves.plot([read_run(run).to_json()], "steps"))


def _dry_run(invocation: Invocation, corpus: str | None, init_from: str | None) -> None:
    from charlm.show.training import TrainingDisplay, plan_lines, settings_line
    from charlm.training.train import plan

    if init_from is not None:
        raise UsageError("--dry-run and --init-from: the sizes are those of the model; give them as options instead")
    with tempfile.TemporaryDirectory() as folder:
        prepared = open_corpus(invocation, corpus, Path(folder))
        planned, milliseconds = plan(prepared, report=TrainingDisplay(invocation.terminal), **invocation.values)
    lines = plan_lines(planned)
    speed = planned.options.batch_size * planned.options.seq_len / milliseconds * 1000
    lines.append(f"speed: {milliseconds:.3g} ms per step, {speed:,.0f} {planned.symbol}s/s")
    if planned.steps is not None:
        lines.append(f"time: about {duration(planned.steps * milliseconds / 1000)} without evaluations")
    elif planned.options.time is not None:
        steps = int(planned.options.time * 1000 / milliseconds)
        passes = steps / planned.batches_per_epoch
        lines.append(f"steps: about {steps:,}, {passes:.1f} passes over the text, fewer by what evaluations take")
    for line in [*lines, "", settings_line(planned)]:
        result(line)


def open_corpus(invocation: Invocation, source: str | None, temporary_root: Path | None = None) -> "Corpus":
    """Open a corpus, or prepare a text first: in data/, or in `temporary_root` if it is given."""
    from charlm.data.prepare import is_prepared, open_or_prepare

    root = Path("data") if temporary_root is None or source is None or is_prepared(source) else temporary_root
    with invocation.terminal.counting("preparing") as counter:
        return open_or_prepare(
            source, root=root, report=invocation.terminal.say, progress=lambda done, total: counter(done, total, "B")
        )
