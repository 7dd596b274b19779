"""Built-in corpora: the same everywhere, and of the entropy that is claimed."""

import hashlib
import math
import sysconfig

import numpy as np
import pytest

from charlm.errors import CorpusError
from charlm.text import builtin
from charlm.text.builtin import CONTEXTS, LETTERS, ONE, markov, markov_entropy, markov_weights, splitmix64, stdlib_files
from charlm.text.catalogue import builtin_names


def slow_splitmix64(state: int, count: int) -> list[int]:
    """The generator as its paper writes it, one number after the other."""
    mask, numbers = (1 << 64) - 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**53, 2**64 - 1])
def test_the_generator_is_splitmix64(seed):
    assert splitmix64(seed, 0, 50).tolist() == slow_splitmix64(seed, 50)
    assert splitmix64(seed, 20, 30).tolist() == slow_splitmix64(seed, 50)[20:]


def test_the_generator_gives_the_published_numbers():
    assert [hex(number) for number in splitmix64(0, 0, 2).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


@pytest.mark.parametrize(
    ("seed", "digest"),
    [
        (0, "69decb4af38deee7a8defe291fd9f378a30ea30bf4106ee8f4810c0e495afda1"),
        (7, "d6359c9f07092fc26b6e4de85b40bcb9f010917ea1bf68c5db3dfe51c70cd096"),
    ],
)
def test_a_seed_gives_the_same_text_on_every_machine(seed, digest):
    assert hashlib.sha256(b"".join(markov(100_000, seed))).hexdigest() == digest


def test_a_longer_text_begins_with_the_shorter_one():
    long, short = b"".join(markov(150_000, 3)), b"".join(markov(70_001, 3))
    assert len(short) == 70_001 and long.startswith(short)
    assert b"".join(markov(150_000, 4)) != long


@pytest.mark.parametrize("seed", range(10))
def test_transition_rows_are_positive_and_sum_to_one_exactly(seed):
    weights = markov_weights(seed)
    assert len(weights) == CONTEXTS
    assert all(sum(row) == ONE and min(row) > 0 for row in weights)
    assert 1.5 < markov_entropy(seed) < 2.3


@pytest.mark.parametrize("seed", [0, 7])
def test_the_entropy_is_that_of_the_chain_run_to_its_limit(seed):
    letters = len(LETTERS)
    p = np.array(markov_weights(seed)) / ONE
    pi = np.full(CONTEXTS, 1 / CONTEXTS)
    for _ in range(2000):
        after = np.zeros(CONTEXTS)
        for context in range(CONTEXTS):
            for letter in range(letters):
                after[(context * letters + letter) % CONTEXTS] += pi[context] * p[context, letter]
        if np.abs(after - pi).max() < 1e-17:
            break
        pi = after
    brute = -sum(pi[c] * p[c, k] * math.log2(p[c, k]) for c in range(CONTEXTS) for k in range(letters))
    assert markov_entropy(seed) == pytest.approx(brute, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_entropy_is_that_of_the_text_that_is_drawn(seed):
    letters = np.frombuffer(b"".join(markov(1_000_000, seed)), np.uint8) - LETTERS[0]
    triples = np.bincount(letters[:-2] * np.int64(64) + letters[1:-1] * np.int64(8) + letters[2:], minlength=512)
    counts = triples.reshape(64, 8).astype(float)
    conditional = counts / counts.sum(axis=1, keepdims=True)
    empirical = -(counts * np.log2(np.maximum(conditional, 1e-300))).sum() / counts.sum()
    assert empirical == pytest.approx(markov_entropy(seed), abs=0.01)


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
    assert builtin_names() == ["python-stdlib", "markov"]
