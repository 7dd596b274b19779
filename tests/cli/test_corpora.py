"""`charlm corpora`, from the list to a prepared corpus, and what other commands say of a text that is not there."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_of_faults import Site, site, status, stay_here, text
from texts import text_of

from charlm.cli import main as entry
from charlm.corpora.catalogue import catalogue
from charlm.data.prepare import open_or_prepare

NOVEL = text_of(3000).encode()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    stay_here(monkeypatch)
    with site(text(NOVEL)) as made:
        rows = ["[novel]", 'kind = "download"', 'description = "A novel."', 'licence = "free\\u202e"', "about = 3000",
                "verified = false", f'address = "{made.address()}"', 'languages = ["English"]']  # fmt: skip
        Path("mine.toml").write_text("\n".join(rows).replace("\\u202e", ""))
        yield made


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = entry.run(list(words))
    return code, *capsys.readouterr()


def test_a_text_is_listed_got_prepared_and_read(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    mine = ["--catalogue", "mine.toml"]
    assert run(capsys, "corpora", "list", *mine)[1] == "novel\t~3 kB\tEnglish\t\tfree\tnot yet\n"
    code, out, err = run(capsys, "corpora", "get", "novel", *mine)
    assert (code, out) == (0, "corpora/novel\n") and "nobody told its SHA-256 before" in err
    assert run(capsys, "corpora", "list", *mine)[1].endswith("\tdownloaded\n")
    assert run(capsys, "corpora", "get", "novel", *mine)[2] == "novel is here already; --force fetches it again\n"
    assert len(server.requests) == 1
    code, out, err = run(capsys, "prepare", "novel")
    assert (code, out) == (0, "data/novel\n") and "novel is the downloaded text in corpora/novel" in err
    info = json.loads(Path("data/novel/corpus.json").read_text())
    assert (info["characters"], info["documents"], info["name"]) == (3000, 1, "novel")
    assert info["origin"] == [str(Path("corpora/novel").absolute())]
    Path("novel").write_text("a file of that name\n" * 9)
    run(capsys, "prepare", "novel", "--name", "file")
    assert json.loads(Path("data/file/corpus.json").read_text())["characters"] == 180


def test_training_takes_a_downloaded_text_by_its_name(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "corpora", "get", "novel", "--catalogue", "mine.toml")
    assert open_or_prepare("novel").characters == 3000
    assert open_or_prepare("novel").path == Path("data/novel")


@pytest.mark.parametrize("command", ["prepare", "train"])
def test_a_known_text_that_is_not_here_is_never_fetched_unasked(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", lambda *words: pytest.fail("the network was asked"))
    code, out, err = run(capsys, command, "shakespeare")
    assert (code, out) == (2, "") and "download it first: charlm corpora get shakespeare (public domain)" in err
    assert "ldc.upenn.edu" in run(capsys, command, "penn-treebank")[2]
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_charlm_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in run(capsys, "corpora", "list", "--json")[1].splitlines()]
    assert [row["name"] for row in rows] == list(catalogue())
    states = {row["name"]: row["state"] for row in rows}
    assert (states["markov"], states["text8"], states["penn-treebank"]) == ("built in", "not yet", "elsewhere")
    lines = run(capsys, "corpora", "list")[1].splitlines()
    assert all(line.count("\t") == 5 for line in lines) and len(lines) == len(rows)
    assert "\n" not in run(capsys, "corpora", "list", "--catalogue", "none.toml")[2].strip()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(capsys, "corpora", "list")[1]
    assert "\t" not in shown and all(len(line) <= 80 for line in shown.splitlines())
    for name, found in states.items():
        assert any(line.startswith(f" {name} ") and line.rstrip().endswith(found) for line in shown.splitlines())


def test_failures_are_one_line_with_their_exit_code(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [status(404)]
    for words, code, told in (
        (["novel", "--catalogue", "mine.toml"], 1, "answers 404"),
        (["novels", "--catalogue", "mine.toml"], 2, "did you mean novel"),
        (["novel", "--catalogue", "none.toml"], 2, "the catalogue none.toml cannot be used"),
        (["novel", "--catalogue", "mine.toml", "--timeout", "0"], 2, "--timeout must be"),
        (["novel", "--catalogue", "mine.toml", "--retries", "-1"], 2, "--retries must be"),
        (["novel", "--catalogue", "mine.toml", "--out", "mine.toml"], 2, "--out mine.toml is no folder"),
    ):
        found, out, err = run(capsys, "corpora", "get", *words)
        assert (found, out) == (code, "") and err.startswith("error: ") and told in err and err.count("\n") == 1


def test_nothing_is_fetched_where_one_of_the_names_is_wrong(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "corpora", "get", "novel", "novels", "--catalogue", "mine.toml")
    assert (code, out) == (2, "") and "did you mean novel" in err
    assert server.requests == [] and not Path("corpora").exists()


def test_several_texts_and_a_folder_of_ones_own(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    more = Path("mine.toml").read_text()
    Path("mine.toml").write_text(more + "\n" + more.replace("[novel]", "[sequel]"))
    code, out, _ = run(capsys, "corpora", "get", "novel", "sequel", "--catalogue", "mine.toml", "--out", "shelf")
    assert (code, out) == (0, "shelf/novel\nshelf/sequel\n")
    assert run(capsys, "prepare", "shelf/sequel")[1] == "data/sequel\n"
    listed = run(capsys, "corpora", "list", "--catalogue", "mine.toml", "--out", "shelf")[1]
    assert listed.count("downloaded") == 2
