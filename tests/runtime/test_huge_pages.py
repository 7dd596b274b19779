"""Large pages are asked for where they help, and in time: torch decides at the first tensor of a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import charlm
from charlm.data.corpus import Corpus

NAME = "THP_MEM_ALLOC_ENABLE"
PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
of_linux = pytest.mark.skipif(
    not PAGES.exists() or "[madvise]" not in PAGES.read_text(encoding="ascii"),
    reason="large pages cannot be asked for",
)

HUGE = """
large = torch.ones(1 << 24)
with open("/proc/self/smaps") as file:
    print(sum(int(line.split()[1]) for line in file if line.startswith("AnonHugePages:")) << 10 >= large.nbytes // 2)
"""

PLAN = f"""
import sys, torch, charlm
from charlm.runtime import malloc
corpus, cell, malloc.LARGE_BLOCK_BYTES = *sys.argv[1:3], int(sys.argv[3])
charlm.plan(corpus, measure=1, cell=cell, hidden=8, layers=1, batch_size=4, seq_len=10)
{HUGE}"""

EVALUATION = f"""
import sys, torch, charlm
from charlm.runtime import malloc
malloc.LARGE_BLOCK_BYTES = int(sys.argv[3])
charlm.evaluate(charlm.load(sys.argv[1]), data=sys.argv[2], split="valid")
{HUGE}"""

ASKED = """
import sys, torch
from charlm.runtime import malloc
if sys.argv[1] == "late":
    torch.ones(1)
print(malloc.use_huge_pages())
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


@of_linux
def test_a_large_lstm_has_large_pages(small_corpus: Corpus) -> None:
    gates = 4 * 8 * 4 * 10 * 4  # bytes of a window of 4 x 10, H 8
    for cell, least, wanted in (("lstm", gates, True), ("lstm", gates + 1, False), ("gru", 1, False)):
        assert said_by(PLAN, small_corpus.path, cell, least) == str(wanted), (cell, least)
    assert said_by(PLAN, small_corpus.path, "lstm", gates, **{NAME: "0"}) == "False", "the user has the say"


@of_linux
def test_a_large_lstm_that_is_evaluated_has_them_too(small_corpus: Corpus, tmp_path: Path) -> None:
    charlm.train(small_corpus, run=tmp_path / "run", hidden=8, layers=1, steps=1, batch_size=4, seq_len=10)
    for least, wanted in ((1, True), (1 << 30, False)):
        found = said_by(EVALUATION, tmp_path / "run/model.safetensors", small_corpus.path.parent, least)
        assert found == str(wanted), least


@of_linux
def test_it_is_known_whether_they_were_asked_for_in_time() -> None:
    assert [said_by(ASKED, when) for when in ("early", "late")] == ["True", "False"]
    assert said_by(ASKED, "early", **{NAME: "0"}) == "False"


def test_no_module_makes_a_tensor_while_it_is_loaded() -> None:
    assert said_by(MODULES) == "[]"
