"""charlm: character language models with recurrent networks, as commands and as a library.

Importing this costs nothing; each name below loads what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from charlm.version import __version__ as __version__

if TYPE_CHECKING:
    from charlm.cells._plugin import plugin as plugin
    from charlm.compression.compress import compress as compress
    from charlm.compression.compress import decompress as decompress
    from charlm.corpora.download import download as download
    from charlm.data.corpus import Corpus as Corpus
    from charlm.data.prepare import prepare as prepare
    from charlm.errors import CharlmError as CharlmError
    from charlm.evaluation.cloze import fill as fill
    from charlm.evaluation.compare import compare as compare
    from charlm.evaluation.evaluate import evaluate as evaluate
    from charlm.evaluation.evaluate import score_text as score_text
    from charlm.evaluation.novelty import novelty as novelty
    from charlm.evaluation.score_lines import score_lines as score_lines
    from charlm.model.checkpoint import Model as Model
    from charlm.model.checkpoint import load as load
    from charlm.sampling.sample import samples as samples
    from charlm.sampling.sample import stream as stream
    from charlm.training.resume import resume as resume
    from charlm.training.train import plan as plan
    from charlm.training.train import train as train

_HOME = {
    "CharlmError": "charlm.errors",
    "Corpus": "charlm.data.corpus",
    "Model": "charlm.model.checkpoint",
    "compare": "charlm.evaluation.compare",
    "compress": "charlm.compression.compress",
    "decompress": "charlm.compression.compress",
    "download": "charlm.corpora.download",
    "evaluate": "charlm.evaluation.evaluate",
    "fill": "charlm.evaluation.cloze",
    "load": "charlm.model.checkpoint",
    "novelty": "charlm.evaluation.novelty",
    "plan": "charlm.training.train",
    "plugin": "charlm.cells._plugin",
    "prepare": "charlm.data.prepare",
    "resume": "charlm.training.resume",
    "samples": "charlm.sampling.sample",
    "score_lines": "charlm.evaluation.score_lines",
    "score_text": "charlm.evaluation.evaluate",
    "stream": "charlm.sampling.sample",
    "train": "charlm.training.train",
}
"""Where each public name lives."""

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'charlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
