"""A line's bits are those of a loop over its characters, whatever is beside it, and Bayes' rule picks the model."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking import Soak

import charlm
from charlm import cells
from charlm.config import ScoreOptions
from charlm.data.sources import Document, Source
from charlm.errors import UsageError
from charlm.evaluation import score_lines as scoring
from charlm.evaluation.batch_scorer import BatchScorer
from charlm.evaluation.score_lines import Scorer, score_lines
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
LINES = {"documents": "line"}
NEWLINE = 2
"""Its id in the table of the tests."""


def one(model: Any, line: bytes | str, **more: Any) -> scoring.LineScore:
    """The score of a line by one model."""
    keep = more.pop("per_char", False)
    scorer = Scorer({"m": model}, ScoreOptions.of(more), per_char=keep)
    (scored,) = scorer.score([line.encode() if isinstance(line, str) else line], waiting=False)
    return scored.scores["m"]


def ids_of(model: Any, text: str, end: int | None) -> list[int]:
    return [BOUNDARY, *model.vocabulary.encode_text(text).tolist(), *([] if end is None else [end])]


@pytest.mark.parametrize(("end", "symbol"), [("boundary", BOUNDARY), ("newline", NEWLINE), ("none", None)])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_line_is_a_loop_over_its_characters(make_text_model, slow_bits, kind, end, symbol) -> None:
    model = make_text_model(kind[0], activation=kind[1], layers=2, input="embedding", scale=0.3)
    texts = ["the sea", "", "x", "ÄΩ unknown 😀", "a long line " * 20]
    found = list(score_lines(model, texts, per_char=True, end=end))
    assert [scored.text for scored in found] == texts
    for scored, text in zip(found, texts, strict=True):
        ids = ids_of(model, text, symbol)
        wanted = slow_bits(model, ids)
        score = scored.scores["model"]
        assert (score.characters, score.unknown) == (len(ids) - 1, ids.count(UNKNOWN))
        np.testing.assert_allclose(score.per_char, wanted, rtol=1e-4, atol=1e-5)
        assert score.bits == pytest.approx(wanted.sum(), rel=1e-5, abs=1e-5)


def test_what_auto_makes_of_an_end(make_text_model) -> None:
    """The boundary for lines, the newline for running text, nothing where there is none; and alike for all."""
    said: list[str] = []
    lines, running = make_text_model(corpus=LINES), make_text_model()
    without = make_text_model(letters="abc")
    for model, end in ((lines, "boundary"), (running, "newline"), (without, "none")):
        assert one(model, "abc") == one(model, "abc", end=end)
    assert one(lines, "abc").bits != one(lines, "abc", end="newline").bits
    (scored,) = score_lines({"lines": lines, "without": without}, ["abc"], report=said.append)
    assert [score.characters for score in scored.scores.values()] == [3, 3]
    assert len(said) == 1 and "not scored" in said[0]
    with pytest.raises(UsageError, match="--end newline.*without"):
        list(score_lines({"lines": lines, "without": without}, ["abc"], end="newline"))


@pytest.mark.parametrize("kind", cells.names())
def test_the_lines_of_a_file_add_up_to_the_file(make_text_model, slow_bits, kind) -> None:
    """Each document from a cold start, in a slow loop; and all of eval --exact, for a model without a memory."""
    text = "anna\nbo\n\nclara ÄÖ\r\ndora"
    model = make_text_model(kind, corpus=LINES)
    documents = [line for line in text.replace("\r", "").split("\n") if line]
    wanted = sum(slow_bits(model, ids_of(model, line, BOUNDARY)).sum() for line in documents)
    scores = [scored.scores["model"] for scored in score_lines(model, text.splitlines(keepends=True)) if scored.text]
    assert sum(score.bits for score in scores) == pytest.approx(wanted, rel=1e-5)

    for name, weight in model.weights.items():
        if name != "readout.bias":
            weight[:] = 0
    source = Source("s", ["s"], lambda: [Document("d", lambda: iter([text.encode()]))])
    exact = charlm.evaluate(model, source, exact=True)
    scores = [scored.scores["model"] for scored in score_lines(model, text.splitlines(keepends=True)) if scored.text]
    assert sum(score.characters for score in scores) == exact.score.characters
    assert sum(score.unknown for score in scores) == exact.unknown == 2
    assert sum(score.bits for score in scores) == pytest.approx(exact.score.nats / math.log(2), rel=1e-6)


@given(
    texts=st.lists(st.text("abc xyz\tÄ", max_size=80), min_size=1, max_size=40),
    batch=st.sampled_from([1, 2, 3, 16, 17, 256]),
    kind=st.sampled_from(cells.names()),
    torch=st.booleans(),
)
def test_neighbours_batches_and_engines_change_nothing(make_text_model, texts, batch, kind, torch) -> None:
    model = make_text_model(kind, layers=2)
    scorer = Scorer({"m": model}, ScoreOptions(batch_size=batch), per_char=True)
    if torch:
        scorer._judges["m"].reader.load()
    together = scorer.score([f"{text}\n".encode() for text in texts], waiting=False)
    assert [scored.text for scored in together] == texts
    for text, scored in zip(texts, together, strict=True):
        alone = one(model, text, per_char=True)
        assert (scored.scores["m"].characters, scored.scores["m"].unknown) == (alone.characters, alone.unknown)
        np.testing.assert_allclose(scored.scores["m"].per_char, alone.per_char, rtol=0, atol=1e-5)


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_a_long_line_is_read_in_pieces(make_text_model, monkeypatch, unit) -> None:
    """Pieces end within characters of several bytes; nothing changes."""
    letters = "".join(map(chr, range(256))) if unit == "byte" else "abéλ\n"
    model = make_text_model("lstm", letters=letters, unit=unit, layers=2)
    line = ("\ufeff" + "ab é λ 😀 " * 40).encode() + b"\xff"
    short = one(model, line, per_char=True)
    for piece in (1, 2, 7, 64):
        monkeypatch.setattr(scoring, "LINE_PIECE_BYTES", piece)
        monkeypatch.setattr("charlm.evaluation.lines.LINE_PIECE_BYTES", piece)
        long = one(model, line, per_char=True)
        assert (long.characters, long.unknown) == (short.characters, short.unknown)
        np.testing.assert_allclose(long.per_char, short.per_char, rtol=0, atol=1e-5)
        assert long.bits == pytest.approx(short.bits, rel=1e-6)


def test_bytes_that_are_no_text_are_unknown_and_said_once(make_text_model) -> None:
    said: list[str] = []
    model = make_text_model()
    scorer = Scorer({"m": model}, ScoreOptions(), report=said.append)
    scored = scorer.score([b"ab\n", b"a\xffb\xfe\n", b"\xff\n"], waiting=False)
    assert [found.scores["m"].unknown for found in scored] == [0, 2, 1]
    assert scored[1].text == "a\ufffdb\ufffd" and scored[1].line == b"a\xffb\xfe\n"
    assert len(said) == 1 and said[0].startswith("line 2 is not utf-8")
    assert one(model, b"a\xff") == one(model, "a\ufffd")


def test_encodings(make_text_model) -> None:
    """The corpus' own by default; one in which lines cannot be told apart is refused, or not taken."""
    latin = make_text_model(letters="abé\n", corpus={"encoding": "latin-1"})
    assert one(latin, b"ab\xe9").unknown == 0
    assert one(latin, "abé".encode(), encoding="utf-8") == one(latin, b"ab\xe9")
    assert one(make_text_model(letters="abé\n", corpus={"encoding": "utf-16"}), "abé").unknown == 0
    with pytest.raises(UsageError, match="--encoding utf-16"):
        one(latin, "ab", encoding="utf-16")


def test_the_end_of_a_line_and_the_mark_before_the_first_are_not_its_characters(make_text_model) -> None:
    model = make_text_model()
    assert one(model, b"abc") == one(model, b"abc\n") == one(model, b"abc\r\n") == one(model, b"\xef\xbb\xbfabc\n")
    assert one(model, b"a\rbc").unknown == 1


def test_posteriors_are_bayes_rule(make_text_model) -> None:
    models = {name: make_text_model(seed=seed) for seed, name in enumerate(("x", "y", "z"))}
    for scored in score_lines(models, ["a", "some text", "a much longer text " * 100]):
        bits = np.array([score.bits for score in scored.scores.values()])
        wanted = np.exp2(bits.min() - bits) / np.exp2(bits.min() - bits).sum()
        assert list(scored.posteriors.values()) == pytest.approx(wanted, abs=1e-12)
        assert scored.likeliest == "xyz"[int(bits.argmin())]


def test_a_state_beyond_all_numbers_is_infinite_and_never_the_likeliest(make_text_model) -> None:
    wild = make_text_model("rnn", activation="linear", scale=40.0)
    line = "abc" * 200
    assert one(wild, line).bits == math.inf
    (scored,) = score_lines({"wild": wild, "tame": make_text_model()}, [line])
    assert scored.likeliest == "tame" and scored.posteriors == {"wild": 0.0, "tame": 1.0}
    (scored,) = score_lines({"wild": wild}, [line])
    assert math.isnan(scored.posteriors["wild"])


def language(seed: int) -> Callable[[np.random.Generator], str]:
    """A random source of words over ten letters: mostly, a letter is followed by one of three of its own."""
    random = np.random.default_rng(seed)
    after = {letter: list(random.choice(list("abcdefghij"), 3, replace=False)) for letter in "^abcdefghij"}

    def word(draw: np.random.Generator) -> str:
        letters = "^"
        while len(letters) < 9 and (len(letters) < 3 or draw.random() < 0.8):
            letters += str(draw.choice(after[letters[-1]] if draw.random() < 0.7 else list("abcdefghij")))
        return letters[1:]

    return word


def test_names_are_told_apart_by_language(tmp_path, monkeypatch, soak: Soak) -> None:
    """The lectures' task: a model for each of three languages of short words that share their letters."""
    monkeypatch.chdir(tmp_path)
    models = {}
    for seed in range(3):
        draw, word = np.random.default_rng(100 + seed), language(seed)
        path = tmp_path / f"l{seed}.txt"
        path.write_text("".join(word(draw) + "\n" for _ in range(3000)))
        corpus = charlm.prepare(str(path), documents="line")
        sizes: dict[str, Any] = {"hidden": 24, "batch_size": 16, "seq_len": 32, "steps": 250, "threads": 1}
        run = charlm.train(corpus, cell="gru", eval_every=0, sample_every=0, report=lambda event: None, **sizes)
        models[f"l{seed}"] = charlm.load(run.model)
    held = [(f"l{seed}", language(seed)) for seed in range(3)]
    draw = np.random.default_rng(7)
    texts = [(name, word(draw)) for name, word in held for _ in range(soak.count(300, 3000))]
    found = list(score_lines(models, [text for _, text in texts]))
    right = np.mean([scored.likeliest == name for scored, (name, _) in zip(found, texts, strict=True)])
    sure = np.mean([scored.posteriors[scored.likeliest] for scored in found])
    assert right > 0.8
    assert sure == pytest.approx(right, abs=0.06)
    soak.saw("words of three random sources told apart by three models", f"{right:.1%} right, {sure:.1%} sure")


def test_only_the_time_of_lines_with_others_behind_them_counts_towards_loading_torch(
    make_text_model, monkeypatch
) -> None:
    clock, loads = iter(range(1000)), []
    monkeypatch.setattr(scoring, "perf_counter", lambda: next(clock))  # a batch takes one second
    monkeypatch.setattr(scoring, "TORCH_LOAD_SECONDS", 3)
    monkeypatch.setattr(BatchScorer, "load", lambda reader: loads.append(reader))
    scorer = Scorer({"m": make_text_model()}, ScoreOptions())
    loaded = []
    for waiting in (True, False, True, False, False, True, False, False):
        scorer.score([b"the sea\n"], waiting=waiting)
        loaded.append(len(loads))
    assert loaded == [0, 0, 0, 0, 0, 0, 1, 2]


def test_a_cr_without_lf_is_a_character(make_text_model) -> None:
    model = make_text_model(letters="ab\r\n")
    for line, characters in ((b"ab\r", 3), (b"ab\r\n", 2), (b"a\rb\n", 3), (b"ab\n", 2), (b"\r", 1), (b"\n", 0)):
        assert one(model, line, end="none").characters == characters, line
