"""Every command with a model of words, as a user meets it."""

import json
from pathlib import Path

import pytest
from texts import text_of

from charlm.cli import main as entry
from charlm.tokenizers.word import split_words

SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-len", "8", "--steps", "12", "--threads", "1"]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs command lines in a folder with a corpus of words and a model of it; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    Path("sea.txt").write_text(text_of(8000), encoding="utf-8")

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = entry.run(list(words))
        out, err = capfd.readouterr()
        return code, out, err

    code, _, err = run("prepare", "sea.txt", "--unit", "word", "--words", "20", "--valid-fraction", "0.1")
    assert code == 0 and "unknown" in err and "--words takes more" in err
    code, _, err = run("train", *SMALL)
    assert code == 0 and "bits per word over" in err and "per character" not in err and "words to train on" in err
    return run


def test_eval_says_both_numbers_and_what_unknown_words_cost(shell):
    code, out, _ = shell("eval", "--json")
    scores = json.loads(out)
    assert code == 0 and scores["symbols"] < scores["characters"] / 2 and scores["unknown"] > 0
    assert scores["bits_per_symbol"] * scores["symbols"] == pytest.approx(
        scores["bits_per_char"] * scores["characters"]
    )
    assert scores["spelled_bits_per_char"] > scores["bits_per_char"]
    code, out, _ = shell("eval")
    assert code == 0 and "spelled out" in out and f"{scores['spelled_bits_per_char']:.4f}" in out
    assert f"{scores['perplexity_per_symbol']:.4f} each" in out
    code, out, err = shell("eval", "--baselines")
    assert code == 0 and "unigram" in out and "xz" in out


def test_sample_prompts_and_streams_words(shell):
    words = json.loads(shell("info", "--json")[1])["symbols"]["codes"]
    known = next(word for word in words if word.strip().isalpha()).strip()
    prompt = known if known in words else f" {known}"
    code, out, _ = shell("sample", "--prompt", prompt, "--length", "100", "--seed", "1")
    assert code == 0 and out.startswith(prompt) and 100 <= len(out) - len(prompt) < 141
    code, out, err = shell("sample", "--prompt", f"{prompt} zebra qqq", "--seed", "1")
    assert code == 2 and out == "" and "' zebra'" in err and "' qqq'" in err
    code, out, _ = shell("sample", "--num", "3", "--length", "30", "--seed", "1", "--jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and all(30 <= row["characters"] == len(row["text"]) < 71 for row in rows)


def test_novelty_counts_words(shell):
    pytest.importorskip("pydivsufsort")
    code, _, err = shell("sample", "--length", "60", "--seed", "1", "--novelty")
    assert code == 0 and "words at " in err and "characters" not in err.partition("longest copy")[2]


def test_score_gives_bits_of_each_word(shell, tmp_path):
    (tmp_path / "lines.txt").write_text("the sea\nzebra was\n", encoding="utf-8")
    code, out, _ = shell("score", "lines.txt", "--json", "--per-char", "--end", "boundary")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["characters"] for row in rows] == [8, 10]
    assert [len(row["per_char"]) for row in rows] == [len(split_words(row["line"])) + 1 for row in rows]
    assert rows[1]["unknown"] >= 1 and rows[1]["spelling_bits"] > 20


def test_files_come_back_and_inspection_shows_words_or_refuses(shell):
    pytest.importorskip("constriction")
    assert shell("compress", "sea.txt", "--out", "sea.packed")[0] == 0
    assert shell("decompress", "sea.packed", "--out", "again.txt")[0] == 0
    assert Path("again.txt").read_bytes() == Path("sea.txt").read_bytes()
    code, out, _ = shell("inspect", "surprise", "--top", "2", "--chars", "50")
    assert code == 0 and "␣" in out.splitlines()[3]
    assert shell("inspect", "surprise", "--html", "page.html")[0] == 0
    for words in (["cells", "--unit", "0:1"], ["gates"], ["gradients"]):
        code, _, err = shell("inspect", *words)
        assert code == 0, err
    for words in (["find"], ["ablate", "--unit", "0:1"]):
        code, out, err = shell("inspect", *words)
        assert code == 2 and out == "" and "symbols are words" in err


def test_words_belong_to_words(shell):
    code, out, err = shell("prepare", "sea.txt", "--words", "20", "--name", "other")
    assert code == 2 and out == "" and "add --unit word" in err
    code, _, err = shell("prepare", "sea.txt", "--unit", "words", "--name", "other")
    assert code == 2 and "did you mean word?" in err
