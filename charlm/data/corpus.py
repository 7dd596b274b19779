"""A prepared corpus: a folder with the ids of a text, and how to find it.

    corpus.json                        what the text is and how it was made into ids
    train.bin  valid.bin  test.bin     ids, little endian, in the smallest unsigned type for V

The corpus is one stream of symbols: each document's characters and then a boundary symbol. The splits are
contiguous parts of it; if lines are documents, none is cut in two. Every split file begins with one more
boundary, which is input only: a file of n + 1 ids has n symbols to predict. A split of fraction 0 has no file.
What is left out: making one (`charlm.data.prepare`).
"""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.config import PrepareOptions
from charlm.errors import CheckpointError, CorpusError, UsageError
from charlm.files import present
from charlm.schema import Schema, check, is_amount, is_count, is_int, is_list, is_number, is_object, is_text
from charlm.tokenizers.vocabulary import Vocabulary

FORMAT = 1
SPLITS = ("train", "valid", "test")
INFO = "corpus.json"

MAX_INFO_BYTES = 32_000_000
"""Bytes that `corpus.json` may have: more than a vocabulary of all of Unicode needs."""

CHECK_SYMBOLS = 1 << 22
"""Ids that are checked together."""


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus. Its splits are mapped from the disk on demand.

    Args:
        path: its folder.
        info: the content of `corpus.json`.
        vocabulary: made of the whole corpus.
        options: how it was prepared.
    """

    path: Path
    info: dict[str, Any]
    vocabulary: Vocabulary
    options: PrepareOptions

    @classmethod
    def load(cls, path: str | Path) -> "Corpus":
        """Open the corpus in folder `path`.

        Raises:
            CorpusError: there is none, it is damaged, or it was made by a newer charlm.
        """
        path = Path(path)
        info = _read_info(path)
        try:
            corpus = cls(path, info, Vocabulary.from_json(info["symbols"]), PrepareOptions.of(info["options"]))
            _check_types(info)
            sizes = {split: (corpus._count(split) + 1) * corpus.vocabulary.dtype.itemsize for split in info["splits"]}
        except KeyError as error:
            raise _damaged(path / INFO, f"it has no {error}") from None
        except (CheckpointError, UsageError, TypeError, AttributeError) as error:
            raise _damaged(path / INFO, str(error)) from None
        for split, size in sizes.items():
            _check_size(corpus.file(split), size)
        return corpus

    @property
    def name(self) -> str:
        """The corpus' name."""
        return str(self.info["name"])

    @property
    def sha256(self) -> str:
        """SHA-256 of the raw, unpacked bytes of all documents in order, in hexadecimal."""
        return str(self.info["sha256"])

    @property
    def characters(self) -> int:
        """Characters (or bytes) of the whole text, unknown ones counted, document ends not."""
        return int(self.info["characters"])

    @property
    def bytes(self) -> int:
        """Raw, unpacked bytes of the whole text, as they were read."""
        return int(self.info["bytes"])

    @property
    def distinct(self) -> int:
        """Distinct characters of the text, those of the unknown symbol counted too."""
        return int(self.info["distinct"])

    @property
    def documents(self) -> int:
        """Documents that have at least one character."""
        return int(self.info["documents"])

    @property
    def entropy_bits_per_char(self) -> float | None:
        """Entropy of the source of the text, if it is known."""
        return self.info.get("entropy_bits_per_char")

    @property
    def entropy_error(self) -> float | None:
        """The standard error of that entropy in bits per character, if it is an estimate."""
        return self.info.get("entropy_error_bits_per_char")

    @property
    def origin(self) -> list[str]:
        """Absolute paths and built-in names that the text was read from."""
        return list(self.info["origin"])

    def identity(self) -> dict[str, Any]:
        """What a model file records of its training text.

        That is its name, SHA-256 and preparation options, the number of documents that end within the train split, and
        the entropy if it is known.
        """
        recipe = {name: value for name, value in self.options.values().items() if name not in ("name", "out")}
        identity: dict[str, Any] = {"name": self.name, "sha256": self.sha256, "options": recipe}
        identity["documents"] = self.documents_of("train")
        if self.entropy_bits_per_char is not None:
            identity["entropy_bits_per_char"] = self.entropy_bits_per_char
        return identity

    def has(self, split: str) -> bool:
        """Whether the corpus has this split."""
        return split in self.info["splits"]

    def file(self, split: str) -> Path:
        """The file of a split's ids."""
        return self.path / f"{split}.bin"

    def split(self, name: str) -> np.ndarray:
        """The ids (n + 1,) of a split, its leading boundary included, mapped read-only.

        Raises:
            CorpusError: the corpus has no such split, or its file is gone.
        """
        self._split_info(name)
        try:
            return np.memmap(self.file(name), dtype=self.vocabulary.dtype.newbyteorder("<"), mode="r")
        except (OSError, ValueError) as error:
            raise _damaged(self.file(name), str(error)) from error

    def checked(self, name: str) -> np.ndarray:
        """The ids of a split, after all of them were checked against the vocabulary.

        Code that reads little of a split, or reads it once, checks what it reads instead (`charlm.data.batches`).

        Raises:
            CorpusError: as in `split`, or an id is outside the vocabulary.
        """
        ids = self.split(name)
        if self.vocabulary.size <= np.iinfo(ids.dtype).max:
            for first in range(0, len(ids), CHECK_SYMBOLS):
                check_ids(ids[first : first + CHECK_SYMBOLS], self.vocabulary.size)
        return ids

    def _split_info(self, name: str) -> dict[str, Any]:
        """The entry of a split in `corpus.json`."""
        if not self.has(name):
            remedy = f", or prepare it again with another --{name}-fraction" if name in ("valid", "test") else ""
            raise CorpusError(
                f"{self.path} has no {name} split, only {' and '.join(self.info['splits'])}; choose one of them{remedy}"
            )
        split: dict[str, Any] = self.info["splits"][name]
        return split

    def documents_of(self, split: str) -> int:
        """Documents that end within a split."""
        return int(self._split_info(split)["documents"])

    def bytes_of(self, split: str) -> int:
        """Bytes of a split's text in UTF-8 (byte unit: as it is); the end of a line document counts as one."""
        return int(self._split_info(split)["bytes"])

    def characters_of(self, split: str) -> int:
        """Characters (or bytes) of a split, unknown ones counted, document ends not."""
        return int(self._split_info(split)["characters"])

    def escape_bits_of(self, split: str) -> float:
        """Bits that writing out a split's unknown symbols takes (`charlm.tokenizers.escape`)."""
        return float(self._split_info(split).get("spelling", 0.0))

    def _count(self, split: str) -> int:
        count = self.info["splits"][split]["symbols"]
        if not is_count(count) or count < 1:
            raise TypeError(f"the {split} split has {count!r} symbols")
        return int(count)


def is_name(name: str) -> bool:
    """Whether a corpus may have this name: printable, and a folder name that cannot lead out of its parent."""
    return bool(name) and name.isprintable() and not name.startswith(".") and "/" not in name and "\\" not in name


def check_ids(ids: np.ndarray, vocab_size: int) -> None:
    """Refuse ids outside the vocabulary.

    Raises:
        CorpusError: the largest id is above V - 1; a file of the corpus was damaged or exchanged.
    """
    largest = int(ids.max())
    if largest >= vocab_size:
        raise CorpusError(
            f"the corpus is damaged: its text has the id {largest}, and its table only {vocab_size} symbols; "
            f"prepare it again with --force"
        )


def find_corpus(word: str | Path | None, root: Path = Path("data")) -> Path:
    """Find the folder of a corpus: `word` itself, a name below `root`, or the most recently prepared one there.

    Raises:
        CorpusError: there is none; the existing names are listed.
    """
    known = {path.parent.name: path for path in root.glob(f"*/{INFO}") if not path.parent.name.startswith(".")}
    if word is None:
        if not known:
            raise CorpusError(f"there is no prepared corpus below {root}; make one first: charlm prepare FILE")
        return max(known.values(), key=lambda path: path.stat().st_mtime_ns).parent
    for path in (Path(word), root / word):
        if present(path / INFO):
            return path
    near = difflib.get_close_matches(str(word), known, n=1)
    names = ", ".join(sorted(known)) or "none"
    raise CorpusError(
        f"{str(word)!r} is not a prepared corpus{f', did you mean {near[0]}?' if near else ''}; "
        f"below {root} there are: {names}; make one first: charlm prepare FILE"
    )


def _read_info(path: Path) -> dict[str, Any]:
    try:
        if (path / INFO).stat().st_size > MAX_INFO_BYTES:
            raise ValueError(f"it has more than {MAX_INFO_BYTES:,} bytes")
        info = json.loads((path / INFO).read_text(encoding="utf-8"))
    except NotADirectoryError:
        raise CorpusError(f"{path} is a file, and a prepared corpus is a folder; give that") from None
    except FileNotFoundError:
        raise CorpusError(f"{path} is not a prepared corpus: it has no {INFO}; make one: charlm prepare FILE") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path / INFO, str(error)) from None
    if not isinstance(info, dict) or type(info.get("format")) is not int:
        raise _damaged(path / INFO, "it has no format number")
    if info["format"] > FORMAT:
        raise CorpusError(
            f"{path} has format {info['format']}, and this charlm reads up to {FORMAT}; "
            f"update charlm, or prepare it again with --force"
        )
    return info


def _check_types(info: dict[str, Any]) -> None:
    check(info, _SCHEMA)
    if not is_name(info["name"]):
        raise TypeError(f"name is {info['name']!r:.40}, which is no folder's name")
    if not info["splits"] or not set(info["splits"]) <= set(SPLITS):
        raise TypeError(f"its splits are {', '.join(info['splits']) or 'none'}")
    check(info, _ENTROPY_SCHEMA, optional=True)
    for split in info["splits"].values():
        check(split, _SPLIT_SCHEMA)
        check(split, {"spelling": is_amount}, optional=True)  # an older charlm did not write it


_SCHEMA: Schema = {
    "name": is_text, "characters": is_int, "bytes": is_int, "distinct": is_int, "documents": is_int, "unit": is_text,
    "sha256": is_text, "fingerprint": is_text, "splits": is_object, "options": is_object, "origin": is_list,
}  # fmt: skip
_ENTROPY_SCHEMA: Schema = {
    "entropy_bounds_bits_per_char": lambda value: is_list(value) and len(value) == 2 and all(map(is_number, value)),
    "entropy_bits_per_char": is_number, "entropy_error_bits_per_char": is_number,
}  # fmt: skip
_SPLIT_SCHEMA: Schema = {"bytes": is_count, "characters": is_count, "documents": is_count}


def _check_size(file: Path, needed: int) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise _damaged(file, error.strerror or str(error)) from None
    if size != needed:
        raise _damaged(file, f"it has {size} bytes where {INFO} says {needed}")


def _damaged(file: Path, reason: str) -> CorpusError:
    brief = " ".join(reason.split())
    brief = brief if len(brief) <= 200 else f"{brief[:197]}..."
    return CorpusError(f"{file} is damaged: {brief}; prepare the corpus again with --force")
