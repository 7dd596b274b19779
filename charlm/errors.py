"""All expected failures, as one tree of exceptions.

    CharlmError             exit 1   a failure while running: a full disk, an unreadable file
    ├── UsageError          exit 2   an option that is unknown, out of range, or contradicts another
    ├── InputError          exit 2   an input cannot be used
    │   ├── CorpusError              a text, a prepared corpus, a catalogue entry
    │   ├── SymbolError              a character that the model's vocabulary does not have
    │   ├── CheckpointError          a file that is not a model, is damaged, or is from a newer charlm
    │   ├── PackedError              a compressed file that is damaged, of another model or of another arithmetic
    │   └── RunError                 a run that is missing, finished, or in the way
    ├── FetchError          exit 1   a download that failed, or differs from what the server announced
    ├── DivergedError       exit 3   the loss or its gradient stopped being a finite number
    └── Interrupted         exit 130 SIGINT, SIGTERM or SIGHUP, after saving what can be resumed

A message is one line: what is wrong, what was found, what was needed, and what to do next.
The library raises these and never prints or exits; the command line turns them into `error: ...`.
"""


class CharlmError(Exception):
    """Base of all expected failures."""

    exit_code = 1


class UsageError(CharlmError):
    """An option or argument is wrong, whatever the input."""

    exit_code = 2


class InputError(CharlmError):
    """A file, text or model cannot be used."""

    exit_code = 2


class CorpusError(InputError):
    """A text or a prepared corpus cannot be used."""


class SymbolError(InputError):
    """A character is not in the vocabulary of the model."""


class CheckpointError(InputError):
    """A file is not a model that this version can read."""


class PackedError(InputError):
    """A compressed file cannot be decompressed, or not on this machine."""


class RunError(InputError):
    """A training run cannot be found, created or resumed."""


class FetchError(CharlmError):
    """A download failed, or differs from what the server announced."""


class DivergedError(CharlmError):
    """A loss or gradient is not finite."""

    exit_code = 3


class Interrupted(CharlmError):
    """The user stopped the program, after it saved what can be resumed."""

    exit_code = 130
