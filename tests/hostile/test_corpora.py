"""Prepared corpora and runs from strangers: ids that the table does not have, names that lead out, files that lie."""

import json
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hostile_values import HOSTILE, changed, spots, taken
from soaking import Soak

from charlm.data.batches import Batches
from charlm.data.corpus import Corpus
from charlm.errors import CharlmError, CheckpointError, CorpusError, InputError
from charlm.training.data_loader import DataLoader
from charlm.training.resume import resume

SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-len", "16", "--threads", "1"]


def spoil_ids(split: str, value: int = 255, at: int = 40) -> None:
    path = Path(f"data/sea/{split}.bin")
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_ids_that_the_table_does_not_have_are_one_error(house: Path, refused: Callable[..., str], split: str) -> None:
    largest = Corpus.load("data/sea").vocabulary.size
    spoil_ids(split, largest)
    words = {"train": ["train", *SMALL, "--steps", "3"], "valid": ["train", *SMALL, "--steps", "3"], "test": ["eval"]}
    line = refused(*words[split])
    assert f"the id {largest}" in line and f"only {largest} symbols" in line and "--force" in line
    assert "the id" in refused("eval", "--split", split)


def test_the_largest_id_of_the_table_is_none_of_them(house: Path, charlm: Callable[..., tuple[int, str, str]]) -> None:
    for split in ("train", "valid", "test"):
        spoil_ids(split, Corpus.load("data/sea").vocabulary.size - 1)
    assert charlm("train", *SMALL, "--steps", "3")[0] == 0
    assert charlm("eval")[0] == 0


def test_a_text_that_is_put_on_a_device_whole_is_looked_through_there() -> None:
    ids = np.array([0, 1, 2, 3, 9, 2, 1, 2, 3], np.uint8)
    DataLoader(Batches(ids, 2, 2, vocab_size=10), torch.device("cpu"), memory_budget=1000)
    with pytest.raises(CorpusError, match="the id 9"):
        DataLoader(Batches(ids, 2, 2, vocab_size=9), torch.device("cpu"), memory_budget=1000)


@pytest.mark.parametrize("name", ["../out", "/etc/out", "", ".", "..", "a\n[train]\nhidden = 3", "\x1b[2J", "a\\b"])
def test_a_corpus_cannot_name_itself_out_of_the_folder_of_runs(
    house: Path, refused: Callable[..., str], name: str
) -> None:
    path = Path("data/sea/corpus.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}))
    assert "no folder's name" in refused("train", *SMALL, "--steps", "3")


def test_a_corpus_json_that_lies_is_refused_or_whole(
    house: Path, charlm: Callable[..., tuple[int, str, str]], soak: Soak
) -> None:
    place, random, codes = Path("data/sea/corpus.json"), Random(13), Counter[int]()
    whole = place.read_text()
    for number in range(soak.count(60, 1500)):
        info = json.loads(whole)
        *way, last = random.choice(spots(info))
        inside: Any = info
        for step in way:
            inside = inside[step]
        inside[last] = deepcopy(random.choice(HOSTILE))
        content = json.dumps(info)
        if number % 5 == 0:
            content = content[: random.randrange(len(content))]
        place.write_text(content)
        try:
            Corpus.load("data/sea")
        except CorpusError as error:
            assert "\n" not in str(error) and len(str(error)) < 700
        code, out, err = charlm("train", "data/sea", *SMALL, "--dry-run") if number % 10 == 0 else charlm("eval")
        codes[code] += 1
        assert code in (0, 2) and "bug in charlm" not in err and "\x1b" not in out + err, (code, err, content[:300])
    soak.saw(
        "`corpus.json` that lies or is cut",
        f"{codes.total():,} files: {codes[0]:,} of no account for what was asked, {codes[2]:,} refused with one line",
    )


def test_a_corpus_json_beyond_all_sizes_is_not_read(house: Path) -> None:
    Path("data/sea/corpus.json").write_text('{"format": 1, "x": "' + "x" * 32_000_000 + '"}')
    with pytest.raises(CorpusError, match="more than 32,000,000 bytes"):
        Corpus.load("data/sea")


def test_a_progress_file_that_lies_is_refused_or_goes_on(
    house: Path, monkeypatch: pytest.MonkeyPatch, soak: Soak
) -> None:
    place, random, outcomes = Path("runs/one/progress.safetensors"), Random(14), Counter[str]()
    whole = place.read_bytes()
    logs = Path("runs/one/metrics.jsonl").read_bytes()
    for number in range(soak.count(90, 3000)):
        header, tensors = taken(whole)
        if number % 3:
            *way, last = random.choice(spots(header["__metadata__"]))
            inside: Any = header["__metadata__"]
            for step in way:
                inside = inside[step]
            inside[last] = deepcopy(random.choice([*HOSTILE, 65536, 2**52]))
            data = changed(whole, **header["__metadata__"])
        else:
            content = bytearray(whole)
            for _ in range(random.randint(1, 4)):
                content[random.randrange(len(content))] = random.randrange(256)
            data = bytes(content if number % 2 else content[: random.randrange(len(content))])
        place.write_bytes(data)
        Path("runs/one/metrics.jsonl").write_bytes(logs)
        asked = iter(range(10**9))
        try:
            resume("one", steps=5, stop=lambda asked=asked: next(asked) >= 30, eval_every=0)  # type: ignore[misc]
            outcomes["went on"] += 1
        except InputError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
        except CharlmError as error:  # sizes, contradicting options, or weights so large that the loss is no number
            assert "\n" not in str(error) and len(str(error)) < 700
            outcomes[type(error).__name__] += 1
    assert outcomes["refused"] and outcomes["went on"]
    summary = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.most_common())
    soak.saw("`progress.safetensors` that lies or is damaged", f"{outcomes.total():,} files: {summary}")


def test_a_progress_file_that_claims_a_giant_is_refused_before_anything_is_made(
    house: Path, refused: Callable[..., str]
) -> None:
    path = Path("runs/one/progress.safetensors")
    config = taken(path.read_bytes())[0]["__metadata__"]["config"]
    path.write_bytes(changed(path.read_bytes(), config={**config, "hidden": 65536, "layers": 64}))
    assert "do not fit its options" in refused("train", "--resume", "one", "--steps", "9")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_of_a_progress_file_that_are_no_numbers_are_refused(house: Path, value: float) -> None:
    path = Path("runs/one/progress.safetensors")
    data = path.read_bytes()
    header, tensors = taken(data)
    begin, _ = header["weights.readout.bias"]["data_offsets"]
    content = bytearray(tensors)
    content[begin : begin + 4] = np.float32(value).tobytes()
    path.write_bytes(data[: len(data) - len(tensors)] + bytes(content))
    with pytest.raises(CheckpointError, match="no finite numbers"):
        resume("one", steps=9)
