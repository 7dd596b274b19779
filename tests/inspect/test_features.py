"""Features of a text, after hand-written answers and a slow twin that reads one character after the other."""

import re

import numpy as np
import pytest

from charlm.config import FEATURE_NAMES as NAMES
from charlm.inspect import features
from charlm.inspect.features import FEATURES, of_text, on
from charlm.tokenizers.vocabulary import Vocabulary


def symbols_of(text, unit="char"):
    codes = [ord(letter) for letter in text] if unit == "char" else list(text.encode())
    return Vocabulary(unit, np.unique(np.array(codes or [97], np.uint32)))


def encoded(*documents, unit="char", symbols=None):
    """Ids with a boundary before and after every document, and the table."""
    symbols = symbols or symbols_of("".join(documents), unit)
    parts = [np.concatenate((symbols.encode_text(document), [0])) for document in documents]
    return np.concatenate(([0], *parts)).astype(np.int64), symbols


def marks(name, *documents, unit="char"):
    """What a feature is after every character, a digit or a sign each, documents joined as the ids are."""
    values = of_text(*encoded(*documents, unit=unit), (name,))[name]
    if values.dtype == bool:
        return "".join(" x"[int(value)] for value in values)
    return "".join(str(int(value)) if value < 10 else "+" for value in values)


def test_the_names_are_those_of_the_options():
    assert tuple(FEATURES) == NAMES


SMALL = [
    ("double-quotes",
     'say "no" now',
     "    xxx     "),
    ("single-quotes",
     "a 'b c' d",
     "  xxxx   "),
    ("single-quotes",
     "don't 'tis the dogs",
     "                   "),
    ("single-quotes",
     "x = rb'q' + xb'q'",
     "      xx         "),
    ("single-quotes",
     "'don't' it",
     "xxxxxx    "),
    ("quotes",
     """'a"b' "c'd\"""",
     "xxxx  xxxx "),
    ("double-quotes",
     '"a\\"b" c\\"d e"',
     "xxxxx         "),
    ("double-quotes",
     "“a “b” c”",
     "xxxxx    "),
    ("triple-quotes",
     '"""a"b""" c',
     "xxxxxxxx   "),
    ("comment",
     "a#b 'c",
     " xxxxx"),
    ("comment",
     "'#' # d",
     "    xxx"),
    ("brackets",
     "a(b[c]d)e)f(",
     "011221100000"),
    ("brackets",
     "([)]('(')",
     "110011110"),
    ("capitals",
     "aBc d Ef",
     " xx   xx"),
    ("word",
     "ab_1 c,é",
     "12340101"),
]  # fmt: skip
"""Name, text, and what is so after each of its characters."""


@pytest.mark.parametrize(("name", "text", "wanted"), SMALL)
def test_small_texts(name, text, wanted):
    assert marks(name, text)[1:-1] == wanted


def test_quotes_across_lines():
    assert marks("double-quotes", 'a "b\nc" d') == "   xxxx    "
    assert marks("double-quotes", 'a "b\n\nc" d') == " " * 12
    assert marks("single-quotes", "a 'b\nc' d") == " " * 11
    assert marks("triple-quotes", '"""b\n\nc', "d") == " xxxxxxx   "


def test_lines():
    ids, symbols = encoded("ab\n\tc\r\nd", "ef")
    found = of_text(ids, symbols)
    assert found["column"].tolist() == [0, 1, 2, 0, 1, 2, 0, 0, 1, 0, 1, 2, 0]
    assert found["indentation"].tolist() == [0, 0, 0, 0, 8, 8, 0, 0, 0, 0, 0, 0, 0]
    assert found["newline"].tolist() == [2, 1, 0, 2, 1, 0, 0, 1, 0, 2, 1, 0, 0]


def test_indentation_is_what_was_read_in_front_of_the_line():
    assert marks("indentation", "  a b\n b") == "012222011" + "0"


def test_a_boundary_ends_quotes_comments_brackets_lines_and_words():
    ids, symbols = encoded('("a #', 'b") c')
    found = of_text(ids, symbols)
    assert not found["quotes"].any() and not found["brackets"].any()
    assert found["comment"].tolist() == [*[False] * 5, True, *[False] * 7]
    assert found["column"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0]


def test_bytes_that_go_on_with_a_character_count_for_no_column():
    text = "é“ü” 'ß'"
    ids, symbols = encoded(text, unit="byte")
    found = of_text(ids, symbols)
    chars = of_text(*encoded(text))
    first = [at + 1 for at, byte in enumerate(text.encode()) if byte & 0xC0 != 0x80]
    assert found["column"][first].tolist() == chars["column"][1:-1].tolist()
    assert found["single-quotes"][first].tolist() == chars["single-quotes"][1:-1].tolist()
    assert found["word"].max() == 4 and not found["capitals"].any()


def test_the_unknown_symbol_is_neither_letter_nor_mark():
    symbols = symbols_of("ab'")
    ids, _ = encoded("a?b'a'", symbols=symbols)
    assert (ids == 1).sum() == 1
    assert of_text(ids, symbols)["word"].tolist() == [0, 1, 0, 1, 0, 1, 0, 0]


def test_on_is_true_or_above_the_mean():
    assert on(np.array([True, False])).tolist() == [True, False]
    assert on(np.array([0, 1, 5], np.float32)).tolist() == [False, False, True]


ALPHABET = list("ab'\"#\\\n (A“”‘’[)]\tr")


@pytest.mark.parametrize("seed", range(40))
def test_a_slow_twin_finds_the_same_in_texts_of_marks(seed):
    random = np.random.default_rng(seed)
    documents = ["".join(random.choice(ALPHABET, random.integers(1, 120))) for _ in range(4)]
    ids, symbols = encoded(*documents, symbols=symbols_of("".join(ALPHABET)))
    found = of_text(ids, symbols)
    passage = features.Passage(ids, symbols)
    regions, depths, lines = [], [], []
    for document in documents:
        kinds = slow_regions(document)
        regions += [0, *kinds]
        depths += [0, *slow_depths(document, kinds)]
        lines += [(0, 0, 0, False), *slow_lines(document)]
    assert passage.regions.tolist() == [*regions, 0]
    assert found["brackets"].tolist() == [*depths, 0]
    for index, name in enumerate(("column", "indentation", "word", "capitals")):
        assert found[name].tolist() == [*(line[index] for line in lines), 0], name
    for t, value in enumerate(found["newline"].tolist()):
        rest = passage.text[t + 1 :]
        assert value == len(re.split("[\n\r]", rest)[0])


def is_word(letter):
    return letter.isalnum() or letter == "_"


def slow_regions(text):
    """The rule of `charlm.inspect.quotes`, mark by mark, looking as far ahead as it takes each time."""
    kinds, at = [0] * len(text), 0
    while at < len(text):
        mark = text[at : at + 3] if text[at : at + 3] in ('"""', "'''") else text[at]
        if mark == "#":
            end = at
            while end < len(text) and text[end] not in "\n\r":
                kinds[end] = 4
                end += 1
            at = end
            continue
        if mark not in ("'", '"', "“", "‘", '"""', "'''") or not may_open(text, at):
            at += 1
            continue
        end = slow_end(text, at, mark)
        kind = 3 if len(mark) == 3 else 1 if mark in '"“' else 2
        if end is None and kind == 3:
            kinds[at:] = [3] * (len(text) - at)
            break
        if end is None:
            at += 1
            continue
        kinds[at : end - 1] = [kind] * (end - 1 - at)
        at = end
    return kinds


def may_open(text, at):
    before = text[:at]
    for size in (0, 1, 2):
        prefix, rest = before[len(before) - size :], before[: len(before) - size]
        if len(prefix) == size and all(letter in "rRbBuUfF" for letter in prefix):
            if not rest or not (is_word(rest[-1]) or rest[-1] == "\\"):
                return True
    return False


def slow_end(text, at, mark):
    """Behind the closing mark; None where there is none in time."""
    closing = {"“": "”", "‘": "’"}.get(mark, mark)
    place = at + len(mark)
    rest = text
    if len(mark) == 1:
        limit = re.compile("[\n\r]" if mark in "'‘" else "\n[ \t\r]*\n|\r[ \t]*\r").search(text, at)
        rest = text[: limit.start()] if limit else text
    while place < len(rest):
        if rest[place] == "\\" and mark not in "“‘":
            place += 2
            continue
        if rest[place : place + len(closing)] == closing:
            after = rest[place + 1 : place + 2]
            if not (mark in "'‘" and after and is_word(after)):
                return place + len(closing)
        place += 1
    return None


def slow_depths(text, kinds):
    """Pairs found by removing innermost ones; each counts from its opening to before its closing."""
    pairs, stack = {")": "(", "]": "[", "}": "{"}, []
    depths = [0] * len(text)
    for at, letter in enumerate(text):
        if kinds[at]:
            continue
        if letter in "([{":
            stack.append(at)
        elif letter in pairs and any(text[place] == pairs[letter] for place in stack):
            while text[stack[-1]] != pairs[letter]:
                stack.pop()
            for place in range(stack.pop(), at):
                depths[place] += 1
    return depths


def slow_lines(text):
    """Column, indentation, position in the word and whether a capital was in it, character by character."""
    found, column, blanks, leading, word, capital = [], 0, 0, True, 0, False
    for letter in text:
        if letter in "\n\r":
            column, blanks, leading = 0, 0, True
        else:
            column += 1
            leading = leading and letter in " \t"
            blanks += leading * (8 if letter == "\t" else 1)
        word = word + 1 if is_word(letter) else 0
        capital = word > 0 and (capital or letter.isupper())
        found.append((column, blanks, word, capital))
    return found


@pytest.mark.parametrize("piece", ['"', '\\"', "“", "‘a", "'a", " 'a\\'", '(["', '"\n\n', '"""\\', '"\\\\', "#\n'"])
def test_a_text_made_to_be_slow_is_not(piece):
    from time import perf_counter

    ids, symbols = encoded(piece * (100_000 // len(piece)))
    began = perf_counter()
    of_text(ids, symbols)
    assert perf_counter() - began < 3
