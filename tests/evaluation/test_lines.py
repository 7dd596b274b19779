"""Lines come whole, in order and as they were, as soon as they are there."""

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import CorpusError
from charlm.evaluation.lines import Lines, open_lines


def taken(lines: Lines, room: int = 1 << 20) -> list[list[bytes]]:
    found = []
    while batch := lines.take(room):
        found.append(batch)
    lines.close()
    return found


@given(
    chunks=st.lists(st.binary(min_size=1) | st.sampled_from([b"\n", b"\r\n", b"a", b"\n\n"])), room=st.integers(1, 40)
)
def test_any_chunks_become_the_lines_that_they_hold(chunks: list[bytes], room: int) -> None:
    batches = taken(Lines(chunk for chunk in chunks), room)
    flat = [line for batch in batches for line in batch]
    text = b"".join(chunks)
    assert flat == [line + b"\n" for line in text.split(b"\n")[:-1]] + [text.split(b"\n")[-1]] * (
        text[-1:] not in b"\n"
    )
    assert all(len(batch) == 1 or sum(map(len, batch)) <= room for batch in batches)


def test_nothing_is_waited_for_but_the_first_line() -> None:
    """The chunks after the second come when they are allowed to."""
    more = threading.Event()

    def chunks():
        yield b"one\ntwo\nthr"
        more.wait(30)
        yield b"ee\nfour"

    lines = Lines(chunks())
    assert lines.take(100) == [b"one\n", b"two\n"]
    assert not lines.waiting
    more.set()
    assert taken(lines) == [[b"three\n"], [b"four"]] or taken(lines) == []


def test_a_pipe_is_read_as_it_comes_and_a_line_too_long_comes_alone(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = open_lines(str(pipe))
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"first\n")
    assert lines.take(100) == [b"first\n"]
    os.write(writer, b"a\n" + b"x" * 50 + b"\nb\n")
    time.sleep(0.1)
    assert lines.take(10) == [b"a\n"]
    assert lines.waiting
    assert lines.take(10) == [b"x" * 50 + b"\n"]
    os.close(writer)
    assert taken(lines) == [[b"b\n"]]


def test_documents_of_a_folder_begin_lines_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo")
    (tmp_path / "b.txt").write_bytes(b"three\n")
    assert sum(taken(open_lines(str(tmp_path))), []) == [b"one\n", b"two\n", b"three\n"]


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere.txt"):
        open_lines(str(tmp_path / "nowhere.txt"))

    def failing():
        yield b"one\n"
        raise CorpusError("gone")

    lines = Lines(failing())
    with pytest.raises(CorpusError, match="gone"):
        taken(lines)
