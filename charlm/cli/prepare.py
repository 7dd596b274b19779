"""The command `charlm prepare`."""

from typing import Annotated

import typer

from charlm.cli.options import Invocation
from charlm.config import PrepareOptions
from charlm.show.terminal import result


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
    from charlm.data.prepare import prepare as prepare_corpus
    from charlm.data.sources import open_sources
    from charlm.show import tables

    options, notify = PrepareOptions.of(invocation.values), invocation.terminal.say
    source = open_sources(sources, report=notify, **options.synthetic_values())
    total = 2 * (source.bytes or 0)
    with invocation.terminal.counting("preparing") as counter:
        corpus = prepare_corpus(
            source, force=force, options=options, report=notify, progress=lambda done: counter(done, total, "B")
        )
    invocation.terminal.facts(tables.corpus_facts(corpus.info, corpus.vocabulary.size))
    result(str(corpus.path))
