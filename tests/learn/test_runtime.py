"""The C library is told to keep freed memory, where it can be told so. What that gives is measured in docs/notes.md."""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.learn import runtime

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

    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: Library)
    threshold, trim = -3, -1
    for most in (runtime.LARGE_PAGE, runtime.MOST_KEPT):
        answers.clear()
        runtime.keep_memory(most)
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
    monkeypatch.setattr(runtime, "keep_memory", told.append)
    monkeypatch.setattr(runtime, "large_pages", lambda: offered)
    runtime.arrange_memory(cell, 256, characters, layers)
    assert told == [most]


@pytest.mark.parametrize("said", ["always madvise [never]\n", None])
def test_large_pages_are_not_asked_for_where_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    if said is not None:
        (tmp_path / "enabled").write_text(said, encoding="ascii")
    monkeypatch.setattr(runtime, "LARGE_PAGES", tmp_path / "enabled")
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    assert not runtime.large_pages()
    assert "THP_MEM_ALLOC_ENABLE" not in os.environ


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(runtime.ctypes, "CDLL", asked.append)
    monkeypatch.setattr(runtime.sys, "platform", platform)
    runtime.keep_memory()
    assert asked == []


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: asked.append(name) or object())
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    runtime.keep_memory()
    assert asked == [None]


@pytest.fixture
def as_torch_begins() -> Iterator[None]:
    """cuDNN may round the factors of float32 products."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    kept = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, before in zip(backends, kept, strict=True):
        backend.allow_tf32 = before


@pytest.mark.usefixtures("as_torch_begins")
def test_products_are_exact_from_when_a_device_was_looked_for_until_tf32_is_asked_for() -> None:
    def rounded() -> set[bool]:
        return {torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32}

    assert rounded() == {True}
    runtime.find_device("cpu")
    assert rounded() == {False}
    for precision, wanted in (("tf32", True), ("float32", False)):
        runtime.set_precision(precision, torch.device("cuda"))
        assert rounded() == {wanted}
