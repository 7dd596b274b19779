"""What the README and the docstrings promise is so."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from site_of_faults import catalogue_of, site, stay_here, text
from soaking import for_each
from texts import text_of

import charlm
from charlm.cli import main as entry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(path for path in (ROOT / "charlm").rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
ARCHITECTURE = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^- `(charlm/[^`]+\.py)`", ARCHITECTURE, re.MULTILINE)


def imports(path: Path) -> set[str]:
    """Modules of charlm that a file imports anywhere, as paths like those that the architecture page lists."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("charlm"):
            places = [node.module.replace(".", "/"), *(f"{node.module}.{a.name}".replace(".", "/") for a in node.names)]
            found |= {f"{place}.py" for place in places if (ROOT / f"{place}.py").exists()}
    return found


def test_the_reading_order_lists_every_module_once() -> None:
    assert sorted(LISTED) == [path.relative_to(ROOT).as_posix() for path in MODULES]


@for_each(LISTED)
def test_a_module_imports_only_from_above_it(module: str) -> None:
    above = set(LISTED[: LISTED.index(module)])
    assert imports(ROOT / module) <= above, "imports run down the list"


def test_cells_import_neither_numpy_nor_torch() -> None:
    for path in (ROOT / "charlm" / "cells").glob("*.py"):
        assert not re.search(r"^\s*(import|from) (numpy|torch)", path.read_text(), re.MULTILINE), path


def test_the_library_neither_prints_nor_exits() -> None:
    for path in MODULES:
        if "cli" not in path.parts and "show" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\bsys\.exit|\bprint\(|^\s*(import|from) (typer|rich)", text, re.MULTILINE), path


def test_no_pickle_anywhere() -> None:
    for path in (ROOT / "charlm").rglob("*.py"):
        assert not re.search(
            r"\bpickle\b|torch\.(load|save)\b", path.read_text(encoding="utf-8").replace("no pickle", "")
        ), path


def test_every_cell_names_its_paper() -> None:
    for path in (ROOT / "charlm" / "cells").glob("[!_]*.py"):
        document = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert re.search(r"\b(19|20)\d\d\b", document), path


def test_the_librarys_ten_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    Path("shakespeare.txt").write_text(text_of(20000) + "ROMEO: To be, or not to be", encoding="utf-8")
    exec(compile(code.group(1).replace("steps=300", "steps=3"), "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "best:" in out and "test:" in out and len(out) > 200


def test_the_commands_of_the_readme_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each line of the list of uses, on a small text, with the training cut short."""
    monkeypatch.chdir(tmp_path)
    for name in ("novel.txt", "names.txt", "other.txt"):
        Path(name).write_text(text_of(8000) + "ROMEO:", encoding="utf-8")
    stay_here(monkeypatch)
    section = README.split("## Using it")[1].split("Every option is")[0]
    shown = [re.split(r"\s{2,}", line.strip())[0] for line in section.splitlines() if line.startswith("    charlm")]
    lines = [part for line in shown for part in line.split(", ")]
    assert len(lines) > 10
    with site(text(b"Bach\nHaydn\n")) as server:
        Path("near.toml").write_text(catalogue_of(server.address("/names-by-language.txt")), encoding="utf-8")
        for line in lines:
            assert entry.run(_cut_short(shlex.split(line)[1:])) == 0, (line, capfd.readouterr().err)


def _cut_short(words: list[str]) -> list[str]:
    """The same command, tiny: on the text of the test, and trained for a few steps."""
    words = [{"RUN": "first", "MODEL": "first", "10m": "1s", "0:17": "0:7", "0:17=0.9": "0:7=0.9"}.get(word, word)
             for word in words]  # fmt: skip
    batch = ["--batch-size", "4", "--seq-len", "16", "--threads", "1"]
    if words[0] == "sample":
        return [*words, "--length", "50"]
    if words[:2] == ["inspect", "find"]:
        return [*words, "--split", "train"]
    if words[:2] == ["corpora", "get"]:
        return [*words, "--catalogue", "near.toml"]
    if words[:2] in (["prepare", "markov"], ["prepare", "copy"]):
        return [*words, "--size", "5k"]
    if words[:2] == ["train", "--resume"]:
        return [*words, "--steps", "4"]
    if words[0] == "train":
        name = ["--run", "first"] if words == ["train"] else []
        hidden = [] if "--init-from" in words else ["--hidden", "8"]
        steps = [] if "--time" in words else ["--steps", "3"]
        return ["train", "novel", *words[1:], *batch, *name, *hidden, *steps]
    return words


def test_public_names_are_those_listed_and_cost_nothing_before() -> None:
    for name in charlm.__all__:
        assert getattr(charlm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        charlm.nothing  # noqa: B018


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_advice_to_install_names_what_the_project_needs() -> None:
    """A package of an extra, or the extras of a checkout; never the name of the command, which is another project's."""
    extras = PROJECT["optional-dependencies"]
    packages = {re.split(r"[<>=~\[ ]", each)[0] for each in [*PROJECT["dependencies"], *sum(extras.values(), [])]}
    pages = [path for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md") if path.name != "notes.md"]
    advice = [
        line
        for path in (*MODULES, *pages)
        for line in re.findall(r"pip install (?:--upgrade )?\"?([^`'\"\n]+)", path.read_text(encoding="utf-8"))
    ]
    assert len(advice) > 6
    for line in advice:
        target = line.split(" ")[0]
        named = re.fullmatch(r"\.(?:\[(.*)\])?", target)
        if named is None:
            assert target in packages, line
        else:
            assert set((named[1] or "plots").split(",")) <= extras.keys(), line
