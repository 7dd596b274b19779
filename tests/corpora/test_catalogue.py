"""The catalogue: every entry is as its page says, and one that is not is refused with its name."""

from pathlib import Path

import pytest

from charlm.corpora import catalogue as module
from charlm.corpora import http
from charlm.corpora.catalogue import Entry, builtin_names, catalogue, entries_of, find_entry, read_catalogue
from charlm.errors import CharlmError, CorpusError, UsageError

pytestmark = pytest.mark.every_case
WHOLE = """[novel]
kind = "download"
description = "A novel."
address = "https://example.org/novel.txt"
bytes = 12
sha256 = "%s"
licence = "free"
""" % ("0a" * 32)


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.name)
def test_what_the_catalogue_says_of_an_entry(entry: Entry) -> None:
    assert entry.description.endswith(".") and entry.kind in ("builtin", "download", "elsewhere")
    if entry.kind == "builtin":
        assert entry.name in builtin_names() and entry.address is None
        return
    assert entry.address is not None and entry.address.startswith("https://") and entry.licence and entry.languages
    http.check_url(entry.address)
    if entry.kind == "download":
        assert entry.size and entry.scripts
        assert entry.verified == (entry.sha256 is not None) == (entry.bytes is not None)
        assert entry.unpacked is None or entry.unpacked > entry.size


def test_the_catalogue_has_texts_in_many_scripts() -> None:
    scripts = {script for entry in catalogue().values() for script in entry.scripts}
    assert {"Latin", "Cyrillic", "Greek", "Han", "Kana", "Arabic", "Devanagari"} <= scripts


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[novel]", "[No vel]", "cannot be used"),
        ("[novel]", "['../evil']", "is no name"),
        ("[novel]", "['.hidden']", "is no name"),
        ("[novel]", "['']", "is no name"),
        ("[novel]", "novel = 3", "novel is no table"),
        ("[novel]", "[[novel]]", "novel is no table"),
        ('kind = "download"', "", "has no kind"),
        ('description = "A novel."', "", "has no description"),
        ("bytes = 12", "", "needs bytes and sha256, or verified = false"),
        ("bytes = 12", "bytes = 0", "bytes = 0, which is no value for it"),
        ("bytes = 12", "bytes = -1", "no value"),
        ("bytes = 12", "bytes = true", "no value"),
        ("bytes = 12", "bytes = 1e3", "no value"),
        ("bytes = 12", "bytes = 12\nverified = false", "is not verified and has bytes"),
        ("bytes = 12", 'bytes = 12\nunpack = "rar"\nunpacked = 3', "unpack = 'rar'"),
        ("bytes = 12", 'bytes = 12\nunpack = "zip"', "needs unpack and unpacked"),
        ("bytes = 12", 'bytes = 12\nunpack = "gz"\nunpacked = 9\nmembers = ["*"]', "only a zip or a tar"),
        ("bytes = 12", 'bytes = 12\nmembers = "*"', "members = '\\*'"),
        ("bytes = 12", "bytes = 12\nname = 'other'", "name = 'other', which is not known"),
        ("bytes = 12", "bytes = 12\nscripts = [3]", "scripts"),
        ('"0a', '"0A', "sha256"),
        ('licence = "free"', "", "needs an address and a licence"),
        ('"download"', '"elsewhere"\nlicense = "x"', "license = 'x', which is not known"),
        ('"free"', '"fr\\u001bee"', "licence"),
        ('"free"', '""', "licence"),
        ("[novel]", "[novel", "cannot be used"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_with_its_name_and_what_is_wrong(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    path = tmp_path / "mine.toml"
    assert old in WHOLE
    path.write_text(WHOLE.replace(old, new))
    with pytest.raises(CorpusError, match=told) as caught:
        read_catalogue(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "large").write_bytes(b" " * (module.MAX_CATALOGUE_BYTES + 1))
    (tmp_path / "deep").write_text("x = " + "[" * 50_000)
    for name in ("latin", "large", "deep", "nothing", "."):
        with pytest.raises(CorpusError, match="cannot be used") as caught:
            read_catalogue(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_users_catalogue_takes_the_place_of_charlms(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(WHOLE)
    assert list(entries_of(str(path))) == ["novel"] and find_entry("novel", str(path)).bytes == 12
    assert entries_of(None) is catalogue()
    path.write_text(WHOLE + "[made]\nkind = 'builtin'\ndescription = 'Made on the spot.'\n")
    with pytest.raises(CorpusError, match="kind = 'builtin', and download or elsewhere is needed"):
        entries_of(str(path))
    path.write_text(WHOLE)
    with pytest.raises(UsageError, match="did you mean novel"):
        find_entry("novels", str(path))
    with pytest.raises(UsageError, match="is not in the catalogue; charlm corpora list"):
        find_entry("\x1b[2J" * 99)


def test_an_installation_without_its_catalogue_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.cache_clear()
    monkeypatch.setattr(module, "CATALOGUE_PATHS", (tmp_path / "none.toml", tmp_path / "broken.toml"))
    with pytest.raises(CharlmError, match="the installation is incomplete"):
        catalogue()
    (tmp_path / "broken.toml").write_text("[")
    with pytest.raises(CharlmError, match="install charlm again"):
        catalogue()
    catalogue.cache_clear()
