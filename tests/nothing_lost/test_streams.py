"""Whatever the terminal is, full, gone, closed or knowing ASCII only, training goes on and sampling never raises."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import command, forks
from running import assert_same_run
from soaking import Soak
from texts import text_of

from charlm.cli import main as entry
from charlm.model import checkpoint

pty = pytest.importorskip("pty")

pytestmark = forks

TRAIN = [
    "train", "--hidden", "8", "--batch-size", "4", "--seq-len", "16", "--steps", "20", "--report-every", "1",
    "--sample-every", "5", "--eval-every", "10", "--threads", "1",
]  # fmt: skip
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "TERM": "xterm"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of letters that ASCII does not have, and a run to compare with."""
    folder = tmp_path_factory.mktemp("place")
    text = text_of(6000).translate(str.maketrans("aeiou", "äëïöü"))
    (folder / "sea.txt").write_text(text, encoding="utf-8")
    assert command(["prepare", "sea.txt", "--quiet"], lambda: os.chdir(folder))[0] == 0
    assert command([*TRAIN, "--run", "whole", "--quiet"], lambda: os.chdir(folder))[0] == 0
    return folder


def start(words: list[str], place: Path, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "charlm", *words], cwd=place, **streams)  # type: ignore[call-overload]


def read_all(terminal: int) -> bytes:
    """Everything a terminal was sent, until its last writer is gone."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so where there is no writer any more
            return shown
        if not piece:
            return shown
        shown += piece


def test_a_terminal_that_knows_only_ascii_shows_question_marks(place: Path) -> None:
    """Its moving bar, panels and samples; and the model is that of a run nobody watched."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **ASCII, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    del environment["PYTHONIOENCODING"]
    process = start([*TRAIN, "--run", "ascii"], place, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_all(ours)
    assert process.wait(timeout=60) == 0, shown.decode("utf-8", "replace")
    assert shown.isascii() and b"sample at step 5" in shown and b"?" in shown
    assert b"runs/ascii/model.safetensors" in shown and b"Traceback" not in shown
    assert_same_run(place / "runs" / "whole", place / "runs" / "ascii")


@pytest.mark.cases(1)
@pytest.mark.parametrize("words", [[], ["--num", "2"], ["--jsonl"], ["--prompt", "sëä"]])
def test_sampling_to_a_terminal_that_knows_only_ascii_never_raises(place: Path, words: list[str]) -> None:
    ours, theirs = pty.openpty()
    sample = ["sample", "--model", "whole", "--length", "80", "--seed", "1", "--quiet", *words]
    process = start(sample, place, env={**os.environ, **ASCII}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_all(ours)
    assert process.wait(timeout=60) == 0 and shown.isascii() and b"Traceback" not in shown
    assert (b"\\u00" if "--jsonl" in words else b"?") in shown


@pytest.mark.long
def test_a_terminal_that_goes_away_does_not_stop_training(place: Path, soak: Soak) -> None:
    """Its window is closed while the bar moves; the process is not its child, as under nohup."""
    ours, theirs = pty.openpty()
    process = start(
        [*TRAIN, "--run", "gone"], place, env={**os.environ, "TERM": "xterm"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"runs/gone/model.safetensors\n")
    assert_same_run(place / "runs" / "whole", place / "runs" / "gone")
    soak.saw("a terminal that goes away under a running bar", "the weights, rows and samples of a run nobody watched")


@pytest.mark.long
def test_a_pipe_whose_reader_leaves_in_the_middle_does_not_stop_training(place: Path, soak: Soak) -> None:
    process = start([*TRAIN, "--run", "left"], place, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    while b"step 3" not in process.stderr.readline():
        assert process.poll() is None
    process.stderr.close()
    assert (process.stdout.read(), process.wait(timeout=60)) == (b"runs/left/model.safetensors\n", 0)
    process.stdout.close()
    assert_same_run(place / "runs" / "whole", place / "runs" / "left")
    soak.saw("a stderr whose reader leaves in the middle", "the weights, rows and samples of a run nobody watched")


def shell(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    """A line of the shell, in which `charlm` is the one of these tests."""
    ours = f'charlm() {{ {sys.executable} -m charlm "$@"; }}; {line}'
    return subprocess.run(["sh", "-c", ours], cwd=place, capture_output=True, text=True, timeout=120)


def test_with_every_stream_closed_training_leaves_whole_files(place: Path) -> None:
    """Files that it opens must not become stdout or stderr, or else whatever is printed goes into them."""
    done = shell(f"charlm {' '.join(TRAIN)} --run closed <&- >&- 2>&-", place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same_run(place / "runs" / "whole", place / "runs" / "closed")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_no_file_becomes_a_closed_stream(tmp_path: Path, closed: str) -> None:
    program = (
        "import os, sys; from charlm.show.terminal import prepare_streams; prepare_streams(); "
        "file = os.open('number', os.O_WRONLY | os.O_CREAT); os.write(file, str(file).encode()); "
        "[os.write(number, b'noise') for number in (1, 2)]"
    )
    done = subprocess.run(["sh", "-c", f'{sys.executable} -c "{program}" {closed}'], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert int((tmp_path / "number").read_text()) > 2


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@full
@pytest.mark.long
def test_a_full_stderr_does_not_stop_training(place: Path, soak: Soak) -> None:
    done = shell(f"charlm {' '.join(TRAIN)} --run full 2>/dev/full", place)
    assert (done.returncode, done.stdout) == (0, "runs/full/model.safetensors\n")
    assert_same_run(place / "runs" / "whole", place / "runs" / "full")
    soak.saw("a stderr on /dev/full", "the weights, rows and samples of a run nobody watched, exit code 0")


@full
@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&-"])
def test_an_error_that_nobody_sees_has_its_exit_code(place: Path, stream: str) -> None:
    assert shell(f"charlm sample --model nothing {stream}", place).returncode == 2


@pytest.mark.cases(2)
@full
@pytest.mark.parametrize(
    "words",
    ["sample --length 20", "info --json", "runs", "prepare sea.txt", "--help"],
)  # fmt: skip
def test_a_full_stdout_is_one_error_for_every_command(place: Path, words: str) -> None:
    before = (place / "data" / "sea" / "train.bin").read_bytes()
    quiet = "" if words.startswith("-") else "--quiet"
    done = shell(f"charlm {words} {quiet} >/dev/full", place)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "No space left" in done.stderr and ("stdout" in done.stderr or words == "--help")
    assert (place / "data" / "sea" / "train.bin").read_bytes() == before


@full
def test_a_full_stdout_of_eval_and_train_is_one_error_and_the_model_is_there(place: Path) -> None:
    """In this process' children, where torch is loaded already."""

    def into_the_full() -> None:
        os.chdir(place)
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    for words in (["eval", "--json"], ["eval"], ["eval", "--bits"], ["train", *TRAIN[1:], "--run", "told"]):
        code, out, err = command([*words, "--quiet"], into_the_full)
        assert (code, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1 and "stdout" in err
    assert_same_run(place / "runs" / "whole", place / "runs" / "told")
    assert checkpoint.load(place / "runs" / "told" / "model.safetensors").weights


def test_a_closed_stdin_is_one_error_where_it_is_read_and_nothing_elsewhere(place: Path) -> None:
    for words in ("sample --prompt-file -", "prepare -"):
        done = shell(f"charlm {words} --quiet <&-", place)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    done = shell("charlm sample --model whole --length 5 --seed 1 --quiet <&-", place)
    assert done.returncode == 0 and len(done.stdout) == 5
    assert shell("charlm sample --model whole --length 5 --quiet >&-", place).returncode == 0


@pytest.mark.cases(1)
@pytest.mark.parametrize("words", ["info", "runs", "sample --length 1000"])
def test_a_reader_that_is_gone_from_the_start_is_no_failure(place: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start([*words.split()], place, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Traceback" not in err and b"error" not in err


def test_a_terminal_that_fails_at_any_moment_does_not_stop_training(
    place: Path, monkeypatch: pytest.MonkeyPatch, soak: Soak
) -> None:
    """After so many writes it takes none any more, in the middle of a bar or a sample; the path is still printed."""
    monkeypatch.chdir(place)

    class Dying(io.StringIO):
        """A terminal that takes so many writes."""

        def __init__(self, writes: int) -> None:
            super().__init__()
            self.left = writes

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            if not self.left:
                raise OSError(5, "Input/output error")
            self.left -= 1
            return super().write(text)

    monkeypatch.setenv("TERM", "xterm")
    for writes in range(0, 40, soak.count(13, 6)):
        terminal = Dying(writes)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            patch.setattr(sys, "stdout", io.StringIO())
            code = entry.run([*TRAIN, "--run", f"dying-{writes}"])
            assert code == 0 and sys.stdout.getvalue() == f"runs/dying-{writes}/model.safetensors\n"  # type: ignore[attr-defined]
            assert sys.stderr is terminal


def test_a_name_that_is_no_utf_8_has_a_question_mark_where_stdout_is_no_terminal(place: Path) -> None:
    strange = os.fsencode(place) + b"/runs/\xfe"
    os.mkdir(strange)
    os.link(os.fsencode(place) + b"/runs/whole/model.safetensors", strange + b"/model.safetensors")
    try:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
        done = start(["runs"], place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = done.communicate(timeout=60)
        assert (done.returncode, err) == (0, b"") and b"whole" in out and b"?" in out
    finally:
        shutil.rmtree(strange)


@pytest.mark.cases(1)
@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["inspect", "find", "--help"]])
def test_a_reader_of_help_may_leave(place: Path, words: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = start(words, place, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    assert (done.communicate(timeout=60)[1], done.returncode) == (b"", 0)
