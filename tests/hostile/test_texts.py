"""Texts that nobody would choose, through all four commands: they work and are warned of, or are refused in a line."""

import gzip
import hashlib
import io
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from soaking import Soak
from texts import text_of

from charlm.cli.main import run
from charlm.data import sources

TINY = ["--hidden", "4", "--batch-size", "2", "--seq-len", "8", "--steps", "2", "--threads", "1"]

WORKING: dict[str, tuple[str, str]] = {
    "byte order mark": ("\ufeff" + text_of(900), "removed the byte order mark at the start of 1 document"),
    "byte order marks inside": ("a\ufeffb\ufeff" * 99, ""),
    "CR only": (text_of(900).replace("\n", "\r"), "CR line ends; --newlines lf"),
    "mixed line ends": ("one\r\ntwo\nthree\r" * 60, "60 CR LF line ends and 60 CR line ends, mixed with 60 LF"),
    "NUL": (text_of(900) + "\0" * 20, "20 control characters: '\\x00' (U+0000)"),
    "nothing but NUL": ("\0" * 500, "500 control characters"),
    "controls and escapes": ("\x1b[2J\x07\x08\x7f\x85\u2028\u2029 ab" * 60, "control characters"),
    "astral": ("𝒜𝓃𝒹 😀🧑\u200d🚀 𠀋 \U0010ffff\U000e0041" * 60, ""),
    "combining": ("e\u0301o\u0308\u0323 Z\u0351\u034d\u0320a\u0489lgo " * 60, ""),
    "right to left": ("\u200fשלום עולם \u202bمرحبا\u202c \u2067و\u2069\n" * 60, ""),
    "12,000 characters": ("".join(map(chr, range(0x4E00, 0x4E00 + 12_000))) * 2, ""),
    "12,000 characters seen once": ("".join(map(chr, range(0x4E00, 0x4E00 + 12_000))), "12000 characters seen once"),
    "one character again and again": ("z" * 900, ""),
    "no line end at all": (text_of(2_000_000).replace("\n", " "), ""),
    "nothing but line ends": ("\n" * 900, ""),
    "noncharacters": ("\ufffe\uffff\ufffd\ufdd0a" * 90, ""),
}


class Shell:
    """Command lines in this process: exit code, stdout, stderr."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._capfd.readouterr()
        code = run(list(words))
        out, err = self._capfd.readouterr()
        assert "Traceback" not in err and "bug in charlm" not in err
        return code, out, err

    def ok(self, *words: str) -> tuple[str, str]:
        code, out, err = self(*words)
        assert code == 0, err
        return out, err

    def refused(self, *words: str) -> str:
        code, out, err = self(*words)
        assert (code, out) == (2, ""), err
        (line,) = (line for line in err.splitlines() if line.startswith("error:"))
        return line


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    yield Shell(capfd)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("name", "packed"), [*((name, False) for name in WORKING), *((name, True) for name in ("NUL", "mixed line ends"))]
)
def test_a_text_that_must_work_goes_through_all_four_commands(shell: Shell, name: str, packed: bool) -> None:
    text, warning = WORKING[name]
    file = Path("text.txt.gz" if packed else "text.txt")
    data = text.encode()
    file.write_bytes(gzip.compress(data) if packed else data)
    out, err = shell.ok("prepare", str(file), "--valid-fraction", "0.02", "--test-fraction", "0.02")
    assert out == "data/text\n" and warning in err
    assert warning or "warning" not in err
    info = json.loads(Path("data/text/corpus.json").read_text(encoding="utf-8"))
    characters = len(text.removeprefix("\ufeff"))
    assert (info["characters"], info["sha256"]) == (characters, hashlib.sha256(data).hexdigest())
    out, _ = shell.ok("train", *TINY)
    assert out == "runs/text-lstm-1x4/model.safetensors\n"
    for words in ([], [str(file)]):
        scores = json.loads(shell.ok("eval", *words, "--json", "--threads", "1")[0])
        assert scores["unknown"] == 0 and 0 < scores["nats_per_char"] < 20
    assert scores["characters"] == characters + 1
    out, _ = shell.ok("sample", "--length", "20", "--seed", "1", "--jsonl")
    drawn = json.loads(out)["text"]
    assert len(drawn) <= 20 and set(drawn) <= set(text)
    assert shell.ok("sample", "--length", "20", "--seed", "1")[0] == drawn


def test_unpaired_surrogates_are_no_utf_8(shell: Shell) -> None:
    Path("text.txt").write_bytes(b"ab\n" * 9 + "\ud800".encode("utf-8", "surrogatepass"))
    assert "byte 0xED at offset 27 (counted from 0), line 10" in shell.refused("prepare", "text.txt")


def write(data: bytes) -> Callable[[], str]:
    def make() -> str:
        Path("text.txt").write_bytes(data)
        return "text.txt"

    return make


def binaries() -> str:
    Path("folder/below").mkdir(parents=True)
    for name in ("a.png", "b.txt", "below/c.bin"):
        Path("folder", name).write_bytes(b"\x89PNG\0\1\2")
    return "folder"


def loop() -> str:
    Path("one").symlink_to("two")
    Path("two").symlink_to("one")
    return "one"


def below_a_loop() -> str:
    return f"{loop()}/text.txt"


def folder_in_itself() -> str:
    Path("folder").mkdir()
    Path("folder/again").symlink_to(".")
    return "folder"


def closed_door() -> str:
    """A socket: root may read everything, but not this."""
    server = socket.socket(socket.AF_UNIX)
    server.bind("text.txt")
    server.close()
    return "text.txt"


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "empty": (write(b""), "has 0 characters, and at least 2 are needed; give a longer text"),
    "one character": (write(b"a"), "has 1 character, and at least 2 are needed"),
    "one character of four bytes": (write("😀".encode()), "has 1 character, and at least 2 are needed"),
    "nothing but a mark": (write(b"\xef\xbb\xbf"), "has 0 characters"),
    "not UTF-8": (write(b"abc\n" * 5 + b"\xff"), "byte 0xFF at offset 20 (counted from 0), line 6"),
    "not UTF-8 a megabyte later": (
        write(b"abc\n" * (1 << 18) + b"ab\xc3("), f"byte 0xC3 at offset {(1 << 20) + 2} (counted from 0), line 262145",
    ),
    "cut inside a character": (write("abc😀".encode()[:-1]), "byte 0xF0 at offset 3 (counted from 0), line 1"),
    "UTF-16": (write("abcdef".encode("utf-16")), "byte 0xFF at offset 0 (counted from 0), line 1"),
    "nothing but binary files": (binaries, "holds only 3 binary files, and at least one text file is needed"),
    "links in a circle": (loop, "one cannot be read: Too many levels of symbolic links"),
    "below links in a circle": (below_a_loop, "one/text.txt cannot be read: Too many levels of symbolic links"),
    "a folder in itself": (folder_in_itself, "holds no files, and at least one text file is needed"),
    "a closed door": (closed_door, "cannot be read: No such device or address"),
    "nothing": (lambda: "nothing.txt", "nothing.txt is no file, folder or built-in corpus"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_text_that_cannot_be_used_is_refused_in_one_line_and_leaves_nothing(shell: Shell, name: str) -> None:
    make, reason = REFUSED[name]
    word = make()
    assert reason in shell.refused("prepare", word)
    if os.path.exists(word):
        assert reason in shell.refused("train", word, *TINY)
    else:
        assert "is not a prepared corpus" in shell.refused("train", word, *TINY)
    assert not Path("data").exists() or os.listdir("data") == []
    assert not Path("runs").exists()


def test_eval_refuses_what_prepare_refuses(shell: Shell) -> None:
    """But for a single character, which can be scored."""
    Path("good.txt").write_text(text_of(900))
    shell.ok("prepare", "good.txt")
    shell.ok("train", *TINY)
    for name, (make, reason) in REFUSED.items():
        Path("place").mkdir()
        os.chdir("place")
        word = make()
        if name.startswith("one character"):
            scores = json.loads(shell.ok("eval", word, "--json", "--model", "../runs/good-lstm-1x4")[0])
            assert scores["characters"] == 2
        else:
            line = shell.refused("eval", word, "--model", "../runs/good-lstm-1x4")
            assert reason in line or "has no characters" in line
        os.chdir("..")
        shutil.rmtree("place")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_what_may_not_be_read_is_refused(shell: Shell) -> None:
    Path("good.txt").write_text(text_of(900))
    shell.ok("prepare", "good.txt")  # everything is imported now
    Path("locked").mkdir()
    Path("locked/text.txt").write_text("abc")
    Path("closed.txt").write_text("abc")
    Path("closed.txt").chmod(0)
    Path("locked").chmod(0o700 if os.geteuid() == 0 else 0)
    start = Path.cwd()
    places = [folder for folder in (start, *start.parents) if folder.stat().st_mode & 0o005 != 0o005]
    modes = {folder: folder.stat().st_mode & 0o777 for folder in places}
    root = os.geteuid() == 0
    try:
        if root:
            for folder in places:
                folder.chmod(0o755)
            os.seteuid(65534)
        lines = {word: shell.refused("prepare", word) for word in ("closed.txt", "locked", "locked/text.txt")}
    finally:
        if root:
            os.seteuid(0)
        for folder, mode in modes.items():
            folder.chmod(mode)
        Path("locked").chmod(0o700)
    for word, line in lines.items():
        assert f"{word} cannot be read: Permission denied; make it readable" in line


def test_a_file_that_grows_is_what_it_was_at_the_start(
    shell: Shell, soak: Soak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program appends as fast as it can, from when the file's size is looked up until everything is written."""
    line = text_of(1000).encode() + b"\xff\n"  # what comes later is not even UTF-8
    data = text_of(1 << 20).encode() * 4
    over = threading.Event()
    writers: list[threading.Thread] = []
    look = sources._regular

    def write_on() -> None:
        with open("log.txt", "ab", buffering=0) as file:
            while not over.wait(0.0005):
                file.write(line)

    def looked_up(path: Path, name: str) -> object:
        outcome = look(path, name)
        writers.append(threading.Thread(target=write_on))
        writers[-1].start()
        return outcome

    monkeypatch.setattr(sources, "_regular", looked_up)
    grown = 0
    for _ in range(soak.count(1, 20)):
        Path("log.txt").write_bytes(data)
        over.clear()
        shell.ok("prepare", "log.txt", "--force", "--test-fraction", "0")
        over.set()
        writers[-1].join()
        info = json.loads(Path("data/log/corpus.json").read_text())
        assert (info["bytes"], info["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert Path("log.txt").stat().st_size > len(data)
        grown += Path("log.txt").stat().st_size - len(data)
    soak.saw(
        "prepare of a file that another program appends to meanwhile",
        f"{len(writers)} of {len(writers)} times what it was at the start; {grown:,} bytes were appended",
    )


PEAK = """
import re, sys
from pathlib import Path
from charlm.cli.main import run
code = run(sys.argv[1:])
print("peak", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1), file=sys.stderr)
sys.exit(code)
"""


def peak_of(*words: str) -> tuple[str, str, float]:
    """stdout, stderr and peak memory in MB of a process that must end well."""
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    *lines, peak = done.stderr.splitlines()
    return done.stdout, "\n".join(lines), int(peak.split()[1]) / 1024


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Files cannot grow beyond `free` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def bomb(path: Path, megabytes: int) -> None:
    """Unpacks to a thousand times its size."""
    block = b"boom\n" * ((1 << 20) // 5) + b"!"
    with gzip.open(path, "wb", compresslevel=6) as file:
        for _ in range(megabytes):
            file.write(block)
    assert path.stat().st_size < megabytes * 5000


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


@linux
def test_a_gzip_bomb_is_unpacked_a_little_at_a_time(shell: Shell, soak: Soak) -> None:
    """Memory stays that of a small text; what it unpacks to goes into data/NAME as ids, one byte each."""
    whole = soak.count(50, 1000)
    results = {}
    for megabytes in (20, whole):  # more than the pages of a mapped text that are kept
        bomb(Path(f"bomb{megabytes}.txt.gz"), megabytes)
        words = ("--valid-fraction", "0.005", "--test-fraction", "0", "--quiet")
        out, err, results[megabytes] = peak_of("prepare", f"bomb{megabytes}.txt.gz", *words)
        assert (out, err) == (f"data/bomb{megabytes}\n", "")
        sizes = sum(file.stat().st_size for file in Path(f"data/bomb{megabytes}").iterdir())
        assert sizes == pytest.approx(megabytes << 20, rel=0.01)
        Path(f"bomb{megabytes}.txt.gz").unlink()
    small, large = results.values()
    assert large < 150 and large - small < 16
    shell.ok("train", f"bomb{whole}", *TINY)
    assert json.loads(shell.ok("eval", "--json", "--threads", "1")[0])["characters"] > 1000 * whole
    soak.saw(f"a gzip bomb of {whole:,} MB, prepared, trained on, evaluated", f"peak of preparing {large:.0f} MB")


@linux
@pytest.mark.parametrize("way", ["prepare", "train", "eval", "stdin"])
def test_a_full_disk_is_one_line(shell: Shell, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can grow beyond 1 MB; a corpus is as large as the text, unpacked."""
    bomb(Path("bomb.txt.gz"), 4)
    Path("temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(Path("temporary").absolute()))
    words = {
        "prepare": ["prepare", "bomb.txt.gz"],
        "train": ["train", "bomb.txt.gz", *TINY],
        "eval": ["eval", "bomb.txt.gz"],
        "stdin": ["prepare", "-"],
    }[way]
    if way == "eval":
        Path("good.txt").write_text(text_of(900))
        shell.ok("prepare", "good.txt")
        shell.ok("train", *TINY)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abc\n" * 1_000_000)))
    before = sorted(Path().rglob("*"))
    with full_disk(1 << 20):
        code, out, err = shell(*words)
    assert (code, out) == (1, "")
    (line,) = (line for line in err.splitlines() if line.startswith("error:"))
    folder = "data/bomb" if way in ("prepare", "train") else "temporary"
    assert folder in line and "failed: File too large; make room or choose another place" in line
    assert [path for path in sorted(Path().rglob("*")) if path not in before] in ([], [Path("data")])


@pytest.mark.cases(1)
@linux
@pytest.mark.parametrize("documents", ["file", "line"])
def test_a_line_without_an_end(shell: Shell, documents: str, soak: Soak) -> None:
    """100 MB without a line end, also where lines are documents."""
    megabytes = soak.count(4, 100)
    block = text_of(1 << 20).replace("\n", " ").encode()
    with open("line.txt", "wb") as file:
        for _ in range(megabytes):
            file.write(block)
    whole = ("--valid-fraction", "0", "--test-fraction", "0", "--quiet")
    out, err, peak = peak_of("prepare", "line.txt", "--documents", documents, *whole)
    assert (out, err) == ("data/line\n", "") and peak < 150
    assert json.loads(Path("data/line/corpus.json").read_text())["documents"] == 1
    shell.ok("train", *TINY)
    Path("line.txt").write_bytes(block)
    scores = json.loads(shell.ok("eval", "line.txt", "--json", "--threads", "1")[0])
    assert scores["characters"] == (1 << 20) + 1
    assert len(shell.ok("sample", "--length", "30", "--seed", "2")[0]) == 30
    soak.saw(f"a line of {megabytes} MB, documents are {documents}s", f"peak of preparing {peak:.0f} MB")


def test_random_characters_of_all_planes(shell: Shell, soak: Soak) -> None:
    """Texts drawn from everything that Unicode has, surrogates apart, come back as they were."""
    draws = np.random.default_rng(5)
    times = soak.count(3, 200)
    for _ in range(times):
        codes = draws.integers(0, 0x110000, draws.integers(50, 3000))
        codes = codes[(codes < 0xD800) | (codes > 0xDFFF)]
        text = "".join(map(chr, codes)).removeprefix("\ufeff")
        Path("text.txt").write_bytes(text.encode())
        shell.ok("prepare", "text.txt", "--force", "--valid-fraction", "0", "--test-fraction", "0")
        info = json.loads(Path("data/text/corpus.json").read_text(encoding="utf-8"))
        table = [None, None, *info["symbols"]["codes"]]
        ids = np.fromfile("data/text/train.bin", f"<{np.dtype(info['dtype']).str[1:]}")
        assert "".join(table[symbol] or "" for symbol in ids) == text
    soak.saw("texts of random code points of all planes, prepared and read back", f"{times} of {times} as they were")
