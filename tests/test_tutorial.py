"""The commands of docs/tutorial.md work one after the other, and its pictures are there."""

import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from charlm.cli import main as entry

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "tutorial.md").read_text(encoding="utf-8")

_spec = importlib.util.spec_from_file_location("retell", DOCS / "retell.py")
assert _spec is not None and _spec.loader is not None
retell = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(retell)

COMMANDS = [command for block in retell.BLOCK.finditer(PAGE) for command in retell.commands(block[2])]
LESS = {"--steps": "8", "--hidden": "12", "--report-every": "4", "--sample-every": "4", "--chars": "600"}
"""What a test has no time for."""


def shortened(words: list[str]) -> list[str]:
    found = [LESS.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    if words[1] == "prepare" and "python-stdlib" in words:
        return ["charlm", "prepare", "code.py", "--name", "python-stdlib"]
    if words[1] == "inspect" and words[2] == "find":
        found += ["--chars", "4000", "--split", "train"]
    return found


@pytest.fixture
def lecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(retell.__file__), "code.py")
    (tmp_path / "pictures").mkdir()
    return tmp_path


def test_every_command_of_the_tutorial_works(lecture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) > 20
    unit = lecture / "unit"
    for command in COMMANDS:
        words = shlex.split(command.replace("$(cat unit)", unit.read_text() if unit.exists() else ""))
        if words[0] == "charlm":
            into = words[words.index(">") + 1] if ">" in words else None
            capfd.readouterr()
            assert entry.run(shortened(words[: words.index(">")] if into else words)[1:]) == 0, command
            if into:
                (lecture / into).write_text(capfd.readouterr().out)
        elif words[0] == "python":
            exec(compile(words[2].replace("128", LESS["--hidden"]), "tutorial", "exec"), {})
        else:
            subprocess.run(["/bin/sh", "-c", command], check=True)


def test_every_picture_is_there_and_made_by_a_command() -> None:
    shown = re.findall(r"\]\((pictures/[^)]+)\)", PAGE)
    made = re.findall(r"--svg (pictures/\S+)", PAGE) + [f"pictures/{n}.svg" for n in re.findall(r"picture=(\S+)", PAGE)]
    assert shown and sorted(shown) == sorted(made)
    assert all((DOCS / picture).stat().st_size > 1000 for picture in shown)


def test_the_contents_are_the_headings() -> None:
    listed = re.findall(r"^(\d+)\. \[(.+)\]\(#(.+)\)$", PAGE, re.MULTILINE)
    assert [f"{number}. {title}" for number, title, _ in listed] == re.findall(r"^## (\d.+)$", PAGE, re.MULTILINE)
    for number, title, anchor in listed:
        assert anchor == re.sub(r"[^\w -]", "", f"{number} {title}".lower()).replace(" ", "-")


def test_a_block_keeps_its_commands_and_what_is_asked_of_their_output(tmp_path: Path) -> None:
    page = "```console tail=1\n$ printf 'one\\ntwo\\n'\nold\n$ printf 'a\nb\n'\n```\n"
    block = retell.BLOCK.search(page)
    assert retell.commands(block[2]) == ["printf 'one\\ntwo\\n'", "printf 'a\nb\n'"]
    told = ["```console tail=1", "$ printf 'one\\ntwo\\n'", "...", "two", "$ printf 'a", "b", "'", "...", "b", "```"]
    assert retell.retold(block, tmp_path).splitlines() == told
    with pytest.raises(SystemExit, match="exit code 3"):
        retell.run("echo no; exit 3", tmp_path, colours=False)
