"""Runs the commands of docs/tutorial.md and puts what they say in place of what they said: `make tutorial`.

A block that begins with ```console holds commands, each after `$ `, and their output, which is what is replaced.
The words after `console` say what is kept of it:

    tail=N        the last N lines
    head=N        the first N lines
    picture=NAME  nothing: the whole screen, with its colours, becomes pictures/NAME.svg

    python docs/retell.py --in FOLDER     works there, and leaves what was made
    python docs/retell.py --only WORD     only what is below a heading with that word

What is left out: the prose, which stands in the page itself.
"""

import argparse
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PAGE = Path(__file__).with_name("tutorial.md")
PICTURES = Path(__file__).with_name("pictures")
COLUMNS = 100
BLOCK = re.compile(r"^```console([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Tell the whole page again, or some of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in", dest="folder", type=Path, help="where to run; the default is made and removed")
    parser.add_argument("--only", default="", help="a word of the headings whose blocks are run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as elsewhere:
        folder = (asked.folder or Path(elsewhere)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        PICTURES.mkdir(exist_ok=True)
        if not (folder / "pictures").exists():
            (folder / "pictures").symlink_to(PICTURES)
        parts = re.split(r"(?m)^(?=## )", PAGE.read_text(encoding="utf-8"))
        for number, part in enumerate(parts):
            if asked.only.lower() in part.partition("\n")[0].lower():
                parts[number] = BLOCK.sub(lambda block: retold(block, folder), part)
                PAGE.write_text("".join(parts), encoding="utf-8")  # at once: a later command may fail


def retold(block: re.Match[str], folder: Path) -> str:
    """One block with its commands' output of today."""
    wanted = dict(word.split("=") for word in block[1].split())
    told = []
    for command in commands(block[2]):
        print(f"$ {command}", flush=True)
        screen = run(command, folder, colours="picture" in wanted)
        if "picture" in wanted:
            draw(screen, wanted["picture"])
        told += [f"$ {command}", *([] if "picture" in wanted else kept(plain(screen), wanted))]
    return f"```console{block[1]}\n" + "\n".join(told) + "\n```"


def commands(block: str) -> list[str]:
    r"""The commands of a block; one goes on while its line ends with a `\` or a quotation is open."""
    found: list[str] = []
    going_on = False
    for line in block.splitlines():
        if going_on:
            found[-1] += "\n" + line
        elif line.startswith("$ "):
            found.append(line[2:])
        else:
            continue  # output
        going_on = _open(found[-1])
    return found


def _open(command: str) -> bool:
    return command.endswith("\\") or command.count("'") % 2 == 1


def run(command: str, folder: Path, colours: bool) -> str:
    """What a command shows on a terminal (`colours`), or in a pipe; one that fails ends everything."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": str(COLUMNS), "LINES": "40", "TERM": "xterm-256color"}
    if not colours:
        environment["NO_COLOR"] = "1"
    screen, inner = pty.openpty() if colours else os.pipe()
    with subprocess.Popen(
        ["/bin/sh", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=inner, stderr=inner
    ) as process:
        os.close(inner)
        shown = b"".join(iter(lambda: _piece(screen), b""))
    os.close(screen)
    text = shown.decode("utf-8", "replace")
    if process.returncode:
        raise SystemExit(f"{text}\n`{command}` ended with exit code {process.returncode}")
    return text


def _piece(screen: int) -> bytes:
    try:
        return os.read(screen, 1 << 16)
    except OSError:  # the other end of a terminal was closed
        return b""


def plain(screen: str) -> list[str]:
    """Lines without colours and without trailing blanks."""
    return [line.rstrip() for line in Text.from_ansi(screen).plain.splitlines()]


def kept(lines: list[str], wanted: dict[str, str]) -> list[str]:
    """What of the lines the page shows."""
    if "tail" in wanted and len(lines) > int(wanted["tail"]):
        return ["...", *lines[-int(wanted["tail"]) :]]
    if "head" in wanted and len(lines) > int(wanted["head"]):
        return [*lines[: int(wanted["head"])], "..."]
    return lines


def draw(screen: str, name: str) -> None:
    """A picture of a terminal's screen."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(screen.replace("\r\n", "\n")))
    text = console.export_svg(title="charlm", unique_id=name)
    (PICTURES / f"{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
