"""The built-in corpus that is read, and the catalogue."""

import sysconfig

import pytest

from charlm import synthetic
from charlm.corpora import builtin
from charlm.corpora.builtin import stdlib_files
from charlm.corpora.catalogue import builtin_names
from charlm.errors import CorpusError


def test_the_standard_library_comes_without_tests_and_installed_packages():
    named = stdlib_files()
    names = [name for name, _ in named]
    assert names == sorted(names) and {"ast.py", "json/decoder.py"} <= set(names)
    assert all(path.read_bytes().decode() is not None for _, path in named[:50])
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    assert not any(folder.startswith("config-") for folder in folders)


def test_a_python_without_its_sources_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match="installed here without its sources"):
        stdlib_files()
    (tmp_path / "bad.py").write_bytes(b"\xff")
    (tmp_path / "good.py").write_bytes(b"pass")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_good.py").write_bytes(b"pass")
    assert [name for name, _ in builtin.stdlib_files()] == ["good.py"]


def test_the_catalogue_names_what_is_built_in():
    assert builtin_names()[0] == "python-stdlib" and sorted(builtin_names()[1:]) == list(synthetic.names())
