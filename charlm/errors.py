"""Every expected failure, as one tree.

    CharlmError             exit 1   it failed while running: a full disk, an unreadable file
    ├── UsageError          exit 2   an option that is unknown, out of range, or contradicts another
    ├── InputError          exit 2   what was given cannot be used
    │   ├── CorpusError              a text, a prepared corpus, a catalogue entry
    │   ├── SymbolError              a character that the model's symbol table does not have
    │   ├── CheckpointError          a file that is not a model, is damaged, or is from a newer charlm
    │   ├── PackedError              a compressed file that is damaged, of another model or of another arithmetic
    │   └── RunError                 a run that is missing, finished, or in the way
    ├── FetchError          exit 1   a download that did not come, or is not what was announced
    ├── DivergedError       exit 3   the loss or its gradient stopped being a finite number
    └── Interrupted         exit 130 SIGINT or SIGTERM, after saving what can be resumed

The message is one line that names the thing, what was found, what was needed and what to do next.
The library raises these and never prints or exits; the command line turns them into `error: ...`.
"""


class CharlmError(Exception):
    """Root of the tree: the command could not be carried out."""

    exit_code = 1


class UsageError(CharlmError):
    """An option or argument is wrong in itself, whatever the input."""

    exit_code = 2


class InputError(CharlmError):
    """A file, text or model that was given cannot be used."""

    exit_code = 2


class CorpusError(InputError):
    """A text or a prepared corpus cannot be used."""


class SymbolError(InputError):
    """A character is not among the symbols of the model."""


class CheckpointError(InputError):
    """A file is not a model that this version can read."""


class PackedError(InputError):
    """A compressed file cannot be decompressed, or not here."""


class RunError(InputError):
    """A training run cannot be found, made or resumed."""


class FetchError(CharlmError):
    """A download did not come, or is not what was announced."""


class DivergedError(CharlmError):
    """Training met a loss or gradient that is not a finite number."""

    exit_code = 3


class Interrupted(CharlmError):
    """The user stopped the program; what can be resumed was saved first."""

    exit_code = 130
