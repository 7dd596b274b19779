"""The commands. Each one parses, calls the library and shows; torch is imported only where it computes."""

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm import __version__
from charlm.cli import (  # noqa: F401 - they add commands
    compare,
    compress,
    corpora,
    inspect,
    inspect_text,
    inspect_training,
    inspect_units,
    presets,
    score,
)
from charlm.cli.models import JSON, ModelChoice, load_model, model_path
from charlm.cli.options import Given, command, plain
from charlm.cli.signals import stop
from charlm.config import EvalOptions, PrepareOptions, SampleOptions, TrainOptions
from charlm.errors import InputError, UsageError
from charlm.show.terminal import Terminal, result, shown
from charlm.show.words import duration

if TYPE_CHECKING:
    from charlm.text.corpus import Corpus
    from charlm.use.novelty import Findings

started = time.perf_counter()
"""When the program began; set by `charlm.cli.main`."""

app = typer.Typer(
    name="charlm",
    help="Character language models with recurrent networks: prepare a text, train, eval, sample.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"charlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        result(context.get_help())


@command(app, PrepareOptions, "prepare", networks=False)
def prepare(
    given: Given,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", show_default=False,
                       help="Files (also .gz, .xz, .bz2), folders, - for stdin, or names from charlm corpora list."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a corpus of that name.", show_default=False)] = False,
) -> None:  # fmt: skip
    """Turn a text into a corpus: symbols, ids and splits, in data/NAME."""
    from charlm.show import tables
    from charlm.text.prepare import prepare as make
    from charlm.text.sources import open_sources

    options = PrepareOptions.of(given.values)
    source = open_sources(sources, report=given.terminal.say, **options.drawing())
    with given.terminal.counting("preparing") as counter:
        total = 2 * (source.bytes or 0)
        tell: dict[str, Any] = {"report": given.terminal.say, "progress": lambda done: counter(done, total, "B")}
        corpus = make(source, force=force, options=options, **tell)
    given.terminal.facts(tables.corpus(corpus.info, corpus.symbols.size))
    result(str(corpus.path))


@command(app, TrainOptions, "train", cls=presets.Train)
def train(
    given: Given,
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
    from charlm.learn.ranks import join

    if dry_run:
        if join().world > 1:
            raise UsageError("--dry-run looks at one process; start it without torchrun")
        _dry_run(given, corpus, init_from)
        return
    from charlm.learn.train import resume as go_on
    from charlm.learn.train import train as begin
    from charlm.show.training import TrainingDisplay

    ranks = join()
    terminal = given.terminal if ranks.leads else Terminal(quiet=True)
    source = None if init_from is None else model_path(given, init_from)
    prepared = None if resume is not None else ranks.first(lambda: _corpus(given, corpus))
    display = TrainingDisplay(terminal)
    try:
        with display:
            more: dict[str, Any] = {"report": display, "stop": stop.patiently(), "started": started, **given.values}
            if resume is not None:
                done = go_on(resume, corpus=corpus, **more)
            else:
                done = begin(prepared, run=run, init_from=source, **more)
        if ranks.leads:
            result(str(done.model))
    finally:
        _draw_curve(display.path)


def _draw_curve(run: Path | None) -> None:
    """curve.svg of a run that has ended in whatever way, after its last save and its result: it takes none of `--time`.

    It is left out where matplotlib is missing, and where anything fails: a picture is no reason to fail a run.
    """
    if run is None or stop.at_once:
        return
    with suppress(Exception):
        from charlm.inspect.learning import read_run
        from charlm.learn.folder import RunFolder
        from charlm.show import curves, plots

        plots.save(RunFolder(run).curve, curves.plot([read_run(run).to_json()], "steps"))


def _dry_run(given: Given, corpus: str | None, init_from: str | None) -> None:
    from charlm.learn.train import plan
    from charlm.show.training import TrainingDisplay, plan_lines, settings

    if init_from is not None:
        raise UsageError("--dry-run and --init-from: the sizes are those of the model; give them as options instead")
    with tempfile.TemporaryDirectory() as elsewhere:
        prepared = _corpus(given, corpus, Path(elsewhere))
        planned, milliseconds = plan(prepared, report=TrainingDisplay(given.terminal), **given.values)
    lines = plan_lines(planned)
    speed = planned.options.batch_size * planned.options.seq_len / milliseconds * 1000
    lines.append(f"speed: {milliseconds:.3g} ms per step, {speed:,.0f} {planned.symbol}s/s")
    if planned.steps is not None:
        lines.append(f"time: about {duration(planned.steps * milliseconds / 1000)} without evaluations")
    elif planned.options.time is not None:
        steps = int(planned.options.time * 1000 / milliseconds)
        passes = steps / planned.windows
        lines.append(f"steps: about {steps:,}, {passes:.1f} passes over the text, fewer by what evaluations take")
    for line in [*lines, "", settings(planned)]:
        result(line)


@command(app, EvalOptions, "eval")
def evaluate(
    given: Given,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT|-", show_default=False,
                                   help="A text to score. Default: the test split of the model's corpus."),
    ] = None,
    model: ModelChoice = None,
    perplexity: Annotated[bool, typer.Option("--perplexity", help="Only the perplexity.", show_default=False)] = False,
    bits: Annotated[bool, typer.Option("--bits", help="Only the bits per character.", show_default=False)] = False,
    nats: Annotated[bool, typer.Option("--nats", help="Only the nats per character.", show_default=False)] = False,
    as_json: JSON = False,
) -> None:  # fmt: skip
    """Score a text: nats, bits and perplexity per character, every character once."""
    chosen = [
        name for name, on in (("perplexity", perplexity), ("bits", bits), ("nats", nats), ("json", as_json)) if on
    ]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} each fill stdout; give one of them")
    if given.values.get("baselines") and chosen and not as_json:
        raise UsageError(f"--{chosen[0]} prints one number and --baselines many; give one of them, or --json")
    from charlm.learn.ranks import join
    from charlm.show import tables
    from charlm.use.evaluate import evaluate as score

    ranks = join()
    terminal = given.terminal if ranks.leads else Terminal(quiet=True)
    loaded = load_model(given, model)
    with terminal.scoring() as progress:
        found = score(loaded, text, report=terminal.say, progress=progress, **given.values).to_json()
    if not ranks.leads:
        return
    if as_json:
        result(json.dumps(found))
    elif chosen:
        key = {"perplexity": "perplexity", "bits": "bits_per_char", "nats": "nats_per_char"}[chosen[0]]
        result(f"{inf if found[key] is None else found[key]:.6f}")  # a perplexity beyond all numbers
        given.terminal.say(found["protocol"])
        given.terminal.say(tables.uncertainty(found, key))
        if "default_off_bits_per_char" in found:
            given.terminal.say(tables.default_off(found))
        if "dynamic_protocol" in found:
            given.terminal.say(tables.dynamic(found))
    else:
        tables.facts(tables.evaluation(found))
        if "baselines" in found:
            tables.baselines(found)


@command(app, SampleOptions, "sample")
def sample(
    given: Given,
    model: ModelChoice = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", show_default=False,
                                               help="Text to go on from.")] = None,
    prompt_file: Annotated[str | None, typer.Option("--prompt-file", metavar="FILE|-", show_default=False,
                                                    help="Read the prompt from a file or stdin.")] = None,
    no_echo: Annotated[bool, typer.Option("--no-echo", show_default=False, help="Do not repeat the prompt.")] = False,
    novelty: Annotated[bool, typer.Option("--novelty", show_default=False,
                                          help="Say how much of it is new, and what is copied from the training text.",
                                          )] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", show_default=False, help="One JSON object a sample.")] = False,
    clamp: Annotated[list[str] | None, typer.Option(
        "--clamp", metavar="LAYER:UNIT=VALUE", show_default=False,
        help="Hold a unit's output at a value (LAYER:UNIT:c=VALUE: its memory); may be given more than once.")] = None,
) -> None:  # fmt: skip
    """Write new text, character by character; of a backward model, what stands before the prompt."""
    from charlm.model.units import split_clamps
    from charlm.use.novelty import find_reference, measure
    from charlm.use.sample import samples, stream

    held = split_clamps(clamp or ())
    loaded = load_model(given, model)
    options = SampleOptions.of(given.values)
    reference = find_reference(loaded, options.num * options.length, report=given.terminal.say) if novelty else None
    start = _prompt(prompt, prompt_file)
    seed = given.values.pop("seed", None)
    if seed is None:
        seed = secrets.randbelow(2**31)
        given.terminal.say(f"seed: {seed}")
    echo = "" if no_echo else start
    backward = loaded.options.direction == "backward"
    if backward:
        given.terminal.say(
            "the model writes from right to left: the prompt is the end of the text, shown when complete"
        )
    if options.num == 1 and not jsonl:
        kept: list[str] = []
        pieces = stream(loaded, prompt=start, seed=seed, clamp=held, **given.values)
        if reference is not None:
            pieces = _keeping(pieces, kept)
        if backward:
            _streamed(chain(pieces, [echo]), "")
        else:
            _streamed(pieces, echo)
        if reference is not None:
            _say_novelty(given, measure(reference, ["".join(kept)]))
        return
    written = samples(loaded, prompt=start, seed=seed, clamp=held, **given.values)
    measured = measure(reference, [drawn.text for drawn in written]) if reference is not None else None
    for number, drawn in enumerate(written):
        if jsonl:
            found = {"index": drawn.index, "seed": seed, "prompt": start, "text": drawn.text,
                     "characters": drawn.characters, "ended": drawn.ended, "model": str(loaded.path)}  # fmt: skip
            result(json.dumps(found | ({"novelty": measured.to_json(number)} if measured else {})))
        else:
            whole = drawn.text + echo if backward else echo + drawn.text
            result(shown(("-" * 40 + "\n" if number else "") + whole))
    if measured is not None and not jsonl:
        _say_novelty(given, measured)


def _keeping(pieces: Iterator[str], kept: list[str]) -> Iterator[str]:
    for piece in pieces:
        kept.append(piece)
        yield piece


def _say_novelty(given: Given, found: "Findings") -> None:
    """The table and the passages, on stderr."""
    from charlm.show.novelty import lines

    for line in lines(found.together.to_json(), [one.to_json() for one in found.samples], found.other_to_json()):
        given.terminal.say(line)


def _streamed(pieces: Iterator[str], echo: str) -> None:
    """Print pieces as they come; a terminal, not a file, gets a last line end."""
    result(shown(echo), end="")
    last = echo
    for piece in pieces:
        if piece:
            result(shown(piece), end="")
            last = piece
    if sys.stdout.isatty() and not last.endswith("\n"):
        result("")


def _prompt(prompt: str | None, prompt_file: str | None) -> str:
    if prompt is not None and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file both give the prompt; give one of them")
    if prompt_file is None:
        return prompt or ""
    try:
        if prompt_file == "-" and sys.stdin is None:
            raise InputError("--prompt-file - is the standard input, and there is none; name a file instead")
        data = sys.stdin.buffer.read() if prompt_file == "-" else Path(prompt_file).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise InputError(f"--prompt-file {prompt_file} cannot be read: {error.strerror}; give a text file") from None
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is 0x{error.object[error.start]:02x}"
        raise InputError(f"--prompt-file {prompt_file} is not UTF-8 ({found}); convert it first") from None


@plain(app, "info")
def info(
    given: Given,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", show_default=False,
                                                help="A model file or a run. Default: the most recent.")] = None,
    as_json: JSON = False,
) -> None:  # fmt: skip
    """Say what a model file is, from its header alone."""
    from charlm.model.checkpoint import read_header
    from charlm.show import tables
    from charlm.use.describe import describe

    found = describe(read_header(model_path(given, model)))
    if as_json:
        result(json.dumps(found))
    else:
        tables.facts(tables.model(found))


@plain(app, "runs")
def list_runs(given: Given, as_json: JSON = False) -> None:
    """List the runs, newest first, with their best loss and size."""
    from charlm.show import tables
    from charlm.use.describe import summarize

    rows = [summary.to_row() for summary in summarize()]
    if as_json:
        for row in rows:
            result(json.dumps(row))
    elif rows:
        tables.runs(rows)
    else:
        given.terminal.say("there are no runs below runs; train one: charlm train")


def _corpus(given: Given, word: str | None, elsewhere: Path | None = None) -> "Corpus":
    """The corpus that is meant, prepared first where a text was given; `elsewhere` where nothing may be left."""
    from charlm.text.obtain import is_prepared, obtain

    root = Path("data") if elsewhere is None or word is None or is_prepared(word) else elsewhere
    with given.terminal.counting("preparing") as counter:
        return obtain(
            word, root=root, report=given.terminal.say, progress=lambda done, total: counter(done, total, "B")
        )


compare.register(app)
compress.register(app)
score.register(app)
presets.register(app)
app.add_typer(inspect.app)
app.add_typer(corpora.app)
