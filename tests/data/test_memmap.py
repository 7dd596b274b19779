"""What was read of a mapped text goes back, and reads the same again."""

import re
from pathlib import Path

import numpy as np
import pytest

from charlm.data import memmap
from charlm.data.memmap import PageReleaser

STATUS = Path("/proc/self/status")


def mapped() -> int:
    """Bytes of files that this process has mapped and read."""
    found = re.search(r"RssFile:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return 1024 * int(found.group(1))


@pytest.fixture
def text(tmp_path: Path) -> np.ndarray:
    """64 MB of uint16 in a file."""
    path = tmp_path / "ids.bin"
    (np.arange(32 << 20) % 60_000).astype(np.uint16).tofile(path)
    return np.memmap(path, np.uint16, "r")


@pytest.mark.cases(1)
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("view", [lambda ids: ids, lambda ids: np.asarray(ids)[1:], lambda ids: ids[3:][::2]])
def test_little_of_what_was_read_stays(text: np.ndarray, view) -> None:
    ids = view(text)
    given, before, most, total = PageReleaser(ids), mapped(), 0, 0
    for at in range(0, len(ids), 1 << 17):
        block = ids[at : at + (1 << 17)]
        total += int(block.sum())
        given.advance(block.size)
        most = max(most, mapped())
    assert total == int(view(np.fromfile(text.filename, np.uint16)).sum())
    assert most - before < 3 * memmap.RESIDENT_BYTES


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_what_was_written_to_a_mapped_array_stays(tmp_path: Path, mode: str) -> None:
    """Pages of a private copy exist nowhere else."""
    path = tmp_path / "ids.bin"
    np.zeros(1000, np.uint8).tofile(path)
    ids = np.memmap(path, np.uint8, mode)
    ids[5] = 7
    PageReleaser(ids).advance(memmap.RESIDENT_BYTES)
    assert ids[5] == 7


def test_arrays_in_memory_are_left_alone() -> None:
    ids = np.arange(1000, dtype=np.uint8)
    ids.flags.writeable = False
    PageReleaser(ids).advance(2 * memmap.RESIDENT_BYTES)
    assert ids.tolist() == [number % 256 for number in range(1000)]
