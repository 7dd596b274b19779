"""Large pages are asked for where they help, and in time: torch decides at the first tensor of a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.learn.runtime import LARGE
from charlm.text.corpus import Corpus

NAME = "THP_MEM_ALLOC_ENABLE"
OF_LINUX = Path("/sys/kernel/mm/transparent_hugepage/enabled")

PLAN = """
import os, sys, torch
from charlm import plan
corpus, cell, hidden = sys.argv[1:]
plan(corpus, measure=1, cell=cell, hidden=int(hidden), layers=1, batch_size=32, seq_len=128)
large = torch.ones(1 << 24)
with open("/proc/self/smaps") as file:
    print(sum(int(line.split()[1]) for line in file if line.startswith("AnonHugePages:")) << 10 >= large.nbytes // 2)
"""

MODULES = """
import gc, pkgutil, torch, charlm
for module in pkgutil.walk_packages(charlm.__path__, "charlm."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
print([type(found) for found in gc.get_objects() if isinstance(found, torch.Tensor)])
"""


def said_by(script: str, *words: object, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != NAME} | more
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(
    not OF_LINUX.exists() or "[madvise]" not in OF_LINUX.read_text(encoding="ascii"),
    reason="large pages cannot be asked for",
)
def test_a_large_lstm_has_large_pages(small_corpus: Corpus) -> None:
    hidden = LARGE // (32 * 128 * 4 * 4)
    for cell, size, wanted in (("lstm", hidden, True), ("lstm", hidden // 2, False), ("gru", hidden, False)):
        assert said_by(PLAN, small_corpus.path, cell, size) == str(wanted), (cell, size)
    assert said_by(PLAN, small_corpus.path, "lstm", hidden, **{NAME: "0"}) == "False", "the user has the say"


def test_no_module_makes_a_tensor_while_it_is_loaded() -> None:
    assert said_by(MODULES) == "[]"
