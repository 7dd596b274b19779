"""The command `charlm eval`."""

import json
from math import inf
from typing import Annotated

import typer

from charlm.cli.models import AsJson, ModelChoice, load_model
from charlm.cli.options import Invocation
from charlm.errors import UsageError
from charlm.show.terminal import Terminal, result

SCORE_KEYS = {"perplexity": "perplexity", "bits": "bits_per_char", "nats": "nats_per_char"}
"""The JSON key of the number that a flag prints alone."""


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
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Score a text: nats, bits and perplexity per character, every character once."""
    flags = {"perplexity": perplexity, "bits": bits, "nats": nats, "json": as_json}
    chosen = [name for name, is_set in flags.items() if is_set]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} each fill stdout; give one of them")
    if invocation.values.get("baselines") and chosen and not as_json:
        raise UsageError(f"--{chosen[0]} prints one number and --baselines many; give one of them, or --json")
    from charlm.evaluation.evaluate import evaluate as evaluate_model
    from charlm.runtime.distributed import join
    from charlm.show import tables

    group = join()
    terminal = invocation.terminal if group.is_main else Terminal(quiet=True)
    loaded = load_model(invocation, model)
    with terminal.scoring() as progress:
        scores = evaluate_model(
            loaded, text, report=terminal.say, progress=progress, **invocation.values
        ).to_json()  # fmt: skip
    if not group.is_main:
        return
    if as_json:
        result(json.dumps(scores))
    elif chosen:
        key = SCORE_KEYS[chosen[0]]
        result(f"{inf if scores[key] is None else scores[key]:.6f}")  # None: a perplexity beyond the largest float
        terminal.say(scores["protocol"])
        terminal.say(tables.uncertainty(scores, key))
        if "default_off_bits_per_char" in scores:
            terminal.say(tables.default_off(scores))
        if "dynamic_protocol" in scores:
            terminal.say(tables.dynamic(scores))
    else:
        tables.print_facts(tables.evaluation_facts(scores))
        if "baselines" in scores:
            tables.print_baselines(scores)
