"""Tables and summaries, from plain values."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf, log
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from charlm.show.terminal import Screen, to_stdout
from charlm.show.words import count, line, size

LONGEST_VALUE = 1000
"""Characters of a value in a table; a file may say more than anyone wants to read."""


@to_stdout()
def facts(pairs: Mapping[str, str]) -> None:
    """Name and value, a line each, aligned, on stdout."""
    width = max(len(name) for name in pairs)
    console = Screen(highlight=False, soft_wrap=True)
    for name, value in pairs.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "dim"), line(value, LONGEST_VALUE)))


def corpus(info: Mapping[str, Any], vocabulary: int) -> dict[str, str]:
    """The summary of `charlm prepare`, from `corpus.json` and V."""
    noun = "bytes" if info["unit"] == "byte" else "characters"
    found = {
        noun: f"{info['characters']:,}",
        "bytes": f"{info['bytes']:,}",
        "distinct": f"{info['distinct']:,} ({vocabulary:,} symbols with boundary and unknown)",
        "documents": f"{info['documents']:,}",
    }
    for name, split in info["splits"].items():
        found[name] = f"{split['characters']:,} {noun}"
    if info.get("entropy_bits_per_char") is not None:
        found["entropy"] = f"{info['entropy_bits_per_char']:.6f} bits per character, exactly known"
    found["sha256"] = info["sha256"]
    return found


def evaluation(found: Mapping[str, Any]) -> dict[str, str]:
    """The result of `charlm eval`, from its JSON keys."""
    perplexity = inf if found["perplexity"] is None else found["perplexity"]
    rows = {
        "nats": f"{found['nats_per_char']:.4f} per character",
        "bits": f"{found['bits_per_char']:.4f} per character, {found['bits_per_byte']:.4f} per byte",
        "perplexity": f"{perplexity:.4f} per character",
        "characters": f"{found['characters']:,}, of which {found['documents']:,} are ends of documents "
        f"and {found['unknown']:,} unknown",
    }
    if "entropy_bits_per_char" in found:
        rows["entropy"] = (
            f"{found['entropy_bits_per_char']:.4f} bits per character; "
            f"the model is {found['gap_bits_per_char']:.4f} bits above it"
        )
    rows["protocol"] = found["protocol"]
    if "default_off_bits_per_char" in found:
        rows["default"] = default_off(found)
    if "dynamic_protocol" in found:
        rows["dynamic"] = dynamic(found)
    rows["speed"] = f"{count(found['chars_per_second'])} characters/s"
    return rows


def default_off(found: Mapping[str, Any]) -> str:
    """How far the default protocol is off an exact score, from the keys of `charlm eval --exact --json`."""
    off = found["default_off_bits_per_char"]
    if off is None:
        return "the default protocol gives no finite number"
    return f"the default protocol is {abs(off):.6f} bits per character {'below' if off < 0 else 'above'} that"


def dynamic(found: Mapping[str, Any]) -> str:
    """The number of dynamic evaluation beside the static one, from the keys of `charlm eval --dynamic --json`."""
    bits = found["dynamic_bits_per_char"]
    if bits is None:
        return f"no finite number; {found['dynamic_protocol']}"
    gain = found["bits_per_char"] - bits
    return (
        f"{bits:.4f} bits per character, {abs(gain):.4f} {'below' if gain > 0 else 'above'} the static number; "
        f"{found['dynamic_protocol']}"
    )


def model(found: Mapping[str, Any]) -> dict[str, str]:
    """The result of `charlm info`, from its JSON keys."""
    config, training = found["config"], found["training"]
    entering = f"embedding of {config['embedding']}" if config["input"] == "embedding" else "one-hot input"
    kind = f"{config['cell']} ({config['activation']})" if config["cell"] == "rnn" else config["cell"]
    rows = {
        "model": f"{found['model']} ({size(found['bytes'])}, format {found['format']}, "
        f"charlm {line(found['version'])})",
        "network": f"{kind}, {config['layers']} x {config['hidden']}, {entering}, dropout {config['dropout']:g}",
        "parameters": f"{found['parameters']:,}",
        "symbols": f"{found['vocabulary']:,} ({config['unit']})",
        "corpus": f"{line(found['corpus'].get('name', '?'))}, sha256 {line(found['corpus'].get('sha256', '?'))}",
        "trained": f"{training.get('step', 0):,} steps, {training.get('epoch', 0):.2f} epochs",
    }
    nats = training.get("valid_nats")
    if isinstance(nats, int | float):
        over = training.get("valid_characters", 0)
        rows["valid"] = f"{nats:.4f} nats, {nats / log(2):.4f} bits per character over {over:,}"
    return rows


@to_stdout()
def runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of `charlm runs` on stdout."""
    terminal = Screen(highlight=False)
    console = terminal if terminal.is_terminal else Screen(highlight=False, width=200)
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
            console.print(Text(line(f"{row['run']}: {row['problem']}", LONGEST_VALUE)), soft_wrap=True)
