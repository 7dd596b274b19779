"""The entry point: run a command, and turn every failure into one line and an exit code."""

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
    except (terminal.StdoutClosed, BrokenPipeError):
        terminal.discard_stdout()
        return 0
    except SystemExit as error:  # how typer ends if the reader of its help has left
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        terminal.discard_stdout()
        return 0
    except Interrupted as error:
        terminal.Terminal("--quiet" in arguments).say(str(error))
        return error.exit_code
    except CharlmError as error:
        return _report_failure(str(error), error.exit_code, arguments)
    except TyperException as error:
        return _report_failure(_usage_message(error, arguments), UsageError.exit_code, arguments)
    except (typer.Abort, KeyboardInterrupt):
        return Interrupted.exit_code
    except OSError as error:
        path = f" {error.filename}" if error.filename else ""
        return _report_failure(f"{error.strerror or error}{path}", 1, arguments)
    except Exception as error:
        if _out_of_memory(error):
            return _report_failure(
                "out of memory; choose smaller sizes, such as --hidden or --batch-size", 1, arguments
            )
        program = "charlm, or in the plugin" if PLUGIN_CELLS else "charlm"
        return _report_failure(
            f"{type(error).__name__}: {error}; this is a bug in {program}, --debug shows where", 1, arguments
        )


def _out_of_memory(error: Exception) -> bool:
    """Whether Python or torch ran out of memory."""
    phrases = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
    )


def _report_failure(message: str, code: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    terminal.error(message)
    return code


def _usage_message(error: TyperException, arguments: list[str]) -> str:
    """The parser's message as one line that names the help to read."""
    names = [name for name in (" ".join(arguments[:1]), " ".join(arguments[:2])) if name in _command_names()]
    command = f" {names[-1]}" if names else ""
    return f"{error.format_message().rstrip('.')}; see charlm{command} --help"


def _command_names() -> set[str]:
    """Names of all commands and groups, such as `train`, `inspect` and `inspect find`."""
    names = {str(command.name) for command in commands.app.registered_commands}
    for group in commands.app.registered_groups:
        name = str(group.typer_instance.info.name) if group.typer_instance else ""
        inner = group.typer_instance.registered_commands if group.typer_instance else []
        names |= {name, *(f"{name} {command.name}" for command in inner)}
    return names
