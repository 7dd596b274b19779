"""Memory that is freed stays with the process, where the C library can be told so."""

import ctypes
import os
import subprocess
import sys

import pytest

from charlm.learn import runtime

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")

FAULTS = """
import resource, sys, torch
from charlm.learn import runtime
if sys.argv[1] == "keep":
    runtime.keep_memory()
def window():
    buffers = [torch.ones(1 << 20) for _ in range(8)]
for _ in range(3):
    window()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    window()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_freed_memory_is_not_mapped_again() -> None:
    faults = {
        what: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, what],
                check=True,
                capture_output=True,
                text=True,
                env={**os.environ, "THP_MEM_ALLOC_ENABLE": "0", "OMP_NUM_THREADS": "1"},
            ).stdout
        )
        for what in ("keep", "give back")
    }
    assert faults["keep"] < 100 < faults["give back"]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: object) -> None:
        raise AssertionError("the C library was asked")

    monkeypatch.setattr(runtime.ctypes, "CDLL", refuse)
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    runtime.keep_memory()
