"""Two processes in one place never write the same files, and whoever reads sees the old file or the new one."""

import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import dying_at, ended, fork, forks, kill
from running import TINY, assert_same_run, assert_same_weights, interrupted
from soaking import Soak
from texts import text_of

from charlm import lock
from charlm.cli import main as entry
from charlm.data.corpus import Corpus
from charlm.data.prepare import prepare
from charlm.errors import CorpusError, RunError
from charlm.evaluation.evaluate import evaluate
from charlm.lock import Lock
from charlm.model import checkpoint
from charlm.sampling.sample import stream
from charlm.training.events import Event, Stepped
from charlm.training.resume import resume
from charlm.training.runs import find_model, summarize
from charlm.training.train import train

pytestmark = forks


def together(*actions: Callable[[], object]) -> list[int]:
    """Exit codes of children that begin at the same moment."""
    start, go = os.pipe()

    def waiting(action: Callable[[], object]) -> object:
        os.close(go)
        os.read(start, 1)
        return action()

    children = [fork(lambda action=action: waiting(action)) for action in actions]
    os.close(start)
    os.close(go)
    return [ended(child) for child in children]


def charlm(*words: str) -> Callable[[], None]:
    return lambda: os._exit(entry.run([*words, "--quiet"]))


def words_of(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_who_waits_goes_on_waiting_where_the_system_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows does after ten seconds."""
    tries, really = [], lock._lock

    def give_up_twice(handle: int, wait: bool) -> None:
        tries.append(wait)
        if len(tries) < 3:
            raise OSError(errno.EDEADLK, "Resource deadlock avoided")
        really(handle, wait)

    monkeypatch.setattr(lock, "_lock", give_up_twice)
    mine = Lock(tmp_path / ".lock")
    assert mine.take(wait=True) and mine.sure and tries == [True] * 3
    mine.release()


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Though each holder removes its file: no count is lost."""
    counter = tmp_path / "count"
    counter.write_text("0")

    def count() -> None:
        for _ in range(100):
            mine = Lock(tmp_path / ".lock")
            assert mine.take(wait=True) and mine.sure
            counter.write_text(str(int(counter.read_text()) + 1))
            mine.release()

    assert together(count, count, count) == [0, 0, 0]
    assert counter.read_text() == "300"
    assert not (tmp_path / ".lock").exists()


def test_a_run_in_training_is_refused_to_others_until_its_process_is_gone(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "steps": 8, "save_every": 1}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)

    def lingering(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 4:
            (tmp_path / "four").touch()
            time.sleep(60)

    child = fork(lambda: train(small_corpus, root=tmp_path, run="busy", report=lingering, **values))
    while not (tmp_path / "four").exists():
        time.sleep(0.01)
    before = {file.name: file.read_bytes() for file in (tmp_path / "busy").iterdir()}
    with pytest.raises(RunError, match="busy is in use: another process trains there") as caught:
        resume("busy", root=tmp_path, corpus=small_corpus)
    assert caught.value.exit_code == 2
    with pytest.raises(RunError, match="busy exists"):
        train(small_corpus, root=tmp_path, run="busy", **values)
    assert {file.name: file.read_bytes() for file in (tmp_path / "busy").iterdir()} == before
    assert kill(child) == -9
    assert (tmp_path / "busy" / ".lock").exists(), "what is left behind must lock nobody out"
    assert_same_run(whole.path, resume("busy", root=tmp_path, corpus=small_corpus).path)
    assert not (tmp_path / "busy" / ".lock").exists()


def test_a_run_goes_on_where_nothing_can_be_locked(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(handle: int, wait: bool) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", unknown)
    path = interrupted(small_corpus, tmp_path, "parts", 2, steps=4, **TINY)
    assert resume(path, corpus=small_corpus).step == 4
    assert prepare(small_corpus.origin[0], out=str(tmp_path / "data")).characters == small_corpus.characters


def test_a_folder_in_which_something_else_lies_is_no_place_for_a_run(small_corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match="exists"):
        train(small_corpus, root=tmp_path, run="mine", steps=1, **TINY)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_runs_begun_at_once_get_folders_of_their_own_or_are_refused(
    small_corpus: Corpus, tmp_path: Path, soak: Soak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = words_of({**TINY, "steps": 4, "save_every": 1, "threads": 1})
    begin = ["train", str(small_corpus.path), *values]
    whole = train(small_corpus, root=tmp_path, run="whole", **{**TINY, "steps": 4, "save_every": 1})
    tried = soak.count(1, 50)
    for number in range(tried):
        assert together(charlm(*begin), charlm(*begin)) == [0, 0]
        assert sorted(together(*[charlm(*begin, "--run", f"named-{number}")] * 2)) == [0, 2]
        path = interrupted(small_corpus, tmp_path / "runs", f"parts-{number}", 2, steps=4, **{**TINY, "save_every": 1})
        assert sorted(together(*[charlm("train", "--resume", path.name, str(small_corpus.path))] * 2)) == [0, 2]
        assert_same_run(whole.path, path)
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    named = {f"{kind}-{number}" for kind in ("named", "parts") for number in range(tried)}
    assert names - named == {"small-lstm-1x8", *(f"small-lstm-1x8-{number}" for number in range(2, 2 * tried + 1))}
    for name in sorted(names):
        assert_same_run(whole.path, tmp_path / "runs" / name)
    soak.saw(
        "two `charlm train` at the same moment",
        f"{tried} times each without `--run`, with the same `--run`, and with the same `--resume`: numbered folders, "
        f"and one of two refused; every run has the weights and rows of one alone",
    )


def files_of(corpus: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in corpus.iterdir() if file.suffix == ".bin"}


def texts(folder: Path, sizes: Sequence[int]) -> list[Path]:
    """Texts of the same name in folders of their own."""
    made = []
    for size in sizes:
        path = folder / str(size) / "sea.txt"
        path.parent.mkdir()
        path.write_text(text_of(size, seed=size))
        made.append(path)
    return made


def test_preparing_one_name_at_once_leaves_one_whole_corpus(tmp_path: Path, soak: Soak) -> None:
    sources = texts(tmp_path, (900, 1200))
    whole = [files_of(prepare(text, out=str(tmp_path / f"alone-{text.parent.name}")).path) for text in sources]
    tried = soak.count(2, 100)
    for number in range(tried):
        data = tmp_path / f"data-{number}"
        for options in ([], ["--force"]):
            prepares = [charlm("prepare", str(text), "--out", str(data), *options) for text in sources]
            outcomes = together(*prepares, prepares[number % 2])
            assert set(outcomes) == ({0} if options else {0, 2})
            Corpus.load(data / "sea")
            assert files_of(data / "sea") in whole
            assert [path.name for path in data.iterdir()] == ["sea"]
    soak.saw("three `charlm prepare` of one name at the same moment", f"{2 * tried} times: the corpus was whole")


def test_a_killed_preparation_loses_nothing_and_the_next_one_tidies_up(tmp_path: Path, soak: Soak) -> None:
    first, second = texts(tmp_path, (900, 1200))
    data = tmp_path / "data"
    files = ("charlm/files.py", "charlm/data/prepare.py", "charlm/lock.py")
    with dying_at(-1, *files) as lines:
        corpus = prepare(first, out=str(data))
    old, other = files_of(corpus.path), files_of(prepare(second, out=str(tmp_path / "other")).path)

    def dies(moment: int) -> None:
        with dying_at(moment, *files):
            prepare(second, out=str(data), force=True)

    tried = soak.count(8, lines[0])
    for number in range(tried):
        assert ended(fork(lambda number=number: dies(number * lines[0] // tried))) == -9
        Corpus.load(corpus.path)
        assert files_of(corpus.path) in (old, other)
        prepare(first, out=str(data), force=True)
        assert files_of(corpus.path) == old
        assert [path.name for path in data.iterdir()] == ["sea"]
    soak.saw(
        "SIGKILL of `charlm prepare --force` before every line of the code that writes",
        f"{tried} of {lines[0]} lines: the old corpus or the new one, whole; the next one left nothing by the side",
    )


def test_replacing_a_corpus_under_a_running_training_harms_neither(small_text: Path, tmp_path: Path) -> None:
    """The training has the old files mapped; going on later says that they are gone."""
    text = tmp_path / "small.txt"
    text.write_bytes(small_text.read_bytes())
    values = {**TINY, "steps": 30, "save_every": 5}
    whole = train(prepare(text, out=str(tmp_path / "data")), root=tmp_path, run="whole", **values)
    replaced = []

    def report(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            text.write_text(text_of(9000, seed=5))
            replaced.append(prepare(text, out=str(tmp_path / "data"), force=True))

    def failing(event: Event) -> None:
        report(event)
        if isinstance(event, Stepped) and event.step == 20:
            raise RuntimeError("stopped half way")

    done = train(Corpus.load(tmp_path / "data" / "small"), root=tmp_path, run="under", report=report, **values)
    assert_same_weights(whole.path / "last.safetensors", done.path / "last.safetensors")
    assert Corpus.load(tmp_path / "data" / "small").info == replaced[0].info
    assert np.asarray(replaced[0].split("train")).size - 1 == replaced[0].info["splits"]["train"]["symbols"]
    text.write_bytes(small_text.read_bytes())
    corpus = prepare(text, out=str(tmp_path / "data"), force=True)
    with pytest.raises(RuntimeError, match="half way"):
        train(corpus, root=tmp_path, run="half", report=failing, **values)
    with pytest.raises(CorpusError, match="not the corpus this run began with"):
        resume("half", root=tmp_path)


def test_whoever_reads_a_model_while_it_is_replaced_sees_a_whole_one(
    small_corpus: Corpus, tmp_path: Path, soak: Soak
) -> None:
    values = {**TINY, "steps": soak.count(120, 6000), "save_every": 1, "eval_every": 0, "threads": 1, "report_every": 0}
    child = fork(lambda: train(small_corpus, root=tmp_path, run="busy", **values))
    last = tmp_path / "busy" / "last.safetensors"
    while not last.exists():
        time.sleep(0.001)
    steps, reads = set(), 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        model = checkpoint.load(last)
        steps.add(model.training["step"])
        assert checkpoint.read_header(last).parameters
        assert find_model("busy/last.safetensors", tmp_path) == last
        assert [summary.name for summary in summarize(tmp_path)] == ["busy"]
        if reads % 10 == 0:
            assert len("".join(stream(model, length=5, seed=1))) == 5
            assert evaluate(model, split="valid", data=small_corpus.path.parent).score.characters
        reads += 1
    assert len(steps) > 5, "the model was not replaced while it was read"
    soak.saw(
        "reading a model that a run replaces after every step",
        f"{reads} times loaded, described and listed, of {len(steps)} different steps: always whole",
    )
