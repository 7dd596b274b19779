"""The command that writes new text."""

import json
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.models import ModelChoice, load_model
from charlm.cli.options import Invocation
from charlm.config import SampleOptions
from charlm.errors import InputError, UsageError
from charlm.files import text_encoding_of
from charlm.show.terminal import for_stdout, result

if TYPE_CHECKING:
    from charlm.evaluation.novelty import Findings, Reference
    from charlm.model.checkpoint import Model


def sample(
    invocation: Invocation,
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
    from charlm.evaluation.novelty import find_reference
    from charlm.model.units import split_clamps

    clamps = split_clamps(clamp or ())
    loaded = load_model(invocation, model)
    options = SampleOptions.of(invocation.values)
    reference = (
        find_reference(loaded, options.num * options.length, report=invocation.terminal.say) if novelty else None
    )
    prompt_text = _read_prompt(prompt, prompt_file, loaded)
    seed = invocation.values.pop("seed", None)
    if seed is None:
        seed = secrets.randbelow(2**31)
        invocation.terminal.say(f"seed: {seed}")
    if _is_backward(loaded):
        invocation.terminal.say(
            "the model writes from right to left: the prompt is the end of the text, shown when complete"
        )
    arguments: dict[str, Any] = {"prompt": prompt_text, "seed": seed, "clamp": clamps, **invocation.values}
    echo = "" if no_echo else prompt_text
    if options.num == 1 and not jsonl:
        _write_stream(invocation, loaded, echo, reference, arguments)
    else:
        _write_samples(invocation, loaded, echo, reference, arguments, jsonl=jsonl)


def _write_stream(
    invocation: Invocation, model: "Model", echo: str, reference: "Reference | None", arguments: Mapping[str, Any]
) -> None:
    """Print one sample piece by piece, after the prompt, or before it if the model is backward."""
    from charlm.evaluation.novelty import measure
    from charlm.sampling.sample import stream

    collected: list[str] = []
    pieces = stream(model, **arguments)
    if reference is not None:
        pieces = _collect(pieces, collected)
    _print_pieces(chain(pieces, [echo]) if _is_backward(model) else chain([echo], pieces))
    if reference is not None:
        _print_novelty(invocation, model, measure(reference, ["".join(collected)]))


def _write_samples(
    invocation: Invocation,
    model: "Model",
    echo: str,
    reference: "Reference | None",
    arguments: Mapping[str, Any],
    *,
    jsonl: bool,
) -> None:
    """Print several samples, or one as JSON."""
    from charlm.evaluation.novelty import measure
    from charlm.sampling.sample import samples

    written = samples(model, **arguments)
    findings = None if reference is None else measure(reference, [one.text for one in written])
    for number, one in enumerate(written):
        if jsonl:
            row = {"index": one.index, "seed": arguments["seed"], "prompt": arguments["prompt"], "text": one.text,
                   "characters": one.characters, "ended": one.ended, "model": str(model.path)}  # fmt: skip
            result(json.dumps(row | ({"novelty": findings.to_json(number)} if findings else {})))
        else:
            text = one.text + echo if _is_backward(model) else echo + one.text
            result(for_stdout(("-" * 40 + "\n" if number else "") + text))
    if findings is not None and not jsonl:
        _print_novelty(invocation, model, findings)


def _is_backward(model: "Model") -> bool:
    from charlm.data.direction import BACKWARD

    return model.options.direction == BACKWARD


def _collect(pieces: Iterator[str], collected: list[str]) -> Iterator[str]:
    for piece in pieces:
        collected.append(piece)
        yield piece


def _print_novelty(invocation: Invocation, model: "Model", findings: "Findings") -> None:
    """Print the table and the passages on stderr."""
    from charlm.show.novelty import lines

    together, alone = findings.together.to_json(), [one.to_json() for one in findings.samples]
    for line in lines(together, alone, findings.other_to_json(), model.vocabulary.tokenizer.noun):
        invocation.terminal.say(line)


def _print_pieces(pieces: Iterable[str]) -> None:
    """Print pieces as they come; a terminal, but not a file, gets a line end at the end."""
    last = ""
    for piece in pieces:
        if piece:
            result(for_stdout(piece), end="")
            last = piece
    if sys.stdout.isatty() and not last.endswith("\n"):
        result("")


def _read_prompt(prompt: str | None, prompt_file: str | None, model: "Model") -> str:
    """The prompt; a file is read as the model's corpus was: its encoding and its line ends."""
    if prompt is not None and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file both give the prompt; give one of them")
    if prompt_file is None:
        return prompt or ""
    try:
        if prompt_file == "-" and sys.stdin is None:
            raise InputError("--prompt-file - is the standard input, and there is none; name a file instead")
        data = sys.stdin.buffer.read() if prompt_file == "-" else Path(prompt_file).read_bytes()
    except OSError as error:
        raise InputError(f"--prompt-file {prompt_file} cannot be read: {error.strerror}; give a text file") from None
    if not model.vocabulary.tokenizer.decodes:
        return data.decode("utf-8", "surrogateescape")  # bytes that are not UTF-8 become bytes again when encoded
    marked, options = text_encoding_of(data), model.prepare_options
    encoding = marked if marked != "utf-8-sig" or options.encoding.lower() in ("utf-8", "utf8") else options.encoding
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        at = str(error)
        if isinstance(error, UnicodeDecodeError):
            at = f"byte {error.start} is 0x{error.object[error.start]:02x}"
        name = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise InputError(f"--prompt-file {prompt_file} is not {name} ({at}); convert it first") from None
    made_lf = options.newlines == "lf" or model.line_documents
    return text.replace("\r\n", "\n").replace("\r", "\n") if made_lf else text
