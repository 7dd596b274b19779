"""`charlm score`: a filter that says of each line how likely it is, or which of several models likes it best."""

import json
import sys
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.models import AsJson, model_path
from charlm.cli.options import Invocation
from charlm.config import ScoreOptions
from charlm.errors import UsageError
from charlm.show.format import visible
from charlm.show.terminal import result, result_bytes

if TYPE_CHECKING:
    from charlm.evaluation.cloze import Filled
    from charlm.evaluation.score_lines import LineScore, Scored


def score(
    invocation: Invocation,
    text: Annotated[
        str, typer.Argument(metavar="FILE|-", show_default=False, help="The lines. Default: the standard input."),
    ] = "-",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="FILE|RUN", show_default=False,
                     help="A model file or a run; several are compared. Default: the most recent run's best."),
    ] = None,
    per_char: Annotated[bool, typer.Option("--per-char", show_default=False,
                                           help="The bits of each character too.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Score lines as they come, each as a text of its own: bits, characters, and the line; or fill their gaps."""
    from charlm.evaluation.lines import open_lines
    from charlm.evaluation.score_lines import Scorer, score_stream
    from charlm.model.checkpoint import load
    from charlm.training.runs import short_names

    words: list[str | None] = [*model] if model else [None]
    if invocation.values.get("cloze"):
        _cloze(invocation, text, words, per_char=per_char, as_json=as_json)
        return
    if per_char and len(words) > 1 and not as_json:
        raise UsageError("--per-char of several models does not fit into a line; add --json, or give one --model")
    paths = [model_path(invocation, word) for word in words]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UsageError(f"--model {twice} is given twice; give each model once")
    models = {name: load(path) for name, path in zip(short_names(paths), paths, strict=True)}
    options = ScoreOptions.of(invocation.values)
    scorer = Scorer(models, options, per_char=per_char, report=invocation.terminal.say)
    for batch in score_stream(scorer, open_lines(text, report=invocation.terminal.say)):
        if as_json:
            result("".join(f"{json.dumps(_object(scored))}\n" for scored in batch), end="")
        elif sys.stdout.isatty():
            result("".join(f"{_columns(scored)}\t{visible(scored.text)}\n" for scored in batch), end="")
        else:
            result_bytes(b"".join(b"%s\t%s\n" % (_columns(scored).encode(), _as_it_came(scored)) for scored in batch))


def _cloze(invocation: Invocation, text: str, words: list[str | None], *, per_char: bool, as_json: bool) -> None:
    """Fill the gaps of lines as they come: bits of what fills them, how many there are, and the filled line."""
    from charlm.evaluation.cloze import Filler, fill_stream
    from charlm.evaluation.lines import open_lines
    from charlm.model.checkpoint import load

    if len(words) > 1:
        raise UsageError(f"--cloze fills gaps by one model, got {len(words)}; give one --model")
    if per_char:
        raise UsageError("--per-char is of scores; --cloze --json has the probability of what fills each gap")
    say = invocation.terminal.say
    filler = Filler(load(model_path(invocation, words[0])), ScoreOptions.of(invocation.values), say)
    for filled in fill_stream(filler, open_lines(text, report=say)):
        if as_json:
            result(json.dumps(filled.to_json()))
        elif sys.stdout.isatty():
            result(f"{_numbers_of(filled)}\t{visible(filled.text)}")
        else:
            result_bytes(b"%s\t%s\n" % (_numbers_of(filled).encode(), filled.filled))


def _numbers_of(filled: "Filled") -> str:
    return f"{filled.bits:.4f}\t{len(filled.gaps)}"


def _as_it_came(scored: "Scored") -> bytes:
    """The line without its LF; a CR before that stays."""
    return scored.line.removesuffix(b"\n")


def _columns(scored: "Scored") -> str:
    """What stands before the line."""
    if len(scored.scores) > 1:
        return f"{visible(scored.likeliest)}\t{scored.posteriors[scored.likeliest]:.6f}"
    (score,) = scored.scores.values()
    columns = [f"{score.bits:.4f}", str(score.characters)]
    if score.per_char is not None:
        columns.append(" ".join(f"{bits:.4f}" for bits in score.per_char.tolist()))
    return "\t".join(columns)


def _object(scored: "Scored") -> dict[str, Any]:
    """The keys of `charlm score --json`."""
    if len(scored.scores) == 1:
        (score,) = scored.scores.values()
        return {**_numbers(score), "line": scored.text}
    posteriors = {name: _number(share) for name, share in scored.posteriors.items()}
    models = {name: {**_numbers(score), "posterior": posteriors[name]} for name, score in scored.scores.items()}
    return {"likeliest": scored.likeliest, "posterior": posteriors[scored.likeliest], "models": models,
            "line": scored.text}  # fmt: skip


def _numbers(score: "LineScore") -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "bits": _number(score.bits), "characters": score.characters, "unknown": score.unknown,
        "spelling_bits": _number(score.escape_bits),
    }  # fmt: skip
    if score.per_char is not None:
        numbers["per_char"] = [_number(bits) for bits in score.per_char.tolist()]
    return numbers


def _number(value: float) -> float | None:
    """A number of JSON, which has none that is not finite."""
    return round(value, 6) if isfinite(value) else None
