"""Tables and summaries of the commands, from their JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf, log
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from charlm.show.format import cell_words, count, duration, line, size, wiring_words
from charlm.show.terminal import Screen, to_stdout, wide_screen
from charlm.tokenizers import TOKENIZERS

MAX_VALUE_CHARACTERS = 1000
"""Characters of a value in a table; what a file says may be longer."""


@dataclass(frozen=True)
class Grid:
    """A table of strings, for a terminal and for a report.

    Attributes:
        title: what it is about.
        head: the names of the columns; the first is aligned left, the others right.
        rows: a string for each column.
        note: how to read it, in a sentence or two.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@to_stdout()
def print_grids(tables: Sequence[Grid]) -> None:
    """Print tables on stdout, an empty line before each."""
    console = wide_screen()
    for grid in tables:
        console.print()
        console.print(rich_table(grid.head, grid.rows, words=grid.head[:1], title=grid.title))


def rich_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[str], title: str = "") -> Table:
    """A table for the terminal; the columns named in `words` are aligned left, the others right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=Text(title) if title else None, title_justify="left")
    for name in head:
        table.add_column(Text(name), justify="left" if name in words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(line(cell)) for cell in row))
    return table


@to_stdout()
def print_facts(pairs: Mapping[str, str]) -> None:
    """Print names and values on stdout, a line each, aligned."""
    width = max(len(name) for name in pairs)
    console = Screen(highlight=False, soft_wrap=True)
    for name, value in pairs.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "dim"), line(value, MAX_VALUE_CHARACTERS)))


def corpus_facts(info: Mapping[str, Any], vocabulary_size: int) -> dict[str, str]:
    """The summary of `charlm prepare`, from `corpus.json` and the size of the vocabulary."""
    noun = "bytes" if info["unit"] == "byte" else "characters"
    facts = {
        noun: f"{info['characters']:,}",
        "bytes": f"{info['bytes']:,}",
        "distinct": f"{info['distinct']:,} ({vocabulary_size:,} symbols with boundary and unknown)",
        "documents": f"{info['documents']:,}",
    }
    for name, split in info["splits"].items():
        facts[name] = f"{split['characters']:,} {noun}{_symbols_note(split)}"
    if info.get("entropy_bits_per_char") is not None:
        facts["entropy"] = (
            f"{info['entropy_bits_per_char']:.6f}{_entropy_error(info)} bits per character, {_entropy_note(info)}"
        )
    facts["sha256"] = info["sha256"]
    return facts


def _symbols_note(split: Mapping[str, Any]) -> str:
    """The numbers of symbols and of unknown ones of a split, if symbols are not characters."""
    if split["symbols"] == split["characters"] + split["documents"]:
        return ""
    share = split["unknown"] / split["symbols"]
    return f" in {split['symbols']:,} symbols, {share:.2%} unknown"


def _entropy_error(row: Mapping[str, Any]) -> str:
    error = row.get("entropy_error_bits_per_char")
    return "" if error is None else f" ± {error:.4f}"


def _entropy_note(info: Mapping[str, Any]) -> str:
    """Whether the entropy of a corpus is exact or estimated."""
    if "entropy_bounds_bits_per_char" not in info:
        return "exactly known"
    low, high = info["entropy_bounds_bits_per_char"]
    return f"an estimate with its standard error; between {low:.4f} and {high:.4f} for certain"


def evaluation_facts(scores: Mapping[str, Any]) -> dict[str, str]:
    """The result of `charlm eval`, from its JSON keys."""
    perplexity = inf if scores["perplexity"] is None else scores["perplexity"]
    rows = {
        "nats": f"{scores['nats_per_char']:.4f} per character{_bounds(scores, 'nats_per_char')}",
        "bits": f"{scores['bits_per_char']:.4f} per character{_bounds(scores, 'bits_per_char')}"
        + ("" if scores["bits_per_byte"] is None else f", {scores['bits_per_byte']:.4f} per byte"),
        "perplexity": f"{perplexity:.4f} per character{_bounds(scores, 'perplexity')}",
        "interval": uncertainty(scores),
        "characters": f"{scores['characters']:,}, of which {scores['documents']:,} are ends of documents"
        + f" and {scores['unknown']:,} unknown" * (scores["symbols"] == scores["characters"]),
    }
    if scores["symbols"] != scores["characters"]:
        perplexity = inf if scores["perplexity_per_symbol"] is None else scores["perplexity_per_symbol"]
        rows["symbols"] = (
            f"{scores['symbols']:,}, of which {scores['unknown']:,} are unknown; "
            f"{scores['bits_per_symbol']:.4f} bits and perplexity {perplexity:.4f} each"
        )
    if scores["unknown"]:
        rows["spelled"] = (
            f"{scores['spelled_bits_per_char']:.4f} bits per character with the unknown symbols, "
            f"{scores['unknown'] / scores['symbols']:.2%} of all, spelled out"
        )
    if "entropy_bits_per_char" in scores:
        rows["entropy"] = (
            f"{scores['entropy_bits_per_char']:.4f}{_entropy_error(scores)} bits per character; "
            f"the model is {scores['gap_bits_per_char']:.4f} bits above it"
        )
    rows["protocol"] = scores["protocol"]
    if "default_off_bits_per_char" in scores:
        rows["default"] = default_off(scores)
    if "dynamic_protocol" in scores:
        rows["dynamic"] = dynamic(scores)
    rows["speed"] = f"{count(scores['chars_per_second'])} characters/s"
    return rows


def uncertainty(scores: Mapping[str, Any], key: str | None = None) -> str:
    """What the confidence intervals are, from the keys of `charlm eval --json`; that of `key` in full."""
    if not scores["interval_blocks"]:
        return "none: the text is too short to say how sure this is"
    bounds = _bounds(scores, key) if key else ""
    return f"95 %{bounds or ', in brackets'}, by a bootstrap of {scores['interval_blocks']} blocks of the text"


def _bounds(row: Mapping[str, Any], key: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return "" if low is None else f" ({low:.4f} to {inf if high is None else high:.4f})"


def compression_facts(row: Mapping[str, Any]) -> dict[str, str]:
    """The summary of `charlm compress`, from its JSON keys."""
    original, compressed, predicted = row["bytes"], row["compressed_bytes"], row["predicted_bytes"]
    share = f", {compressed / original:.2%} of them" if original else ""
    rows = {"bytes": f"{original:,} in, {compressed:,} out{share}"}
    if row["stored"]:
        rows["stored"] = "as it is: coded it would be longer"
    else:
        rows["bits"] = f"{row['bits_per_char']:.4f} per character"
        rows["predicted"] = (
            f"{predicted:,} bytes by the model's probabilities; the file has {compressed - predicted:+,}"
        )
    rows["characters"] = f"{row['characters']:,} in {row['symbols']:,} symbols, of which {row['unknown']:,} are unknown"
    rows["streams"] = f"{row['streams']:,}, {duration(row['seconds'])}"
    return rows


def default_off(scores: Mapping[str, Any]) -> str:
    """The error of the default protocol, from the keys of `charlm eval --exact --json`."""
    error = scores["default_off_bits_per_char"]
    if error is None:
        return "the default protocol gives no finite number"
    return f"the default protocol is {abs(error):.6f} bits per character {'below' if error < 0 else 'above'} that"


_SHOWN_ORDERS = {"2-gram", "3-gram", "4-gram", "6-gram", "8-gram", "12-gram", "16-gram"}
"""The n-grams in the table, in addition to the best one; the JSON has all."""

_BASELINE_NOTES = {
    "uniform": "every symbol as likely as any other",
    "unigram": "how often each symbol is, and nothing else",
    "gzip": "level 9; looks back 32 kB, so that the training text hardly helps",
    "bzip2": "level 9; sorts blocks of 900 kB",
    "xz": "level 9e; looks back on all of the training text",
    "exact entropy": "of the source: what no model can be below in the long run",
    "estimated entropy": "of the source, up to its standard error: what no model can be below in the long run",
}


@to_stdout()
def print_baselines(scores: Mapping[str, Any]) -> None:
    """Print the table of `charlm eval --baselines` on stdout, from its JSON keys."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("", "bits", "to the model", "seconds"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    rows = scores["baselines"]
    best = next(row["name"] for row in rows if row["name"].endswith("gram"))
    for row in rows:
        if row["name"].endswith("-gram") and row["name"] not in _SHOWN_ORDERS | {best}:
            continue
        name, is_model = row["name"], row["name"] == "model"
        note = _BASELINE_NOTES.get(name, "counts of the training text, with Kneser-Ney smoothing")
        table.add_row(
            Text(name, style="bold" if is_model else ""),
            f"{row['bits_per_char']:.4f}",
            "" if is_model else f"{row['bits_per_char'] - scores['bits_per_char']:+.4f}",
            "" if row["seconds"] is None else f"{row['seconds']:.1f}",
            Text(line(scores["model"]) if is_model else note),
        )
    wide_screen().print(table)


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The result of `charlm compare`, a line each, from its JSON keys."""
    lines = [
        f"{row['bits_per_char']:.4f} bits per character{_bounds(row, 'bits_per_char')}  {line(row['model'])}"
        for row in comparison["models"]
    ]
    return [*lines, "", *(_difference(row) for row in comparison["differences"])]


def _difference(row: Mapping[str, Any]) -> str:
    better, worse = line(row["better"]), line(row["worse"])
    bits = f"{row['bits_per_char']:.4f} bits per character{_bounds(row, 'bits_per_char')}"
    if row["beyond_chance"] is None:
        return f"{better} is {bits} below {worse}; the text is too short to tell whether that is chance"
    if row["beyond_chance"]:
        return f"{better} is better than {worse} by {bits}: that is beyond chance"
    return f"no difference between {better} and {worse} that could be told from chance: {bits}"


def dynamic(scores: Mapping[str, Any]) -> str:
    """Dynamic evaluation compared with the static one, from the keys of `charlm eval --dynamic --json`."""
    bits = scores["dynamic_bits_per_char"]
    if bits is None:
        return f"no finite number; {scores['dynamic_protocol']}"
    gain = scores["bits_per_char"] - bits
    return (
        f"{bits:.4f} bits per character, {abs(gain):.4f} {'below' if gain > 0 else 'above'} the static number; "
        f"{scores['dynamic_protocol']}"
    )


def model_facts(description: Mapping[str, Any]) -> dict[str, str]:
    """The result of `charlm info`, from its JSON keys."""
    config, corpus, training = description["config"], description["corpus"], description["training"]
    input_words = f"embedding of {config['embedding']}" if config["input"] == "embedding" else "one-hot input"
    rows = {
        "model": f"{description['model']} ({size(description['bytes'])}, format {description['format']}, "
        f"charlm {line(description['version'])})",
        "network": f"{cell_words(config)}, {config['layers']} x {config['hidden']}, {input_words}{wiring_words(config)}"
        f", dropout {config['dropout']:g}",
        "parameters": f"{description['parameters']:,}",
        "symbols": f"{description['vocabulary']:,} ({config['unit']})",
        "corpus": f"{line(corpus.get('name', '?'))}, sha256 {line(corpus.get('sha256', '?'))}",
        "trained": f"{training.get('step', 0):,} steps, {training.get('epoch', 0):.2f} epochs",
    }
    if description["preset"]:
        changed = description["preset"]["changed"]
        note = "which this charlm does not know" if changed is None else f"but for {', '.join(changed)}"
        rows["preset"] = description["preset"]["name"] + (f", {note}" if changed != [] else "")
    nats = training.get("valid_nats")
    if isinstance(nats, int | float):
        characters = training.get("valid_characters", 0)
        symbol = TOKENIZERS[config["unit"]].noun
        rows["valid"] = f"{nats:.4f} nats, {nats / log(2):.4f} bits per {symbol} over {characters:,}"
    return rows


@to_stdout()
def print_presets(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the list of `charlm presets` on stdout, from its JSON keys: name, description, source."""
    width = max(len(row["name"]) for row in rows) + 2
    console = Screen(highlight=False, soft_wrap=True)
    for row in rows:
        console.print(Text.assemble((f"{row['name']:<{width}}", "bold"), line(row["about"], MAX_VALUE_CHARACTERS)))
        console.print(Text.assemble(" " * width, (line(row["source"], MAX_VALUE_CHARACTERS), "dim")))


@to_stdout()
def print_runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of `charlm runs` on stdout."""
    console = wide_screen()
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for title in ("network", "parameters", "steps", "nats", "bits", "size", "changed"):
        table.add_column(title, justify="left" if title in ("network", "changed") else "right", no_wrap=True)
    for row in rows:
        nats = row["valid_nats"]
        table.add_row(
            Text(line(row["run"])),
            Text(row["network"] or "unreadable"),
            count(row["parameters"]) if row["parameters"] else "",
            f"{row['step']:,}" if row["step"] is not None else "",
            "" if nats is None else f"{nats:.4f}",
            "" if nats is None else f"{nats / log(2):.4f}",
            size(row["bytes"]),
            datetime.fromtimestamp(row["changed"]).strftime("%m-%d %H:%M"),
        )
    console.print(table)
    for row in rows:
        if row["problem"]:
            console.print(Text(line(f"{row['run']}: {row['problem']}", MAX_VALUE_CHARACTERS)), soft_wrap=True)
