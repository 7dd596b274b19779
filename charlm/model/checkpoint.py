"""The one file format: a model is a safetensors file whose header says everything else as JSON.

A file carries the weights, the network's options, the symbol table, the corpus' name and SHA-256
and how it was trained, so that it needs no other file, and no particular device. Reading it runs
no code and needs no torch. The bytes are laid out in docs/checkpoint.md.

Names and shapes are checked against what the options imply before a weight is used.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from charlm import cells
from charlm.config import WIRING_OPTIONS, ModelOptions, PrepareOptions
from charlm.errors import CheckpointError, UsageError
from charlm.files import write_atomically
from charlm.model import parameters
from charlm.schema import Schema, is_count, is_number, is_object, is_text, misfit, or_null
from charlm.spec import AUTO
from charlm.tokenizers.vocabulary import Vocabulary
from charlm.version import __version__

FORMAT = 1
"""Version of the layout. A reader refuses what is newer and goes on reading what is older."""

FIXED_CONFIG = {"wiring": "stack"}
"""How the network is put together, where this version knows one way only; recorded for later ones."""

KNOWN_WORDS = {"direction": ModelOptions.specs()["direction"].words(), "wiring": ("stack",)}
"""Words of a file that a later version may have more of. The first of each is meant where a file has none."""

LATER_DEFAULTS = {name: ModelOptions.default(name) for name in ("context", *WIRING_OPTIONS)}
"""Settings that format 1 did not have at first, with what they are where a file does not name them. A model that has
them so is written without them, and readers that do not know them go on reading it."""

MAX_HEADER_BYTES = 20_000_000
"""Bytes that a header may have. The largest that charlm writes, a table of all of Unicode, has 16 million."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Model:
    """What a model file holds, its weights as NumPy float32 arrays by name.

    Attributes:
        options: the network, every `auto` resolved.
        symbols: the table of V symbols.
        weights: shapes as in `charlm.model.parameters.shapes`.
        corpus: `name`, `sha256` and the preparation options of the training text.
        training: how it was trained: step, losses in nats, seed, options.
        path: the file it was read from.
    """

    options: ModelOptions
    vocabulary: Vocabulary
    weights: Arrays = field(repr=False)
    corpus: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def label(self) -> str:
        """What to call it: its file."""
        return str(self.path or "a model in memory")

    @property
    def run_label(self) -> str:
        """What to call it: its run, if its file has the name that training gives."""
        in_run = self.path is not None and self.path.name == "model.safetensors"
        return str(self.path.parent) if self.path is not None and in_run else self.label

    @property
    def prepare_options(self) -> PrepareOptions:
        """How the training text was prepared."""
        return PrepareOptions.of(dict(self.corpus.get("options", {})))

    @property
    def encoding(self) -> str:
        """The encoding of the training text, as its user named it."""
        return str(dict(self.corpus.get("options", {})).get("encoding", "utf-8"))

    @property
    def line_documents(self) -> bool:
        """Whether each line of the training text was a document."""
        return dict(self.corpus.get("options", {})).get("documents") == "line"

    @property
    def starts_at_boundary(self) -> bool:
        """Whether a text that is read from its middle begins with a boundary: the training text had none inside."""
        return not self.corpus.get("documents")

    def check_one_way(self, what: str) -> None:
        """Refuse a bidirectional model for what knows only the symbols on one side.

        Raises:
            UsageError: it is one, and cannot do `what`.
        """
        if self.options.bidirectional:
            raise UsageError(
                f"{self.path or 'the model'} is bidirectional: it predicts a character from those on both sides of it, "
                f"so it cannot {what}; charlm eval and charlm score --cloze are for it, and --direction forward or "
                f"backward trains a model that can"
            )


@dataclass(frozen=True)
class Header:
    """What `read_header` learns without reading a weight."""

    path: Path
    format: int
    options: ModelOptions
    vocabulary: Vocabulary
    corpus: dict[str, Any]
    training: dict[str, Any]
    version: str
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return parameters.count(self.options, self.vocabulary.size)


def check_model(value: object) -> None:
    """Refuse what is no model, such as the name of one, where a model is wanted.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Model):
        shown = repr(value) if isinstance(value, str | Path) else f"a {type(value).__name__}"
        raise UsageError(f"a model is wanted, as charlm.load(path) gives it, got {_brief(shown)}")


def save(path: Path, model: Model) -> None:
    """Write `model` to `path`, whole or not at all. Equal models make equal bytes."""
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "config": {
            # A reader that does not know what is not at its default must refuse.
            **{name: value for name, value in _config_items(model.options) if value != LATER_DEFAULTS.get(name)},
            "unit": model.vocabulary.unit,
            **FIXED_CONFIG,
        },
        "symbols": model.vocabulary.to_json(),
        "corpus": model.corpus,
        "training": model.training,
    }
    write_tensors(path, model.weights, metadata)


def _config_items(options: ModelOptions) -> list[tuple[str, Any]]:
    return [(name, getattr(options, name)) for name in ModelOptions.specs()]


def read_header(path: str | Path) -> Header:
    """Read and check everything but the weights of a model file.

    Raises:
        CheckpointError: it is missing, damaged, from a newer charlm, or no model.
    """
    path = Path(path)
    with _open_safetensors(path) as file:
        return _parse_header(path, file)


def load(path: str | Path) -> Model:
    """Read a model file into memory.

    Raises:
        CheckpointError: as `read_header`; or a weight is not a finite number.
    """
    path = Path(path)
    with _open_safetensors(path) as file:
        header = _parse_header(path, file)
        weights = {name: file.get_tensor(name) for name in header.shapes}
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite; the model cannot be used")
    return Model(header.options, header.vocabulary, weights, header.corpus, header.training, path)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON metadata as one safetensors file, the same bytes for the same content."""
    words = {key: json.dumps(value, sort_keys=True, allow_nan=True) for key, value in metadata.items()}
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_atomically(path, _sort_metadata(safetensors.numpy.save(contiguous, metadata=words)))


def read_tensors(path: Path, advice: str) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_tensors` wrote; `advice` ends the message where that fails.

    Raises:
        CheckpointError: the file is missing, damaged, or from a newer charlm.
    """
    with _open_safetensors(path, advice) as file:
        metadata = _parse_metadata(path, file)
        try:
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
        except (SafetensorError, TypeError, ValueError, AttributeError) as error:  # a dtype that NumPy has not
            raise CheckpointError(f"{path} holds tensors that cannot be read ({_brief(error)}); {advice}") from None


def _sort_metadata(data: bytes) -> bytes:
    """The same safetensors file with its metadata sorted: the library writes them in random order."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _open_safetensors(path: Path, advice: str = "give a model.safetensors that `charlm train` wrote") -> Any:
    """`safe_open` with its refusals in our words."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {problem}; a model file is needed, such as runs/NAME/model.safetensors")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes, more than {MAX_HEADER_BYTES}")
        return safe_open(path, framework="np")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a file of charlm's, or is damaged or cut short ({_brief(error)}); {advice}"
        ) from None


def check_cell(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a file whose cell is not known, in words that say how it becomes known.

    Raises:
        CheckpointError: its cell is neither of the package nor of a plugin that was given.
    """
    cell = config.get("cell")
    if isinstance(cell, str) and cell not in cells.names():
        raise CheckpointError(
            f"{path} has the cell {_brief(repr(cell))}, and this charlm has {', '.join(cells.names())}; if the cell is "
            f"of a plugin, name that: --plugin FILE.py; if it is from a newer charlm, update charlm"
        )


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, refused where a key stands twice: readers would disagree on what the file says."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands there twice")
    return table


def _reject_non_finite(word: str) -> float | None:
    """A number of a model's metadata; None for what is none, as `Infinity` or 1e999, which JSON does not have."""
    number = float(word)
    return number if isfinite(number) else None


_decode_untrusted = json.JSONDecoder(
    object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_non_finite, parse_float=_reject_non_finite
).decode
"""JSON of a model's metadata. Made once: a header may have a million keys."""

_decode_own = json.JSONDecoder(object_pairs_hook=_reject_duplicate_keys).decode
"""JSON of what charlm wrote for itself, infinite numbers included."""


def _parse_metadata(path: Path, file: Any, decode: Callable[[str], Any] = _decode_own) -> dict[str, Any]:
    words = file.metadata() or {}
    if "format" not in words or "config" not in words:
        raise CheckpointError(f"{path} is a safetensors file, but not one of charlm's; it names no format and config")
    try:
        metadata = {key: decode(word) for key, word in words.items()}
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: the header's metadata are not JSON; the file is damaged") from None
    if type(metadata["format"]) is not int or metadata["format"] < 1:
        raise CheckpointError(f"{path}: unknown format {_brief(metadata['format'])}; the file is damaged")
    if metadata["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata['format']}, this charlm {__version__} reads up to {FORMAT}; update charlm"
        )
    return metadata


def _parse_header(path: Path, file: Any) -> Header:
    metadata = _parse_metadata(path, file, _decode_untrusted)
    if "progress" in metadata:
        raise CheckpointError(f"{path} is the progress of a run and no model; those are model and last.safetensors")
    config = _section(path, metadata, "config")
    symbols = _parse_vocabulary(path, _section(path, metadata, "symbols"))
    options = _parse_options(path, config)
    if config.get("unit") != symbols.unit:
        raise CheckpointError(f"{path}: config and symbols disagree about the unit; the file is damaged")
    expected = parameters.shapes(options, symbols.size)
    _check_tensors(path, file, expected)
    tables = {key: _section(path, metadata, key) for key in _SECTION_SCHEMAS}
    for key, table in tables.items():
        _check_section(path, key, table)
    return Header(
        path=path,
        format=metadata["format"],
        options=options,
        vocabulary=symbols,
        corpus=tables["corpus"],
        training=tables["training"],
        version=str(metadata.get("version", "unknown")),
        shapes=expected,
    )


def _section(path: Path, metadata: dict[str, Any], key: str) -> dict[str, Any]:
    value = metadata.get(key)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: the header has no usable {key!r}; the file is damaged")
    return value


_SECTION_SCHEMAS: dict[str, Schema] = {
    "corpus": {
        "name": is_text, "sha256": is_text, "options": is_object, "documents": is_count,
        "entropy_bits_per_char": is_number,
    },
    "training": {
        "step": is_count, "epoch": is_number, "characters": is_count, "valid_nats": or_null(is_number),
        "valid_characters": is_count, "options": is_object,
    },
}  # fmt: skip
"""What the information in a model may be, key by key; charlm shows it and computes with some of it."""


def _check_section(path: Path, key: str, table: dict[str, Any]) -> None:
    name = misfit(table, _SECTION_SCHEMAS[key])
    if name is not None:
        raise CheckpointError(
            f"{path}: {name} in {key!r} is {_brief(repr(table[name]))}, which it cannot be; the file is damaged"
        )


def _parse_vocabulary(path: Path, table: dict[str, Any]) -> Vocabulary:
    try:
        return Vocabulary.from_json(table)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _parse_options(path: Path, config: dict[str, Any]) -> ModelOptions:
    config = {**{key: words[0] for key, words in KNOWN_WORDS.items()}, **config}
    for key, words in KNOWN_WORDS.items():
        if config[key] not in words:
            raise CheckpointError(
                f"{path} has {key} {_brief(config[key])}, this charlm {__version__} knows only "
                f"{' and '.join(map(repr, words))}; update charlm"
            )
    known_names = ModelOptions.specs()
    extra = sorted(set(config) - set(known_names) - set(FIXED_CONFIG) - {"unit"})
    if extra:
        raise CheckpointError(
            f"{path} has the unknown setting {_brief(extra[0])}; it may be from a newer charlm, update it"
        )
    check_cell(path, config)
    try:
        completed = {**LATER_DEFAULTS, **config}
        options = ModelOptions(**{name: completed[name] for name in known_names})
        undecided = [name for name in known_names if getattr(options, name) in (None, AUTO)]
        if undecided:
            raise CheckpointError(f"{path}: the header leaves {undecided[0]!r} open; the file is damaged")
        cells.of(options)
        parameters.check(options)
    except KeyError as error:
        raise CheckpointError(f"{path}: the header lacks {error.args[0]!r}; the file is damaged") from None
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return options


def _check_tensors(path: Path, file: Any, expected: dict[str, tuple[int, ...]]) -> None:
    present = set(file.keys())
    if present != set(expected):
        odd = sorted(present ^ set(expected))[0]
        raise CheckpointError(
            f"{path}: tensor {_brief(odd)} is {'missing' if odd in expected else 'unexpected'}; the file is damaged"
        )
    for name, shape in expected.items():
        tensor = file.get_slice(name)
        if tensor.get_dtype() != "F32" or tuple(tensor.get_shape()) != shape:
            raise CheckpointError(
                f"{path}: {name} is {tensor.get_dtype()} {tuple(tensor.get_shape())}, its config needs F32 {shape}; "
                f"the file is damaged"
            )


def _brief(thing: object) -> str:
    text = " ".join(str(thing).split())
    return text if len(text) <= 80 else text[:77] + "..."
