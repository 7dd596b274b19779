"""The pages in docs/ say what the program does: options, defaults, keys, rules, and the bytes of a model."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import charlm
from charlm import cells
from charlm.cli.commands import app
from charlm.config import (
    WIRING_OPTIONS,
    AblateOptions,
    CatalogueOptions,
    CellsOptions,
    CompressOptions,
    EvalOptions,
    FindOptions,
    GetOptions,
    GradientOptions,
    LearningOptions,
    MeasureOptions,
    ModelOptions,
    PrepareOptions,
    ReadOptions,
    SampleOptions,
    ScoreOptions,
    SurfaceOptions,
    SurpriseOptions,
    TrainOptions,
)
from charlm.model.checkpoint import load, read_header
from charlm.model.parameters import shapes
from charlm.model.stepper import Stepper
from charlm.spec import flag
from charlm.training import auto
from charlm.training.runs import describe, summarize

pytestmark = pytest.mark.every_case
ROOT = Path(__file__).resolve().parent.parent
INTERFACE = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
CHECKPOINT = (ROOT / "docs" / "checkpoint.md").read_text(encoding="utf-8")
COMPRESSED = (ROOT / "docs" / "compressed.md").read_text(encoding="utf-8")
CORPORA = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def every_command(group: Any, before: str = "") -> dict[str, Any]:
    """Each command by its words, those within `inspect` too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found |= (
            every_command(command, f"{before}{name} ") if hasattr(command, "commands") else {before + name: command}
        )
    return found


COMMANDS = every_command(typer.main.get_command(app))
GROUPS = {
    "prepare": PrepareOptions,
    "train": TrainOptions,
    "eval": EvalOptions,
    "sample": SampleOptions,
    "inspect surprise": SurpriseOptions,
    "inspect cells": CellsOptions,
    "inspect gradients": GradientOptions,
    "inspect surface": SurfaceOptions,
    "inspect learning": LearningOptions,
    "inspect find": FindOptions,
    "inspect ablate": AblateOptions,
    "inspect gates": ReadOptions,
}
GROUPS |= {"compare": MeasureOptions, "compress": CompressOptions, "score": ScoreOptions}
GROUPS |= {"corpora list": CatalogueOptions, "corpora get": GetOptions}
COMMON = {"--config", "--quiet", "--debug", "--help"}
ONLY_WHERE_KNOWN = {"entropy_bits_per_char", "entropy_error_bits_per_char", "gap_bits_per_char"}
ONLY_IF_NAMED = {"preset"}
ONLY_IF_EXACT = {"default_off_bits_per_char"}
ONLY_IF_ASKED = {"baselines", "dynamic_nats_per_char", "dynamic_bits_per_char", "dynamic_protocol"}


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    lines = page.splitlines()
    start = lines.index(heading) + 1
    stop = next((n for n in range(start, len(lines)) if re.match(f"#{{1,{level}}} ", lines[n])), len(lines))
    return "\n".join(lines[start:stop])


def rows(text: str) -> list[list[str]]:
    """The cells of every table row in a text, heads and rules left out."""
    found = []
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not set(line) <= set("|-") and not (set(after) <= set("|-") and after):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def words(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def first_words(page: str, heading: str) -> list[str]:
    return [words(row[0])[0] for row in rows(section(page, heading))]


def flags(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def flags_of(command: Any) -> set[str]:
    """Every long option that a command accepts."""
    return {word for option in command.params for word in (*option.opts, *option.secondary_opts) if word[:2] == "--"}


def option_rows(command: str) -> dict[str, list[str]]:
    found = {}
    for row in rows(section(INTERFACE, f"## charlm {command}")):
        if row[0].startswith("`--"):
            found[words(row[0])[0]] = row
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_in_its_tables_and_no_other(command: str) -> None:
    told = {option for row in option_rows(command).values() for option in flags(row[0])}
    assert told == flags_of(COMMANDS[command]) - COMMON


def test_the_options_of_every_command_are_told_once() -> None:
    assert {
        flag for row in rows(section(INTERFACE, "### Options of every command")) for flag in flags(row[0])
    } == COMMON
    assert all(COMMON - {"--help"} <= flags_of(command) for command in COMMANDS.values())


def test_every_option_named_anywhere_exists() -> None:
    known = COMMON.union(flags_of(typer.main.get_command(app)), *map(flags_of, COMMANDS.values()))
    of_torchrun = {"--nproc-per-node"}
    assert flags(INTERFACE + CHECKPOINT + COMPRESSED + CORPORA + CHANGELOG) - of_torchrun <= known


def test_every_command_is_described() -> None:
    assert re.findall(r"^## charlm ([\w ]+)$", INTERFACE, re.M) == list(COMMANDS)


@pytest.mark.parametrize("command", GROUPS)
def test_values_and_defaults_of_options(command: str) -> None:
    group, told = GROUPS[command], option_rows(command)
    for name, spec in group.specs().items():
        _, values, default, meaning = told[flag(name)]
        standard = group.default(name)
        if spec.kind == "switch":
            assert (values, default) == ("", "`auto`" if spec.auto else "off")
        else:
            assert values == spec.range(), flag(name)
            shown = f"`{standard:g}`" if isinstance(standard, int | float) else f"`{standard}`"
            assert default == ("" if standard is None else shown), flag(name)
        assert meaning


def test_what_may_change_when_a_run_is_resumed() -> None:
    from charlm.training.resume import RESUMABLE

    listed = next(line for line in section(INTERFACE, "### Resuming").splitlines() if line.startswith("`--epochs`"))
    assert flags(listed) == {flag(name) for name in RESUMABLE}


def test_examples_of_the_automatic_sizes() -> None:
    sizes = ("layers", "hidden", "batch_size", "seq_len")
    columns = (*sizes, "lr", "weight_decay", "dropout", "warmup", "eval_chars", "eval_every", "sample_every")
    examples = rows(section(INTERFACE, "## What auto becomes"))
    assert len(examples) > 5
    for train, valid, given, *told in examples:
        spoken = given.strip("`").split()
        values = {name[2:]: value for name, value in zip(spoken[::2], spoken[1::2], strict=True)}
        found, _ = auto.resolve(TrainOptions.of(values), 65, _number(train), _number(valid))
        assert [_number(cell) for cell in told] == [getattr(found, name) for name in columns], given
        assert found.skip == found.layer_norm == (not values.keys() & {"layers", "hidden"} and found.cell == "lstm")


def _number(cell: str) -> float:
    number = float(cell.replace(",", ""))
    return int(number) if number.is_integer() else number


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of known entropy and a run of a few steps."""
    from charlm.data.prepare import prepare
    from charlm.data.sources import open_sources
    from charlm.training.train import train

    root = tmp_path_factory.mktemp("house")
    corpus = prepare(open_sources(["hidden-markov"], size=2000, seed=1), out=str(root / "data"))
    train(corpus, root=root / "runs", run="tiny", hidden=4, steps=4, eval_every=2, report_every=1)
    return root


def test_keys_of_a_corpus(house: Path) -> None:
    info = json.loads((house / "data" / "hidden-markov" / "corpus.json").read_text(encoding="utf-8"))
    assert set(first_words(INTERFACE, "### corpus.json")) == set(info)
    told = next(row[1] for row in rows(section(INTERFACE, "### corpus.json")) if row[0] == "`splits`")
    assert all({*split, name} <= set(words(told)) for name, split in info["splits"].items())
    told = next(row[1] for row in rows(section(INTERFACE, "### corpus.json")) if row[0] == "`shared`")
    assert {*info["shared"], *info["shared"]["valid"]} <= set(words(told))


def test_keys_of_the_metrics(house: Path) -> None:
    found = [json.loads(line) for line in (house / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert set(first_words(INTERFACE, "### metrics.jsonl")) - ONLY_IF_NAMED == {key for row in found for key in row}
    for row in found:
        assert row["characters"] % row["step"] == 0
        assert ("valid_nats" in row) == ("valid_bits" in row)


def test_files_of_a_corpus_and_of_a_run(house: Path) -> None:
    told = section(INTERFACE, "## Where things are")
    for path in (*(house / "data" / "hidden-markov").iterdir(), *(house / "runs" / "tiny").iterdir()):
        assert path.name in told


def test_keys_of_eval(house: Path) -> None:
    from charlm.evaluation.evaluate import evaluate, score_text

    told = first_words(INTERFACE, "### Keys of eval --json")
    model = load(house / "runs" / "tiny" / "model.safetensors")
    found = evaluate(model, data=house / "data", exact=True, baselines=True, dynamic=True).to_json()
    assert told == list(found)
    found = evaluate(model, data=house / "data").to_json()
    assert [key for key in told if key not in ONLY_IF_EXACT | ONLY_IF_ASKED] == list(found)
    assert found["text"].endswith("markov:test")
    assert all(
        length in section(INTERFACE, "### The two protocols") for length in re.findall(r"\d+", found["protocol"])
    )
    assert set(told) - set(score_text(model, "abc").to_json()) == ONLY_WHERE_KNOWN | ONLY_IF_EXACT | ONLY_IF_ASKED


def test_keys_of_compare(house: Path) -> None:
    from charlm.evaluation.compare import compare

    model = load(house / "runs" / "tiny" / "model.safetensors")
    found = compare([model, model], data=house / "data").to_json()
    assert first_words(INTERFACE, "### Keys of compare --json") == list(found)
    told = {words(row[0])[0]: set(words(row[1])) for row in rows(section(INTERFACE, "### Keys of compare --json"))}
    for key in ("models", "differences"):
        assert told[key] == set(found[key][0])


def test_keys_of_info_and_runs(house: Path) -> None:
    found = describe(read_header(house / "runs" / "tiny" / "model.safetensors"))
    assert first_words(INTERFACE, "### Keys of info --json") == list(found)
    assert all(f"`{key}`" in section(INTERFACE, "### Keys of info --json") for key in found["training"])
    (run,) = summarize(house / "runs")
    assert first_words(INTERFACE, "### Keys of runs --json") == list(run.to_row())


def test_keys_of_sample(house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = str(house / "runs" / "tiny" / "model.safetensors")
    told = first_words(INTERFACE, "### Keys of sample --jsonl")
    line = ["sample", "--jsonl", "--length", "3", "--seed", "1", "--model", model]
    app(line, standalone_mode=False)
    assert [key for key in told if key != "novelty"] == list(json.loads(capsys.readouterr().out))
    monkeypatch.chdir(house)
    app([*line, "--novelty"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert told == list(found)
    assert first_words(INTERFACE, "### Keys of novelty") == list(found["novelty"])
    keys = {*found["novelty"]["longest"], *found["novelty"]["beside"]}
    assert keys <= set(words(section(INTERFACE, "### Keys of novelty")))


@pytest.mark.parametrize(
    ("command", "given", "parts"),
    [("surprise", ["--top", "2"], ("classes", "context", "each")), ("cells", ["--unit", "0:1"], ("units", "each"))],
)
def test_keys_of_surprise_and_cells(
    house: Path, capsys: pytest.CaptureFixture[str], command: str, given: list[str], parts: tuple[str, ...]
) -> None:
    model = str(house / "runs" / "tiny" / "model.safetensors")
    (house / "few.txt").write_text("abacabadab" * 9, encoding="utf-8")
    app(["inspect", command, str(house / "few.txt"), *given, "--json", "--model", model], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    heading = f"### Keys of inspect {command} --json"
    assert first_words(INTERFACE, heading) == list(found)
    told = {row[0].strip("`"): words(row[1]) for row in rows(section(INTERFACE, heading))}
    for part in parts:
        assert set(found[part][0]) <= set(told[part]), part


@pytest.mark.parametrize(
    ("command", "inner", "more"),
    [
        ("gradients", "models", ["--window", "5", "--positions", "2"]),
        ("surface", None, ["--points", "3", "--steps", "2"]),
        ("learning", "runs", []),
    ],
)
def test_keys_of_what_inspects(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, inner: str | None, more: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(house)
    app(["inspect", command, "--json", *more], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    table = section(INTERFACE, f"### Keys of inspect {command} --json")
    assert [words(row[0])[0] for row in rows(table)] == [*found, *(found[inner][0] if inner else [])]
    layers = [layer for model in found.get("models", []) for layer in model["layers"]]
    inside = [*layers, *(block for layer in layers for block in layer["recurrent"]), *(found.get("runs") or [])]
    inside += [
        part for part in found.values() if isinstance(part, dict) and command == "surface" and "points" not in part
    ]
    for part in inside:
        assert set(part) <= set(words(table)), command


def test_keys_of_inspect_find_ablate_and_gates(house: Path) -> None:
    from texts import text_of

    from charlm.evaluation.texts import EvalText
    from charlm.inspect import unit_reports
    from charlm.inspect.features import FEATURES

    model = load(house / "runs" / "tiny" / "model.safetensors")
    text = EvalText("a string", np.concatenate(([0], model.vocabulary.encode_text(text_of(3000)))), 3000)
    of_gates = unit_reports.gates_report(model, text)
    of_ablate = unit_reports.ablate_report(model, text, AblateOptions(), ["0:1"])
    of_find = unit_reports.find_report(model, text, FindOptions())
    for command, found in (("find", of_find), ("ablate", of_ablate), ("gates", of_gates)):
        heading = f"### Keys of inspect {command} --json"
        assert first_words(INTERFACE, heading) == list(found)
        for value in found.values():
            for part in value if isinstance(value, list) else []:
                assert set(part) <= set(words(section(INTERFACE, heading))), command
    units = [unit for feature in of_find["features"] for unit in feature["units"]]
    assert units and set(units[0]) <= set(words(section(INTERFACE, "### Keys of inspect find --json")))
    assert first_words(INTERFACE, "### Features of a text") == list(FEATURES)
    assert f"{unit_reports.ABLATED:,} characters" in section(INTERFACE, "### What is a discovery")


def test_keys_and_layout_of_a_compressed_file(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of the page read what the command wrote."""
    from charlm.compression.arithmetic_coding import self_test
    from charlm.compression.container import FIXED_HEADER_BYTES, MAGIC, MAX_STREAMS, CompressedFile, model_digest

    monkeypatch.chdir(tmp_path)
    model = house / "runs" / "tiny" / "model.safetensors"
    Path("novel.txt").write_text("abcde" * 200)
    app(["compress", "novel.txt", "--json", "--streams", "3", "--model", str(model)], standalone_mode=False)
    assert first_words(INTERFACE, "### Keys of compress --json") == list(json.loads(capsys.readouterr().out))
    (reader,) = re.findall(r"```python\n(.*?)```", section(COMPRESSED, "## Layout"), re.S)
    found: dict[str, Any] = {}
    exec(reader, found)
    head, packed = found["head"], CompressedFile.of(Path("novel.txt.charlm").read_bytes())
    assert head["magic"] == MAGIC and head["whole"] and packed.kind == head["kind"] == 1
    assert (head["symbols"], head["streams"], head["bits"]) == (1000, 3, packed.payload)
    assert head["model"] == model_digest(load(model)) and head["answer"] == self_test(load(model))
    assert head["original"] == hashlib.sha256(Path("novel.txt").read_bytes()).digest()[:8]
    assert head["coder"] == packed.coder
    assert f"more than {FIXED_HEADER_BYTES} bytes" in COMPRESSED and f"at most {MAX_STREAMS}" in COMPRESSED


def test_keys_of_score(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = house / "runs" / "tiny"
    (house / "lines.txt").write_text("abc\n")
    said = ["score", str(house / "lines.txt"), "--json", "--per-char", "--model", str(own / "model.safetensors")]
    app(said, standalone_mode=False)
    one = list(json.loads(capsys.readouterr().out))
    app([*said, "--model", str(own / "last.safetensors")], standalone_mode=False)
    several = json.loads(capsys.readouterr().out)
    assert first_words(INTERFACE, "### Keys of score --json") == [*one, *several]
    told = next(row[1] for row in rows(section(INTERFACE, "### Keys of score --json")) if row[0] == "`models`")
    assert all(set(words(told)) == set(found) for found in several["models"].values())


def test_keys_of_the_catalogue_and_of_its_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from charlm.corpora import cache, catalogue

    told = [key for row in rows(section(CORPORA, "## A catalogue")) for key in words(row[0])]
    assert sorted(told) == sorted(catalogue._SCHEMA)
    (example,) = re.findall(r"```toml\n(.*?)```", CORPORA, re.S)
    (tmp_path / "mine.toml").write_text(example)
    app(["corpora", "list", "--json", "--catalogue", str(tmp_path / "mine.toml")], standalone_mode=False)
    found = list(json.loads(capsys.readouterr().out))
    assert found == [
        key for row in rows(section(INTERFACE, "### Keys of corpora list --json")) for key in words(row[0])
    ]
    remembered = next(line for line in CORPORA.split("\n\n") if line.startswith("What is remembered"))
    assert set(words(remembered)) >= {field.name for field in dataclasses.fields(cache.DownloadRecord)}
    verified = [entry.name for entry in catalogue.catalogue().values() if entry.sha256]
    assert len(verified) == 1 and f"Only `{verified[0]}` has been held against its file." in CORPORA


def test_keys_of_presets(capsys: pytest.CaptureFixture[str]) -> None:
    app(["presets", "char-rnn", "--json"], standalone_mode=False)
    assert first_words(INTERFACE, "### Keys of presets --json") == list(json.loads(capsys.readouterr().out))


def test_metadata_of_a_model(house: Path) -> None:
    for name in ("model", "last"):
        raw = (house / "runs" / "tiny" / f"{name}.safetensors").read_bytes()
        size = int.from_bytes(raw[:8], "little")
        assert size % 8 == 0
        header = json.loads(raw[8 : 8 + size].decode("ascii"))
        metadata = {key: json.loads(text) for key, text in header.pop("__metadata__").items()}
        assert {row[0].strip("`") for row in rows(section(CHECKPOINT, "## Metadata"))} >= set(metadata)
        for part in ("config", "symbols", "corpus", "training"):
            told = [
                row[0].strip("`")
                for row in rows(section(CHECKPOINT, f"### {part}"))
                if row[0].startswith("`") and "Absent where it is" not in row[2]
            ]
            assert set(told) == set(metadata[part]), part
        assert sorted(header) == list(header)
        assert max(tensor["data_offsets"][1] for tensor in header.values()) == len(raw) - 8 - size


def test_parts_of_the_progress_file(house: Path) -> None:
    raw = (house / "runs" / "tiny" / "progress.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    told = set(words(section(CHECKPOINT, "## progress.safetensors")))
    assert set(header.pop("__metadata__")) <= told
    assert {name.partition(".")[0] + "." for name in header} <= told


@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize("entering", ["one-hot", "embedding"])
def test_tensors_and_gates(cell: str, entering: str) -> None:
    table = {row[0].strip("`"): row for row in rows(section(CHECKPOINT, "## Tensors"))}
    options = ModelOptions(cell=cell, layers=2, hidden=5, input=entering, embedding=3, context=3)
    made = cells.of(options)
    _, gates, reading, blocks, state = table[cell]
    assert (3 if gates == "N" else int(gates)) == len(made.gates)
    assert tuple(dict.fromkeys(words(blocks))) == made.gates
    assert ("the lowest layer has no" in blocks) == (made.at(0).gates != made.gates)
    assert tuple(words(state)) == made.state
    found = shapes(options, 7)
    letters = {"V": 7, "E": 3, "H": 5, "R·H": 5 * int(reading)}
    for name, shape in found.items():
        layer = re.match(r"layers\.(\d)\.", name)
        letters["in"] = 5 if layer and layer[1] == "1" else 3 if entering == "embedding" else 7
        letters["G·H"] = 5 * len(made.at(int(layer[1]) if layer else 0).gates)
        told = table[re.sub(r"layers\.\d", "layers.{l}", name)][1].strip("()").split(", ")
        assert tuple(letters[letter] for letter in told) == shape
    general = {re.sub(r"layers\.\d", "layers.{l}", name) for name in found}
    for name in {name for name in table if "." in name} - general:
        where = table[name][2]
        of_others = "each layer of a" in where and f"a {cell}" not in where
        assert of_others or {"each layer, where R is not 0": reading, "with embedding input only": "0"}[where] == "0"


def test_keys_and_tensors_of_other_wirings() -> None:
    page = section(CHECKPOINT, "## Wiring")
    table = {row[0].strip("`"): row for row in rows(page)}
    assert [key for key in table if "." not in key] == list(WIRING_OPTIONS)
    size = {"layers": 3, "hidden": 5, "input": "embedding", "embedding": 15}
    more = {"skip": True, "between": "highway", "layer_norm": True}
    letters = {"G·H": 20, "H + E": 20, "V": 7, "L·H": 15, "H": 5}
    plain = shapes(ModelOptions.of(size), 7)
    found = shapes(ModelOptions.of({**size, **more}), 7)
    changed = {name: shape for name, shape in found.items() if plain.get(name) != shape}
    assert {re.sub(r"\.\d\.", ".{l}.", name) for name in changed} == {name for name in table if "." in name}
    for name, shape in changed.items():
        told = table[re.sub(r"\.\d\.", ".{l}.", name)][1].split(")")[0].strip("(").split(", ")
        assert tuple(letters[letter] for letter in told) == shape
    assert "readout.weight" not in shapes(ModelOptions.of({**size, **more, "tied": True}), 7)


@pytest.mark.parametrize("skip", [False, True])
def test_tensors_of_both_sides(skip: bool) -> None:
    table = {row[0]: row for row in rows(section(CHECKPOINT, "## Both sides"))}
    size = {"layers": 3, "hidden": 5, "embedding": 4, "between": "highway", "layer_norm": True, "skip": skip}
    one = shapes(ModelOptions.of(size), 7)
    both = shapes(ModelOptions.of({**size, "direction": "bidirectional"}), 7)
    second = {f"reverse.{name}": shape for name, shape in one.items() if not name.startswith("readout")}
    assert {name: shape for name, shape in both.items() if name.startswith("reverse.")} == second
    kinds = {name.split(".")[1] for name in second}
    assert kinds == {
        word.split(".")[1] for cell in table for word in re.findall(r"`(.*?)`", cell) if "reverse." in word
    }
    assert {name: shape for name, shape in both.items() if name in one} == {
        **one,
        "readout.weight": (7, 30 if skip else 10),
    }
    assert table["`readout.weight`"][1] == "(V, 2·H), with `skip` (V, 2·L·H)"


BLOCKS = re.findall(r"```(\w+)\n(.*?)```", section(CHECKPOINT, "## A complete example"), re.S)
MAKER, READER = (text for kind, text in BLOCKS if kind == "python")
HEADER, CONFIG, LOGITS = (json.loads(text) for kind, text in BLOCKS if kind == "json")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """The example of the page, made and read by its own lines, both without torch and the second without charlm."""
    folder = tmp_path_factory.mktemp("example")
    for program in (
        f"import sys; sys.modules['torch'] = None\n{MAKER}",
        f"import sys; sys.modules.update(torch=None, charlm=None, safetensors=None)\n{READER}\nprint(logits.tolist())",
    ):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
    return folder / "tiny.safetensors", json.loads(done.stdout)


def test_the_reader_computes_what_charlm_computes(example: tuple[Path, list[float]]) -> None:
    path, read = example
    model = load(path)
    stepper = Stepper(model)
    states = stepper.start()
    for symbol in (0, *model.vocabulary.encode_text("a").tolist()):
        logits, states = stepper.step(np.array([symbol]), states)
    np.testing.assert_allclose(read, logits[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(LOGITS, logits[0], rtol=0, atol=6e-5)


def test_the_shown_header_is_the_real_one(example: tuple[Path, list[float]]) -> None:
    raw = example[0].read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    shown = {**HEADER, "__metadata__": {**HEADER["__metadata__"], "version": json.dumps(charlm.__version__)}}
    assert shown == header
    assert json.loads(header["__metadata__"]["config"]) == CONFIG
    if shown == HEADER:
        text = section(CHECKPOINT, "## A complete example")
        assert f"has {len(raw)} bytes" in text
        assert f"n is {size}" in text
        assert f"`{raw[:8].hex(' ')}`" in text


def test_the_changelog_has_this_version() -> None:
    assert re.findall(r"^## (\S+)", CHANGELOG, re.M)[0] == charlm.__version__


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"], ids=lambda p: p.name)
def test_links_lead_somewhere_and_no_path_is_of_one_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users|mnt|opt|var)\b", text)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        other = page.parent / target if target else page
        assert other.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
