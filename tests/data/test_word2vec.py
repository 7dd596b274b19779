"""Files of vectors: what is written is read, by whatever name, and a line that is none is refused with its number."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.vectors import lines
from charlm.data import word2vec
from charlm.data.word2vec import read_vectors
from charlm.errors import InputError
from charlm.tokenizers.vocabulary import FIRST_SYMBOL, Vocabulary


def table(letters: str, unit: str = "char") -> Vocabulary:
    return Vocabulary(unit, np.array(sorted({ord(letter) for letter in letters}), np.uint32))


@pytest.fixture
def write(tmp_path: Path):
    def of(text: str | bytes) -> Path:
        path = tmp_path / "vectors.txt"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return of


def refusal(path: Path, symbols: Vocabulary) -> str:
    with pytest.raises(InputError) as caught:
        read_vectors(path, symbols)
    message = str(caught.value)
    assert caught.value.exit_code == 2 and "\n" not in message and str(path) in message and len(message) < 500
    return message


def test_symbols_are_found_by_every_name_they_have(write) -> None:
    symbols = table("e \n\té☃😀")
    found = read_vectors(
        write("e 1 1\nU+0020 2 2\nU+000A 3 3\nU+0009 4 4\né 5 5\nU+2603 6 6\n😀 7 7\n</s> 8 8\n<unk> 9 9\n"), symbols
    )
    expected = {"e": 1, " ": 2, "\n": 3, "\t": 4, "é": 5, "☃": 6, "😀": 7}
    wanted = [8, 9, *(expected[chr(code)] for code in symbols.codes)]
    assert found.ids.tolist() == list(range(9)) and found.others == 0
    assert found.values.dtype == np.float32 and found.values[:, 0].tolist() == wanted


@pytest.mark.parametrize("unit", ["char", "byte", "word"])
def test_a_table_that_is_written_is_read_back_to_the_bit(write, unit: str) -> None:
    words = np.array(["\n", " a", "a", "b c", "é", "é1", "\u00a0"], object)
    codes = {"char": [10, 32, 65, 0xE9, 0x2603, 0xD800], "byte": [0, 10, 32, 65, 0xE9]}
    symbols = Vocabulary(unit, words if unit == "word" else np.array(codes[unit], np.uint32))
    vectors = np.random.default_rng(0).normal(size=(symbols.size, 3)).astype(np.float32) * np.float32(1e-30)
    found = read_vectors(write("\n".join(lines(symbols, vectors))), symbols)
    assert found.ids.tolist() == list(range(symbols.size)) and found.others == 0
    if unit == "word":  # " a" and "a" have one vector in such a file
        first, second = (FIRST_SYMBOL + words.tolist().index(word) for word in (" a", "a"))
        vectors[second] = vectors[first]
    assert np.array_equal(found.values, vectors)


def test_bytes_are_found_by_their_numbers_and_as_ascii(write) -> None:
    symbols = Vocabulary("byte", np.array([10, 32, 65, 0xE9], np.uint32))
    found = read_vectors(write("0x0A 1\n0x20 2\nA 3\n0xE9 4\né 5\n0x41x 6\n"), symbols)
    assert found.ids.tolist() == [2, 3, 4, 5] and found.values[:, 0].tolist() == [1, 2, 3, 4] and found.others == 2


def test_word2vec_s_head_and_its_trailing_blanks_are_read(write) -> None:
    found = read_vectors(write("3 2\na 0.5 -1e-3 \nb 1 2 \r\nthe 7 8 \n"), table("ab"))
    assert found.values.tolist() == [[0.5, pytest.approx(-0.001)], [1, 2]] and found.others == 1


def test_a_word_with_blanks_in_it_is_passed_over(write) -> None:
    """GloVe's largest file has such words."""
    found = read_vectors(write("a 1 2\n. . . 3 4\nb 5 6\n"), table("ab"))
    assert found.values.tolist() == [[1, 2], [5, 6]] and found.others == 1


def test_what_is_no_utf8_is_no_symbol(write) -> None:
    found = read_vectors(write(b"a 1 2\n\xff\xfe 3 4\n"), table("a"))
    assert found.ids.tolist() == [2] and found.others == 1


@given(st.lists(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12, unique=True), st.integers(1, 5))
def test_what_is_written_comes_back(tmp_path_factory, letters, size) -> None:
    symbols = table("".join(letters))
    random = np.random.default_rng(size)
    values = random.standard_normal((len(letters), size)).astype(np.float32)
    order = random.permutation(len(letters))
    lines = []
    for rank in order:
        names = symbols.tokenizer.written(int(symbols.codes[rank]))
        lines.append(" ".join([names[rank % len(names)], *map(str, values[rank])]))
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read_vectors(path, symbols)
    if len(found.ids) == len(letters):  # a digit and one number may be taken for word2vec's head
        assert np.array_equal(found.values, values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1 2\nb 1\n", "line 2 has 1 numbers behind its symbol, and needs 2 numbers, as the lines before it"),
        ("a 1 2\nb 1 2 3\n", "line 2 has 3 numbers behind its symbol, and needs 2"),
        ("2 3\na 1 2\n", "line 2 has 2 numbers behind its symbol, and needs 3"),
        ("a\n", "line 1 has 0 numbers behind its symbol, and needs numbers"),
        ("a 1 2\na 3 4\n", "line 2 has a second vector of 'a'; the first is in line 1"),
        ("a 1 2\n\nU+0061 3 4\n", "line 3 has a second vector of 'U+0061'; the first is in line 1"),
        ("a 1 x\n", "line 1 holds what is no number"),
        ("a 1 nan\n", "line 1 holds a number that is not finite"),
        ("a 1 inf\n", "line 1 holds a number that is not finite"),
        ("a 1 1e39\n", "line 1 holds a number that is not finite, or too large for 32 bits"),
        ("x 1 2\ny 1 2\n", "has no vector of any of the 4 symbols, and 2 of others"),
        ("", "has no vector of any of the 4 symbols"),
        (b"\x00\xff" * 50, "line 1 has 0 numbers"),
        ("a " + "1 " * 9, None),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_number(write, text, words) -> None:
    path = write(text)
    if words is None:
        assert read_vectors(path, table("ab")).size == 9
    else:
        assert words in refusal(path, table("ab"))


def test_a_file_without_lines_is_not_read_to_its_end(write, monkeypatch) -> None:
    monkeypatch.setattr(word2vec, "MAX_LINE_BYTES", 64)
    assert "line 2 is longer than 64 bytes" in refusal(write("a 1 2\n" + "b " + "1 " * 5000), table("ab"))


def test_what_cannot_be_opened_is_refused(tmp_path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.txt", table("ab"))
    assert "cannot be read" in refusal(tmp_path, table("ab"))
