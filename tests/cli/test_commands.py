"""The command line as a user meets it: what goes to which stream, what it says, and how it exits."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from texts import text_of

from charlm.cli import main as entry
from charlm.config import EvalOptions, MeasureOptions, PrepareOptions, SampleOptions, TrainOptions
from charlm.model import checkpoint
from charlm.spec import flag

SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-len", "16"]


class Shell:
    """Runs command lines in a folder of their own, in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        self._capfd.readouterr()
        code = entry.run(list(words))
        out, err = self._capfd.readouterr()
        return code, out, err

    def ok(self, *words: str) -> str:
        """stdout of a command that must succeed."""
        code, out, err = self(*words)
        assert code == 0, err
        return out

    def refused(self, code: int, *words: str) -> str:
        """The one error line of a command that must fail with that code and print nothing."""
        found, out, err = self(*words)
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        assert (found, out, len(lines)) == (code, "", 1), err
        assert "Traceback" not in err
        return lines[0]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    Path("sea.txt").write_text(text_of(6000), encoding="utf-8")
    return Shell(capfd)


@pytest.fixture
def trained(shell: Shell) -> Shell:
    shell.ok("prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.1")
    shell.ok("train", *SMALL, "--steps", "12", "--threads", "1")
    return shell


def test_the_four_commands_in_a_row(shell: Shell) -> None:
    assert shell.ok("prepare", "sea.txt") == "data/sea\n"
    assert (
        shell.ok("train", "--cell", "lstm", "--layers", "3", *SMALL, "--steps", "5")
        == "runs/sea-lstm-3x8/model.safetensors\n"
    )
    assert {path.name for path in Path("runs/sea-lstm-3x8").iterdir()} == {
        "model.safetensors", "last.safetensors", "progress.safetensors", "metrics.jsonl", "config.toml",
        "curve.svg",
    }  # fmt: skip
    assert 1 < float(shell.ok("eval", "--perplexity")) < 60
    assert len(shell.ok("sample", "--temperature", "0.8", "--length", "50")) == 50


def test_training_takes_a_text_and_prepares_it_again_when_it_changed(shell: Shell) -> None:
    shell.ok("train", "sea.txt", *SMALL, "--steps", "2")
    first = json.loads(Path("data/sea/corpus.json").read_text())["sha256"]
    shell.ok("train", "sea.txt", *SMALL, "--steps", "2")
    assert json.loads(Path("data/sea/corpus.json").read_text())["sha256"] == first
    Path("sea.txt").write_text(text_of(7000, seed=1))
    shell.ok("train", "sea.txt", *SMALL, "--steps", "2")
    assert json.loads(Path("data/sea/corpus.json").read_text())["sha256"] != first
    other = Path("other")
    other.mkdir()
    (other / "sea.txt").write_text(text_of(5000, seed=2))
    assert "another name" in shell.refused(2, "train", "other/sea.txt", *SMALL, "--steps", "2")


def test_a_changed_text_keeps_the_options_it_was_prepared_with(shell: Shell) -> None:
    shell.ok("prepare", "sea.txt", "--unit", "byte", "--valid-fraction", "0.2")
    Path("sea.txt").write_text(text_of(7000, seed=1))
    shell.ok("train", "sea.txt", *SMALL, "--steps", "2")
    options = json.loads(Path("data/sea/corpus.json").read_text())["options"]
    assert (options["unit"], options["valid_fraction"]) == ("byte", 0.2)


def test_eval_prints_one_number_or_json_and_all_agree(trained: Shell) -> None:
    scores = json.loads(trained.ok("eval", "--json"))
    assert set(scores) == {
        "characters", "bytes", "unknown", "documents", "nats_per_char", "bits_per_char", "bits_per_byte", "perplexity",
        "symbols", "spelled_bits_per_char", "bits_per_symbol", "perplexity_per_symbol",
        "seconds", "chars_per_second", "model", "text", "protocol", "interval_blocks",
        *(f"{key}_{end}" for key in ("nats_per_char", "bits_per_char", "perplexity") for end in ("low", "high")),
    }  # fmt: skip
    nats = float(trained.ok("eval", "--nats"))
    assert nats == pytest.approx(scores["nats_per_char"], abs=1e-6)
    assert float(trained.ok("eval", "--bits")) == pytest.approx(nats / np.log(2), abs=2e-6)
    assert float(trained.ok("eval", "--perplexity")) == pytest.approx(np.exp(nats), rel=1e-5)
    assert scores["bits_per_byte"] * scores["bytes"] == pytest.approx(scores["bits_per_char"] * scores["characters"])
    shown = trained.ok("eval")
    assert f"{scores['bits_per_char']:.4f}" in shown and "segments of 1024" in shown


def test_eval_scores_any_text_and_counts_what_it_does_not_know(trained: Shell) -> None:
    Path("new.txt").write_text("the sea é\n")
    scores = json.loads(trained.ok("eval", "new.txt", "--json"))
    assert (scores["characters"], scores["unknown"], scores["documents"], scores["bytes"]) == (11, 1, 1, 11)
    assert (scores["symbols"], scores["bits_per_symbol"]) == (11, scores["bits_per_char"])
    assert scores["spelled_bits_per_char"] == pytest.approx(scores["bits_per_char"] + np.log2(0x110000) / 11)
    exact = json.loads(trained.ok("eval", "new.txt", "--json", "--exact"))
    assert exact["nats_per_char"] == pytest.approx(scores["nats_per_char"], abs=1e-6)
    assert exact["protocol"].startswith("exact")


def test_eval_refuses_a_corpus_that_is_not_the_models(trained: Shell) -> None:
    Path("sea.txt").write_text(text_of(7000, seed=1))
    trained.ok("prepare", "sea.txt", "--force")
    assert "not the corpus" in trained.refused(2, "eval")


def test_eval_uses_valid_where_there_is_no_test_split_and_says_so(shell: Shell) -> None:
    shell.ok("prepare", "sea.txt", "--test-fraction", "0")
    shell.ok("train", *SMALL, "--steps", "2")
    code, _, err = shell("eval")
    assert code == 0 and "the valid split of data/sea, which has no test split" in err


def test_eval_refuses_the_same_text_prepared_in_another_way(trained: Shell) -> None:
    """Its test split would hold text that the model was trained on."""
    trained.ok("prepare", "sea.txt", "--test-fraction", "0.5", "--force")
    assert "other options" in trained.refused(2, "eval")


def test_eval_without_any_split_to_score_is_a_clear_error(shell: Shell) -> None:
    shell.ok("prepare", "sea.txt", "--test-fraction", "0", "--valid-fraction", "0")
    shell.ok("train", *SMALL, "--steps", "2")
    assert "no valid split" in shell.refused(2, "eval")


def test_batch_size_does_not_change_the_score(trained: Shell) -> None:
    Path("long.txt").write_text(text_of(5000, seed=4))
    scores = [float(trained.ok("eval", "long.txt", "--nats", "--batch-size", size)) for size in ("1", "3", "64")]
    assert max(scores) - min(scores) <= 1e-6


def test_sampling_is_repeatable_by_seed_and_echoes_the_prompt(trained: Shell) -> None:
    first = trained.ok("sample", "--prompt", "the ", "--seed", "5", "--length", "40")
    assert first.startswith("the ") and len(first) == 44
    assert trained.ok("sample", "--prompt", "the ", "--seed", "5", "--length", "40") == first
    assert trained.ok("sample", "--prompt", "the ", "--seed", "5", "--length", "40", "--no-echo") == first[4:]
    Path("prompt.txt").write_text("the ")
    assert trained.ok("sample", "--prompt-file", "prompt.txt", "--seed", "5", "--length", "40") == first
    code, _, err = trained("sample", "--length", "1")
    seed = re.search(r"seed: (\d+)", err)
    assert code == 0 and seed is not None


def test_samples_side_by_side_are_the_single_ones(trained: Shell) -> None:
    three = trained.ok("sample", "--num", "3", "--seed", "7", "--length", "30").split("\n" + "-" * 40 + "\n")
    assert three[0] == trained.ok("sample", "--seed", "7", "--length", "30")
    rows = [
        json.loads(line)
        for line in trained.ok("sample", "--num", "3", "--seed", "7", "--length", "30", "--jsonl").splitlines()
    ]
    assert [row["text"] for row in rows] == [*three[:2], three[2].removesuffix("\n")]
    assert [row["index"] for row in rows] == [0, 1, 2]


def test_temperature_zero_is_greedy_whatever_the_seed(trained: Shell) -> None:
    texts = {trained.ok("sample", "--temperature", "0", "--seed", seed, "--length", "40") for seed in "123"}
    assert len(texts) == 1
    assert trained.ok("sample", "--top-k", "1", "--length", "40", "--seed", "9") in texts


def test_filters_narrow_what_is_drawn(trained: Shell) -> None:
    every = ["--length", "300", "--seed", "1"]
    wide = set(trained.ok("sample", *every))
    assert trained.ok("sample", *every, "--top-k", "100000") == trained.ok("sample", *every)
    for narrow in (["--top-k", "3"], ["--top-p", "0.3"], ["--min-p", "0.95"]):
        assert len(set(trained.ok("sample", *every, *narrow))) < len(wide)


def test_a_stop_string_ends_before_it(trained: Shell) -> None:
    whole = trained.ok("sample", "--seed", "3", "--length", "200")
    stop = whole[60:63]
    assert trained.ok("sample", "--seed", "3", "--length", "200", "--stop", stop) == whole[: whole.index(stop)]


def test_names_as_lines_sample_one_to_a_line_and_until_their_end(shell: Shell) -> None:
    Path("names.txt").write_text("".join(f"{name}\n" for name in ("anna", "otto", "ida", "emil", "nora") * 60))
    shell.ok("prepare", "names.txt", "--documents", "line")
    sizes = ["--hidden", "32", "--batch-size", "4", "--seq-len", "16", "--dropout", "0", "--lr", "0.02"]
    shell.ok("train", "--cell", "gru", *sizes, "--epochs", "40")
    name = shell.ok("sample", "--until-end", "--seed", "1")
    assert name in {"anna", "otto", "ida", "emil", "nora"}
    lines = shell.ok("sample", "--length", "60", "--seed", "1", "--temperature", "0.5").splitlines()
    assert len(lines) > 5 and set(lines[:-1]) <= {"anna", "otto", "ida", "emil", "nora"}


def test_a_prompt_with_an_unknown_character_prints_nothing_but_the_error(trained: Shell) -> None:
    line = trained.refused(2, "sample", "--prompt", "the é")
    assert "'é'" in line and "U+00E9" in line and "4" in line


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["prepare", "nothing.txt"], ["nothing.txt", "python-stdlib"]),
        (["prepare"], ["SOURCE", "prepare --help"]),
        (["train", "--hidden", "0"], ["--hidden", "at least 1", "'0'"]),
        (["train", "--lr", "nan"], ["--lr", "nan"]),
        (["train", "--cell", "lstmm"], ["--cell", "did you mean lstm"]),
        (["train", "--activation", "relu"], ["--activation relu", "--cell rnn"]),
        (["train", "--steps", "5", "--time", "5s"], ["--steps", "--time"]),
        (["train", "--time", "soon"], ["--time", "10m"]),
        (["train", "--hiden", "5"], ["--hidden"]),
        (["train", "--batch-size", "1000", "--seq-len", "1000"], ["--batch-size", "fits"]),
        (["train", "--device", "cuda:9"], ["--device"]),
        (["train", "--resume", "nosuch"], ["nosuch"]),
        (["train", "--resume", "x", "--run", "y"], ["--resume", "--run"]),
        (["train", "nosuch"], ["nosuch", "charlm prepare"]),
        (["train", "--config", "nosuch.toml"], ["nosuch.toml"]),
        (["eval", "--model", "nosuch"], ["'nosuch'", "model"]),
        (["eval", "--model", "sea.txt"], ["sea.txt", "model"]),
        (["eval", "--bits", "--nats"], ["--bits", "--nats"]),
        (["eval", "sea.txt", "--split", "train"], ["--split", "sea.txt"]),
        (["sample", "--prompt", "a", "--prompt-file", "b"], ["--prompt", "--prompt-file"]),
        (["sample", "--temperature", "-1"], ["--temperature", "at least 0"]),
        (["sample", "--stop", ""], ["--stop"]),
        pytest.param(
            ["sample", "--device", "cuda"], ["--device cuda", "--device cpu"],
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (["info", "data"], ["data"]),
        (["nosuch"], ["nosuch", "--help"]),
        (["--nosuch"], ["--nosuch"]),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_that_says_what_to_do(trained: Shell, words: list[str], wanted: list[str]) -> None:
    line = trained.refused(2, *words)
    for part in wanted:
        assert part in line


def test_debug_shows_the_traceback_and_still_the_line(shell: Shell) -> None:
    code, out, err = shell("prepare", "nothing.txt", "--debug")
    assert (code, out) == (2, "") and "Traceback" in err and "\nerror: nothing.txt" in err


def test_quiet_leaves_only_the_result(shell: Shell) -> None:
    for words in (
        ["prepare", "sea.txt"],
        ["train", *SMALL, "--steps", "3"],
        ["eval"],
        ["sample", "--length", "3"],
        ["info"],
        ["runs"],
    ):
        code, out, err = shell(*words, "--quiet")
        assert (code, err) == (0, "") and out, words


def test_a_configuration_file_sets_options_and_flags_win(shell: Shell) -> None:
    shell.ok("prepare", "sea.txt")
    Path("my.toml").write_text('cell = "gru"\nhidden = 6\n[train]\nseq-len = 10\nsteps = 2\n[sample]\nlength = 3\n')
    assert shell.ok("train", "--config", "my.toml", "--hidden", "7") == "runs/sea-gru-1x7/model.safetensors\n"
    assert "seq_len = 10" in Path("runs/sea-gru-1x7/config.toml").read_text()
    Path("bad.toml").write_text("hiden = 6\n")
    assert "did you mean hidden" in shell.refused(2, "train", "--config", "bad.toml")
    Path("table.toml").write_text("[trian]\nhidden = 3\n")
    assert "'trian'" in shell.refused(2, "train", "--config", "table.toml")
    Path("steps.toml").write_text("steps = 3\n")
    assert "0s by the clock" not in shell.ok("train", "--config", "steps.toml", "--time", "3s", *SMALL, "--dry-run")
    Path("odd.toml").write_text("hidden = 'many'\n")
    assert "--hidden" in shell.refused(2, "train", "--config", "odd.toml")


def test_a_dry_run_says_everything_and_writes_nothing(shell: Shell) -> None:
    shell.ok("prepare", "sea.txt")
    out = shell.ok("train", *SMALL, "--dry-run")
    assert not Path("runs").exists()
    for part in ("parameters", "memory", "left over", "ms per step", "time: about"):
        assert part in out
    assert "passes over the text" in shell.ok("train", *SMALL, "--dry-run", "--time", "10m")


def test_resume_and_init_from_on_the_command_line(trained: Shell) -> None:
    run = "sea-lstm-1x8"
    assert "finished" in trained.refused(2, "train", "--resume", run)
    assert trained.ok("train", "--resume", run, "--steps", "20") == f"runs/{run}/model.safetensors\n"
    assert checkpoint.read_header(Path(f"runs/{run}/last.safetensors")).training["step"] == 20
    assert "steps = 20\n" in Path(f"runs/{run}/config.toml").read_text()
    trained.ok("train", "--resume", run, "--steps", "22", "--eval-every", "auto", "--eval-chars", "auto")
    assert "auto" not in Path(f"runs/{run}/config.toml").read_text().split("eval_every")[1].split("save_every")[0]
    code, _, err = trained(
        "train", "--init-from", run, "--batch-size", "4", "--seq-len", "16", "--steps", "2", "--run", "tuned"
    )
    assert code == 0 and "characters matched" in err and "no new symbols" in err
    code, _, err = trained("train", "--run", "tuned", *SMALL)
    assert code == 2 and "--resume tuned" in err


def test_divergence_exits_with_three(trained: Shell) -> None:
    rough = ["--cell", "rnn", "--activation", "linear", "--optimizer", "sgd", "--lr", "900", "--clip-norm", "0"]
    line = trained.refused(3, "train", *SMALL, *rough, "--steps", "300", "--schedule", "constant", "--warmup", "0")
    assert "diverged" in line and "--lr" in line


def test_info_and_runs_say_what_there_is(trained: Shell) -> None:
    info = json.loads(trained.ok("info", "--json"))
    assert info["parameters"] == sum(int(np.prod(shape)) for shape in info["tensors"].values())
    assert info["config"]["cell"] == "lstm" and info["corpus"]["name"] == "sea"
    assert f"{info['parameters']:,}" in trained.ok("info")
    rows = [json.loads(line) for line in trained.ok("runs", "--json").splitlines()]
    assert [row["run"] for row in rows] == ["sea-lstm-1x8"]
    assert "sea-lstm-1x8" in trained.ok("runs") and f"{rows[0]['valid_nats']:.4f}" in trained.ok("runs")


def test_a_run_that_cannot_be_read_does_not_hide_the_others(trained: Shell) -> None:
    Path("runs/broken").mkdir()
    Path("runs/broken/model.safetensors").write_bytes(b"no model")
    rows = [json.loads(line) for line in trained.ok("runs", "--json").splitlines()]
    assert {row["run"] for row in rows} == {"broken", "sea-lstm-1x8"}


@pytest.mark.parametrize(
    ("command", "group"),
    [
        ("prepare", PrepareOptions),
        ("train", TrainOptions),
        ("eval", EvalOptions),
        ("sample", SampleOptions),
        ("compare", MeasureOptions),
    ],
)
def test_help_names_every_option(shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str, group: type) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = shell.ok(command, "--help")
    for name in group.specs():  # type: ignore[attr-defined]
        assert flag(name) in out, name
    for common in ("--config", "--quiet", "--debug", "--help"):
        assert common in out


def test_version_and_bare_command(shell: Shell) -> None:
    from charlm import __version__

    assert shell.ok("--version") == f"charlm {__version__}\n"
    assert "prepare" in shell.ok() and "Usage" in shell.ok("-h")


def test_typed_and_written_options_mean_the_same(trained: Shell) -> None:
    """Words from the command line are read as the numbers they are."""
    plain = trained.ok("sample", "--length", "5", "--seed", "1")
    assert trained.ok("sample", "--length", "5", "--seed", "01", "--num", "1") == plain
    assert json.loads(trained.ok("sample", "--length", "5", "--seed", "1", "--jsonl"))["seed"] == 1
    Path("s.toml").write_text("[sample]\nlength = 5\nseed = 1\n")
    assert trained.ok("sample", "--config", "s.toml") == plain


def test_a_runs_own_configuration_serves_every_command_and_flags_win_over_it(trained: Shell) -> None:
    config = ["--config", "runs/sea-lstm-1x8/config.toml"]
    for words in (["eval"], ["sample", "--length", "3"], ["info"], ["runs"]):
        trained.ok(*words, *config)
    assert trained.ok("train", *config, "--epochs", "1", "--run", "again") == "runs/again/model.safetensors\n"
    step = checkpoint.read_header("runs/again/last.safetensors").training["step"]
    assert step == 4800 // 64


def test_a_dry_run_of_a_text_leaves_nothing(shell: Shell) -> None:
    assert "parameters" in shell.ok("train", "sea.txt", *SMALL, "--dry-run")
    assert sorted(path.name for path in Path().iterdir()) == ["sea.txt"]


def test_a_corpus_elsewhere_is_found_by_its_folder(shell: Shell) -> None:
    shell.ok("prepare", "sea.txt", "--out", "other", "--name", "oo")
    shell.ok("train", "other/oo", *SMALL, "--steps", "3", "--run", "oo")
    shell.ok("train", "--resume", "oo", "--steps", "5")
    assert 0 < float(shell.ok("eval", "other/oo", "--bits")) < 10
    assert float(shell.ok("eval", "other/oo", "--split", "train", "--bits")) > 0
    for words in (["eval"], ["compare", "oo", "oo"], ["inspect", "find"]):
        message = shell.refused(2, *words)
        assert "'oo' is not a prepared corpus" in message and message.endswith(
            "charlm prepare FILE, or give another text"
        )
    message = shell.refused(2, "eval", "sea.txt", "--baselines")
    assert "trained on is needed too: 'oo' is not" in message and message.endswith("or leave out --baselines")
    assert "prepared corpus" in shell.refused(2, "prepare", "other/oo")


def test_prompts_of_a_corpus_of_lines_may_end_lines(shell: Shell) -> None:
    Path("names.txt").write_text("anna\notto\nida\nemil\n" * 60)
    shell.ok("prepare", "names.txt", "--documents", "line")
    shell.ok("train", *SMALL, "--steps", "3")
    Path("prompt.txt").write_text("an\n")
    assert shell.ok("sample", "--prompt-file", "prompt.txt", "--length", "4", "--seed", "1").startswith("an\n")


def test_a_state_that_grows_without_bound_is_one_error(trained: Shell) -> None:
    trained.ok("train", "--cell", "rnn", "--activation", "linear", *SMALL, "--steps", "2", "--run", "wild")
    path = Path("runs/wild/model.safetensors")
    model = checkpoint.load(path)
    model.weights["layers.0.weight_hh"][:] *= 40
    checkpoint.save(path, model)
    for words in (["eval", "--model", "wild"], ["eval", "--model", "wild", "--json"]):
        assert "no finite number" in trained.refused(1, *words)
    code, _, err = trained("sample", "--model", "wild", "--length", "5000")
    assert code == 1 and "no finite number" in err and "Warning" not in err


@pytest.mark.parametrize("name", ["x" * 300, ""])
def test_names_that_no_file_can_have_are_wrong_usage(trained: Shell, name: str) -> None:
    assert "name of a run" in trained.refused(2, "train", "--run", name)
    assert "neither a model file nor a run" in trained.refused(2, "eval", "--model", name)
    assert "--name" in trained.refused(2, "prepare", "sea.txt", "--name", name)


def test_a_text_without_a_name_is_neither_stdin_nor_this_folder(trained: Shell) -> None:
    for words in (["prepare", ""], ["train", ""], ["eval", ""], ["inspect", "surprise", ""]):
        assert "a source has an empty name" in trained.refused(2, *words)


def test_a_name_with_a_line_end_is_no_corpus(trained: Shell) -> None:
    assert "--name" in trained.refused(2, "prepare", "sea.txt", "--name", "a\nb")
    assert "not a prepared corpus" in trained.refused(2, "train", "x" * 300)


def test_a_broken_model_does_not_squeeze_the_table(trained: Shell) -> None:
    Path("runs/[bold]q").mkdir()
    Path("runs/[bold]q/model.safetensors").write_bytes(b"no model")
    out = trained.ok("runs")
    assert "[bold]q" in out and "sea-lstm-1x8" in out and "unreadable" in out


def test_novelty_is_told_beside_the_sample(trained: Shell) -> None:
    words = ("sample", "--length", "300", "--seed", "1", "--prompt", "the ")
    plain = trained.ok(*words)
    code, out, err = trained(*words, "--novelty")
    assert (code, out) == (0, plain)
    table = [line.split() for line in err.splitlines()]
    start = next(number for number, row in enumerate(table) if row[:3] == ["n", "sample", "valid"])
    shares = {row[0]: row[1:] for row in table[start + 1 :] if row and row[0][0].isdigit()}
    assert sum(len(range(int(row.split("-")[0]), int(row.split("-")[-1]) + 1)) for row in shares) == 29
    assert all(re.fullmatch(r"\d+\.\d%", share) for row in shares.values() for share in row)
    assert "longest copy in the sample: " in err and "longest copy in valid, 300 characters: " in err
    report = json.loads(trained.ok(*words, "--novelty", "--jsonl"))
    assert report["novelty"]["characters"] == 300 and report["novelty"]["train"] == "data/sea:train"
    assert report["novelty"]["beside"]["text"] == "data/sea:valid"
    assert list(report["novelty"]["new"]) == [str(size) for size in range(2, 31)]
    assert f"{report['novelty']['new']['8']:.1%}" in err


def test_novelty_of_several_samples(trained: Shell) -> None:
    words = ("sample", "--length", "50", "--num", "12", "--seed", "1", "--novelty")
    code, out, err = trained(*words)
    assert code == 0 and out.count("-" * 40) == 11
    assert "longest copy in sample 9: " in err and "longest copy in sample 10: " not in err and "2 more samples" in err
    rows = [json.loads(line) for line in trained.ok(*words, "--jsonl").splitlines()]
    for row in rows:
        span = row["novelty"]["longest"]
        assert row["text"][span["at"] :].startswith(span["text"]) and len(span["text"]) == span["length"]
    assert rows[0]["novelty"]["beside"] == rows[1]["novelty"]["beside"]
    assert rows[0]["novelty"]["beside"]["characters"] == 600


def test_novelty_without_the_corpus_is_refused_before_anything_is_written(trained: Shell) -> None:
    Path("data").rename("elsewhere")
    line = trained.refused(2, "sample", "--length", "5", "--seed", "1", "--novelty")
    assert "--novelty needs the text that the model learned from" in line


def test_preparing_tells_what_the_splits_share(shell: Shell) -> None:
    text = "".join(np.random.default_rng(1).choice(list("abcdefghij\x1b"), 4000).tolist())
    Path("new.txt").write_text(text, encoding="utf-8")
    Path("twice.txt").write_text(text + text[300:600], encoding="utf-8")
    code, _, err = shell("prepare", "new.txt", "--valid-fraction", "0.1", "--test-fraction", "0")
    assert code == 0 and "that train has too" not in err
    code, _, err = shell("prepare", "twice.txt", "--valid-fraction", "0.1", "--test-fraction", "0")
    assert code == 0
    assert (
        "69.61% of valid (300 of 431 characters looked at) lies in passages of 100 or more that train has too, "
        "the longest of 300 at 130 (300 of train): " in err
    )
    assert "\x1b" not in err
    shared = json.loads(Path("data/twice/corpus.json").read_text(encoding="utf-8"))["shared"]
    assert shared == {"valid": {"symbols": 300, "of": 431, "longest": 300, "at": 130, "train": 300}}
    assert shell("prepare", "twice.txt", "--name", "whole", "--valid-fraction", "0", "--test-fraction", "0")[0] == 0
    assert json.loads(Path("data/whole/corpus.json").read_text(encoding="utf-8"))["shared"] == {}


@pytest.mark.every_case
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
def test_files_beside_a_text_may_begin_with_a_byte_order_mark(trained: Shell, encoding: str) -> None:
    """As PowerShell's > writes them; what they say is what it would be without the mark."""

    def write(name: str, text: str) -> None:
        mark = "\ufeff" if encoding.endswith("-bom") else ""
        Path(name).write_bytes((mark + text).encode(encoding.removesuffix("-bom")))

    wanted = trained.ok("sample", "--prompt", "the sea", "--seed", "5", "--length", "20", "--temperature", "0.5")
    write("prompt.txt", "the sea")
    write("options.toml", "[sample]\r\nseed = 5\r\nlength = 20\r\ntemperature = 0.5\r\n")
    assert trained.ok("sample", "--prompt-file", "prompt.txt", "--config", "options.toml") == wanted


def test_a_prompt_file_is_read_as_the_corpus_was(shell: Shell) -> None:
    Path("cafe.txt").write_bytes("un café noir\r\nun thé vert\r\n".encode("latin-1") * 200)
    shell.ok("prepare", "cafe.txt", "--encoding", "latin-1", "--newlines", "lf")
    shell.ok("train", *SMALL, "--steps", "2")
    Path("prompt.txt").write_bytes("un café\r\n".encode("latin-1"))
    assert shell.ok("sample", "--prompt-file", "prompt.txt", "--length", "3", "--seed", "1").startswith("un café\n")
    Path("prompt.txt").write_bytes(b"un caf\xc3\xa9")
    assert "does not have" in shell.refused(2, "sample", "--prompt-file", "prompt.txt")


def test_a_prompt_of_any_bytes_is_read_by_a_model_of_bytes(shell: Shell) -> None:
    Path("bytes.bin").write_bytes(bytes(range(1, 256)) * 20)
    shell.ok("prepare", "bytes.bin", "--unit", "byte", "--name", "bytes")
    shell.ok("train", "bytes", *SMALL, "--steps", "2")
    Path("prompt.bin").write_bytes(b"\xff\xfe\x80")
    line = shell.ok("sample", "--prompt-file", "prompt.bin", "--jsonl", "--length", "3", "--seed", "1")
    assert json.loads(line)["prompt"].encode("utf-8", "surrogateescape") == b"\xff\xfe\x80"
