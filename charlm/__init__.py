"""charlm: character language models with recurrent networks, as commands and as a library."""

__version__ = "0.1.0"
