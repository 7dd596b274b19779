"""Sources: the same text whatever it comes in, and a clear word where there is none."""

import bz2
import gzip
import io
import lzma
import os
import random
import sys
import threading

import pytest

from charlm.data import sources
from charlm.data.sources import folder_name, open_sources
from charlm.errors import CorpusError, UsageError

TEXT = "Der Zug\r\nfährt — heute.\n".encode() * 5000


def read(source) -> list[bytes]:
    return [b"".join(document.chunks()) for document in source.documents()]


def refusal(*words, **options) -> str:
    with pytest.raises(CorpusError) as error:
        read(open_sources(words, **options))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_a_packed_file_is_the_text_that_it_holds(tmp_path, suffix, pack, monkeypatch):
    monkeypatch.setattr(sources, "READ_BYTES", 1000)
    path = tmp_path / f"my book.v2.txt{suffix}"
    path.write_bytes(pack(TEXT))
    source = open_sources([path])
    assert read(source) == [TEXT] and read(source) == [TEXT]
    assert (source.name, source.origin) == ("my-book.v2", [str(path)])
    assert source.bytes == (None if suffix else len(TEXT))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)])
@pytest.mark.parametrize("damage", ["cut", "other", "flipped", "rubbish behind"])
def test_a_damaged_archive_is_refused(tmp_path, suffix, pack, damage):
    path = tmp_path / f"book{suffix}"
    # Random, so that it does not pack into a few bytes.
    data = bytearray(pack(random.Random(0).randbytes(5000)))
    if damage == "cut":
        data = data[:-20]
    elif damage == "other":
        data = bytearray(b"plain text, only named so")
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    elif suffix == ".gz":
        data += b"rubbish"
    else:
        pytest.skip("these formats stop at their own end")
    path.write_bytes(data)
    assert f"{path} is damaged, or not a {suffix} file" in refusal(path)


def test_stdin_is_read_once_and_walked_twice(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
    source = open_sources(["-"])
    assert read(source) == [TEXT] and read(source) == [TEXT]
    assert (source.name, source.origin, source.bytes) == ("stdin", ["-"], len(TEXT))


def test_stdin_cannot_be_given_twice_and_may_be_closed(monkeypatch):
    with pytest.raises(UsageError, match="given twice"):
        open_sources(["-", "-"])
    monkeypatch.setattr(sys, "stdin", None)
    assert "there is none; name a file instead" in refusal("-")


def test_an_empty_name_is_no_folder():
    """A shell makes one of a variable that is not set; it must not become all that lies here."""
    with pytest.raises(UsageError, match=r"empty name; name a file, a folder, \. for this one"):
        open_sources(["", "text.txt"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_once_and_walked_twice(tmp_path):
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(TEXT,))
    writer.start()
    source = open_sources([path])
    writer.join()
    assert read(source) == [TEXT] and read(source) == [TEXT]


def test_a_folder_is_its_text_files_sorted_by_path(tmp_path):
    files = {"b.txt": b"2", "a/z.txt": b"1", "a.txt": b"0", "B.txt": b"-", "c.gz": gzip.compress(b"3"), "empty": b""}
    for name, data in {**files, ".hidden": b"x", ".git/config": b"x", "image.png": b"\x89PNG\0\0"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    late = tmp_path / "late.txt"
    late.write_bytes(b"t" * 8192 + b"\0")
    notices = []
    source = open_sources([tmp_path], report=notices.append)
    assert read(source) == [b"-", b"0", b"1", b"2", b"3", b"", b"t" * 8192 + b"\0"]
    assert source.origin == [str(tmp_path)] and source.bytes is None
    assert notices == [f"{tmp_path}: skipped 1 binary file (a NUL byte in the first 8192 bytes)"]


def test_a_folder_without_text_is_refused(tmp_path):
    assert "holds no files" in refusal(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"\0")
    assert "holds only 1 binary file" in refusal(tmp_path)


def test_links_that_lead_in_circles_are_entered_once(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_bytes(b"a")
    (tmp_path / "inner" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone").symlink_to("nowhere")
    assert read(open_sources([tmp_path])) == [b"a"]
    assert "cannot be read" in refusal(tmp_path / "self") or "no file" in refusal(tmp_path / "self")


def test_several_sources_follow_each_other(tmp_path):
    (tmp_path / "one.txt").write_bytes(b"1")
    (tmp_path / "two.txt").write_bytes(b"22")
    source = open_sources([tmp_path / "two.txt", tmp_path / "one.txt"])
    assert read(source) == [b"22", b"1"] and source.name == "two" and source.bytes == 3


def test_a_file_that_grows_is_what_it_was_at_the_start(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"abc")
    source = open_sources([path])
    with path.open("ab") as file:
        file.write(b"def")
    assert read(source) == [b"abc"]


def test_a_file_that_shrinks_or_goes_is_refused(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"abc")
    source = open_sources([path])
    path.write_bytes(b"a")
    with pytest.raises(CorpusError, match="became 2 bytes shorter"):
        read(source)
    path.unlink()
    with pytest.raises(CorpusError, match="cannot be read: No such file"):
        read(source)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_bytes(b"abc")
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(path)
    assert "cannot be read: Permission denied" in refusal(tmp_path)


def test_what_is_missing_is_named_with_the_nearest_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare.txt").write_bytes(b"x")
    assert "shakespear.txt is no file, folder or built-in corpus (did you mean shakespeare.txt?)" in refusal(
        "shakespear.txt"
    )
    assert "(did you mean markov?); name a text file or folder, or one of: python-stdlib, markov, " in refusal("markow")
    assert "did you mean" not in refusal("nowhere/markow")
    assert "no file" in refusal("a\0b")


def test_a_catalogued_text_that_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "download it first: charlm corpora get tiny-shakespeare (public domain)" in refusal("tiny-shakespeare")
    assert "charlm prepare FILE (https://catalog.ldc.upenn.edu/LDC99T42 has it" in refusal("penn-treebank")
    (tmp_path / "tiny-shakespeare").write_bytes(b"mine")
    assert read(open_sources(["tiny-shakespeare"])) == [b"mine"]


def test_a_built_in_name_wins_over_a_file_unless_it_is_written_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "markov").write_bytes(b"mine")
    notices = []
    source = open_sources(["markov"], size=1000, seed=3, report=notices.append)
    assert len(read(source)[0]) == 1000 and source.origin == ["markov"] and source.entropy.bits > 1
    assert notices == ["markov is taken as the built-in corpus; for the file or folder of that name write ./markov"]
    assert read(open_sources(["./markov"])) == [b"mine"]
    assert read(open_sources([tmp_path / "markov"])) == [b"mine"]


def test_the_standard_library_is_a_source():
    source = open_sources(["python-stdlib"])
    assert source.name == "python-stdlib" and source.bytes > 10**6 and source.entropy is None


def test_size_and_seed_are_for_synthetic_sources(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    with pytest.raises(UsageError, match="--size 5 is for a synthetic source such as markov"):
        open_sources([path], size=5)
    with pytest.raises(UsageError, match="--seed 0 is for a synthetic source"):
        open_sources(["python-stdlib"], seed=0)
    with pytest.raises(UsageError, match="no source is given"):
        open_sources([])


@pytest.mark.parametrize(
    ("word", "name"),
    [("a b/c", "a-b-c"), (".bashrc", "bashrc"), ("..", "corpus"), ("Bücher", "Bücher"), ("x" * 300, "x" * 100)],
)
def test_names_are_made_fit_for_folders(word, name):
    assert folder_name(word) == name
