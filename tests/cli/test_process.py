"""charlm as a process: what it imports, how it ends on signals and closed pipes, and terminals that cannot print."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import command, ended, fork, forks
from texts import text_of

from charlm.cli.main import main
from charlm.cli.signals import stop
from charlm.training.run_folder import RunFolder

pytestmark = forks
SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-len", "16", "--threads", "1"]


def charlm(
    *words: str, cwd: Path, env: dict[str, str] | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    started = [sys.executable, "-m", "charlm", *words]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(started, cwd=cwd, env=environment, text=True, capture_output=True, timeout=120, input=given)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "sea.txt").write_text(text_of(6000) + "é", encoding="utf-8")
    for words in (["prepare", "sea.txt"], ["train", *SMALL, "--steps", "4"]):
        assert command(words, lambda: os.chdir(folder))[0] == 0
    return folder


def test_what_needs_no_tensors_starts_without_torch(place: Path) -> None:
    lines = [
        "--help",
        "train --help",
        "info",
        "runs",
        "prepare sea.txt",
        "sample --length 5",
        "corpora list",
        "presets",
        "presets char-rnn",
        "train --preset char-rnn --help",
    ]
    program = (
        "import sys; from charlm.cli.main import run\n"
        "for line in sys.argv[1:]:\n"
        "    code = run(line.split()); assert not code and 'torch' not in sys.modules, line"
    )
    done = subprocess.run([sys.executable, "-c", program, *lines], cwd=place, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_help_needs_no_numbers_and_no_pages(place: Path) -> None:
    program = (
        "import sys; from charlm.cli.main import run; run(sys.argv[1:]); "
        "print({'numpy', 'jinja2', 'safetensors'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, "--help"], cwd=place, text=True, capture_output=True)
    assert done.stderr.splitlines()[-1] == "set()"


def test_importing_the_package_loads_nothing(place: Path) -> None:
    program = "import sys, charlm; print({'numpy', 'torch', 'typer', 'rich', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=place, text=True, capture_output=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.every_case
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_exits_with_130_and_the_run_goes_on(place: Path, number: signal.Signals) -> None:
    """Started with the signals ignored, as a shell starts programs in the background."""
    name = f"stopped-{number.name}"

    def program() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.chdir(place)
        for stream, file in (("stdout", "out"), ("stderr", "err")):
            setattr(sys, stream, open(f"{name}.{file}", "w", encoding="utf-8"))
        sys.argv = ["charlm", "train", *SMALL, "--steps", "1000000", "--report-every", "1", "--run", name]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)  # type: ignore[arg-type]

    process = fork(program)
    metrics = place / "runs" / name / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process, number)
    assert ended(process) == 130
    out, err = ((place / f"{name}.{file}").read_text(encoding="utf-8") for file in ("out", "err"))
    assert out == ""
    assert "--resume" in err.splitlines()[-1] and "Traceback" not in err
    step = int(re.search(r"stopped at step ([\d,]+)", err).group(1).replace(",", ""))  # type: ignore[union-attr]
    code, _, err = command(["train", "--resume", name, "--steps", str(step + 3)], lambda: os.chdir(place))
    assert code == 0, err


def test_a_terminal_that_is_closed_saves_first(place: Path) -> None:
    """The kernel sends SIGHUP to what runs there, and writing to it fails from then on."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(place)
        words = ["train", *SMALL, "--steps", "1000000", "--report-every", "1", "--run", "hung-up"]
        os.execv(sys.executable, [sys.executable, "-m", "charlm", *words])
    metrics, deadline = place / "runs/hung-up/metrics.jsonl", time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 1 << 16)
    os.close(terminal)
    assert ended(child) == 130
    last = json.loads(metrics.read_text().splitlines()[-1])["step"]
    assert RunFolder(place / "runs/hung-up").restore().state.step == last


def test_nohup_keeps_a_run_going(place: Path) -> None:
    def program() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir(place)
        stop.install()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.immediate and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    assert ended(fork(program)) == 0


def test_a_reader_that_leaves_is_no_failure(place: Path) -> None:
    started = [sys.executable, "-m", "charlm", "sample", "--length", "1000000", "--quiet"]
    with subprocess.Popen(started, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(process.stdout.read(20)) == 20
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_a_stdout_that_knows_only_ascii_gets_question_marks(place: Path) -> None:
    words = ["sample", "--prompt", "é", "--length", "3", "--seed", "1", "--quiet"]
    done = charlm(*words, cwd=place, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0 and done.stdout.startswith("?")
    assert charlm(*words, cwd=place, env={"PYTHONIOENCODING": "utf-8"}).stdout.startswith("é")


def test_a_closed_stderr_does_not_stop_training(place: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def deaf() -> None:
        os.chdir(place)
        os.dup2(writer, 2)

    words = ["train", *SMALL, "--steps", "30", "--report-every", "1", "--sample-every", "5", "--run", "deaf"]
    assert command(words, deaf)[:2] == (0, "runs/deaf/model.safetensors\n")
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_one_error_line(place: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charlm", "sample", "--length", "5", "--quiet"], cwd=place, stdout=full,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error:") and done.stderr.count("\n") == 1 and "space" in done.stderr


def test_preparing_from_stdin_and_scoring_stdin(place: Path) -> None:
    done = charlm("prepare", "-", "--name", "piped", cwd=place, given=text_of(500))
    assert (done.returncode, done.stdout) == (0, "data/piped\n")

    def reading(text: str) -> None:
        os.chdir(place)
        Path("given").write_text(text)
        os.dup2(os.open("given", os.O_RDONLY), 0)
        sys.stdin = open(0, encoding="utf-8", closefd=False)

    code, out, _ = command(["eval", "-", "--model", "sea-lstm-1x8", "--bits"], lambda: reading("the sea"))
    assert code == 0 and 0 < float(out) < 20
    words = ["sample", "--model", "sea-lstm-1x8", "--prompt-file", "-", "--length", "2"]
    code, out, _ = command(words, lambda: reading("the "))
    assert code == 0 and out.startswith("the ")


def test_shell_completion_knows_the_commands_and_choices(place: Path) -> None:
    environment = {"_CHARLM_COMPLETE": "complete_bash", "COMP_WORDS": "charlm tr", "COMP_CWORD": "1"}
    done = subprocess.run(["charlm"], cwd=place, env=_with_path(environment), text=True, capture_output=True)
    assert "train" in done.stdout.split()
    environment = {"_CHARLM_COMPLETE": "complete_bash", "COMP_WORDS": "charlm train --cell ", "COMP_CWORD": "3"}
    done = subprocess.run(["charlm"], cwd=place, env=_with_path(environment), text=True, capture_output=True)
    assert {"rnn", "lstm", "gru"} <= set(done.stdout.split())


def _with_path(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **more}
