"""Any bytes come back as they were, whatever the model knows of them."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking import Soak
from texts import text_of

import charlm
from charlm.cells import Cell, sigmoid, split
from charlm.compression import arithmetic_coding
from charlm.compression.container import FIXED_HEADER_BYTES, STORED, CompressedFile
from charlm.compression.lossless_text import LosslessText
from charlm.config import PLUGIN_CELLS
from charlm.errors import UsageError
from charlm.model.checkpoint import Model

from .conftest import Make

HOSTILE = [
    b"",
    b"\0",
    b"a",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbfthis\r\nwas\rits\n",
    b"\xff\xfea\0",
    b"\xfe\xff\0a",
    b"\xff\xfe" * 40,
    b"\xc3",
    b"\xed\xa0\x80\xed\xb2\x80",
    b"\xf4\x90\x80\x80",
    b"\x80" * 300,
    b"\n" * 500,
    b"a" * 2000,
    bytes(range(256)) * 3,
    "naïve “quotes” … 漢字 \U0001f600 e\u0301".encode(),
    "あい漢漢".encode("shift_jis"),
    "the sea".encode("utf-16"),
    "the sea".encode("utf-16-be"),
    "\u2028\u0085\x1c\x0b".encode(),
    "\udc80\udcff".encode("utf-8", "surrogatepass"),
    b"this is \xff what it was \xc3( he said\0",
]


def some_bytes(random: Random) -> bytes:
    """Text, text with damage, bytes, or a few of the hostile ones, joined."""
    kind, size = random.randrange(6), random.choice([1, 2, 3, 17, 255, 256, 257, 300, 900])
    if kind == 0:
        return text_of(size, random.randrange(100)).encode()
    if kind == 1:
        text = bytearray(text_of(size, random.randrange(100)).encode())
        for _ in range(random.randint(1, 5)):
            text[random.randrange(size)] = random.randrange(256)
        return bytes(text)
    if kind == 2:
        return random.randbytes(size)
    if kind == 3:
        letters = "aehist \n\r\té漢\U0001f600\ufeff\0\x85あ"
        return "".join(random.choice(letters) for _ in range(size)).encode(random.choice(["utf-8", "utf-16", "utf-32"]))
    if kind == 4:
        return random.choice([b"a", b"\n", b"\r\n", b"\0", b"\xff"]) * size
    return b"".join(random.sample(HOSTILE, random.randint(1, 4)))


def through_the_coder(model: Model, data: bytes, streams: int) -> bytes:
    """There and back also where that makes the file longer, so that it would be stored."""
    if not data:
        return data
    alphabet = LosslessText(
        model.vocabulary, "utf-8", line_documents=model.corpus["options"].get("documents") == "line"
    )
    spelled = alphabet.encode(data)
    assert spelled is not None
    bits, _ = arithmetic_coding.encode(model, *spelled, streams=streams)
    return alphabet.decode(*arithmetic_coding.decode(model, bits, len(spelled[0]), streams=streams))


def test_hostile_inputs_come_back(family: list[Model], soak: Soak) -> None:
    step = soak.count(len(family), 7)
    for number, data in enumerate(HOSTILE):
        for model in family[number % step :: step]:
            assert charlm.decompress(model, charlm.compress(model, data).data) == data
            assert through_the_coder(model, data, 2) == data


def test_random_inputs_come_back(family: list[Model], soak: Soak) -> None:
    count, random, stored = soak.count(15, 1500), Random(7), 0
    for number in range(count):
        model, data = family[number % len(family)], some_bytes(random)
        values = {} if number % 2 else {"streams": random.choice([1, 2, 3, 7, 64])}
        packed = charlm.compress(model, data, **values)
        assert charlm.decompress(model, packed.data) == data
        assert len(packed.data) <= len(data) + FIXED_HEADER_BYTES
        stored += packed.stored
        if packed.stored:
            assert through_the_coder(model, data, packed.streams) == data
    for data in HOSTILE:
        for model in family if soak.whole else []:
            assert charlm.decompress(model, charlm.compress(model, data).data) == data
    more = len(HOSTILE) * len(family)
    soak.saw(
        "`compress` and `decompress` of random, damaged and hostile bytes, 15 kinds of models",
        f"{count + more:,} inputs, all byte for byte, none longer than itself by more than {FIXED_HEADER_BYTES} bytes; "
        f"of the {count:,} random ones {stored:,} were stored, and went through the coder and back besides",
    )


@given(data=st.binary(max_size=400), streams=st.integers(1, 9), number=st.integers(0, 100))
def test_any_bytes_come_back(family: list[Model], data: bytes, streams: int, number: int) -> None:
    model = family[number % len(family)]
    assert charlm.decompress(model, charlm.compress(model, data, streams=streams).data) == data


def test_what_would_grow_is_stored(family: list[Model]) -> None:
    data = Random(1).randbytes(600)
    for model in family[:3]:
        packed = charlm.compress(model, data)
        assert packed.stored and CompressedFile.of(packed.data).kind == STORED
        assert len(packed.data) == len(data) + FIXED_HEADER_BYTES


def test_unknown_characters_are_counted_and_cost_what_is_said(trained: Model) -> None:
    text = text_of(4000)
    plain = charlm.compress(trained, text.encode())
    strange = charlm.compress(trained, text.replace("sea", "se漢").encode() + b"\xff")
    assert plain.unknown == 0 and strange.unknown == text.count("sea") + 1
    assert abs(len(strange.data) - strange.predicted) < 60


@pytest.mark.parametrize("size", [3, 12000])
def test_tables_of_any_size(make: Make, size: int) -> None:
    model = make("gru", codes=range(0x4E00, 0x4E00 + size - 2), hidden=4)
    text = "".join(chr(0x4E00 + n * n % (size - 2)) for n in range(400))
    packed = charlm.compress(model, text.encode())
    assert packed.unknown == 0
    assert charlm.decompress(model, packed.data) == text.encode()


class Minimal(Cell):
    """The plugin of docs/interface.md."""

    name = "minimal-compressed"
    gates = ("f", "n")

    def step(self, xp, p, x, below, state):  # type: ignore[no-untyped-def]
        (h,) = state
        x_f, x_n = split(x, 2)
        h_f, h_n = split(h @ p["weight_hh"].T + p["bias_hh"], 2)
        f = sigmoid(xp, x_f + h_f)
        n = xp.tanh(x_n + f * h_n)
        return ((1 - f) * h + f * n,), {"f": f, "n": n}


class Wild(Minimal):
    """Calls what libraries round each in their own way."""

    name = "wild"

    def step(self, xp, p, x, below, state):  # type: ignore[no-untyped-def]
        after, gates = super().step(xp, p, x, below, state)
        return (xp.arctan(after[0]),), gates


class Odd(Minimal):
    """Does with a weight what is no product."""

    name = "odd"

    def step(self, xp, p, x, below, state):  # type: ignore[no-untyped-def]
        return super().step(xp, p, x + p["weight_hh"].T[0, 0], below, state)


def test_cells_from_plugins(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUGIN_CELLS, "minimal-compressed", Minimal)
    monkeypatch.setitem(PLUGIN_CELLS, "wild", Wild)
    monkeypatch.setitem(PLUGIN_CELLS, "odd", Odd)
    data = text_of(700).encode()
    model = make("minimal-compressed", layers=2)
    assert charlm.decompress(model, charlm.compress(model, data, streams=3).data) == data
    with pytest.raises(UsageError, match="the cell wild calls arctan"):
        charlm.compress(make("wild"), data)
    with pytest.raises(UsageError, match="the cell odd does with its weights"):
        charlm.compress(make("odd"), data)


def test_a_state_without_bound_is_refused(make: Make) -> None:
    model = make("rnn", activation="linear", scale=30.0)
    with pytest.raises(charlm.CharlmError, match="no finite number"):
        charlm.compress(model, b"this was it " * 100)


def test_the_model_is_left_alone(family: list[Model], tmp_path: Path) -> None:
    before = {name: weight.copy() for name, weight in family[0].weights.items()}
    charlm.compress(family[0], b"the sea is wide")
    assert all(np.array_equal(before[name], weight) for name, weight in family[0].weights.items())
