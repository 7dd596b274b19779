"""`charlm inspect find`, `ablate` and `gates`, and `charlm sample --clamp`, as a user meets them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from texts import quoting, text_of

from charlm.cells._plugin import forget
from charlm.cli import main as entry
from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model, save
from charlm.tokenizers.vocabulary import Vocabulary

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "interface.md").read_text(encoding="utf-8")
ORDERS = "\x1b[2J\x1b]0;owned\x07[bold]red[/bold]<script>alert(1)</script>"


class Shell:
    def __init__(self, capfd):
        self._capfd = capfd

    def __call__(self, *words):
        self._capfd.readouterr()
        code = entry.run([str(word) for word in words])
        return (code, *self._capfd.readouterr())

    def ok(self, *words):
        code, out, err = self(*words)
        assert code == 0, err
        return out

    def refused(self, *words):
        code, out, err = self(*words)
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        assert (code, out, len(lines)) == (2, "", 1), (out, err)
        return lines[0]


def made(cell="lstm", unit="char", documents="file", hidden=6, layers=1, letters=None, name="sea"):
    letters = letters or quoting(4000) + "()"
    codes = letters.encode() if unit == "byte" else map(ord, letters)
    symbols = Vocabulary(unit, np.array(sorted({*codes}), np.uint32))
    options = ModelOptions.of({"cell": cell, "layers": layers, "hidden": hidden, "dropout": 0.0, "embedding": 4})
    random = np.random.default_rng(2)
    shapes = parameters.shapes(options, symbols.size)
    weights = {key: random.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    corpus = {"name": name, "sha256": "ab", "options": {"unit": unit, "documents": documents}, "documents": 1}
    return Model(options, symbols, weights, corpus, {"step": 1})


@pytest.fixture
def shell(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("sea.txt").write_text(quoting(4000), encoding="utf-8")
    save(Path("m.safetensors"), made())
    return Shell(capfd)


WITH = ("sea.txt", "--model", "m.safetensors")


def test_find_shows_a_table_and_the_same_as_json(shell, tracker):
    save(Path("m.safetensors"), tracker)
    out = shell.ok("inspect", "find", *WITH, "--best", "2")
    found = json.loads(shell.ok("inspect", "find", *WITH, "--best", "2", "--json"))
    assert found["characters"] == 4001 and found["shuffles"] == 40 and found["hidden"] == 6
    assert [each["feature"] for each in found["features"]][:2] == ["quotes", "double-quotes"]
    for each in found["features"]:
        assert each["feature"] in out and len(each["units"]) == (0 if each["problem"] else 2)
        assert (each["baseline"] is None) == (each["problem"] is not None)
        best = [unit for unit in each["units"] if unit["confirmed"]]
        taken = [unit for unit in each["units"] if unit["ablation"]]
        assert taken == best[:1], "the best that was confirmed is taken away"
        for unit in taken:
            lost = unit["ablation"]
            assert lost["characters_on"] + lost["characters_off"] == found["characters_ablated"] == 2000
            share = lost["characters_on"] / 2000
            whole = share * lost["bits_lost_on"] + (1 - share) * lost["bits_lost_off"]
            assert lost["bits_lost"] == pytest.approx(whole, abs=1e-9)
    quotes, column = (next(each for each in found["features"] if each["feature"] == name)["units"][0]
                      for name in ("double-quotes", "column"))  # fmt: skip
    assert (quotes["unit"], column["unit"]) == (0, 1) and quotes["ablation"] and column["ablation"]
    assert "no brackets in this text" in out and "confirmed" in out


def test_options_of_find(shell):
    one = json.loads(shell.ok("inspect", "find", *WITH, "--feature", "column", "--part", "h", "--json"))
    assert [each["feature"] for each in one["features"]] == ["column"]
    assert {unit["part"] for unit in one["features"][0]["units"]} == {"h"}
    other, same = (json.loads(shell.ok("inspect", "find", *WITH, "--feature", "column", "--json", "--part", "h",
                                       "--seed", seed)) for seed in (1, 0))  # fmt: skip
    assert one == same and other["features"][0]["baseline"] != one["features"][0]["baseline"]
    short = json.loads(shell.ok("inspect", "find", *WITH, "--chars", "2500", "--json"))
    assert short["characters"] == 2500
    assert "at least 2,000 are needed" in shell.refused("inspect", "find", *WITH, "--chars", "1999")
    assert "--part 'x'" in shell.refused("inspect", "find", *WITH, "--part", "x")
    assert "--feature must be one of" in shell.refused("inspect", "find", *WITH, "--feature", "qoutes")


def test_a_report_is_written_whole_and_says_where(shell):
    code, out, err = shell("inspect", "find", *WITH, "--html", "r.html", "--json")
    page = Path("r.html").read_text(encoding="utf-8")
    found = json.loads(out)
    assert code == 0 and "report: r.html" in err
    assert all(f"<td>{each['feature']}</td>" in page for each in found["features"])
    assert not re.search(r"https?://|<link|src=", page)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    best = {
        each["feature"]: next((one for one in each["units"] if one["confirmed"]), None) for each in found["features"]
    }
    named = [f"{name}: {one['layer']}:{one['unit']} {one['part']}" for name, one in best.items() if one]
    assert len(named) > 0 and [track["name"] for track in data["tracks"]] == [*named, "surprise"]
    assert "is not the name of a report" in shell.refused("inspect", "find", *WITH, "--html", "r.txt")


def test_ablate_takes_units_away_alone_and_together(shell):
    words = ("inspect", "ablate", *WITH, "--unit", "0:1", "--unit", "0:2", "--unit", "0:1")
    found = json.loads(shell.ok(*words, "--json"))
    assert [each["units"] for each in found["ablations"]] == [["0:1"], ["0:2"], ["0:1", "0:2"]]
    for each in found["ablations"]:
        assert each["bits_per_char"] == pytest.approx(found["bits_per_char"] + each["bits_lost"])
    zero = json.loads(shell.ok(*words, "--json", "--to", "zero", "--feature", "column"))
    assert list(zero["ablations"][0]["features"]) == ["column"]
    assert zero["ablations"][0]["bits_lost"] != found["ablations"][0]["bits_lost"]
    code, out, err = shell(*words)
    assert code == 0 and "0:1+0:2" in out and "bits per character" in err and "brackets" not in out


def test_units_that_there_are_not_are_refused(shell):
    assert "no unit is named" in shell.refused("inspect", "ablate", *WITH)
    for word in ("1:0", "0:6", "x", "0:1=2"):
        assert "is no unit of this model; give LAYER:UNIT" in shell.refused("inspect", "ablate", *WITH, "--unit", word)
    assert "held already" in shell.refused("sample", *WITH[1:], "--clamp", "0:1=1", "--clamp", "0:01=1")
    assert "finite" in shell.refused("sample", *WITH[1:], "--clamp", "0:1=nan")


def test_gates_as_a_table_and_as_json(shell):
    out = shell.ok("inspect", "gates", *WITH)
    found = json.loads(shell.ok("inspect", "gates", *WITH, "--json"))
    assert [(gate["layer"], gate["gate"]) for gate in found["gates"]] == [(0, "i"), (0, "f"), (0, "o")]
    for gate in found["gates"]:
        assert f"{gate['mean']:.3f}" in out and f"{gate['below']:.1%}" in out
        assert gate["below"] == pytest.approx(np.mean(gate["below_by_unit"])) and len(gate["above_by_unit"]) == 6
    assert found["outputs"][0]["dead"] == 0 and "dead units" in out
    save(Path("rnn.safetensors"), made(cell="rnn"))
    out = shell.ok("inspect", "gates", "sea.txt", "--model", "rnn.safetensors")
    assert "|h| above 0.9" in out and "below 0.1" not in out


def test_clamped_samples_on_the_command_line(shell):
    words = ("sample", *WITH[1:], "--seed", "1", "--length", "60")
    free, held = shell.ok(*words), shell.ok(*words, "--clamp", "0:1=0.9", "--clamp", "0:2:c=-3")
    assert free != held == shell.ok(*words, "--clamp", "0:2:c=-3", "--clamp", "0:1=0.9")
    three = shell.ok(*words, "--clamp", "0:1=0.9", "--clamp", "0:2:c=-3", "--num", "3", "--jsonl")
    assert len({json.loads(line)["text"] for line in three.splitlines()}) == 3


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", [{"unit": "byte"}, {"documents": "line"}, {"cell": "gru", "layers": 2}])
def test_models_of_all_kinds(shell, kind):
    save(Path("m.safetensors"), made(**kind, letters=quoting(4000) + "é“”"))
    Path("sea.txt").write_text(quoting(4000).replace("old", "“é” §"), encoding="utf-8")
    found = json.loads(shell.ok("inspect", "find", *WITH, "--json"))
    assert found["characters"] > 3800 and found["features"][6]["units"]
    assert shell.ok("inspect", "ablate", *WITH, "--unit", "0:5") and shell.ok("inspect", "gates", *WITH)


def test_a_table_of_12000_symbols(shell):
    letters = [chr(0x4E00 + n) for n in range(12_000)] + list('\n "')
    save(Path("m.safetensors"), made(letters="".join(letters), hidden=4))
    random = np.random.default_rng(1)
    Path("sea.txt").write_text("".join(random.choice(letters, 3000)) + "\n「」" * 20, encoding="utf-8")
    found = json.loads(shell.ok("inspect", "find", *WITH, "--json", "--chars", "2500"))
    assert found["features"][0]["problem"]


def test_the_split_of_the_models_own_corpus(shell):
    shell.ok("prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.6")
    shell.ok("train", "--hidden", "4", "--batch-size", "2", "--seq-len", "8", "--steps", "2", "--threads", "1")
    code, out, err = shell("inspect", "find", "--json", "--feature", "word")
    assert code == 0 and "test split" in err and json.loads(out)["text"].endswith("sea:test")
    assert "give one of them" in shell.refused("inspect", "gates", "sea.txt", "--split", "test")
    Path("c.toml").write_text('[inspect.ablate]\nto = "zero"\nchars = 500\n')
    found = json.loads(shell.ok("inspect", "ablate", "--unit", "0:0", "--json", "--config", "c.toml"))
    assert (found["to"], found["characters"]) == ("zero", 500)


def test_a_cell_from_outside(shell):
    forget()
    Path("minimal.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    assert shell.ok("prepare", "sea.txt", "--valid-fraction", "0.1", "--test-fraction", "0.1")
    outside = ("--plugin", "minimal.py")
    small = ("--hidden", "4", "--batch-size", "2", "--seq-len", "8", "--steps", "2", "--threads", "1")
    shell.ok("train", "--cell", "minimal", *outside, *small)
    found = json.loads(shell.ok("inspect", "gates", "sea.txt", "--json", *outside))
    assert [gate["gate"] for gate in found["gates"]] == ["f"]
    assert json.loads(shell.ok("inspect", "find", "sea.txt", "--json", *outside))["features"][6]["units"]
    assert shell.ok("inspect", "ablate", "sea.txt", "--unit", "0:1", *outside)
    assert len(shell.ok("sample", "--length", "9", "--seed", "1", "--clamp", "0:1=1", *outside)) == 9
    forget()


def test_hostile_names_and_texts_give_no_orders(shell):
    save(Path("m.safetensors"), made(letters=quoting(4000) + ORDERS, name=ORDERS))
    name = ORDERS.replace("/", "")
    Path(name).write_text(quoting(3000) + ORDERS * 10)
    for words in (["find", "--html", "r.html"], ["ablate", "--unit", "0:1"], ["gates"]):
        code, out, err = shell("inspect", words[0], name, "--model", "m.safetensors", *words[1:])
        assert code == 0 and "\x1b" not in out + err, err
    assert Path("r.html").read_text().count("<script") == 2, "those of the page"


def test_texts_and_models_that_cannot_be_used_are_one_line(shell):
    Path("empty.txt").write_text("")
    Path("short.txt").write_text(text_of(100))
    Path("bad.safetensors").write_bytes(b"\xff" * 100)
    for command in (["find"], ["ablate", "--unit", "0:0"], ["gates"]):
        shell.refused("inspect", *command, "missing.txt", "--model", "m.safetensors")
        shell.refused("inspect", *command, "empty.txt", "--model", "m.safetensors")
        shell.refused("inspect", *command, "sea.txt", "--model", "bad.safetensors")
    assert "101 characters" in shell.refused("inspect", "find", "short.txt", "--model", "m.safetensors")
    assert shell.ok("inspect", "gates", "short.txt", "--model", "m.safetensors")
    assert shell.ok("inspect", "ablate", "short.txt", "--unit", "0:0", "--model", "m.safetensors")


def test_weights_that_overflow_end_in_one_line(shell):
    model = made(cell="rnn")
    model.weights["layers.0.weight_hh"][:] = 1e38
    linear = ModelOptions.of({**model.options.values(), "activation": "linear"})
    save(Path("m.safetensors"), Model(linear, model.vocabulary, model.weights, model.corpus, model.training))
    for command in (["find"], ["ablate", "--unit", "0:0"], ["gates"]):
        code, out, err = shell("inspect", *command, *WITH)
        assert (code, out) == (1, "") and "error:" in err and "Warning" not in err
