"""Model files from strangers: refused with one line, or whole; in bounded time and memory; and they run nothing."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hostile_values import HOSTILE, changed, joined, spots, taken, with_metadata
from soaking import Soak

from charlm import cells
from charlm.config import ModelOptions
from charlm.errors import CharlmError, CheckpointError
from charlm.model import parameters
from charlm.model.checkpoint import MAX_HEADER_BYTES, Model, load, read_header, save
from charlm.sampling.sample import stream
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.training.runs import describe

PER_HEADER_BYTE, PER_TENSOR_BYTE, CONSTANT = 64, 2, 32_000_000
"""What docs/checkpoint.md states of the memory that reading a file takes."""

SLOW = 10.0
"""Seconds that no file of the size of these may take; most take a millisecond."""


def made(
    cell: str = "lstm",
    layers: int = 1,
    input: str = "one-hot",
    hidden: int = 3,
    codes: Any = "\n abc",
    embedding: int = 2,
    **wiring: Any,
) -> Model:
    sizes = {"layers": layers, "hidden": hidden, "embedding": embedding}
    options = ModelOptions.of({"cell": cell, "input": input, "dropout": 0.0, **sizes, **wiring})
    symbols = Vocabulary("char", np.array([ord(code) if isinstance(code, str) else code for code in codes], np.uint32))
    random = np.random.default_rng(1)
    weights = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in parameters.shapes(options, symbols.size).items()
    }
    corpus = {"name": "sea", "sha256": "ab" * 32, "options": {"unit": "char", "documents": "file"}, "documents": 1}
    training = {"step": 7, "epoch": 0.5, "characters": 70, "valid_nats": 2.5, "valid_characters": 9, "options": {}}
    return Model(options, symbols, weights, corpus, training)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("good")
    kinds = [("rnn", 1, "one-hot"), ("lstm", 2, "one-hot"), ("gru", 1, "embedding"), ("lstm", 1, "embedding")]
    for number, kind in enumerate(kinds):
        save(folder / str(number), made(*kind))
    wired = made("gru", 2, "embedding", embedding=6, skip=True, between="highway", layer_norm=True, tied=True)
    save(folder / str(len(kinds)), wired)
    return [(folder / str(number)).read_bytes() for number in range(len(kinds) + 1)]


def flip_header(data: bytes, other: bytes, random: Random) -> bytes:
    content, end = bytearray(data), 8 + int.from_bytes(data[:8], "little")
    for _ in range(random.randint(1, 8)):
        content[random.randrange(end)] = random.randrange(256)
    return bytes(content)


def flip_weights(data: bytes, other: bytes, random: Random) -> bytes:
    content, begin = bytearray(data), 8 + int.from_bytes(data[:8], "little")
    for _ in range(random.randint(1, 8)):
        content[random.randrange(begin, len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def cut(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def grow(data: bytes, other: bytes, random: Random) -> bytes:
    at = random.choice([len(data), random.randrange(len(data))])
    return data[:at] + random.randbytes(random.randint(1, 100)) + data[at:]


def remove(data: bytes, other: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.randint(1, 100) :]


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    size = 8 + int.from_bytes(data[:8], "little")
    at = random.choice([size, random.randrange(len(data))])
    return data[:at] + other[random.choice([at, 8 + int.from_bytes(other[:8], "little")]) :]


def lengthen(data: bytes, other: bytes, random: Random) -> bytes:
    sizes = [0, 1, len(data), 2**31, 2**63, 2**64 - 1, MAX_HEADER_BYTES + 1, random.randrange(2 * len(data))]
    return random.choice(sizes).to_bytes(8, "little") + data[8:]


def lie(data: bytes, other: bytes, random: Random) -> bytes:
    """Other values in the header: sizes of the network, shapes, dtypes, offsets, what it says of itself."""
    header, tensors = taken(data)
    for _ in range(random.randint(1, 2)):
        *way, last = random.choice(spots(header))
        node: Any = header
        for step in way:
            node = node[step] if isinstance(node, dict | list) and step in spots_of(node) else {}
        if isinstance(node, dict | list) and last in spots_of(node):
            node[last] = deepcopy(
                random.choice([*HOSTILE, "F16", "BF16", "F64", "I64", [3, 4], [2**40, 2**40], [0, 2**63]])
            )
    try:
        return joined(header, tensors)
    except (AttributeError, TypeError, ValueError):  # the metadata themselves were replaced
        return data[:8] + b"x"


def spots_of(place: Any) -> Any:
    return place if isinstance(place, dict) else range(len(place))


def spoil(data: bytes, other: bytes, random: Random) -> bytes:
    """Weights that are no numbers."""
    begin = 8 + int.from_bytes(data[:8], "little")
    weights = np.frombuffer(data[begin:], "<f4").copy()
    weights[random.randrange(len(weights))] = random.choice([np.nan, np.inf, -np.inf])
    return data[:begin] + weights.tobytes()


def foreign(data: bytes, other: bytes, random: Random) -> bytes:
    """Files of another kind, which somebody takes for a model, or would like to be taken for one."""
    archive, arrays = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Marker()))
        file.writestr("archive/data/0", data)
    np.savez(arrays, w=np.zeros(3))
    import safetensors.numpy

    tensors = {"weight": np.zeros((2, 2), random.choice([np.float16, np.float64, np.int8]))}
    kinds = [
        b"", random.randbytes(random.randrange(5000)), bytes(random.randrange(5000)), pickle.dumps(Marker()),
        archive.getvalue(), arrays.getvalue(), gzip.compress(data), b"To be, or not to be\n" * 50, data.hex().encode(),
        safetensors.numpy.save(tensors), safetensors.numpy.save(tensors, metadata={"format": "pt"}),
        safetensors.numpy.save(tensors, metadata={"format": "1", "config": "{}"}),
        joined({"__metadata__": {"format": 1}}, b"", config="[" * 5000), b'{"__metadata__":{}}', other[8:],
    ]  # fmt: skip
    return random.choice(kinds)


class Marker:
    """Whoever unpickles it runs code: it makes a file."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


ATTACKS: list[Callable[[bytes, bytes, Random], bytes]] = [
    flip_header, flip_weights, cut, grow, remove, splice, lengthen, lie, lie, lie, spoil, foreign,
]  # fmt: skip


def examined(path: Path) -> str:
    """`refused` with one line that names the file, or `whole`: then everything that is done with models works."""
    try:
        model = load(path)
    except CheckpointError as error:
        message = str(error)
        assert "\n" not in message and str(path) in message and len(message) < 700
        return "refused"
    shapes = {name: weight.shape for name, weight in model.weights.items()}
    assert shapes == parameters.shapes(model.options, model.vocabulary.size)
    assert all(weight.dtype == np.float32 and np.isfinite(weight).all() for weight in model.weights.values())
    json.dumps(describe(read_header(path)), allow_nan=False)
    try:
        assert len("".join(stream(model, length=3))) >= 0
    except CharlmError as error:  # weights near the largest number there is
        assert "no finite number" in str(error)
    return "whole"


def test_files_that_are_no_models_are_refused_and_the_rest_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: list[bytes], soak: Soak
) -> None:
    monkeypatch.chdir(tmp_path)
    random, outcomes, slowest = Random(11), Counter[str](), 0.0
    path = Path("m.safetensors")
    for number in range(soak.count(360, 24_000)):
        attack = ATTACKS[number % len(ATTACKS)]
        data, other = random.sample(good, 2)
        path.write_bytes(attack(data, other, random))
        began = time.perf_counter()
        outcome = examined(path)
        slowest = max(slowest, time.perf_counter() - began)
        outcomes[outcome] += 1
        outcomes[f"{attack.__name__}: {outcome}"] += 1
    assert slowest < SLOW
    assert outcomes["refused"] and outcomes["flip_weights: whole"] and outcomes["lie: whole"]
    for attack in ("cut", "spoil", "foreign", "grow"):
        assert not outcomes[f"{attack}: whole"], outcomes
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name], "nothing was run or written"
    soak.saw(
        "model files: mutated, cut, spliced, lied about, spoiled, foreign",
        f"{outcomes.total() // 2:,} files: {outcomes['refused']:,} refused with one line, {outcomes['whole']:,} whole "
        f"models that sample; none ended in anything else; the slowest took {slowest:.2f} s",
    )


def test_the_commands_end_with_one_line_or_a_result_on_such_files(
    house: Path, charlm: Callable[..., tuple[int, str, str]], good: list[bytes], soak: Soak
) -> None:
    random, codes = Random(12), Counter[int]()
    Path("t.txt").write_text("abc cab\n")
    path = "m.safetensors"
    commands = [
        ("info", path), ("info", path, "--json"), ("sample", "--model", path, "--length", "2", "--quiet"),
        ("eval", "t.txt", "--model", path, "--threads", "1"), ("eval", "--model", path, "--threads", "1"),
    ]  # fmt: skip
    for number in range(soak.count(96, 3000)):
        data, other = random.sample(good, 2)
        Path(path).write_bytes(ATTACKS[number % len(ATTACKS)](data, other, random))
        code, out, err = charlm(*commands[number % len(commands)])
        codes[code] += 1
        assert "\x1b" not in out + err and "Traceback" not in err and "bug in charlm" not in err, (code, out, err)
        if code:
            assert code == 2 or "no finite number" in err, (code, err)
            assert sum(line.startswith("error:") for line in err.splitlines()) == 1 and out == ""
    assert codes[0] and codes[2]
    soak.saw(
        "`info`, `sample` and `eval` on such files",
        f"{codes.total():,} commands: {codes[0]:,} with a result, {codes[2]:,} refused with one line and exit code 2, "
        f"{codes[1]:,} whose state grew without bound",
    )


def greedy(data: bytes, size: int) -> dict[str, bytes]:
    """Files of about `size` bytes that would like to take many times as much memory."""
    header, tensors = taken(data)
    claims = {"cell": "gru", "layers": 64, "hidden": 65536, "input": "embedding", "embedding": 65536}
    config = {**header["__metadata__"]["config"], **claims}
    names = [np.base_repr(number, 36) for number in range(size // 10)]
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = {**header, **{name: entry for name in names[: size // 60]}}
    return {
        "claims": changed(data, config=config),
        "keys": with_metadata(data, **{name: "{}" for name in names[: size // 16]}),
        "objects": with_metadata(data, other="[" + "{}," * (size // 3) + "1]"),
        "lists": with_metadata(data, training='{"a":[' + "[[[[[[[[]]]]]]]]," * (size // 17) + "1]}"),
        "numbers": with_metadata(data, training='{"a":[' + "1e1," * (size // 4) + "1]}"),
        "digits": with_metadata(data, training='{"step":' + "9" * size + "}"),
        "depth": with_metadata(data, training="[" * size),
        "table": with_metadata(data, symbols='{"unit":"char","codes":"' + "\u012c" * (size // 2) + '"}'),
        "tensors": joined(many, tensors),
        "shape": joined({**header, "a": {**entry, "shape": [1] * (size // 3)}}, tensors),
        "progress-tensors": joined(many, tensors),
        "progress-objects": with_metadata(data, other="[" + "{}," * (size // 3) + "1]"),
    }


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to say what a process took")
def test_reading_takes_no_more_memory_than_stated(tmp_path: Path, good: list[bytes], soak: Soak) -> None:
    for name, content in greedy(good[0], soak.count(250_000, 4_000_000)).items():
        (tmp_path / name).write_bytes(content)
    save(tmp_path / "weights", made(hidden=1600))
    save(tmp_path / "unicode", made(hidden=1, codes=[c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]))
    (tmp_path / "header").write_bytes((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"[" * (MAX_HEADER_BYTES + 1))
    paths = sorted(tmp_path.iterdir())
    (tmp_path / "good").write_bytes(good[0])
    program = Path(__file__).with_name("greed.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "good"), *map(str, paths)],
        capture_output=True, text=True, check=True, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == [path.name for path in paths]
    worst = 0.0
    for row, path in zip(rows, paths, strict=True):
        data = path.read_bytes()
        header = min(int.from_bytes(data[:8], "little"), MAX_HEADER_BYTES)
        allowed = PER_HEADER_BYTE * header + PER_TENSOR_BYTE * (len(data) - 8 - header) + CONSTANT
        assert row["peak"] <= allowed, row
        if header > 100_000 and len(data) < 1.5 * header:
            worst = max(worst, row["peak"] / len(data))
    outcomes = {row["name"]: row["outcome"] for row in rows}
    assert outcomes["weights"] == outcomes["unicode"] == "loaded"
    assert "a header of" in outcomes["header"] and "missing" in outcomes["claims"]
    for name in ("claims", "digits", "depth", "table", "tensors", "shape", "header"):
        assert outcomes[name] != "loaded", name
    soak.saw(
        "memory for reading greedy headers",
        f"{len(paths)} files; at most {worst:.0f} times the file, stated are {PER_HEADER_BYTE}",
    )


def test_an_object_that_names_a_key_twice_is_refused(tmp_path: Path, good: list[bytes]) -> None:
    path = tmp_path / "twice"
    path.write_bytes(with_metadata(good[0], training='{"step": 1, "step": 2}'))
    with pytest.raises(CheckpointError, match="not JSON"):
        load(path)


def test_numbers_that_json_does_not_have_are_nothing(tmp_path: Path, good: list[bytes]) -> None:
    path = tmp_path / "odd"
    path.write_bytes(with_metadata(good[0], training='{"valid_nats": Infinity, "options": {"lr": NaN, "b": 1e999}}'))
    assert read_header(path).training == {"valid_nats": None, "options": {"lr": None, "b": None}}


WRONG = {
    "step": [-1, 1.5, "7", None, True, 2**60], "epoch": ["1", None, 10**400], "valid_nats": ["2", [], True],
    "valid_characters": [-1, "x"], "options": [[], "x"], "name": [1, None, ["sea"]], "sha256": [7],
    "documents": ["1", -3], "entropy_bits_per_char": ["x"],
}  # fmt: skip


@pytest.mark.parametrize("key", WRONG)
def test_information_of_the_wrong_kind_is_refused_by_name(tmp_path: Path, good: list[bytes], key: str) -> None:
    metadata = taken(good[0])[0]["__metadata__"]
    corpus = {"name", "sha256", "documents", "entropy_bits_per_char", "options"}
    parts = {"corpus": corpus, "training": set(WRONG) - corpus | {"options"}}
    for part in [part for part, keys in parts.items() if key in keys]:
        for value in WRONG[key]:
            path = tmp_path / "wrong"
            path.write_bytes(changed(good[0], **{part: {**metadata[part], key: value}}))
            with pytest.raises(CheckpointError, match=f"{key} in '{part}'"):
                read_header(path)


ORDERS = "\x1b[2J\x1b]0;owned\x07[bold]red[/bold]\x9b31m\r\u202e"


def shown_raw(text: str) -> bool:
    return any(code in text for code in "\x1b\x07\x9b\r\u202e")


def test_what_a_model_says_of_itself_cannot_command_a_terminal(
    house: Path, charlm: Callable[..., tuple[int, str, str]], good: list[bytes]
) -> None:
    data = Path("runs/one/model.safetensors").read_bytes()
    meta = taken(data)[0]["__metadata__"]
    Path("runs/evil").mkdir()
    for change in (
        {"corpus": {**meta["corpus"], "name": ORDERS, "sha256": ORDERS}, "version": ORDERS},
        {"config": {**meta["config"], "cell": ORDERS}},
        {"config": {**meta["config"], ORDERS: 1}},
        {"config": {**meta["config"], "direction": ORDERS}},
        {"training": {**meta["training"], "step": ORDERS}},
        {"symbols": {"unit": ORDERS, "codes": "ab"}},
    ):
        Path("runs/evil/model.safetensors").write_bytes(changed(data, **change))
        for words in (["info", "evil"], ["runs"], ["eval", "--model", "evil"], ["info", "evil", "--json"]):
            code, out, err = charlm(*words)
            assert not shown_raw(out + err), (words, out, err)
            assert code in (0, 2)
    Path("runs/evil/model.safetensors").write_bytes(changed(data, corpus={**meta["corpus"], "name": ORDERS}))
    out = charlm("info", "evil")[1]
    assert "␛[2J␛]0;owned␇[bold]red[/bold]" in out


@pytest.mark.parametrize("name", ["../elsewhere/sea", "/etc", ".", "..", "", "a\0b", "\ud800", "a\\b"])
def test_a_models_corpus_name_leads_nowhere_else_on_the_disk(
    house: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = Path("runs/one/model.safetensors").read_bytes()
    corpus = {**taken(data)[0]["__metadata__"]["corpus"], "name": name}
    Path("m.safetensors").write_bytes(changed(data, corpus=corpus))
    (house / "elsewhere").mkdir()
    (house / "data" / "sea").rename(house / "elsewhere" / "sea")
    assert "names no corpus that can be looked for" in refused("eval", "--model", "m.safetensors")


def test_samples_on_a_terminal_cannot_command_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from charlm.show import terminal

    assert terminal.for_stdout(ORDERS) == ORDERS
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert not shown_raw(terminal.for_stdout(ORDERS)) and "[bold]red[/bold]" in terminal.for_stdout(ORDERS)
    assert terminal.for_stdout("a\n\tb é 漢 🙂") == "a\n\tb é 漢 🙂"


def test_no_module_is_imported_because_a_model_names_it(tmp_path: Path, good: list[bytes]) -> None:
    config = taken(good[0])[0]["__metadata__"]["config"]
    for cell in ("_cell", "_plugin", "../x", "os", "rnn.sub", "__init__", "RNN", ".rnn"):
        path = tmp_path / "m"
        path.write_bytes(changed(good[0], config={**config, "cell": cell}))
        before = set(sys.modules)
        with pytest.raises(CheckpointError, match="--plugin"):
            load(path)
        assert set(sys.modules) == before and cell not in cells.names()


def test_a_perplexity_beyond_all_numbers_is_a_result(house: Path, charlm: Callable[..., tuple[int, str, str]]) -> None:
    model = load("runs/one/model.safetensors")
    model.weights["readout.bias"][3:] = 1e6
    save(Path("odd.safetensors"), model)
    assert charlm("eval", "--model", "odd.safetensors", "--perplexity")[1] == "inf\n"
    assert json.loads(charlm("eval", "--model", "odd.safetensors", "--json")[1])["perplexity"] is None
    assert "inf per character" in charlm("eval", "--model", "odd.safetensors")[1]
