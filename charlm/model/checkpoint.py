"""The model file: safetensors, with everything but the weights as JSON in the header.

A file has the weights, the network's options, the vocabulary, the corpus' name and SHA-256, and how the model
was trained, so that it needs no other file and no particular device. Reading it runs no code and needs no torch.
docs/checkpoint.md describes the bytes.

Names and shapes are checked against those that the options imply before a weight is used.
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
"""Version of the format. A reader refuses newer versions and reads older ones."""

FIXED_CONFIG = {"wiring": "stack"}
"""Settings with one possible value in this version, recorded for later ones."""

KNOWN_WORDS = {"direction": ModelOptions.specs()["direction"].words(), "wiring": ("stack",)}
"""Values that this version knows of settings that may get more. The first is the default if a file has none."""

LATER_DEFAULTS = {name: ModelOptions.default(name) for name in ("context", *WIRING_OPTIONS)}
"""Settings added to format 1 later, with their defaults if a file lacks them. Settings at these defaults are not
written, so that older readers can still read the file."""

MAX_HEADER_BYTES = 20_000_000
"""Largest header that is read. The largest that charlm writes, a vocabulary of all of Unicode, has 16 million bytes."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Model:
    """The contents of a model file.

    Attributes:
        options: the network's, every `auto` resolved.
        vocabulary: V symbols.
        weights: NumPy float32 arrays by name, with the shapes of `charlm.model.parameters.shapes`.
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
        """Name for messages and tables: its path."""
        return str(self.path or "a model in memory")

    @property
    def run_label(self) -> str:
        """Name for messages and tables: its run, if its file has the name that training gives."""
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
        """Whether to put a boundary before an excerpt of a text: if the training text had none inside."""
        return not self.corpus.get("documents")

    def check_one_way(self, what: str) -> None:
        """Refuse a bidirectional model for a task that has only the symbols on one side.

        Raises:
            UsageError: it is bidirectional, and cannot do `what`.
        """
        if self.options.bidirectional:
            raise UsageError(
                f"{self.path or 'the model'} is bidirectional: it predicts a character from those on both sides of it, "
                f"so it cannot {what}; charlm eval and charlm score --cloze are for it, and --direction forward or "
                f"backward trains a model that can"
            )


@dataclass(frozen=True)
class Header:
    """A model file without its weights, as `read_header` returns it."""

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
    """Refuse a value that is not a `Model`, such as the path of one.

    Raises:
        UsageError: it is not a model.
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
            # A setting that is not at its default must be written, so that a reader that does not know it refuses.
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
        CheckpointError: it is missing, damaged, from a newer charlm, or not a model.
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
    encoded = {key: json.dumps(value, sort_keys=True, allow_nan=True) for key, value in metadata.items()}
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_atomically(path, _sort_metadata(safetensors.numpy.save(contiguous, metadata=encoded)))


def read_tensors(path: Path, advice: str) -> tuple[Arrays, dict[str, Any]]:
    """Read a file of `write_tensors`; `advice` ends the error message.

    Raises:
        CheckpointError: the file is missing, damaged, or from a newer charlm.
    """
    with _open_safetensors(path, advice) as file:
        metadata = _parse_metadata(path, file)
        try:
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
        except (SafetensorError, TypeError, ValueError, AttributeError) as error:  # a dtype that NumPy lacks
            raise CheckpointError(f"{path} holds tensors that cannot be read ({_brief(error)}); {advice}") from None


def _sort_metadata(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in random order."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _open_safetensors(path: Path, advice: str = "give a model.safetensors that `charlm train` wrote") -> Any:
    """Open a safetensors file.

    Raises:
        CheckpointError: it is missing, damaged, or another kind of file; the message ends with `advice`.
    """
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
    """Refuse a file with an unknown cell, and advise on plugins.

    Raises:
        CheckpointError: its cell is neither of the package nor of a registered plugin.
    """
    cell = config.get("cell")
    if isinstance(cell, str) and cell not in cells.names():
        raise CheckpointError(
            f"{path} has the cell {_brief(repr(cell))}, and this charlm has {', '.join(cells.names())}; if the cell is "
            f"of a plugin, name that: --plugin FILE.py; if it is from a newer charlm, update charlm"
        )


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; refuse duplicate keys, which readers understand differently."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands there twice")
    return result


def _reject_non_finite(word: str) -> float | None:
    """Return a number of a model's metadata; None for one that JSON does not have, such as `Infinity` or 1e999."""
    number = float(word)
    return number if isfinite(number) else None


_decode_untrusted = json.JSONDecoder(
    object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_non_finite, parse_float=_reject_non_finite
).decode
"""Decode a model's metadata. Made once: a header may have a million keys."""

_decode_own = json.JSONDecoder(object_pairs_hook=_reject_duplicate_keys).decode
"""Decode the metadata of charlm's internal files, which may have infinite numbers."""


def _parse_metadata(path: Path, file: Any, decode: Callable[[str], Any] = _decode_own) -> dict[str, Any]:
    encoded = file.metadata() or {}
    if "format" not in encoded or "config" not in encoded:
        raise CheckpointError(f"{path} is a safetensors file, but not one of charlm's; it names no format and config")
    try:
        metadata = {key: decode(value) for key, value in encoded.items()}
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
    vocabulary = _parse_vocabulary(path, _section(path, metadata, "symbols"))
    options = _parse_options(path, config)
    if config.get("unit") != vocabulary.unit:
        raise CheckpointError(f"{path}: config and symbols disagree about the unit; the file is damaged")
    expected = parameters.shapes(options, vocabulary.size)
    _check_tensors(path, file, expected)
    sections = {key: _section(path, metadata, key) for key in _SECTION_SCHEMAS}
    for key, section in sections.items():
        _check_section(path, key, section)
    return Header(
        path=path,
        format=metadata["format"],
        options=options,
        vocabulary=vocabulary,
        corpus=sections["corpus"],
        training=sections["training"],
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
"""Types of the values in a model's metadata; charlm shows them and computes with some."""


def _check_section(path: Path, key: str, section: dict[str, Any]) -> None:
    name = misfit(section, _SECTION_SCHEMAS[key])
    if name is not None:
        raise CheckpointError(
            f"{path}: {name} in {key!r} is {_brief(repr(section[name]))}, which it cannot be; the file is damaged"
        )


def _parse_vocabulary(path: Path, section: dict[str, Any]) -> Vocabulary:
    try:
        return Vocabulary.from_json(section)
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
        unresolved = [name for name in known_names if getattr(options, name) in (None, AUTO)]
        if unresolved:
            raise CheckpointError(f"{path}: the header leaves {unresolved[0]!r} open; the file is damaged")
        cells.of(options)
        parameters.check(options)
    except KeyError as error:
        raise CheckpointError(f"{path}: the header lacks {error.args[0]!r}; the file is damaged") from None
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return options


def _check_tensors(path: Path, file: Any, expected: dict[str, tuple[int, ...]]) -> None:
    names = set(file.keys())
    if names != set(expected):
        name = sorted(names ^ set(expected))[0]
        raise CheckpointError(
            f"{path}: tensor {_brief(name)} is {'missing' if name in expected else 'unexpected'}; the file is damaged"
        )
    for name, shape in expected.items():
        tensor = file.get_slice(name)
        if tensor.get_dtype() != "F32" or tuple(tensor.get_shape()) != shape:
            raise CheckpointError(
                f"{path}: {name} is {tensor.get_dtype()} {tuple(tensor.get_shape())}, its config needs F32 {shape}; "
                f"the file is damaged"
            )


def _brief(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
