"""The viewer of texts, as `charlm inspect surprise` and `cells` write it and as a browser shows it."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from texts import text_of

from charlm.cli import main as entry
from charlm.inspect.record import record
from charlm.model.checkpoint import save
from charlm.model.units import HiddenUnit
from charlm.show.format import visible
from charlm.show.html import save as save_page
from charlm.show.tables import Grid
from charlm.show.text_view import MAX_REPORT_BYTES, TextView, Track, report, surprise
from charlm.tokenizers.vocabulary import Vocabulary

HOSTILE = (
    "<script>alert(1)</script> </script><!-- {{ 7*7 }} {% raw %} &amp; &lt; <img src=x onerror=alert(2)>\n"
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \U0001f600\U0001d11e e\u0301 \u202eevil\u2028"
    "\x00 \x1b[2J\r\n\t'\"`${1}\\u0041"
)
SECONDS = 20
"""More than enough for anything that a reader waits for."""


@pytest.fixture
def written(tmp_path, monkeypatch, make_model):
    """Write a report of a text by a command, with a model that knows its letters: the file, and the record."""
    monkeypatch.chdir(tmp_path)

    def write(text, command, *words, units=(), part="h"):
        model = make_model(text, layers=2)
        save(Path("model.safetensors"), model)
        Path("text.txt").write_bytes(text.encode())
        arguments = ["inspect", command, "text.txt", "--model", "model.safetensors", "--html", "report.html", *words]
        assert entry.run(arguments) == 0
        ids = np.concatenate(([0], model.vocabulary.encode_text(text), [0])).astype(model.vocabulary.dtype)
        return Path("report.html"), model, record(model, ids, top=5, units=units, parts=[part] * len(units))

    return write


def wait(page, condition):
    """Until something is so; the page's own policy lets no poller run in it."""
    until = time.perf_counter() + SECONDS
    while not page.evaluate(condition):
        assert time.perf_counter() < until, condition
        page.wait_for_timeout(20)


def wait_for_all(page):
    """Until every piece is drawn: of a short text all are near, and the browser says so some time after the load."""
    wait(page, "[...document.querySelectorAll('#text > div')].every(piece => piece.childElementCount > 0)")


def shown_text(page):
    return page.evaluate("[...document.querySelectorAll('#text span')].map(span => span.textContent).join('')")


def span(page, at):
    """The element of a character, once it is drawn."""
    return page.wait_for_function("at => [...document.querySelectorAll('#text span')].find(s => s.at === at)", arg=at)


def background(page, at):
    return page.evaluate("span => getComputedStyle(span).backgroundColor", span(page, at))


def likely(page, column):
    """Symbols and shares in per cent, as the panel has them."""
    rows = page.locator("#panel .likely").nth(column).locator("li")
    return [
        (row.locator("b").text_content(), float(row.locator("span").text_content().rstrip(" %"))) for row in rows.all()
    ]


def test_a_hostile_text_shows_as_text_and_runs_nothing(written, opened):
    path, _, _ = written(HOSTILE, "surprise")
    page = opened(path)
    wait_for_all(page)
    assert shown_text(page) == visible(HOSTILE) + "∎\n"
    assert page.locator("img, iframe, object, link, #text :not(span, div)").count() == 0
    assert page.locator("script").count() == 2
    reply = page.evaluate(
        """[...document.querySelectorAll('#text span')].map(span => {
            span.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
            return document.querySelector('#panel h3').textContent;
        })"""
    )
    assert reply == [f"character {at}" for at in range(len(HOSTILE) + 1)]
    assert page.locator("#panel img, #panel script").count() == 0


def test_hostile_names_of_tracks_tables_and_facts_show_as_text(tmp_path, opened):
    symbols = Vocabulary("char", np.array([97], np.uint32))
    view = TextView(
        title=HOSTILE, about=HOSTILE, facts={HOSTILE: HOSTILE}, vocabulary=symbols, ids=np.full(9, 2),
        tracks=(surprise(np.ones(9)), Track(HOSTILE, np.linspace(-1, 1, 9), "blog", noun=HOSTILE)),
        top=np.zeros((10, 0), int), probabilities=np.zeros((10, 0)),
        tables=(Grid(HOSTILE, (HOSTILE,), [(HOSTILE,)], HOSTILE),),
    )  # fmt: skip
    save_page(tmp_path / "a.html", report(view))
    page = opened(tmp_path / "a.html")
    page.select_option("#track", "1")
    span(page, 3).hover()
    for place in ("h1", "dd", "td", "th", "#track option >> nth=1", "#panel", "#legend"):
        assert "<script>alert(1)</script>" in page.locator(place).first.text_content(), place
    assert page.locator("script").count() == 2 and page.locator("img").count() == 0


def test_hover_shows_what_python_computed(written, opened):
    text = text_of(500)
    path, model, seen = written(text, "surprise")
    page = opened(path)
    called = {" ": "␣", "\n": "⏎"}
    names = ["boundary", "unknown", *(called.get(chr(code), chr(code)) for code in model.vocabulary.codes)]
    for at in (0, 1, 57, 200, len(text)):
        span(page, at).hover()
        assert page.locator("#panel .symbol").text_content() == names[seen.ids[at]]
        values = page.locator("#panel .values li").text_content()
        assert float(re.search(r"([\d.]+) bits", values)[1]) == pytest.approx(seen.bits[at], abs=2e-3)
        for column in (0, 1):  # in its place, and behind it
            symbols_shown = likely(page, column)
            assert [name for name, _ in symbols_shown] == [names[symbol] for symbol in seen.top[at + column]]
            expected = (100 * seen.probabilities[at + column]).tolist()
            assert [share for _, share in symbols_shown] == pytest.approx(expected, abs=0.007)
        came = page.locator("#panel .likely").first.locator(".came b")
        assert came.all_text_contents() == ([names[seen.ids[at]]] if seen.ids[at] in seen.top[at] else [])


def test_the_colour_is_where_the_surprise_is(written, opened):
    path, _, seen = written(text_of(400), "surprise")
    page = opened(path)
    wait_for_all(page)
    levels = np.minimum(16, np.floor(seen.bits / 8 * 16 + 0.5)).astype(int)
    kinds = page.evaluate(
        "[...document.querySelectorAll('#text span')].map(s => s.className.replace('end', '').trim())"
    )
    near = np.abs(seen.bits / 8 * 16 + 0.5 - np.rint(seen.bits / 8 * 16 + 0.5)) < 1e-2  # may round either way
    assert [kind for kind, skip in zip(kinds, near, strict=True) if not skip] == [
        f"p{level}" if level else "" for level, skip in zip(levels, near, strict=True) if not skip
    ]
    none, most = int(np.argmin(seen.bits)), int(np.argmax(seen.bits))
    assert background(page, none) == "rgba(0, 0, 0, 0)" != background(page, most)
    assert page.locator("#legend").text_content() == "08 bits and more"


@pytest.mark.parametrize("palette", ["blog", "paper"])
def test_another_track_recolours(written, opened, palette):
    words = ("--unit", "0:2", "--unit", "1:5", "--part", "c", "--palette", palette)
    path, _, seen = written(text_of(400), "cells", *words, units=[HiddenUnit(0, 2), HiddenUnit(1, 5)], part="c")
    page = opened(path)
    wait_for_all(page)
    assert page.locator("#track option").all_text_contents() == ["tanh(c) of 0:2", "tanh(c) of 1:5", "surprise"]
    kinds = "[...document.querySelectorAll('#text span')].map(s => (s.className.match(/[np]\\d+/) || [''])[0])"
    hues = set()
    for number in (0, 1):
        page.select_option("#track", str(number))
        values = seen.values[:, number]
        for at in np.flatnonzero(np.abs(values) > 0.04):
            assert page.evaluate(kinds)[at].startswith("n" if values[at] < 0 else "p") if at % 40 == 0 else True
        low, high = int(np.argmin(values)), int(np.argmax(values))
        span(page, high).hover()
        label = page.locator("#panel .values li").nth(number).text_content()
        assert float(label.removeprefix(f"tanh(c) of {'0:2' if number == 0 else '1:5'}").replace("−", "-")) == (
            pytest.approx(values[high], abs=1e-3)
        )
        assert page.locator("#legend").text_content() == "−1+1"
        hues |= {background(page, low), background(page, high)}
    before = page.evaluate(kinds)
    page.select_option("#track", "2")
    assert page.evaluate(kinds) != before and not any(kind.startswith("n") for kind in page.evaluate(kinds))
    assert len(hues) >= 2


def big(characters, tmp_path, symbols=None, width=60, lines=True):
    """A report of made-up numbers; the text says at the start of each line which it is."""
    symbols = symbols or Vocabulary("char", np.array([10, *range(32, 127)], np.uint32))
    random = np.random.default_rng(1)
    ids = random.integers(3, symbols.size, characters)
    if lines:
        ids[width::width] = symbols.encode_text("\n")[0]
    top, shares = np.argsort(random.random((1000, symbols.size)), 1)[:, :5], [0.4, 0.3, 0.1, 0.06, 0.02]
    view = TextView(
        title="Large", about="made up", facts={"model": "none"}, vocabulary=symbols, ids=ids,
        tracks=(surprise(random.exponential(2, characters)), Track("one", random.uniform(-1, 1, characters), "blog"),
                Track("two", random.uniform(-1, 1, characters), "paper")),
        top=np.resize(top, (characters + 1, 5)), probabilities=np.resize(shares, (characters + 1, 5)),
    )  # fmt: skip
    path = tmp_path / "large.html"
    save_page(path, report(view))
    return path, view


def drawn(page):
    """Which pieces have their characters."""
    return page.evaluate("[...document.querySelectorAll('#text > div')].map(piece => piece.childElementCount > 0)")


def to_the_end(page):
    page.evaluate("document.querySelector('#text > div:last-child').scrollIntoView({block: 'end'})")
    wait(page, "document.querySelector('#text > div:last-child').childElementCount > 0")


def test_pieces_are_drawn_when_they_come_near(tmp_path, opened):
    path, view = big(60_000, tmp_path)
    page = opened(path)
    wait(page, "document.querySelector('#text > div').childElementCount > 0")
    first = drawn(page)
    assert first[0] and not first[-1] and sum(first) < len(first) / 2
    height = page.evaluate("document.querySelector('#text').getBoundingClientRect().height")
    to_the_end(page)
    wait(page, "document.querySelector('#text > div').childElementCount === 0")
    last = page.evaluate(
        "[...document.querySelector('#text > div:last-child').children].map(s => s.textContent).join('')"
    )
    text = view.vocabulary.decode(view.ids)
    assert len(last) > 100 and text.endswith(last)
    after = page.evaluate("document.querySelector('#text').getBoundingClientRect().height")
    assert after == pytest.approx(height, rel=0.05), "what is not drawn takes the place that it will need"
    page.evaluate("scrollTo(0, 0)")
    wait(page, "document.querySelector('#text > div').childElementCount > 0")


def test_a_text_without_line_ends_comes_in_pieces_too(tmp_path, opened):
    path, _ = big(40_000, tmp_path, lines=False)
    page = opened(path)
    wait(page, "document.querySelector('#text > div').childElementCount > 0")
    assert len(drawn(page)) >= 6 and not all(drawn(page))


@pytest.mark.parametrize("letters", [range(32, 127), range(0x4E00, 0x4E00 + 3000)])
def test_a_megabyte_opens_scrolls_and_answers(tmp_path, opened, letters):
    symbols = Vocabulary("char", np.array([10, *letters], np.uint32))
    path, view = big(1_000_000, tmp_path, symbols)
    assert 1_000_000 < path.stat().st_size < MAX_REPORT_BYTES
    began = time.perf_counter()
    page = opened(path)
    wait(page, "document.querySelector('#text > div').childElementCount > 0")
    to_the_end(page)
    assert page.evaluate("document.querySelectorAll('#text span').length") < 30_000
    at = len(view.ids) - 5
    span(page, at).hover()
    assert page.locator("#panel h3").first.text_content() == f"character {at:,}"
    assert "of 5 at each character" in page.locator("dl").text_content()
    page.select_option("#track", "2")
    assert time.perf_counter() - began < SECONDS


def test_the_keys(written, opened):
    text = "one line\nanother\n\nlast"
    path, _, _ = written(text, "surprise")
    page = opened(path)
    heading = page.locator("#panel h3").first
    page.locator("#text").focus()
    assert page.locator("#panel").is_hidden()
    for key, at in (
        ("ArrowRight", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowDown", 9), ("ArrowDown", 17),
        ("ArrowDown", 18), ("ArrowDown", 22), ("ArrowUp", 17), ("ArrowUp", 9), ("ArrowUp", 0), ("ArrowLeft", 0),
        ("End", 22), ("ArrowRight", 22), ("Home", 0),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert heading.text_content() == f"character {at}", key
        assert page.evaluate("document.querySelectorAll('#text .at').length") == 1
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden() and page.locator("#text .at").count() == 0


def test_keys_reach_what_is_not_drawn_yet(tmp_path, opened):
    path, view = big(100_000, tmp_path)
    page = opened(path)
    page.locator("#text").focus()
    page.keyboard.press("End")
    assert page.locator("#panel h3").first.text_content() == f"character {len(view.ids) - 1:,}"
    box = span(page, len(view.ids) - 1).bounding_box()
    panel = page.locator("#panel").bounding_box()
    assert 0 < box["y"] and box["y"] + box["height"] <= panel["y"] + 1, "the panel does not cover it"


def channels(colour):
    """Red, green and blue of 0 to 1."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour)]
    return numbers[:3] if "srgb" in colour else [number / 255 for number in numbers[:3]]


def contrast(page, at):
    """Between the letter of a character and its ground, as WCAG 2.1 has it, from what is really painted."""
    colours = page.evaluate(
        """span => {
            const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const paint = (...colours) => {
                for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
                return [...canvas.getImageData(0, 0, 1, 1).data];
            };
            const paper = getComputedStyle(document.body).backgroundColor, style = getComputedStyle(span);
            return [paint(paper, style.backgroundColor), paint(style.color)];
        }""",
        span(page, at),
    )

    def luminance(colour):
        parts = [part / 255 for part in colour[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted(map(luminance, colours), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_are_readable(tmp_path, opened, scheme):
    symbols = Vocabulary("char", np.arange(97, 123, dtype=np.uint32))
    ramp = np.linspace(-1, 1, 33)
    view = TextView(
        title="Ramps", about="", facts={}, vocabulary=symbols, ids=np.resize(np.arange(2, 28), 33),
        tracks=(surprise(np.linspace(0, 9, 33)), Track("blog", ramp, "blog"), Track("paper", ramp, "paper")),
        top=np.zeros((34, 0), int), probabilities=np.zeros((34, 0)),
    )  # fmt: skip
    save_page(tmp_path / "a.html", report(view))
    page = opened(tmp_path / "a.html", color_scheme=scheme)
    paper = channels(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert max(paper) < 0.2 if scheme == "dark" else min(paper) > 0.9
    for track in range(3):
        page.select_option("#track", str(track))
        assert min(contrast(page, at) for at in range(33)) > 4, track


def test_a_phone_needs_no_scrolling_sideways(written, opened):
    words = [word for unit in range(6) for word in ("--unit", f"0:{unit}")]
    path, _, _ = written(text_of(3000), "cells", *words)
    page = opened(path, viewport={"width": 400, "height": 800})
    span(page, 40).hover()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    panel = page.locator("#panel").bounding_box()
    assert panel["x"] >= 0 and panel["width"] <= 400 and panel["height"] < 400
    last = page.locator("#panel .likely li").last.bounding_box()
    assert last["x"] + last["width"] <= 400


def test_a_narrower_window_is_measured_again(tmp_path, opened):
    path, _ = big(60_000, tmp_path, width=200)
    page = opened(path)
    wait(page, "document.querySelector('#text > div').childElementCount > 0")
    wide = page.evaluate("document.querySelector('#text').getBoundingClientRect().height")
    page.set_viewport_size({"width": 400, "height": 800})
    wait(page, f"document.querySelector('#text').getBoundingClientRect().height > {1.5 * wide}")


def test_the_tables_and_facts_are_there(written, opened):
    path, _, seen = written(text_of(600), "surprise")
    page = opened(path)
    assert page.locator("h2").all_text_contents() == ["Which characters surprise", "Does it use long context?", "Text"]
    assert f"{float(seen.bits.mean()):.4f} bits per character" in page.locator("dl").text_content()
    rows = page.locator("table").first.locator("tbody tr")
    assert [row.locator("td").first.text_content() for row in rows.all()] == [
        "letters", "spaces", "punctuation", "line starts", "ends of documents",
    ]  # fmt: skip
    assert page.locator("#track").is_hidden(), "with one track there is nothing to choose"
