"""The entry point: runs the command, and turns whatever ends it into a line and an exit code."""

import sys
import time
import traceback
from typing import Any

import typer
from typer.exceptions import TyperException

from charlm.cli import commands, train
from charlm.cli.signals import stop
from charlm.config import PLUGIN_CELLS
from charlm.errors import CharlmError, Interrupted, UsageError
from charlm.show import terminal

STARTED = time.perf_counter()
"""When the program began, from which `charlm train --time` counts."""


def main() -> None:
    """Run `charlm`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage or input, 3 diverged, 130 interrupted.
    """
    terminal.prepare_streams()
    stop.install()
    train.started = STARTED
    try:
        code: Any = commands.app(arguments, prog_name="charlm", standalone_mode=False)
        with terminal.to_stdout():
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (terminal.NobodyReads, BrokenPipeError):
        terminal.leave_quietly()
        return 0
    except SystemExit as error:  # typer's own way to end where nobody reads its help
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        terminal.leave_quietly()
        return 0
    except Interrupted as error:
        terminal.Terminal("--quiet" in arguments).say(str(error))
        return error.exit_code
    except CharlmError as error:
        return _failed(str(error), error.exit_code, arguments)
    except TyperException as error:
        return _failed(_usage(error, arguments), UsageError.exit_code, arguments)
    except (typer.Abort, KeyboardInterrupt):
        return Interrupted.exit_code
    except OSError as error:
        path = f" {error.filename}" if error.filename else ""
        return _failed(f"{error.strerror or error}{path}", 1, arguments)
    except Exception as error:
        if _out_of_memory(error):
            return _failed("out of memory; choose smaller sizes, such as --hidden or --batch-size", 1, arguments)
        whose = "charlm, or in the plugin" if PLUGIN_CELLS else "charlm"
        return _failed(f"{type(error).__name__}: {error}; this is a bug in {whose}, --debug shows where", 1, arguments)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, in Python's way or in one of torch's."""
    phrases = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in phrases)
    )


def _failed(message: str, code: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    terminal.error(message)
    return code


def _usage(error: TyperException, arguments: list[str]) -> str:
    """The parser's complaint as one line that ends with what to do."""
    words = [word for word in (arguments[:1], arguments[:2]) if " ".join(word) in _known()]
    command = f" {' '.join(words[-1])}" if words else ""
    return f"{error.format_message().rstrip('.')}; see charlm{command} --help"


def _known() -> set[str]:
    """Every command, and every command within another."""
    names = {str(command.name) for command in commands.app.registered_commands}
    for group in commands.app.registered_groups:
        name = str(group.typer_instance.info.name) if group.typer_instance else ""
        inner = group.typer_instance.registered_commands if group.typer_instance else []
        names |= {name, *(f"{name} {command.name}" for command in inner)}
    return names
