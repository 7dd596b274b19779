"""Large pages are asked for where they help, and in time: torch decides at the first tensor of a process."""

import json
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
    not PAGES.exists() or "[madvise]" not in PAGES.read_text(encoding="ascii"), reason="large pages cannot be asked for"
)

CASES = """
import gc, json, os, pkgutil, sys, torch, charlm
from charlm.runtime import malloc
for module in pkgutil.walk_packages(charlm.__path__, "charlm."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
tensors = [str(type(found)) for found in gc.get_objects() if isinstance(found, torch.Tensor)]

import torch._dynamo  # what the first step of training loads
from charlm.training import trainer
trainer.UNTIMED_SECONDS = 0

def huge():
    large = torch.ones(1 << 24)
    with open("/proc/self/smaps") as file:
        kilobytes = sum(int(line.split()[1]) for line in file if line.startswith("AnonHugePages:"))
    return kilobytes << 10 >= large.nbytes // 2

def plan(corpus, cell, least):
    malloc.LARGE_BLOCK_BYTES = least
    charlm.plan(corpus, measure=1, cell=cell, hidden=8, layers=1, batch_size=4, seq_len=10)
    return huge()

def evaluate(model, data, least):
    malloc.LARGE_BLOCK_BYTES = least
    charlm.evaluate(charlm.load(model), data=data, split="valid")
    return huge()

def asked(late):
    if late:
        torch.ones(1)
    return malloc.use_huge_pages()

for name, arguments, environment in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    if not os.fork():
        os.environ |= environment
        os.write(writer, json.dumps(globals()[name](*arguments)).encode())
        os._exit(0)
    os.close(writer)
    print(os.read(reader, 100).decode())
    os.wait()
print(json.dumps(tensors))
"""
"""Each case is a child of a process that has loaded everything and has made no tensor, which is the last line."""


def of_cases(*cases: tuple[str, list[object], dict[str, str]]) -> list[object]:
    """What each case found, and then the tensors that loading all modules made."""
    environment = {name: value for name, value in os.environ.items() if name != NAME}
    command = [sys.executable, "-c", CASES, json.dumps(cases)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@of_linux
def test_a_large_lstm_has_large_pages_and_one_that_is_evaluated_too(small_corpus: Corpus, tmp_path: Path) -> None:
    gates = 4 * 8 * 4 * 10 * 4  # bytes of a window of 4 x 10, H 8
    charlm.train(small_corpus, run=tmp_path / "run", hidden=8, layers=1, steps=1, batch_size=4, seq_len=10)
    corpus, model = str(small_corpus.path), str(tmp_path / "run" / "model.safetensors")
    assert of_cases(
        ("plan", [corpus, "lstm", gates], {}),
        ("plan", [corpus, "lstm", gates + 1], {}),
        ("plan", [corpus, "gru", 1], {}),
        ("plan", [corpus, "lstm", gates], {NAME: "0"}),  # the user has the say
        ("evaluate", [model, str(small_corpus.path.parent), 1], {}),
        ("evaluate", [model, str(small_corpus.path.parent), 1 << 30], {}),
    ) == [True, False, False, False, True, False, []]


@of_linux
def test_it_is_known_whether_they_were_asked_for_in_time_and_no_module_makes_a_tensor() -> None:
    asked = of_cases(("asked", [False], {}), ("asked", [True], {}), ("asked", [False], {NAME: "0"}))
    assert asked == [True, False, False, []]
