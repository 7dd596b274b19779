"""`charlm inspect surprise` and `cells` as a user meets them."""

import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.style import Style
from texts import text_of

from charlm.cells._plugin import forget
from charlm.cli import main as entry
from charlm.inspect.record import record
from charlm.model.checkpoint import Model, load, save
from charlm.model.parameters import shapes
from charlm.model.units import HiddenUnit
from charlm.tokenizers.vocabulary import Vocabulary

ANSI = re.compile(r"\x1b\[([0-9;]*)m")
HOSTILE = "the <b>[red]sea[/red]</b>\x1b[2J\x1b]0;owned\x07\x00 \u202eis wide\r\n\told \U0001f600 \u05e9\u05dc é\n"
PLUGIN = '''
from charlm.cells import Cell


class Sum(Cell):
    """h = tanh(x + U h), and a sum beside it."""

    name = "summing"
    gates = ("n",)
    state = ("h", "m")

    def step(self, xp, p, x, below, state):
        h, m = state
        n = xp.tanh(x + h @ p["weight_hh"].T + p["bias_hh"])
        return (n, m + n), {"n": n}


CELL = Sum
'''


@pytest.fixture
def shell(tmp_path, monkeypatch, capfd, make_model):
    """Command lines in a folder with a text, a hostile one, and models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    Path("sea.txt").write_text(text_of(700), encoding="utf-8")
    Path("hostile.txt").write_bytes(HOSTILE.encode())
    save(Path("lstm.safetensors"), make_model(cell="lstm", layers=2))
    save(Path("gru.safetensors"), make_model(cell="gru"))
    save(Path("all.safetensors"), make_model(cell="lstm", letters=HOSTILE))

    def run(*words):
        for remembered in (Style.parse, Style._add):  # a style keeps its codes, whatever the terminal is by then
            remembered.cache_clear()
        capfd.readouterr()
        code = entry.run(["inspect", *words])
        return (code, *capfd.readouterr())

    yield run
    forget()


def ok(done):
    assert done[0] == 0, done
    return done[1]


def refused(done):
    code, out, err = done
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out, len(errors)) == (2, "", 1), done
    return errors[0]


SURPRISE = ("surprise", "sea.txt", "--model", "lstm.safetensors")
CELLS = ("cells", "sea.txt", "--model", "lstm.safetensors", "--unit", "1:3")


def numbers(model="lstm.safetensors", text=None, **more):
    """The record that the commands should show, of a text as one document."""
    loaded = load(model)
    text = text_of(700) if text is None else text
    ids = np.concatenate(([0], loaded.vocabulary.encode_text(text), [0])).astype(loaded.vocabulary.dtype)
    return loaded, record(loaded, ids, **more)


def test_in_a_pipe_there_is_the_summary_alone(shell):
    out = ok(shell(*SURPRISE))
    _, seen = numbers()
    assert f"{float(seen.bits.mean()):.4f} bits per character" in out
    assert "letters" in out and "ends of documents" in out and "64–127" in out
    assert "\x1b" not in out and "⏎" not in out


def test_the_list_has_a_line_for_each_character(shell):
    lines = [line.split("\t") for line in ok(shell(*SURPRISE, "--top", "3")).splitlines()]
    model, seen = numbers(top=3)
    text = text_of(700)
    assert len(lines) == 701 == len(seen.ids)
    called = {" ": "␣", "\n": "⏎"}
    assert [line[1] for line in lines] == [called.get(letter, letter) for letter in text] + ["boundary"]
    for at, (position, _, bits, *likely) in enumerate(lines):
        assert int(position) == at
        assert float(bits) == pytest.approx(seen.bits[at], abs=6e-4)
        assert len(likely) == 3
        for word, symbol, share in zip(likely, seen.top[at], seen.probabilities[at], strict=True):
            name, _, shown = word.partition(" ")
            letter = "" if symbol < 2 else chr(model.vocabulary.code(symbol))
            assert name == (("boundary", "unknown")[symbol] if symbol < 2 else called.get(letter, letter))
            assert float(shown) == pytest.approx(share, abs=6e-5)


def test_json_has_the_same_numbers(shell):
    found = json.loads(ok(shell(*SURPRISE, "--json")))
    _, seen = numbers(top=2)
    assert found["bits_per_char"] == pytest.approx(float(seen.bits.mean()), rel=1e-5)
    assert "each" not in found and found["text"].endswith("sea.txt") and found["model"] == "lstm.safetensors"
    found = json.loads(ok(shell(*SURPRISE, "--json", "--top", "2", "--chars", "20")))
    assert found["characters"] == 20 == len(found["each"])
    for at, row in enumerate(found["each"]):
        assert row["id"] == seen.ids[at] and row["bits"] == pytest.approx(seen.bits[at], rel=1e-5)
        assert [share for _, share in row["likely"]] == pytest.approx(seen.probabilities[at].tolist(), rel=1e-5)


def test_what_was_cut_off_is_said(shell):
    code, out, err = shell(*SURPRISE, "--chars", "30", "--top", "1")
    assert code == 0 and len(out.splitlines()) == 30
    assert "reading the first 30 of 701 characters; --chars takes more" in err


def spoken(out):
    """Pieces of ANSI output: style and text."""
    parts = ANSI.split(out)
    return list(zip(["0", *parts[1::2]], parts[::2], strict=True))


@pytest.mark.parametrize(("depth", "code"), [("truecolor", "48;2;"), ("256", "48;5;")])
def test_on_a_terminal_every_level_of_surprise_has_its_colour(shell, monkeypatch, make_model, depth, code):
    save(Path("sure.safetensors"), make_model(scale=1.2))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", depth)
    out = ok(shell("surprise", "sea.txt", "--model", "sure.safetensors"))
    assert code in out and "8 " in out.splitlines()[0] and "bits" in out.splitlines()[0]
    body = "\n".join(out.splitlines()[1:]).split("\n\n")[0]
    pieces = spoken(body)
    assert "".join(text for _, text in pieces).replace("⏎\n", "\n").removesuffix("∎") == text_of(700)
    _, seen = numbers("sure.safetensors")
    levels = np.minimum(4, (seen.bits / 8 * 4 + 0.5).astype(int))
    at, styles = 0, {}
    for style, text in pieces:
        for letter in text.replace("⏎\n", "⏎").replace("\n", ""):
            assert letter
            styles.setdefault(levels[at], set()).add(style)
            at += 1
    assert at == 701
    assert styles[0] == {"0"} and all(len(found) == 1 for found in styles.values())
    assert len({next(iter(found)) for found in styles.values()}) == len(styles) == 5


def test_no_color_leaves_no_colours_and_still_marks(shell, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = ok(shell(*CELLS))
    assert not re.search(r"\x1b\[[0-9;]*[34]8;|\x1b\[[34][0-7]m", out)
    assert {style for style, _ in spoken(out)} <= {"", "0", "1", "2", "3", "4"}
    assert text_of(700).split("\n")[0] + "⏎" in ANSI.sub("", out)


def test_of_sixteen_colours_no_pale_ones_are_used(shell, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = ok(shell(*CELLS, "--palette", "paper"))
    colours = set(re.findall(r"\x1b\[(?:1;|4;)?30;(\d+)m", out))
    assert colours and not colours & {"47", "107", "100"}


def test_a_hostile_text_gives_a_terminal_no_orders(shell, monkeypatch):
    for more in ((), ("--top", "2"), ("--json", "--top", "2")):
        out = ok(shell("surprise", "hostile.txt", "--model", "all.safetensors", *more))
        assert not set(out) & set("\x1b\x07\x00\r\u202e"), more
    monkeypatch.setenv("FORCE_COLOR", "1")
    for words in (("surprise",), ("cells", "--unit", "0:0")):
        out = ok(shell(words[0], "hostile.txt", "--model", "all.safetensors", *words[1:]))
        plain = ANSI.sub("", out)
        assert not set(plain) & set("\x1b\x07\x00\r\u202e")
        assert "<b>[red]sea[/red]</b>␛[2J␛]0;owned␇␀ \ufffdis wide␍⏎" in plain


def test_names_of_symbols_in_the_list(shell):
    lines = ok(shell("surprise", "hostile.txt", "--model", "all.safetensors", "--top", "1")).splitlines()
    names = [line.split("\t")[1] for line in lines]
    assert {"␛", "␇", "␀", "␍", "⏎", "⇥", "␣", "U+202E", "\U0001f600", "boundary"} <= set(names)
    lines = ok(shell("surprise", "hostile.txt", "--model", "lstm.safetensors", "--top", "1")).splitlines()
    assert "unknown" in {line.split("\t")[1] for line in lines}


def test_units_in_a_pipe_and_as_json(shell):
    out = ok(shell(*CELLS, "--unit", "0:6", "--unit", "1:3", "--part", "c"))
    assert "tanh(c)" in out and "\x1b" not in out
    assert len(re.findall(r"^ ?(?:1:3|0:6)\s", out, re.MULTILINE)) == 2
    found = json.loads(ok(shell(*CELLS, "--unit", "0:6", "--part", "c", "--json")))
    _, seen = numbers(units=[HiddenUnit(1, 3), HiddenUnit(0, 6)], parts=["c", "c"])
    assert [row["unit"] for row in found["units"]] == ["1:3", "0:6"] and found["part"] == "c"
    np.testing.assert_allclose([row["values"] for row in found["each"]], seen.values, atol=1e-5)
    np.testing.assert_allclose([row["bits"] for row in found["each"]], seen.bits, rtol=1e-4)
    assert found["units"][0]["mean"] == pytest.approx(float(seen.values[:, 0].mean()), abs=1e-5)


def test_each_unit_colours_the_text_once(shell, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    plain = ANSI.sub("", ok(shell(*CELLS, "--unit", "0:6")))
    assert plain.count(text_of(700).split("\n")[0] + "⏎") == 2
    assert "h of 1:3:" in plain and "h of 0:6:" in plain


def test_a_unit_without_bounds_is_coloured_as_far_as_it_goes(shell, monkeypatch, make_model):
    save(Path("relu.safetensors"), make_model(cell="rnn", activation="relu", seed=2, scale=0.45))
    found = json.loads(ok(shell("cells", "sea.txt", "--model", "relu.safetensors", "--unit", "0:0", "--json")))
    highest = max(row["values"][0] for row in found["each"])
    assert highest > 1
    monkeypatch.setenv("FORCE_COLOR", "1")
    first = ANSI.sub("", ok(shell("cells", "sea.txt", "--model", "relu.safetensors", "--unit", "0:0"))).splitlines()[0]
    assert float(first.split()[-1]) == pytest.approx(highest, rel=0.01)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--unit", "0-17"), "'0-17' is no unit of this model; give LAYER:UNIT, with a layer from 0 to 0 and a unit"),
        (("--unit", "0:7"), "a unit from 0 to 6"),
        (("--unit", "1:0"), "a layer from 0 to 0"),
        (("--unit", "0:0", "--part", "c"), "--part 'c': the cell gru has no such part; it has h"),
        (("--unit", "0:0", "--palette", "pink"), "--palette must be one of blog, paper, got 'pink'"),
        (("--unit", "0:0", "--chars", "0"), "--chars must be"),
        (("--unit", "0:0", "--html", "x.txt"), "give a name that ends in .html"),
        ((), "give --unit LAYER:UNIT"),
    ],
)
def test_errors_of_cells(shell, words, told):
    assert told in refused(shell("cells", "sea.txt", "--model", "gru.safetensors", *words))
    assert not Path("x.txt").exists()


def test_errors_of_surprise(shell):
    assert "ends in .html" in refused(shell("surprise", "sea.txt", "--model", "nothing", "--html", "report"))
    assert "--top must be" in refused(shell("surprise", "sea.txt", "--model", "gru.safetensors", "--top", "101"))
    assert "missing.txt" in refused(shell("surprise", "missing.txt", "--model", "gru.safetensors"))
    told = refused(shell("surprise", "sea.txt", "--split", "test", "--model", "gru.safetensors"))
    assert "--split test is of the model's own corpus" in told


def test_a_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(shell):
    assert shell(*SURPRISE, "--html", "a.html")[0] == 0
    first = Path("a.html").read_bytes()
    assert shell(*CELLS, "--html", "a.html")[0] == 0
    assert Path("a.html").read_bytes() != first
    Path("empty.html").touch()
    assert shell(*SURPRISE, "--html", "empty.html")[0] == 0
    Path("sea.html").write_bytes(Path("sea.txt").read_bytes())
    told = refused(shell("surprise", "sea.html", "--model", "gru.safetensors", "--html", "sea.html"))
    assert "is there, and no earlier .html of charlm" in told
    assert Path("sea.html").read_bytes() == Path("sea.txt").read_bytes()
    Path("folder.html").mkdir()
    assert "is no plain file" in refused(shell(*SURPRISE, "--html", "folder.html"))
    assert "there is no folder nowhere" in refused(shell(*SURPRISE, "--html", "nowhere/a.html"))


def test_weights_that_overflow_end_in_one_line(shell, make_model):
    model = make_model(cell="rnn", activation="relu")
    for name in model.weights:
        model.weights[name] *= np.float32(1e30)
    save(Path("huge.safetensors"), model)
    for words in (["surprise"], ["cells", "--unit", "0:0"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            code, out, err = shell(words[0], "sea.txt", *words[1:], "--model", "huge.safetensors")
        assert (code, out) == (1, "") and "not finite" in err.splitlines()[-1]


def test_a_report_is_written_and_said(shell, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # with a report, the text is in the report alone
    code, out, err = shell(*SURPRISE, "--html", "a.html")
    assert code == 0 and "report: a.html" in ANSI.sub("", err) and "⏎" not in out and "letters" in out
    code, out, err = shell(*CELLS, "--html", "b.html", "--quiet")
    assert (code, err) == (0, "") and "1:3" in out
    for name in ("a.html", "b.html"):
        page = Path(name).read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>") and "lstm.safetensors" in page
        assert not re.search(r"https?://|<link|src=", page)


def test_a_report_that_would_be_too_large_is_refused_before_anything_is_read(shell, monkeypatch):
    from charlm.show import text_view

    monkeypatch.setattr(text_view, "MAX_REPORT_BYTES", 505_000)
    told = refused(shell(*SURPRISE, "--html", "a.html"))
    most = int(re.search(r"give --chars (\d+) or fewer", told)[1])
    assert 0 < most < 701
    ok(shell(*SURPRISE, "--html", "a.html", "--chars", str(most)))
    assert Path("a.html").exists()


def test_options_stand_in_a_file_too(shell):
    Path("a.toml").write_text('chars = 10\n[inspect.surprise]\ntop = 2\n[inspect.cells]\npalette = "paper"\n')
    assert len(ok(shell(*SURPRISE, "--config", "a.toml")).splitlines()) == 10


def test_a_model_of_bytes(shell, monkeypatch, make_model):
    symbols = Vocabulary("byte", np.arange(256, dtype=np.uint32))
    options = make_model(cell="gru").options
    random = np.random.default_rng(5)
    weights = {
        name: (0.3 * random.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes(options, symbols.size).items()
    }
    save(Path("byte.safetensors"), Model(options, symbols, weights, {"options": {"unit": "byte"}}))
    Path("odd.txt").write_bytes("aé中".encode() + b"\xff\xc3 x")
    lines = ok(shell("surprise", "odd.txt", "--model", "byte.safetensors", "--top", "1")).splitlines()
    names = [line.split("\t")[1] for line in lines]
    assert names == ["a", "0xC3", "0xA9", "0xE4", "0xB8", "0xAD", "0xFF", "0xC3", "␣", "x", "boundary"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = ANSI.sub("", ok(shell("surprise", "odd.txt", "--model", "byte.safetensors")))
    assert out.splitlines()[1] == "a·é··中\ufffd·\ufffd x∎"
    ok(shell("cells", "odd.txt", "--model", "byte.safetensors", "--unit", "0:0", "--html", "a.html"))


def test_lines_as_documents(shell, monkeypatch, make_model):
    model = make_model(cell="lstm")
    save(Path("lines.safetensors"), Model(model.options, model.vocabulary, model.weights,
                                          {"options": {"documents": "line"}, "documents": 9}))  # fmt: skip
    Path("names.txt").write_text("sea\nold\n\nships")
    lines = ok(shell("surprise", "names.txt", "--model", "lines.safetensors", "--top", "1")).splitlines()
    names = "".join("|" if line.split("\t")[1] == "boundary" else line.split("\t")[1] for line in lines)
    assert names == "sea|old|ships|"
    found = json.loads(ok(shell("surprise", "names.txt", "--model", "lines.safetensors", "--json")))
    counts = {row["name"]: row["characters"] for row in found["classes"]}
    assert counts == {"letters": 8, "line starts": 3, "ends of documents": 3}
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = ANSI.sub("", ok(shell("surprise", "names.txt", "--model", "lines.safetensors")))
    assert out.splitlines()[1:4] == ["sea∎", "old∎", "ships∎"]


def test_a_cell_from_a_plugin(shell, make_model):
    from charlm.cells._plugin import plugin

    Path("summing.py").write_text(PLUGIN)
    plugin("summing.py")
    save(Path("summing.safetensors"), make_model(cell="summing", layers=2))
    forget()
    words = ("cells", "sea.txt", "--model", "summing.safetensors", "--unit", "1:2", "--plugin", "summing.py")
    h = json.loads(ok(shell(*words, "--json")))
    m = json.loads(ok(shell(*words, "--json", "--part", "m")))
    sums = np.cumsum([row["values"][0] for row in h["each"]])
    # The boundary before the text was read first: the two differ by what it left, which the first row shows.
    left = np.arctanh(m["each"][0]["values"][0]) - sums[0]
    np.testing.assert_allclose([row["values"][0] for row in m["each"]], np.tanh(sums + left), atol=1e-3)
    assert "has no such part; it has h, m" in refused(shell(*words, "--part", "c"))
    ok(shell("surprise", "sea.txt", "--model", "summing.safetensors", "--plugin", "summing.py", "--html", "a.html"))


def test_a_split_of_the_models_own_corpus(shell, small_corpus, make_model):
    base = make_model(cell="rnn", hidden=3)
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in shapes(base.options, small_corpus.vocabulary.size).items()
    }
    os.makedirs("data", exist_ok=True)
    Path("data/small").symlink_to(small_corpus.path)
    save(Path("own.safetensors"), Model(base.options, small_corpus.vocabulary, weights, small_corpus.identity()))
    code, out, err = shell("surprise", "--model", "own.safetensors", "--json", "--split", "valid")
    assert code == 0 and "valid split" in err and json.loads(out)["text"].endswith("small:valid")
    assert json.loads(out)["characters"] == len(small_corpus.checked("valid")) - 1
