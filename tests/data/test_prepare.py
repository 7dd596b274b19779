"""Preparing: the splits hold the whole text once, and nothing half-made is ever left."""

import hashlib
import io
import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config import PrepareOptions
from charlm.data import leaks, sources
from charlm.data.corpus import Corpus, find_corpus
from charlm.data.prepare import prepare
from charlm.data.sources import Document, Source, open_sources
from charlm.data.symbol_stream import encode_source
from charlm.errors import CharlmError, CorpusError, UsageError
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN

ALL = {"valid_fraction": 0, "test_fraction": 0}


def source_of(*documents: bytes, cut: int = 1 << 20, name: str = "text") -> Source:
    """A source of documents given as bytes, in chunks of `cut` bytes."""
    made = [
        Document(f"{name}-{index}", lambda data=data: (data[at : at + cut] for at in range(0, len(data), cut)))
        for index, data in enumerate(documents)
    ]
    return Source(name, [name], lambda: iter(made))


def stream(corpus: Corpus) -> list[int]:
    """The splits joined again, their leading boundaries removed."""
    parts = [corpus.split(name) for name in ("train", "valid", "test") if corpus.has(name)]
    assert all(part[0] == BOUNDARY and len(part) > 1 for part in parts)
    return np.concatenate([part[1:] for part in parts]).tolist()


def documents_of(corpus: Corpus) -> list[str]:
    """The documents as text, cut at the boundaries."""
    ids = np.array(stream(corpus))
    ends = np.flatnonzero(ids == BOUNDARY)
    assert ends[-1] == ids.size - 1
    return [corpus.vocabulary.decode(part) for part in np.split(ids, ends + 1)[:-1]]


@pytest.fixture
def make(tmp_path):
    """Prepare documents below a fresh folder; the lines reported are in `make.lines`."""

    def made(*documents, cut=1 << 20, **options):
        made.lines.clear()
        options = {"out": str(tmp_path / "data"), **options}
        return prepare(source_of(*documents, cut=cut), report=made.lines.append, **options)

    made.lines = []
    return made


def refusal(make, *documents, kind=CorpusError, **options) -> str:
    with pytest.raises(kind) as error:
        make(*documents, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


texts = st.text(st.sampled_from("ab\r\n\0é€😀"), max_size=30)


@given(
    st.lists(texts, min_size=1, max_size=4),
    st.integers(1, 7),
    st.sampled_from(["file", "line"]),
    st.sampled_from(["keep", "lf"]),
    st.sampled_from(["char", "byte"]),
)
def test_the_stream_is_that_of_the_whole_text_whatever_the_chunks(
    tmp_path_factory, documents, cut, what, newlines, unit
):
    wanted = documents
    if newlines == "lf" or what == "line":
        wanted = [text.replace("\r\n", "\n").replace("\r", "\n") for text in wanted]
    if what == "line":
        wanted = [line for text in wanted for line in text.split("\n")]
    wanted = [text for text in wanted if text]
    source = source_of(*(text.encode() for text in documents), cut=cut)
    options = PrepareOptions(
        out=str(tmp_path_factory.mktemp("data")), documents=what, newlines=newlines, unit=unit, **ALL
    )
    length = sum(len(text if unit == "char" else text.encode()) for text in wanted)
    if length < 2:
        with pytest.raises(CorpusError, match="at least 2 are needed"):
            prepare(source, options=options)
        return
    corpus = prepare(source, options=options)
    assert documents_of(corpus) == wanted
    assert (corpus.characters, corpus.documents) == (length, len(wanted))
    assert corpus.sha256 == hashlib.sha256("".join(documents).encode()).hexdigest()
    assert corpus.bytes == len("".join(documents).encode())
    line_ends = len(wanted) if what == "line" else 0
    assert corpus.bytes_of("train") == len("".join(wanted).encode()) + line_ends
    encoded = encode_source(source, corpus.vocabulary, corpus.options)
    assert encoded.ids.tolist() == corpus.split("train").tolist()
    assert (encoded.characters, encoded.documents, encoded.unknown) == (length, len(wanted), 0)
    assert (encoded.bytes, encoded.sha256) == (corpus.bytes_of("train"), corpus.sha256)


@given(
    st.integers(2, 400),
    st.integers(1, 3),
    st.sampled_from([0, 0.05, 0.1, 0.3, 0.25, 1 / 3]),
    st.sampled_from([0, 0.05, 0.1, 0.3]),
)
def test_the_splits_cover_the_stream_exactly_once(tmp_path_factory, length, documents, valid, test):
    text = bytes(97 + index % 26 for index in range(length))
    source = source_of(*[text] * documents, cut=37)
    options = {"out": str(tmp_path_factory.mktemp("data")), "valid_fraction": valid, "test_fraction": test}
    symbols = documents * (length + 1)
    try:
        corpus = prepare(source, **options)
    except CorpusError as error:
        assert "split would be empty" in str(error)
        assert min(share for share in (valid, test) if share) * symbols < 3
        return
    assert [corpus.has("valid"), corpus.has("test")] == [bool(valid), bool(test)]
    whole = [*corpus.vocabulary.encode_text(text.decode()), BOUNDARY] * documents
    assert stream(corpus) == whole
    splits = corpus.info["splits"]
    assert len(corpus.split("train")) - 1 == int(symbols * (1 - valid - test) + 1e-9)
    assert sum(split["symbols"] for split in splits.values()) == symbols
    assert sum(split["characters"] for split in splits.values()) == corpus.characters == documents * length
    assert sum(split["documents"] for split in splits.values()) == corpus.documents == documents
    assert sum(corpus.bytes_of(split) for split in splits) == documents * length


def test_a_corpus_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "Ein Bär. " * 100
    (tmp_path / "bär.txt").write_text(text, encoding="utf-8")
    corpus = prepare("bär.txt")
    assert corpus.path.samefile(tmp_path / "data" / "bär")
    info = json.loads((tmp_path / "data" / "bär" / "corpus.json").read_text())
    assert info == corpus.info
    assert {"format", "name", "characters", "bytes", "distinct", "documents", "sha256", "fingerprint", "unit",
            "symbols", "dtype", "splits", "options", "origin", "prepared"} <= set(info)  # fmt: skip
    assert info["symbols"] == {"unit": "char", "codes": " .BEinrä"} and info["dtype"] == "uint8"
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert (corpus.name, corpus.characters, corpus.bytes, corpus.distinct) == ("bär", 900, 1000, 8)
    assert corpus.origin == [str(tmp_path / "bär.txt")] and corpus.entropy_bits_per_char is None
    assert corpus.options == PrepareOptions()
    assert sorted(os.listdir(corpus.path)) == ["corpus.json", "test.bin", "train.bin", "valid.bin"]
    assert not corpus.split("valid").flags.writeable
    train = np.fromfile(corpus.file("train"), "u1")
    assert corpus.vocabulary.decode(train) == text[: len(train) - 1]


def test_a_synthetic_corpus_knows_its_entropy(tmp_path):
    corpus = prepare("markov", size="3k", seed=5, out=str(tmp_path))
    assert corpus.characters == 3000 and 1.5 < corpus.entropy_bits_per_char < 2.3
    assert (corpus.options.size, corpus.options.seed) == (3000, 5)
    with pytest.raises(CorpusError, match="was made with another text"):
        prepare("markov", size="3k", seed=6, out=str(tmp_path))


def test_ids_above_one_byte_are_little_endian(make):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    corpus = make(text.encode(), **ALL)
    assert corpus.info["dtype"] == "uint16"
    assert np.fromfile(corpus.file("train"), "<u2").tolist() == [0, *range(2, 302), 0]


def test_rarer_characters_become_the_unknown_symbol(make):
    corpus = make(b"aaabbbccd", min_count=3, **ALL)
    assert corpus.vocabulary.codes.tolist() == [97, 98] and (corpus.distinct, corpus.characters) == (4, 9)
    assert stream(corpus) == [2, 2, 2, 3, 3, 3, UNKNOWN, UNKNOWN, UNKNOWN, BOUNDARY]
    assert make.lines == ["3 characters of 2 kinds, seen less than 3 times, become the unknown symbol"]
    assert "--min-count 4 leaves no character" in refusal(make, b"aaabbbccd", min_count=4, force=True)


def test_lines_are_documents_and_empty_ones_are_left_out(make):
    corpus = make(b"\n\nanna\r\nbert\n\n\nclara", documents="line", **ALL)
    assert documents_of(corpus) == ["anna", "bert", "clara"]
    assert "\n" not in corpus.vocabulary.decode(range(corpus.vocabulary.size))
    two_files = make(b"anna\nbert", b"clara\n", documents="line", name="two", **ALL)
    assert documents_of(two_files) == ["anna", "bert", "clara"]


def test_no_control_characters_or_line_ends_no_warnings(make):
    make(b"plain text\twith\nlines plain text\twith\nlines")
    assert make.lines == []


@pytest.mark.parametrize(
    ("text", "options", "warning"),
    [
        ("\ufeffabab", {}, "removed the byte order mark at the start of 1 document"),
        ("a\r\na\r\n", {}, "the text has 2 CR LF line ends; --newlines lf makes them all LF"),
        ("a\r\na\n\r\r", {}, "the text has 1 CR LF line end and 2 CR line ends, mixed with 1 LF; --newlines lf"),
        ("a\r\na\r", {}, "the text has 1 CR LF line end and 1 CR line end, mixed; --newlines lf"),
        ("a\ra\r", {}, "the text has 2 CR line ends; --newlines lf"),
        ("a\r\na\r", {"newlines": "lf"}, "1 CR LF line end and 1 CR line end made LF"),
        ("aa\0\0\x07\x07", {}, r"the text has 4 control characters: '\x00' (U+0000), '\x07' (U+0007)"),
        ("aa\x85\x85", {}, r"the text has 2 control characters: '\x85' (U+0085)"),
        ("aa\0\0", {"unit": "byte"}, "the text has 2 control characters: byte 0x00"),
        ("aabé", {}, "2 characters seen once: 'b' (U+0062), 'é' (U+00E9); --min-count 2"),
        ("aabcdefghijk", {}, "'i' (U+0069) and 2 more; --min-count 2"),
    ],
)
def test_what_a_user_may_not_know_is_warned_of(make, text, options, warning):
    for cut in (1, 1000):
        corpus = make(text.encode(), cut=cut, force=True, **options, **ALL)
        assert any(warning in line for line in make.lines), make.lines
        assert corpus.has("train")


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (b"ab\nc\xe9", {}, "text-0 is not utf-8: byte 0xE9 at offset 4 (counted from 0), line 2"),
        (b"", {}, "text has 0 characters, and at least 2 are needed"),
        (b"a", {}, "text has 1 character, and at least 2"),
        (b"\n\n\n", {"documents": "line"}, "text has 0 characters"),
        (b"abcdefghi", {}, "the valid split would be empty: 0.05 of 10 symbols is less than one"),
        (b"abcdefghi", {"valid_fraction": 0.5, "test_fraction": 0.45}, "the train split would be empty"),
        (b"Hello world!", {}, "the test split would be empty: it has only the end of a document; give a longer text"),
        (b"ab" * 500, {"test_fraction": 0.001}, "the test split would be empty: it has only the end of a document"),
        (b"abab", {"encoding": "klingon"}, "--encoding 'klingon' is not a text encoding"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_and_nothing_is_left(make, tmp_path, data, options, reason):
    assert reason in refusal(make, data, **options)
    assert not (tmp_path / "data").exists()


def test_bytes_need_no_encoding(make):
    corpus = make(b"\xff\xfe\xff\xfe", unit="byte", encoding="klingon", **ALL)
    assert corpus.vocabulary.codes.tolist() == [0xFE, 0xFF] and corpus.bytes_of("train") == 4


def test_another_encoding_gives_the_same_ids(make):
    utf8 = make("fährt fährt".encode(), name="a", **ALL)
    latin1 = make("fährt fährt".encode("latin-1"), name="b", encoding="latin-1", **ALL)
    assert stream(utf8) == stream(latin1) and utf8.vocabulary == latin1.vocabulary
    assert utf8.bytes_of("train") == latin1.bytes_of("train") == utf8.bytes == 13 and latin1.bytes == 11


def test_a_corpus_of_the_same_text_and_options_is_reused(make, tmp_path):
    first = make(b"abcabc", **ALL)
    os.utime(first.path / "corpus.json", (0, 0))
    before = first.file("train").stat().st_mtime_ns
    again = make(b"abcabc", **ALL)
    assert make.lines[-1] == f"{first.path} is made from this text with these options already; it is used as it is"
    assert again.info == first.info and again.file("train").stat().st_mtime_ns == before
    assert (first.path / "corpus.json").stat().st_mtime > 10**9


@pytest.mark.parametrize(
    ("documents", "options", "difference"),
    [
        ([b"abcabd"], {}, "was made with another text;"),
        ([b"abcabc"], {"min_count": 2}, "was made with --min-count (1, now 2);"),
        ([b"abcabd"], {"unit": "byte"}, "with another text, --unit (char, now byte)"),
        ([b"abc", b"abc"], {}, "with another division into documents"),
        ([b"abcabc"], {"valid_fraction": 0.4}, "--valid-fraction (0.0, now 0.4)"),
    ],
)
def test_another_corpus_of_that_name_needs_force(make, documents, options, difference):
    first = make(b"abcabc", **ALL)
    options = {**ALL, **options}
    message = refusal(make, *documents, **options)
    assert difference in message and "--force" in message
    assert Corpus.load(first.path).info == first.info
    assert make(*documents, force=True, **options).info != first.info


def test_a_damaged_corpus_needs_force(make):
    corpus = make(b"abcabc", **ALL)
    corpus.file("train").write_bytes(b"")
    assert "train.bin is damaged: it has 0 bytes where corpus.json says 8" in refusal(make, b"abcabc", **ALL)
    assert stream(make(b"abcabc", force=True, **ALL)) == [2, 3, 4, 2, 3, 4, 0]


def test_what_is_no_corpus_is_never_replaced(make, tmp_path):
    folder = tmp_path / "data" / "text"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("precious")
    assert "holds thesis.tex, which is no part of a corpus" in refusal(make, b"abcabc", force=True, **ALL)
    (tmp_path / "data" / "file").write_text("precious")
    assert "is a file" in refusal(make, b"abcabc", force=True, name="file", **ALL)
    (tmp_path / "data" / "empty").mkdir()
    assert make(b"abcabc", name="empty", **ALL).name == "empty"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a\nb", "x" * 300])
def test_a_name_that_is_no_folder_name_is_refused(make, name):
    assert "--name must be a folder's name" in refusal(make, b"abcabc", kind=UsageError, name=name, **ALL)


def changing(*versions: list[bytes]) -> Source:
    """A source that is another text each time it is walked."""
    walks = iter(versions)
    return Source("text", ["/text"], lambda: iter([Document("text", lambda data=d: iter([data])) for d in next(walks)]))


@pytest.mark.parametrize("second", [[b"abcabd"], [b"abcabcabc"], [b"ab"], [b"abc", b"abc"], []])
def test_a_text_that_changes_between_the_walks_is_refused_and_nothing_is_left(tmp_path, second):
    with pytest.raises(CorpusError, match="/text changed while it was read"):
        prepare(changing([b"abcabc"], second), out=str(tmp_path), **ALL)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), CorpusError("gone"), OSError(28, "No space left on device")])
def test_an_interrupted_preparation_leaves_what_was_there(make, tmp_path, failure):
    first = make(b"abcabc", **ALL)

    def chunks(walk):
        yield b"abc"
        if walk == 2:
            raise failure
        yield b"xyz"

    walks = iter([1, 2])
    source = Source("text", ["/text"], lambda: iter([Document("text", lambda: chunks(next(walks)))]))
    with pytest.raises((KeyboardInterrupt, CharlmError)):
        prepare(source, out=str(tmp_path / "data"), force=True, **ALL)
    assert os.listdir(tmp_path / "data") == ["text"]
    assert Corpus.load(first.path).info == first.info


def test_progress_counts_the_bytes_of_both_walks(tmp_path):
    seen = []
    prepare(source_of(b"abcdef", b"ghi", cut=4), out=str(tmp_path), progress=seen.append, **ALL)
    assert seen == [4, 6, 9, 13, 15, 18]


def test_stdin_is_prepared_like_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "READ_BYTES", 7)
    text = "zwölf Boxkämpfer\n".encode() * 20
    (tmp_path / "a.txt").write_bytes(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    piped, filed = (prepare(word, out=str(tmp_path)) for word in ("-", tmp_path / "a.txt"))
    assert piped.name == "stdin" and stream(piped) == stream(filed)
    assert piped.info["fingerprint"] == filed.info["fingerprint"]


def test_a_text_to_be_scored_is_encoded_with_the_table_of_the_corpus(make):
    corpus = make(b"abcabc\n", **ALL)
    encoded = encode_source(source_of("abé\n".encode(), b"", b"c", cut=1), corpus.vocabulary, corpus.options)
    assert encoded.ids.tolist() == [0, 3, 4, 1, 2, 0, 5, 0]
    assert (encoded.characters, encoded.bytes, encoded.unknown, encoded.documents) == (5, 6, 1, 2)
    with pytest.raises(CorpusError, match="has no characters"):
        encode_source(source_of(b""), corpus.vocabulary, corpus.options)


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(
        leaks, "MAX_SEGMENTS", 2
    )  # what a search for leaks takes is bounded, and large beside this text
    block = b"the quick brown fox jumps over the lazy dog\n" * 20000
    source = Source("big", ["big"], lambda: iter([Document("big", lambda: (block for _ in range(40)))]))
    tracemalloc.start()
    try:
        corpus = prepare(source, out=str(tmp_path))
        encode_source(source, corpus.vocabulary, corpus.options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert corpus.bytes > 35 * 10**6 and peak < 25 * 10**6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "has format 2, and this charlm reads up to 1; update charlm"),
        ({"format": "1"}, "it has no format number"),
        ({"symbols": None}, "the symbol table is damaged"),
        ({"splits": {}}, "its splits are none"),
        (
            {"splits": {"train": {"symbols": 8, "bytes": 7, "characters": 7, "documents": 1}}},
            "it has 8 bytes where corpus.json says 9",
        ),
        ({"splits": {"train": {"symbols": -1, "bytes": 7, "characters": 7, "documents": 1}}}, "has -1 symbols"),
        ({"splits": {"train": {"symbols": 7}}}, "it has no 'bytes'"),
        ({"splits": {"train": {"symbols": 7, "bytes": 7, "characters": 7, "documents": "1"}}}, "documents is '1'"),
        ({"splits": {"../x": {"symbols": 7, "bytes": 7}}}, "its splits are ../x"),
        ({"splits": [1]}, "splits is"),
        ({"options": {"colour": 1}}, "unknown option 'colour'"),
        ({"options": {"unit": "phoneme"}}, "--unit must be one of"),
        ({"sha256": 5}, "sha256 is 5"),
        ({"entropy_bits_per_char": "low"}, "entropy_bits_per_char is"),
    ],
)
def test_a_folder_that_is_no_sound_corpus_is_refused(make, change, reason):
    corpus = make(b"abcabc", **ALL)
    (corpus.path / "corpus.json").write_text(json.dumps({**corpus.info, **change}))
    with pytest.raises(CorpusError, match="again") as error:
        Corpus.load(corpus.path)
    assert reason in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100000])
def test_a_corpus_file_that_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "corpus.json").write_bytes(content)
    with pytest.raises(CorpusError, match=r"corpus\.json is damaged"):
        Corpus.load(tmp_path)


def test_a_split_that_is_not_there_is_named_with_those_that_are(make, tmp_path):
    corpus = make(b"abcabc", **ALL)
    with pytest.raises(CorpusError, match="has no test split, only train; choose one"):
        corpus.split("test")
    corpus.file("train").unlink()
    with pytest.raises(CorpusError, match=r"train\.bin is damaged"):
        corpus.split("train")
    with pytest.raises(CorpusError, match=r"is not a prepared corpus: it has no corpus\.json"):
        Corpus.load(tmp_path)


def test_a_corpus_is_found_by_folder_by_name_or_as_the_most_recent(make, tmp_path):
    root = tmp_path / "data"
    with pytest.raises(CorpusError, match="there is no prepared corpus below .*: charlm prepare FILE"):
        find_corpus(None, root)
    one, two = (make(b"abcabc", name=name, **ALL).path for name in ("one", "two"))
    for path, time in ((one, 2000), (two, 1000)):
        os.utime(path / "corpus.json", (time, time))
    assert find_corpus(None, root) == one
    assert find_corpus("two", root) == find_corpus(two) == find_corpus(str(two), root) == two
    with pytest.raises(CorpusError, match="'ones' is not a prepared corpus, did you mean one.*there are: one, two"):
        find_corpus("ones", root)
    make(b"abcabc", name="two", **ALL)
    assert find_corpus(None, root) == two


def test_options_that_are_wrong_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="--unit must be one of char, byte"):
        prepare(tmp_path / "nowhere", unit="phoneme")
    with pytest.raises(UsageError, match="did you mean min_count"):
        prepare(tmp_path / "nowhere", min_cuont=3)
    assert open_sources(["markov"]).bytes == 2_000_000


def test_interrupted_replacement_puts_the_old_corpus_back(make, monkeypatch):
    """Between the two renames the old one has another name."""
    corpus = make(b"abcabc", **ALL)
    rename = os.rename
    moves = []

    def interrupted(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("charlm.files.os.rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(b"abcabd", force=True, **ALL)
    assert Corpus.load(corpus.path).sha256 == corpus.sha256
    assert [path.name for path in corpus.path.parent.iterdir()] == [corpus.path.name]


@given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=30, max_size=60), st.integers(1, 40))
def test_no_line_document_is_cut_in_two_by_the_splits(tmp_path_factory, names, size):
    """Whatever the chunks; each split ends where a document does."""
    text = "".join(f"{name}\n" for name in names).encode()
    source = source_of(text, cut=size)
    out = str(tmp_path_factory.mktemp("data"))
    try:
        corpus = prepare(source, out=out, documents="line", valid_fraction=0.2, test_fraction=0.2)
    except CorpusError as error:
        assert "would be empty" in str(error)
        return
    found = []
    for split in ("train", "valid", "test"):
        ids = np.asarray(corpus.split(split))
        assert ids[0] == ids[-1] == BOUNDARY and len(ids) > 1
        found += [
            corpus.vocabulary.decode(part) for part in np.split(ids[1:], np.flatnonzero(ids[1:] == BOUNDARY) + 1)[:-1]
        ]
    assert found == names
