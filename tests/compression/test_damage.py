"""A compressed file that is not what it was is refused, quickly and in one line; only the original ever comes out."""

import time
from collections import Counter
from dataclasses import replace
from random import Random
from zlib import crc32

import pytest
from soaking import Soak
from texts import text_of

import charlm
from charlm.compression import arithmetic_coding
from charlm.compression.container import FIXED_HEADER_BYTES, MAGIC, OWN, UTF8, CompressedFile
from charlm.errors import CharlmError, PackedError
from charlm.model.checkpoint import Model

from .conftest import Make

SLOW = 10.0
"""Seconds that no file of the size of these may take."""


@pytest.fixture(scope="module")
def model(trained: Model) -> Model:
    return replace(trained, path=None)


@pytest.fixture(scope="module")
def good(model: Model) -> list[bytes]:
    texts = [text_of(700).encode(), text_of(1100, 1).encode(), b"se\xff\xc3\xa9 " + text_of(500).encode(), b"\xff" * 9]
    return [charlm.compress(model, text, streams=1 + n % 3).data for n, text in enumerate(texts)]


def sealed(data: bytes) -> bytes:
    """With the checksum that its bytes would have: damage on purpose."""
    return data[:6] + crc32(data[10:], crc32(data[:6])).to_bytes(4, "little") + data[10:]


def damaged(good: list[bytes], random: Random) -> bytes:
    data, other = random.sample(good, 2)
    at = random.randrange(len(data))
    kind = random.randrange(7)
    if kind == 0:
        content = bytearray(data)
        for _ in range(random.randint(1, 6)):
            content[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(content)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + random.randbytes(random.randint(1, 40)) + data[at:]
    if kind == 3:
        return data[:at] + other[at:]
    if kind == 4:
        return data[:at] + data[at + random.randint(1, 40) :]
    if kind == 5:
        return random.randbytes(random.randint(0, 200))
    return data[:10] + other[10:]


def lying(good: list[bytes], random: Random) -> bytes:
    """A file whose checksum is right and whose content is not."""
    packed = CompressedFile.of(random.choice(good[:3]))
    huge = [1, 2, 300, 4096, 4097, 10**6, 2**31, 2**32, 2**53, 2**62, packed.symbols + random.randint(-5, 5)]
    payload, at = packed.payload, random.randrange(len(packed.payload))
    changes: dict[str, object] = {
        "symbols": random.choice(huge),
        "streams": random.choice(huge),
        "kind": random.choice([OWN, UTF8, 3, 255]),
        "payload": random.choice([b"", payload[:at], payload[: at // 4 * 4], payload + bytes(400), b"\xff" * 400,
                                  bytes(400), random.randbytes(len(payload)), random.randbytes(at)]),
        "answer": random.randbytes(4),
        "original": random.randbytes(8),
        "coder": (random.randrange(256), 1),
    }  # fmt: skip
    chosen = random.sample(sorted(changes), random.randint(1, 3))
    data = replace(packed, **{name: changes[name] for name in chosen}).to_bytes()
    return data if random.random() < 0.8 else sealed(damaged([data, *good], random))


def outcome(model: Model, data: bytes, originals: list[bytes]) -> str:
    """`refused`, or `harmless` where the very bytes of the original came out."""
    began = time.perf_counter()
    try:
        found = charlm.decompress(model, data)
    except CharlmError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        found = None
    assert time.perf_counter() - began < SLOW, data[:60].hex()
    if found is None:
        return "refused"
    assert found in originals
    return "harmless"


def test_every_flipped_bit_is_found(model: Model, good: list[bytes]) -> None:
    data = good[0]
    for bit in range(8 * len(data)):
        content = bytearray(data)
        content[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PackedError):
            charlm.decompress(model, bytes(content))


def test_every_shortened_file_is_found(model: Model, good: list[bytes]) -> None:
    for size in range(len(good[0])):
        with pytest.raises(PackedError):
            charlm.decompress(model, good[0][:size])


def test_damaged_and_lying_files(model: Model, good: list[bytes], soak: Soak) -> None:
    count, random = soak.count(40, 1000), Random(3)
    originals = [charlm.decompress(model, whole) for whole in good]
    found: Counter[str] = Counter()
    for _ in range(count):
        data = damaged(good, random)
        if data not in good:
            found["damaged: " + outcome(model, data, originals)] += 1
        found["lying: " + outcome(model, lying(good, random), originals)] += 1
    assert found["damaged: harmless"] == 0
    assert found["lying: refused"] > 0.8 * count
    told = ", ".join(f"{name} {number:,}" for name, number in sorted(found.items()))
    soak.saw("compressed files, damaged, or made to lie under a right checksum", f"{told}; none gave other bytes")


def test_a_model_that_differs_in_one_bit_is_another(model: Model, good: list[bytes]) -> None:
    name = sorted(model.weights)[0]
    weights = {**model.weights, name: model.weights[name].copy()}
    weights[name].view("uint32").flat[0] ^= 1
    with pytest.raises(PackedError, match="with another model"):
        charlm.decompress(replace(model, weights=weights), good[0])
    changed = replace(model, corpus={"options": {"encoding": "latin-1"}})
    with pytest.raises(PackedError, match="with another model"):
        charlm.decompress(changed, good[0])
    again = replace(model, training={"step": 9}, corpus={**model.corpus, "name": "another"})
    assert charlm.decompress(again, good[0]) == text_of(700).encode()


def test_what_is_said(model: Model, good: list[bytes]) -> None:
    newer = sealed(good[0][:4] + b"\x02" + good[0][5:])
    for data, words in (
        (b"", "not a file that"),
        (b"PK\3\4" + bytes(100), "not a file that"),
        (MAGIC + b"\1", "cut short"),
        (newer, "has version 2"),
        (good[0][:-1] + b"\0", "checksum"),
        (CompressedFile.of(good[0]).to_bytes()[: FIXED_HEADER_BYTES + 3], "checksum"),
        (replace(CompressedFile.of(good[0]), symbols=2**50).to_bytes(), "claims|memory"),
        (replace(CompressedFile.of(good[0]), streams=5000).to_bytes(), "claims 5,000 streams"),
        (replace(CompressedFile.of(good[0]), answer=b"1234").to_bytes(), "arithmetic whose results are not"),
        (replace(CompressedFile.of(good[0]), original=b"12345678").to_bytes(), "not what was compressed"),
        (sealed(good[0][:32] + b"\xff" * 12), "does not end"),
    ):
        with pytest.raises(CharlmError, match=words):
            charlm.decompress(model, data)


def test_another_arithmetic_is_refused(model: Model, good: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a processor without exact sums would do: one bit of one frequency, before anything is decoded."""
    exact = arithmetic_coding.frequencies
    monkeypatch.setattr(arithmetic_coding, "frequencies", lambda logits: exact(logits) + (logits == logits.max()))
    steps: list[int] = []
    with pytest.raises(PackedError, match="arithmetic whose results are not those of this machine: its coder was"):
        charlm.decompress(model, good[0], progress=lambda done, total: steps.append(done))
    assert not steps
    mine = charlm.compress(model, b"this was his " * 50).data
    monkeypatch.undo()
    with pytest.raises(PackedError, match="arithmetic"):
        charlm.decompress(model, mine)


def test_bits_that_say_more_than_they_hold_end_soon(make: Make) -> None:
    """A short payload that claims millions of characters is given up once its bits are used."""
    model = make("lstm")
    packed = CompressedFile.of(charlm.compress(model, text_of(700).encode()).data)
    claims = replace(packed, symbols=5_000_000, streams=1)
    told: list[int] = []
    with pytest.raises(PackedError, match="bits end after"):
        charlm.decompress(model, claims.to_bytes(), progress=lambda done, total: told.append(done))
    assert len(told) < 5000
