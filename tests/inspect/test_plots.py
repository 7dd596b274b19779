"""Plots are well-formed, the same for the same numbers, and take nothing that a stranger wrote for markup."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from charlm.config import SurfaceOptions
from charlm.errors import UsageError
from charlm.inspect.gradients import gradients
from charlm.inspect.surface import surface
from charlm.show import curves, plots
from charlm.show import gradients as show_gradients
from charlm.show import surface as show_surface
from charlm.show.html import page
from charlm.show.sparkline import ASCII_BAR_CHARACTERS, BAR_CHARACTERS, sparkline

NASTY = [
    "<b>$x$</b>", "$\\frac{", "_hidden", "a & b --> ]]>", "\x1b[2J\x00\x07", "\ud800\ufffe\uffff", "\u202eright",
    "日本語 ☃ 🜁", "'\"><script>alert(1)</script>", "%s {0} \\alpha", "line\nbreak", "x" * 5000,
]  # fmt: skip


def run(name: str, **more: Any) -> dict[str, Any]:
    """The keys of a run, of few points."""
    x = [0.0, 1.0, 2.0, 3.0]
    return {
        "run": name, "path": name, "network": "lstm 1x8", "clip_norm": 1.0, "clipped": 0.5, "steps": 3.0,
        "characters": 300.0, "seconds": 6.0,
        **{key: {"first": 3.0, "last": 1.5, "best": 1.5, "best_step": 3} for key in ("train_nats", "valid_nats")},
        "curves": {
            "train_nats": {"x": x, "y": [3.0, 2.0, 1.7, 1.5]}, "valid_nats": {"x": x[1:], "y": [2.1, 1.8, 1.6]},
            "learning_rate": {"x": x, "y": [0.0, 0.01, 0.005, 0.0]},
            "grad_norm": {"x": x, "y": [20.0, 1.5, 0.5, 0.2]},
        },
        "samples": [{"step": 2, "valid_nats": 1.8, "text": name}], **more,
    }  # fmt: skip


def texts(svg: str) -> list[str]:
    """Every text of an SVG, which must be XML with nothing in it but what draws."""
    root = ElementTree.fromstring(svg)
    kinds = {element.tag.split("}")[-1] for element in root.iter()}
    assert kinds <= {
        "svg", "metadata", "RDF", "Work", "type", "format", "creator", "Agent", "title", "defs", "style", "g", "path",
        "use", "text", "tspan", "clipPath", "rect", "image",
    }, kinds  # fmt: skip
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            if name.endswith("href"):
                assert value.startswith(("#", "data:image/png;base64,")), value[:40]
    return ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("}text")]


def test_a_plot_of_one_run_has_its_labels_and_threshold() -> None:
    found = texts(curves.plot([run("mine")], "steps"))
    assert {"nats per character", "learning rate", "gradient norm", "steps", "train", "valid"} <= set(found)
    assert "clipped above 1" in found and "mine: lstm 1x8, 3 steps, 300 characters, 6s" in found


def test_several_runs_are_told_apart_by_their_names() -> None:
    names = [f"run-{number}" for number in range(30)]
    found = texts(curves.plot([run(name) for name in names], "seconds"))
    assert set(names[:12]) <= set(found) and "seconds" in found


@pytest.mark.parametrize("name", NASTY, ids=lambda name: repr(name)[:20])
def test_names_of_strangers_are_harmless_and_are_shown(name: str) -> None:
    for others in ([], [run("other")]):
        found = texts(curves.plot([run(name, network=name), *others], "steps"))
        assert any(text.startswith(plots.label(name, 30).strip()[:10]) for text in found)
    models = [{**MODEL, "name": name}]
    assert any(plots.label(name, 40).strip() == text for text in texts(show_gradients.plot(models)))


def test_equal_numbers_make_equal_bytes() -> None:
    assert curves.plot([run("a"), run("b")], "steps") == curves.plot([run("a"), run("b")], "steps")
    computed = surface(SurfaceOptions(points=21))
    drawn = [show_surface.plot(computed.to_json(), computed.w, computed.b, computed.error) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert show_gradients.plot([MODEL]) == show_gradients.plot([MODEL])


def test_the_settings_of_whoever_uses_matplotlib_stay_theirs() -> None:
    import matplotlib

    with matplotlib.rc_context():
        before = curves.plot([run("a")], "steps")
        matplotlib.rcParams.update({"text.usetex": True, "font.size": 40, "svg.hashsalt": "x", "lines.linewidth": 9})
        assert curves.plot([run("a")], "steps") == before
        assert matplotlib.rcParams["font.size"] == 40
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_norm": None, "clipped": None},
        {"curves": {key: {"x": [], "y": []} for key in run("a")["curves"]}},
        {"curves": {key: {"x": [5.0], "y": [0.0]} for key in run("a")["curves"]}},
        {"curves": {key: {"x": [1.0, 2.0], "y": [1e-300, 1e300]} for key in run("a")["curves"]}},
        {"characters": None, "seconds": None, "network": ""},
    ],
)
def test_odd_numbers_are_drawn_too(changes: dict[str, Any]) -> None:
    texts(curves.plot([run("odd", **changes)], "steps"))
    texts(curves.plot([run("odd", **changes), run("usual")], "steps"))


def spread(values: list[float | None]) -> dict[str, list[float | None]]:
    return {"low": [value and value / 2 for value in values], "median": values, "high": values}


LAYER = {
    "layer": 1, "loss": {"h": spread([2.0, 1.0, 0.5])}, "left": {"h": spread([1.0, 0.5, 0.25])},
    "own": {"h": spread([1.0, 0.5, 0.25])}, "carousel": {}, "slope": 1.0, "bound": [1.0, 2.0, None],
    "recurrent": [{"gate": "h", "singular_value": 2.0, "spectral_radius": 0.5}],
}  # fmt: skip
MODEL: dict[str, Any] = {
    "name": "mine", "model": "mine.safetensors", "text": "text", "cell": "rnn", "activation": "tanh",
    "scale_recurrent": 1.0, "window": 2, "positions": 4, "layers": [LAYER],
}  # fmt: skip


def test_gradients_of_models_of_different_depth_are_drawn_side_by_side(make_model: Any) -> None:
    models = [MODEL]
    for cell, layers in (("lstm", 3), ("gru", 1), ("rnn", 2)):
        model = make_model(cell=cell, layers=layers)
        ids = np.concatenate(([0], model.vocabulary.encode_text("the sea is wide and old\n" * 3)))
        measured = gradients(model, ids, window=2, positions=4).to_json()
        models.append({**MODEL, "name": cell, "cell": cell, **measured})
    found = texts(show_gradients.plot(models))
    assert {"mine", "lstm", "gru", "rnn", "k, characters back"} <= set(found)
    assert sum("layer 3" in text for text in found) == 2


def test_gradients_that_are_all_zero_or_missing_are_drawn_too() -> None:
    for value in (0.0, None):
        layer = {**LAYER, **{kind: {"h": spread([value] * 3)} for kind in ("loss", "left", "own")}}
        texts(show_gradients.plot([{**MODEL, "layers": [layer]}]))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "may grow, not for long where all slopes are as large"),
        ({"slope": 0.25}, "gradients must vanish"),
        ({"recurrent": [{"gate": "h", "singular_value": 2.0, "spectral_radius": 1.5}]}, "may explode"),
        ({"slope": None}, "after 2 characters 0.25 of the gradient is left"),
        ({"left": {"h": spread([1.0, 5.0, 30.0])}}, "after 2 characters the gradient is 30 times as large"),
        ({"left": {"h": spread([None] * 3)}}, "has no gradient"),
        ({"carousel": {"c": spread([1.0, 0.9, 0.8])}}, "from c to c alone, 0.8 is left after 2 characters"),
    ],
)
def test_what_is_seen_is_said_in_words(changes: dict[str, Any], wanted: str) -> None:
    told = list(show_gradients.sentences({**MODEL, "layers": [{**LAYER, **changes}]}))
    assert any(wanted in sentence for sentence in told), told


def test_the_table_has_powers_of_two_and_the_window() -> None:
    assert show_gradients.distances(1) == [0, 1]
    assert show_gradients.distances(2) == [0, 1, 2]
    assert show_gradients.distances(20) == [0, 1, 2, 4, 8, 16, 20]
    assert show_gradients.distances(64) == [0, 1, 2, 4, 8, 16, 32, 64]


def test_a_report_escapes_names_and_samples() -> None:
    runs = [run(name, network=name) for name in NASTY]
    values = curves.report(runs, [one["samples"] for one in runs], "steps")
    text = page("learning.html", picture=plots.data_uri(curves.plot(runs, "steps")), **values)
    assert "<script" not in text and "<b>$x$</b>" not in text and "\x1b" not in text
    assert "&lt;b&gt;$x$&lt;/b&gt;" in text and "data:image/svg+xml;base64," in text
    models = [{**MODEL, "name": name, "text": name} for name in NASTY]
    text = page("gradients.html", picture="data:,", **show_gradients.report(models, 0))
    assert "<script" not in text and "<b>$x$</b>" not in text and "&lt;b&gt;$x$&lt;/b&gt;" in text


def test_sparklines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.show.sparkline.can_show", lambda text: True)
    assert sparkline(range(8), range(8), width=8) == BAR_CHARACTERS
    assert sparkline(range(8), [-value for value in range(8)], width=8) == BAR_CHARACTERS[::-1]
    assert sparkline([], [], width=5) == " " * 5
    assert sparkline([3.0], [2.0], width=3) == BAR_CHARACTERS[0] * 3
    assert sparkline([0, 9], [0, 1], width=4) == BAR_CHARACTERS[0] * 3 + BAR_CHARACTERS[-1]
    assert sparkline([0, 1, 2], [1, float("nan"), 1], width=3) == BAR_CHARACTERS[0] * 3
    expected = BAR_CHARACTERS[0] + BAR_CHARACTERS[4] + BAR_CHARACTERS[-1]
    assert sparkline(range(4), [float("-inf"), 0, 5, 99], width=3, low=0, high=10) == expected
    monkeypatch.setattr("charlm.show.sparkline.can_show", lambda text: False)
    assert sparkline(range(8), range(8), width=8) == ASCII_BAR_CHARACTERS and ASCII_BAR_CHARACTERS.isascii()


def test_powers_of_ten_are_written_without_mathematics() -> None:
    shown = [plots.power_of_ten(value) for value in (1e-12, 1e-3, 0.01, 0.5, 1, 100, 1e3, 1e21)]
    assert shown == ["10⁻¹²", "10⁻³", "0.01", "0.5", "1", "100", "10³", "10²¹"]


def test_without_matplotlib_a_plot_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        curves.plot([run("a")], "steps")


def test_nothing_is_imported_before_something_is_drawn() -> None:
    program = (
        "import sys; import charlm.cli.main, charlm.show.curves, charlm.show.gradients, charlm.show.surface; "
        "from charlm.cli.main import run; run(['inspect', 'surface', '--points', '3']); "
        "print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
