"""How a report is packed, and what of it is never markup."""

import base64
import json
import re

import numpy as np
import pytest
from texts import text_of

from charlm.errors import UsageError
from charlm.show.palettes import COLOUR_STEPS, PALETTES, level, style
from charlm.show.symbols import glyphs, names
from charlm.show.tables import Grid
from charlm.show.text_view import MAX_REPORT_BYTES, TextView, Track, plan, report, surprise
from charlm.tokenizers.vocabulary import Vocabulary


def table(text, unit="char"):
    return Vocabulary(unit, np.array(sorted({*map(ord, text)}), np.uint32))


def view_of(text, symbols=None, tracks=(), top=5, **more):
    """A view of a text with random numbers."""
    symbols = symbols or table(text)
    ids = symbols.encode_text(text)
    random = np.random.default_rng(4)
    top = min(top, symbols.size)
    shares = -np.sort(-random.dirichlet(np.ones(top + 1), len(ids) + 1), 1)[:, :top]
    return TextView(
        title="A title", about="about", facts={"model": "m"}, vocabulary=symbols, ids=ids,
        tracks=(surprise(random.exponential(3, len(ids))), *tracks),
        top=random.integers(0, symbols.size, (len(ids) + 1, top)), probabilities=shares, **more,
    )  # fmt: skip


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def array(packed):
    return np.frombuffer(base64.b64decode(packed["bytes"]), np.dtype(packed["type"]).newbyteorder("<"))


@pytest.mark.parametrize("letters", ["abc ", "".join(map(chr, range(0x4E00, 0x4E00 + 12000)))])
def test_the_numbers_come_out_as_they_went_in(letters):
    symbols = table(letters)
    text = "".join(np.random.default_rng(1).choice(list(letters), 400))
    units = Track("unit", np.random.default_rng(2).uniform(-1, 1, 400), "blog")
    view = view_of(text, symbols, (units,))
    data = data_of(report(view))
    assert array(data["ids"]).tolist() == view.ids.tolist() and data["shown"] is None
    assert "".join(data["glyphs"][symbol] for symbol in view.ids) == text
    assert array(data["top"]).reshape(-1, 5).tolist() == view.top.tolist()
    np.testing.assert_allclose(array(data["probabilities"]).reshape(-1, 5) / 65535, view.probabilities, atol=1e-5)
    for track, packed in zip(view.tracks, data["tracks"], strict=True):
        found = packed["low"] + array(packed["values"]) * packed["step"]
        np.testing.assert_allclose(found, track.values, atol=np.ptp(track.values) / 65535)
        assert (packed["signed"], packed["palette"]) == (track.palette == "blog", track.palette)


def test_a_track_of_one_value():
    data = data_of(report(view_of("aaaa", tracks=(Track("flat", np.full(4, 0.25), "paper"),))))
    assert (data["tracks"][1]["low"], array(data["tracks"][1]["values"]).tolist()) == (0.25, [0] * 4)


@pytest.mark.parametrize("size", [10, 300, 12000])
def test_a_megabyte_fits_with_fewer_likely_symbols(size):
    symbols = Vocabulary("char", np.arange(size, dtype=np.uint32))
    assert plan(100_000, symbols, 1, 5).top == 5
    found = plan(1_000_000, symbols, 3, 5)
    assert found.top >= 1
    random = np.random.default_rng(0)
    view = TextView(
        title="", about="", facts={}, vocabulary=symbols, ids=random.integers(0, symbols.size, 1_000_000),
        tracks=tuple(Track("t", random.normal(size=1_000_000), "blog") for _ in range(3)),
        top=np.zeros((1_000_001, 5), np.int64), probabilities=np.zeros((1_000_001, 5)),
    )  # fmt: skip
    page = report(view)
    assert len(page.encode()) < MAX_REPORT_BYTES
    assert f"{found.top} of 5 at each character" in page


def test_plan_refuses_what_cannot_fit_and_says_what_can():
    symbols = Vocabulary("char", np.arange(100, dtype=np.uint32))
    with pytest.raises(UsageError, match="larger than 20 MB") as error:
        plan(10_000_000, symbols, 40, 5)
    most = int(re.search(r"--chars (\d+)", str(error.value))[1])
    assert plan(most, symbols, 40, 5).top == 1 and plan(most, symbols, 40, 0).top == 0
    with pytest.raises(UsageError):
        plan(most + 1, symbols, 40, 5)
    with pytest.raises(UsageError, match="600,000 symbols, which alone .* leave out --html"):
        plan(1, Vocabulary("char", np.arange(1, 599_999, dtype=np.uint32)), 1, 5)


def test_nothing_of_a_view_is_markup():
    hostile = "<script>alert(1)</script><!-- {{ 7*7 }} {% raw %} &amp; '\"`\x00\x1b\u2028\u202e\U0001f600"
    view = view_of(
        hostile, table(hostile), (Track(hostile, np.zeros(len(hostile)), "blog"),),
        tables=(Grid(hostile, (hostile,), [(hostile,)], hostile),),
    )  # fmt: skip
    page = report(TextView(**{**view.__dict__, "title": hostile, "about": hostile, "facts": {hostile: hostile}}))
    assert "<script>alert" not in page and ">49<" not in page and "{{ 7*7 }}" in page and "&amp;amp;" in page
    assert page.count("</script>") == 2
    data = data_of(page)
    assert "".join(data["glyphs"][symbol] for symbol in view.ids) == hostile.replace("\x00", "␀").replace(
        "\x1b", "␛"
    ).replace("\u202e", "\ufffd")


def test_halves_of_surrogate_pairs_do_not_break_a_report():
    symbols = Vocabulary("char", np.array([97, 0xD800, 0xDFFF], np.uint32))
    view = view_of("a", symbols)
    page = report(TextView(**{**view.__dict__, "ids": np.array([2, 3, 4]), "tracks": (surprise(np.ones(3)),),
                              "top": np.zeros((4, 1), int), "probabilities": np.zeros((4, 1))}))  # fmt: skip
    page.encode("utf-8")
    data = data_of(page)
    assert data["names"][2:] == ["a", "U+D800", "U+DFFF"] and data["glyphs"][3:] == ["\ufffd", "\ufffd"]


def test_names_tell_symbols_apart():
    found = names(table(" \n\t\r\x1b\x7f\x85\u00a0\u200b\u0301\u202ea␣é"))
    assert found == ["boundary", "unknown", "⇥", "⏎", "␍", "␛", "␣", "a", "␡", "U+0085", "U+00A0", "é", "◌\u0301",
                     "U+200B", "U+202E", "␣"]  # fmt: skip
    assert names(Vocabulary("byte", np.array([10, 65, 255], np.uint32))) == ["boundary", "unknown", "⏎", "A", "0xFF"]


def test_bytes_stand_where_their_character_ends():
    symbols = Vocabulary("byte", np.arange(256, dtype=np.uint32))
    data = "é\n中".encode() + b"\xe4\xb8"
    ids = np.concatenate((symbols.encode(np.frombuffer(data, np.uint8)), [0, 1]))
    words, shown = glyphs(symbols, ids)
    assert [words[at] for at in shown] == ["·", "é", "\n", "·", "·", "中", "·", "·", "\ufffd∎\n", "\ufffd"]
    page = data_of(report(TextView("", "", {}, symbols, ids, (surprise(np.ones(10)),), np.zeros((11, 0), int),
                                   np.zeros((11, 0)))))  # fmt: skip
    assert [page["glyphs"][at] for at in array(page["shown"])] == [words[at] for at in shown]
    assert page["likely"] == 0


def test_a_text_of_characters_is_its_own_list_of_glyphs():
    symbols = table(text_of(100))
    ids = symbols.encode_text(text_of(100))
    words, shown = glyphs(symbols, ids)
    assert shown is ids and "".join(words[at] for at in ids) == text_of(100)


def luminance(colour):
    """Relative luminance, WCAG 2.1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", PALETTES)
def test_letters_stay_readable_on_every_colour(name):
    palette = PALETTES[name]
    for step in range(-COLOUR_STEPS if palette.signed else 0, COLOUR_STEPS + 1):
        if step:
            ink, _, ground = style(palette, step).split()[-3:]
            assert contrast(ink, ground) > 4.5, (name, step)
    for hue in filter(None, (palette.low, palette.high)):
        assert contrast("#1b1b1b", hue) > 4.5, (name, hue)
    for hue in filter(None, (palette.dark_low, palette.dark_high)):
        assert contrast("#e4e4e4", hue) > 4, (name, hue)


def test_levels():
    assert [level(value) for value in (-2, -1, -0.13, -0.12, 0, 0.12, 0.13, 0.5, 0.87, 0.88, 9)] == [
        -4, -4, -1, 0, 0, 0, 1, 2, 3, 4, 4
    ]  # fmt: skip
    assert [level(value, 3) for value in (-1, -0.5, 0.5, 0.75)] == [-4, 0, 0, 3]
    assert style(PALETTES["blog"], 0) == ""
