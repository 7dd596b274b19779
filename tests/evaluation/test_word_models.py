"""Models of words: what they are scored with per character is right, and fair beside models of characters."""

import json
from collections import Counter
from math import log, log2
from pathlib import Path

import numpy as np
import pytest

import charlm
from charlm.config import ModelOptions
from charlm.data.prepare import prepare
from charlm.errors import SymbolError, UsageError
from charlm.evaluation import compare
from charlm.evaluation.evaluate import evaluate, score_text
from charlm.evaluation.novelty import novelty
from charlm.evaluation.score_lines import score_lines
from charlm.evaluation.texts import find_text
from charlm.inspect.features import of_text
from charlm.inspect.surprise import CLASSES, classify
from charlm.model import parameters
from charlm.model.checkpoint import Model, load, save
from charlm.sampling.sample import samples, stream
from charlm.show.symbols import glyphs, names
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN, Vocabulary
from charlm.tokenizers.word import split_words
from charlm.training.events import Plan

TINY = "the cat sat, the dog ran, the cat ran"


def unigram(words: list[str], shares: dict[str, float], corpus: dict | None = None, path: Path | None = None) -> Model:
    """A model that gives every symbol the same probability wherever it stands; `∎` is the boundary, `?` the unknown."""
    symbols = Vocabulary("word", np.array(sorted(words), object))
    options = ModelOptions(cell="gru", layers=1, hidden=2, input="one-hot", embedding=2, dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in parameters.shapes(options, symbols.size).items()}
    order = ["∎", "?", *symbols.codes.tolist()]
    weights["readout.bias"][:] = [log(shares.get(word, 1e-9)) for word in order]
    return Model(options, symbols, weights, corpus or {"options": {"unit": "word"}}, path=path)


def test_the_numbers_of_a_tiny_text_by_hand():
    """'the cat sat, the dog ran' with 'sat' and 'dog' outside the table."""
    shares = {"∎": 0.1, "?": 0.2, "the": 0.1, " the": 0.2, " cat": 0.2, " ran": 0.1, ",": 0.1}
    model = unigram(["the", " the", " cat", " ran", ","], shares)
    found = score_text(model, "the cat sat, the dog ran").to_json()
    bits = -sum(map(log2, (0.1, 0.2, 0.2, 0.1, 0.2, 0.2, 0.1, 0.1)))  # the cat ? , the ? ran ∎
    assert found["symbols"] == 8 and found["characters"] == 25 and found["unknown"] == 2
    assert found["bits_per_symbol"] == pytest.approx(bits / 8, abs=1e-6)
    assert found["bits_per_char"] == pytest.approx(bits / 25, abs=1e-6)
    # Letters of the table: 'the', ' the', ' cat', ' ran', ',' have 16, of which ' ' 3, a 2, t 3; five ends, one other.
    letters = Counter("the the cat ran,")
    assert letters.total() == 16
    total = 16 + 5 + 1
    sat = log2(total / 1) + log2(0x110000)  # s
    sat += log2(total / letters[" "]) + log2(total / letters["a"]) + log2(total / letters["t"]) + log2(total / 5)
    dog = log2(total / letters[" "]) + 3 * (log2(total) + log2(0x110000)) + log2(total / 5)
    assert found["spelled_bits_per_char"] == pytest.approx((bits + sat + dog) / 25, abs=1e-6)


def test_a_model_of_one_unknown_symbol_looks_good_and_is_not():
    text = " ".join(TINY.split() * 20)
    flat = unigram(["zebra"], {"∎": 0.001, "?": 0.998, "zebra": 0.001})
    found = score_text(flat, text)
    assert found.score.bits_per_char < 0.02
    assert found.spelled_bits_per_char > 5  # letters by a table that does not have most of them


def test_words_drawn_from_a_known_distribution_take_its_entropy():
    p = {" a": 0.4, " bcd": 0.3, " efghi": 0.2, " j": 0.1}
    drawn = np.random.default_rng(3).choice(list(p), 20_000, p=list(p.values()))
    model = unigram(list(p), p | {"∎": 1e-6, "?": 1e-6})
    found = score_text(model, "".join(drawn))
    entropy = -sum(share * log2(share) for share in p.values())
    length = sum(share * len(word) for word, share in p.items())
    assert found.unknown == 0 and found.symbols == 20_001
    assert found.per_symbol.bits_per_char == pytest.approx(entropy, rel=0.01)
    assert found.score.bits_per_char == pytest.approx(entropy / length, rel=0.01)
    assert found.spelled_bits_per_char == found.score.bits_per_char
    assert found.interval.low < log(2) * entropy / length < found.interval.high


def test_the_probabilities_of_all_words_that_could_stand_there_sum_to_one():
    """A symbol is one of the table, or the unknown one and then any word that can be spelled."""
    model = unigram(["a", "ab"], {"∎": 0.1, "?": 0.4, "a": 0.3, "ab": 0.2})
    spelling = model.vocabulary.escape_code
    known = sum(2 ** -(score_text(model, word).score.nats / log(2)) for word in ("a", "ab")) / 0.1
    longest, whole = 12, 0.0
    letters = spelling.shares[2:].sum() + spelling.shares[1]  # another letter's code points share its probability
    for size in range(longest + 1):
        whole += letters**size * spelling.shares[0]
    assert whole == pytest.approx(1 - letters ** (longest + 1))
    assert known + 0.1 + 0.4 * whole == pytest.approx(1, abs=0.4 * letters**longest + 1e-6)


@pytest.fixture(scope="module")
def words(lively: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("words")
    made = {"whole": {}, "few": {"words": 25}, "line": {"words": 25, "documents": "line"}}
    return {
        name: prepare(lively, name=name, out=str(out), unit="word", valid_fraction=0.1, test_fraction=0.2, **options)
        for name, options in made.items()
    }


@pytest.fixture(scope="module")
def trained(words, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    root = tmp_path_factory.mktemp("runs")
    small = {
        "hidden": 12,
        "batch_size": 4,
        "seq_len": 16,
        "steps": 60,
        "threads": 1,
        "input": "embedding",
        "embedding": 8,
    }
    return {name: load(charlm.train(corpus, root=root, run=name, **small).model) for name, corpus in words.items()}


def test_a_split_has_the_numbers_of_its_text(words, trained, tmp_path):
    """What the corpus knows of its split, and what reading the same text as a file says, agree."""
    for name, corpus in words.items():
        data = corpus.path.parent
        own = evaluate(trained[name], data=data, split="test")
        lines = corpus.options.documents == "line"
        ids = corpus.split("test")
        assert own.unknown == np.count_nonzero(ids[1:] == UNKNOWN) and own.symbols == len(ids) - 1
        if own.unknown == 0:
            whole = "".join(
                "\n" if one == BOUNDARY and lines else "" if one < 2 else corpus.vocabulary.code(one)
                for one in ids[1:].tolist()
            )
            assert own.score.characters == len(whole) + (0 if lines else 1)
            (tmp_path / "same.txt").write_bytes(whole.encode())
            other = evaluate(trained[name], tmp_path / "same.txt").to_json()
            mine = own.to_json()
            assert all(
                mine[key] == pytest.approx(other[key]) for key in ("characters", "symbols", "bytes", "bits_per_char")
            )
        else:
            assert own.escape_bits > 10 * own.unknown
            assert own.spelled_bits_per_char > own.score.bits_per_char


def test_an_exact_evaluation_and_a_dynamic_one_are_per_character_too(words, trained):
    found = evaluate(trained["few"], data=words["few"].path.parent, exact=True, dynamic=True, baselines=True)
    scale = found.symbols / found.score.characters
    assert scale < 0.5
    assert found.dynamic.characters == found.score.characters
    assert found.dynamic.bits_per_char == pytest.approx(found.score.bits_per_char, rel=0.3)
    rows = {row.name: row.bits_per_char for row in found.baselines}
    assert rows["uniform"] == pytest.approx(log2(25) * scale)
    assert 0 < rows["unigram"] < rows["uniform"] and 0 < rows["xz"] < 8
    assert abs(found.default_off) < 0.1


def test_training_can_be_resumed_and_begun_from_a_model(words, tmp_path):
    small = {"hidden": 6, "batch_size": 4, "seq_len": 8, "threads": 1}
    told = []
    first = charlm.train(words["few"], root=tmp_path, run="a", steps=20, report=told.append, **small)
    assert [event.symbol for event in told if isinstance(event, Plan)] == ["word"]
    whole = charlm.train(words["few"], root=tmp_path, run="b", steps=30, **small)
    longer = charlm.resume(first.model.parent, corpus=words["few"].path, steps=30)
    assert longer.step == whole.step == 30
    told.clear()
    charlm.train(words["whole"], root=tmp_path, run="c", steps=1, init_from=first.model, report=told.append, threads=1)
    assert any("23 words matched" in getattr(event, "text", "") for event in told)
    with pytest.raises(UsageError, match="--unit word"):
        corpus = prepare(words["few"].origin, out=str(tmp_path / "data"), name="chars")
        charlm.train(corpus, root=tmp_path, run="d", steps=1, init_from=first.model)


def test_samples_are_words_and_never_the_unknown_one(trained):
    model = trained["few"]
    one = "".join(stream(model, prompt="", seed=1, length=200))
    assert len(one) >= 200 and len(one) < 200 + 41
    known = set(model.vocabulary.codes.tolist())
    many = samples(model, num=3, length=120, seed=2)
    assert all(120 <= sample.characters < 161 and sample.ended == "length" for sample in many)
    assert all(sample.characters == len(sample.text) for sample in many)
    (few,) = samples(model, num=1, length=20, seed=2, temperature=0)
    rest, pieces = few.text, []
    while rest:
        pieces.append(next(rest[:size] for size in range(min(41, len(rest)), 0, -1) if rest[:size] in known))
        rest = rest[len(pieces[-1]) :]
    assert pieces
    stop = next(letter for letter in one if letter.isalpha())
    (stopped,) = samples(model, num=1, length=200, seed=1, stop=stop)
    assert stopped.ended == "stop" and stop not in stopped.text and one.startswith(stopped.text)
    with pytest.raises(SymbolError, match="zebra"):
        samples(model, prompt="the zebra", num=1)


def test_lines_are_scored_as_documents_are(trained):
    model = trained["line"]
    lines = ["the sea was", "zebra crossing", "", "x" * 70_000]
    found = [scored.scores["model"] for scored in score_lines(model, lines, per_char=True)]
    for line, score in zip(lines, found, strict=True):
        pieces = split_words(line)
        assert score.characters == len(line) + 1 and len(score.per_char) == len(pieces) + 1
        outside = [piece for piece in pieces if piece not in set(model.vocabulary.codes.tolist())]
        assert score.unknown == len(outside)
        assert score.escape_bits == pytest.approx(model.vocabulary.escape_code.bits(np.array(outside, object)))
        assert score.bits == pytest.approx(score.per_char.sum(), rel=1e-4)
    assert found[0].bits == pytest.approx(score_text(model, lines[0], exact=True).score.nats / log(2), rel=1e-4)


def test_models_of_words_are_compared_with_their_like(words, trained, kinds, untrained, tmp_path):
    data = words["few"].path.parent
    other = Model(**{**vars(trained["few"]), "weights": {k: v * 0 for k, v in trained["few"].weights.items()}})
    found = compare.compare([trained["few"], other], data=data)
    alone = evaluate(trained["few"], data=data)
    assert found.models[0].bits_per_char == pytest.approx(alone.score.bits_per_char, rel=1e-5)
    assert found.characters == alone.score.characters and found.models[0].unknown == alone.unknown
    with pytest.raises(UsageError, match="spelled_bits_per_char"):
        compare.compare([trained["few"], trained["whole"]], data=data)


def test_novelty_is_in_words(words, trained):
    pytest.importorskip("pydivsufsort")
    corpus = words["whole"]
    text = corpus.vocabulary.decode(corpus.split("train")[100:130])
    found = novelty(trained["whole"], [text], data=corpus.path.parent)
    assert found.samples[0].characters == len(split_words(text))
    assert found.samples[0].longest.length >= 28  # but for what the cut made of both ends


def test_a_model_of_words_is_a_file_like_any_other(trained, tmp_path):
    save(tmp_path / "again.safetensors", trained["few"])
    again = load(tmp_path / "again.safetensors")
    assert again.vocabulary == trained["few"].vocabulary and len(again.vocabulary.codes) == 23
    size = int.from_bytes((tmp_path / "again.safetensors").read_bytes()[:8], "little")
    header = json.loads((tmp_path / "again.safetensors").read_bytes()[8 : 8 + size])
    assert json.loads(header["__metadata__"]["symbols"])["codes"] == again.vocabulary.codes.tolist()


def test_what_is_shown_of_words():
    symbols = Vocabulary("word", np.array(sorted([" king", "'t", "\n", "\x1b", "   ", "The", "漢"]), object))
    assert names(symbols) == ["boundary", "unknown", "⏎", "␛", "␣␣␣", "␣king", "'t", "The", "漢"]
    table, shown = glyphs(symbols, np.array([5, 2, 3]))
    assert [table[one] for one in shown] == [" king", "\n", "␛"]
    classes = [CLASSES[one] for one in classify(symbols, np.array([7, 5, 6, 1, 4, 8, 2, 5, 0]))]
    assert classes == ["line starts", "letters", "letters", "others", "spaces", "letters", "spaces", "line starts",
                       "ends of documents"]  # fmt: skip


def test_features_of_characters_are_refused(trained, words):
    model = trained["few"]
    text = find_text(model, data=words["few"].path.parent)
    with pytest.raises(UsageError, match="symbols are words"):
        of_text(text.ids, model.vocabulary)
