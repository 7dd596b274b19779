"""The program with all its commands; here are those that have no file of their own.

Each one parses, calls the library and shows; torch is imported only where it computes.
"""

import json
from math import inf
from typing import Annotated, Any

import typer

from charlm.cli import (  # noqa: F401 - they add commands
    compare,
    compress,
    corpora,
    inspect,
    inspect_text,
    inspect_training,
    inspect_units,
    presets,
    sample,
    score,
    train,
)
from charlm.cli.models import JSON, ModelChoice, load_model, model_path
from charlm.cli.options import Invocation, command, plain
from charlm.config import EvalOptions, PrepareOptions
from charlm.errors import UsageError
from charlm.show.terminal import Terminal, result
from charlm.version import __version__

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


def prepare(
    invocation: Invocation,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", show_default=False,
                       help="Files (also .gz, .xz, .bz2), folders, - for stdin, or names from charlm corpora list."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a corpus of that name.", show_default=False)] = False,
) -> None:  # fmt: skip
    """Turn a text into a corpus: symbols, ids and splits, in data/NAME."""
    from charlm.data.prepare import prepare as make
    from charlm.data.sources import open_sources
    from charlm.show import tables

    options = PrepareOptions.of(invocation.values)
    source = open_sources(sources, report=invocation.terminal.say, **options.drawing())
    with invocation.terminal.counting("preparing") as counter:
        total = 2 * (source.bytes or 0)
        tell: dict[str, Any] = {"report": invocation.terminal.say, "progress": lambda done: counter(done, total, "B")}
        corpus = make(source, force=force, options=options, **tell)
    invocation.terminal.facts(tables.corpus(corpus.info, corpus.vocabulary.size))
    result(str(corpus.path))


def evaluate(
    invocation: Invocation,
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
    if invocation.values.get("baselines") and chosen and not as_json:
        raise UsageError(f"--{chosen[0]} prints one number and --baselines many; give one of them, or --json")
    from charlm.evaluation.evaluate import evaluate as score
    from charlm.runtime.distributed import join
    from charlm.show import tables

    ranks = join()
    terminal = invocation.terminal if ranks.is_main else Terminal(quiet=True)
    loaded = load_model(invocation, model)
    with terminal.scoring() as progress:
        found = score(loaded, text, report=terminal.say, progress=progress, **invocation.values).to_json()
    if not ranks.is_main:
        return
    if as_json:
        result(json.dumps(found))
    elif chosen:
        key = {"perplexity": "perplexity", "bits": "bits_per_char", "nats": "nats_per_char"}[chosen[0]]
        result(f"{inf if found[key] is None else found[key]:.6f}")  # a perplexity beyond all numbers
        invocation.terminal.say(found["protocol"])
        invocation.terminal.say(tables.uncertainty(found, key))
        if "default_off_bits_per_char" in found:
            invocation.terminal.say(tables.default_off(found))
        if "dynamic_protocol" in found:
            invocation.terminal.say(tables.dynamic(found))
    else:
        tables.facts(tables.evaluation(found))
        if "baselines" in found:
            tables.baselines(found)


def info(
    invocation: Invocation,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", show_default=False,
                                                help="A model file or a run. Default: the most recent.")] = None,
    as_json: JSON = False,
) -> None:  # fmt: skip
    """Say what a model file is, from its header alone."""
    from charlm.model.checkpoint import read_header
    from charlm.show import tables
    from charlm.training.runs import describe

    found = describe(read_header(model_path(invocation, model)))
    if as_json:
        result(json.dumps(found))
    else:
        tables.facts(tables.model(found))


def list_runs(invocation: Invocation, as_json: JSON = False) -> None:
    """List the runs, newest first, with their best loss and size."""
    from charlm.show import tables
    from charlm.training.runs import summarize

    rows = [summary.to_row() for summary in summarize()]
    if as_json:
        for row in rows:
            result(json.dumps(row))
    elif rows:
        tables.runs(rows)
    else:
        invocation.terminal.say("there are no runs below runs; train one: charlm train")


# In the order in which --help lists them.
command(app, PrepareOptions, "prepare", networks=False)(prepare)
train.register(app)
command(app, EvalOptions, "eval")(evaluate)
sample.register(app)
plain(app, "info")(info)
plain(app, "runs")(list_runs)
compare.register(app)
compress.register(app)
score.register(app)
presets.register(app)
app.add_typer(inspect.app)
app.add_typer(corpora.app)
