"""Options of preparing a corpus, and of texts known by name."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from charlm.errors import UsageError
from charlm.spec import Options, option

_synthetic = partial(option, panel="Synthetic sources")


@dataclass(frozen=True)
class PrepareOptions(Options):
    """How a text is prepared."""

    name: str | None = option(None, "text", "Name of the corpus. Default: the first source's name.")
    out: str = option("data", "text", "Folder in which the folder NAME is written.")
    unit: str = option(
        "char",
        "choice",
        "What one symbol is: a Unicode code point, a byte, or a word.",
        choices=("char", "byte", "word"),
    )
    words: int | None = option(
        None, "count", "Symbols that a table of words has at most. Default: 10k.", low=3, high=500_000
    )
    documents: str = option(
        "file", "choice", "What one document is: a whole file, or each line.", choices=("file", "line")
    )
    encoding: str = option("utf-8", "text", "Encoding of the text (characters only).")
    valid_fraction: float = option(0.05, "number", "Share of the text kept for validation.", low=0, below=1)
    test_fraction: float = option(0.05, "number", "Share of the text kept for the final test.", low=0, below=1)
    min_count: int = option(1, "integer", "Characters (or words) seen less often become the unknown symbol.", low=1)
    newlines: str = option(
        "keep", "choice", "Line ends: kept as they are, or CR LF and CR made LF.", choices=("keep", "lf")
    )
    size: int | None = _synthetic(None, "count", "Characters to draw from a synthetic source. Default: 2M.", low=1)
    seed: int | None = _synthetic(None, "integer", "Seed of a synthetic source. Default: 0.", low=0)
    delay: int | None = _synthetic(
        None, "integer", "Of copy: fillers between a string and its copy. Default: 20.", low=0, high=1_000_000
    )
    copied: int | None = _synthetic(None, "integer", "Of copy: letters of the string. Default: 5.", low=1, high=10_000)
    alphabet: int | None = _synthetic(
        None, "integer", "Of copy and hidden-markov: different letters. Default: 8.", low=2, high=26
    )
    counts: str | None = _synthetic(
        None, "choice", "Of anbn: how n is drawn. Default: uniform.", choices=("uniform", "geometric")
    )
    mean: int | None = _synthetic(None, "integer", "Of anbn: mean of n. Default: 10.", low=1, high=100_000)
    kinds: int | None = _synthetic(None, "integer", "Of brackets: kinds of brackets. Default: 3.", low=1, high=4)
    depth: int | None = _synthetic(
        None,
        "integer",
        "Of brackets: how many pairs may be open at a time; 0 = any number. Default: 0.",
        low=0,
        high=10_000,
    )
    states: int | None = _synthetic(None, "integer", "Of hidden-markov: hidden states. Default: 8.", low=1, high=32)
    stay: float | None = _synthetic(
        None, "number", "Of hidden-markov: least probability that a state goes on. Default: 0.9.", low=0, high=0.99
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.valid_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"--valid-fraction {self.valid_fraction:g} and --test-fraction {self.test_fraction:g} "
                f"leave nothing to train on; their sum must be below 1"
            )

    def synthetic_values(self) -> dict[str, Any]:
        """The options of the synthetic source that are set, by name."""
        return {name: value for name, value in self.values().items() if name in SYNTHETIC_OPTIONS}


SYNTHETIC_OPTIONS = (
    "size",
    "seed",
    "delay",
    "copied",
    "alphabet",
    "counts",
    "mean",
    "kinds",
    "depth",
    "states",
    "stay",
)
"""The options of a synthetic source (`charlm.synthetic`)."""


@dataclass(frozen=True)
class CatalogueOptions(Options):
    """Which texts are known by name, and where downloads are."""

    catalogue: str | None = option(None, "text", "A catalogue of your own, a TOML file. Default: the one of charlm.")
    out: str = option("corpora", "text", "Folder in which downloaded texts lie, each in a folder NAME.")


@dataclass(frozen=True)
class GetOptions(CatalogueOptions):
    """How a text is downloaded."""

    timeout: float = option(
        30, "duration", "How long to wait for an answer, or for the next bytes.", above=0, high=86400
    )
    retries: int = option(
        4, "integer", "How often to try again where that may help, after growing pauses.", low=0, high=1000
    )
