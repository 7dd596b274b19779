"""Ctrl-C during a training that was started from Python."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from running import TINY, assert_same_run

from charlm.data.corpus import Corpus
from charlm.training.events import Event, Stepped
from charlm.training.resume import resume
from charlm.training.train import train


class PressingCtrlC:
    """Presses Ctrl-C some times when a step is reported."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times = step, times

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def usual_handler() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_it_saves_first_and_the_run_resumes_bit_for_bit(small_corpus: Corpus, tmp_path: Path) -> None:
    values = {**TINY, "steps": 20}
    whole = train(small_corpus, root=tmp_path, run="whole", **values)
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step 7, everything is saved; .*--resume"):
        train(small_corpus, root=tmp_path, run="parts", report=PressingCtrlC(7), **values)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 12"):
        resume(tmp_path / "parts", corpus=small_corpus, report=PressingCtrlC(12))
    parts = resume(tmp_path / "parts", corpus=small_corpus)
    assert_same_run(whole.path, parts.path)


def test_a_second_one_does_not_wait(small_corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        train(small_corpus, root=tmp_path, run="twice", report=PressingCtrlC(3, times=2), **TINY)
    assert "saved" not in str(caught.value)


def test_a_handler_of_the_program_stays(small_corpus: Corpus, tmp_path: Path) -> None:
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        result = train(small_corpus, root=tmp_path, run="own", report=PressingCtrlC(3), **{**TINY, "steps": 5})
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert pressed == [signal.SIGINT] and result.step == 5


def test_in_a_thread_training_works_as_usual(small_corpus: Corpus, tmp_path: Path) -> None:
    results: list[Any] = []
    values = {**TINY, "steps": 5}
    thread = threading.Thread(target=lambda: results.append(train(small_corpus, root=tmp_path, run="t", **values)))
    thread.start()
    thread.join()
    assert results[0].step == 5
