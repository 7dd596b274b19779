"""The C library is told to keep freed memory, where it can be told so. What that gives is measured in docs/notes.md."""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from charlm.runtime import malloc

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_glibc_takes_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[tuple[int, int, int]] = []
    real = ctypes.CDLL(None).mallopt

    class Library:
        @staticmethod
        def mallopt(what: int, value: int) -> int:
            answers.append((what, value, real(what, value)))
            return answers[-1][2]

    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: Library)
    threshold, trim = -3, -1
    for most in (malloc.HUGE_PAGE_BYTES, malloc.MAX_KEPT_BYTES):
        answers.clear()
        malloc.keep_freed_memory(most)
        assert answers == [(threshold, most, 1), (trim, -1, 1)]


@pytest.mark.parametrize(
    ("cell", "characters", "layers", "offered", "most"),
    [
        ("lstm", 4096, 2, True, 2 << 20),
        ("lstm", 4096, 2, False, 32 << 20),
        ("lstm", 4096, 1, True, 32 << 20),
        ("lstm", 4096, 0, True, 32 << 20),
        ("lstm", 4095, 3, True, 32 << 20),
        ("gru", 4096, 2, True, 32 << 20),
    ],
)
def test_what_has_large_pages_is_given_back_where_it_is_much(
    monkeypatch: pytest.MonkeyPatch, cell: str, characters: int, layers: int, offered: bool, most: int
) -> None:
    told: list[int] = []
    monkeypatch.setattr(malloc, "keep_freed_memory", told.append)
    monkeypatch.setattr(malloc, "use_huge_pages", lambda: offered)
    malloc.configure_malloc(cell, 256, characters, layers)
    assert told == [most]


@pytest.mark.parametrize("said", ["always madvise [never]\n", None])
def test_large_pages_are_not_asked_for_where_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    if said is not None:
        (tmp_path / "enabled").write_text(said, encoding="ascii")
    monkeypatch.setattr(malloc, "HUGE_PAGES_SETTING", tmp_path / "enabled")
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    assert not malloc.use_huge_pages()
    assert "THP_MEM_ALLOC_ENABLE" not in os.environ


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(malloc.ctypes, "CDLL", asked.append)
    monkeypatch.setattr(malloc.sys, "platform", platform)
    malloc.keep_freed_memory()
    assert asked == []


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: asked.append(name) or object())
    monkeypatch.setattr(malloc.sys, "platform", "linux")
    malloc.keep_freed_memory()
    assert asked == [None]
