"""A model file comes back whole, is the same bytes for the same model, and whatever else is given is refused."""

import errno
import io
import json
import os
import pickle
import zipfile
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from charlm import __version__, cells
from charlm.errors import CharlmError, CheckpointError
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import FORMAT, Model, load, read_header, read_tensors, save, write_tensors
from charlm.model.network import Network
from charlm.tokenizers.vocabulary import Vocabulary

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]


def parts(path):
    """Metadata with their JSON decoded, and tensors, of a model file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    words = json.loads(data[8 : 8 + size])["__metadata__"]
    return {key: json.loads(word) for key, word in words.items()}, safetensors.numpy.load(data)


def rewrite(path, change):
    """Change metadata and tensors of a model file in place; a metadata value of type bytes is written as it is."""
    metadata, tensors = parts(path)
    change(metadata, tensors)
    words = {k: v.decode() if isinstance(v, bytes) else json.dumps(v) for k, v in metadata.items()}
    path.write_bytes(safetensors.numpy.save(tensors, metadata=words))


def refusal(path, *readers):
    """The message with which every reader refuses the file: one line that names it."""
    messages = set()
    for reader in readers or (read_header, load):
        with pytest.raises(CheckpointError) as caught:
            reader(path)
        assert caught.value.exit_code == 2
        assert caught.value.__cause__ is None and caught.value.__suppress_context__ or caught.value.__context__ is None
        messages.add(str(caught.value))
    assert len(messages) == 1
    (message,) = messages
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 600
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path, make_model):
    """A small model on disk."""
    save(path, make_model("lstm", layers=2, input="embedding", hidden=3, embedding=2))
    return path


@pytest.mark.parametrize("input", ["one-hot", "embedding"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_model_comes_back_as_it_was(path, make_model, kind, input):
    made = make_model(*kind, layers=2, input=input)
    corpus = {"name": "Grüße", "sha256": "ab" * 32, "options": {"unit": "char", "min_count": 2}}
    training = {"step": 7, "valid_nats": None, "options": {"lr": 0.1, "seed": 2**60}}
    model = Model(made.options, made.vocabulary, made.weights, corpus, training)
    save(path, model)
    back = load(path)
    assert (back.options, back.vocabulary, back.corpus, back.training) == (
        made.options,
        made.vocabulary,
        corpus,
        training,
    )
    assert back.path == path and list(back.weights) == list(made.weights)
    for name, weight in made.weights.items():
        assert back.weights[name].dtype == np.float32
        np.testing.assert_array_equal(back.weights[name], weight)
    Network(back.options, back.vocabulary.size).load_weights(back.weights)


@pytest.mark.parametrize("codes", ["a", "\n\x00\u2028é\U0010ffff", "\ud800x"])
@pytest.mark.parametrize("unit", ["char", "byte"])
def test_any_symbol_table_comes_back(path, make_model, unit, codes):
    numbers = sorted({ord(letter) % (256 if unit == "byte" else 0x110000) for letter in codes})
    symbols = Vocabulary(unit, np.array(numbers, np.uint32))
    made = make_model("rnn")
    random = np.random.default_rng(0)
    weights = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in parameters.shapes(made.options, symbols.size).items()
    }
    save(path, Model(made.options, symbols, weights))
    assert load(path).vocabulary == read_header(path).vocabulary == symbols


def test_equal_models_make_equal_bytes(path, make_model):
    contents = set()
    for order in (1, -1, 1):
        made = make_model("gru", layers=3, input="embedding")
        weights = dict(list(made.weights.items())[::order])
        corpus = dict(list({"name": "x", "sha256": "y", "options": {"a": 1, "b": 2}}.items())[::order])
        save(path, Model(made.options, made.vocabulary, weights, corpus, {"step": 1}))
        contents.add(path.read_bytes())
    assert len(contents) == 1
    other = make_model("gru", layers=3, input="embedding", seed=2)
    save(path, Model(other.options, other.vocabulary, other.weights, corpus, {"step": 1}))
    assert path.read_bytes() not in contents


def test_weights_in_any_memory_order_make_the_same_file(path, tmp_path, make_model):
    made = make_model("lstm")
    save(path, made)
    turned = {name: np.asfortranarray(weight) for name, weight in made.weights.items()}
    save(tmp_path / "turned", Model(made.options, made.vocabulary, turned))
    assert (tmp_path / "turned").read_bytes() == path.read_bytes()


def test_file_is_what_its_description_says(saved):
    """A plain safetensors file; every metadata value is JSON; tensors are float32 under the names of the contract."""
    metadata, tensors = parts(saved)
    assert sorted(metadata) == ["config", "corpus", "format", "symbols", "training", "version"]
    assert (metadata["format"], metadata["version"]) == (FORMAT, __version__)
    assert metadata["config"] == {
        "cell": "lstm", "layers": 2, "hidden": 3, "input": "embedding", "embedding": 2, "dropout": 0.0,
        "activation": "tanh", "unit": "char", "direction": "forward", "wiring": "stack",
    }  # fmt: skip
    assert metadata["symbols"] == {"unit": "char", "codes": "\n ehlorw"}
    shapes = {name: (str(tensor.dtype), tensor.shape) for name, tensor in tensors.items()}
    assert shapes["embedding.weight"] == ("float32", (10, 2))
    assert shapes["layers.1.weight_ih"] == ("float32", (12, 3)) and shapes["readout.weight"] == ("float32", (10, 3))


def test_header_tells_everything_but_the_weights(saved):
    header, model = read_header(saved), load(saved)
    assert (header.options, header.vocabulary, header.corpus) == (model.options, model.vocabulary, model.corpus)
    assert (header.path, header.format, header.version) == (saved, FORMAT, __version__)
    assert header.shapes == {name: weight.shape for name, weight in model.weights.items()}
    assert header.parameters == sum(weight.size for weight in model.weights.values())


def test_header_is_read_without_any_weight(saved):
    """With every weight's bytes replaced the header says what it said; only reading the weights notices."""
    before = read_header(saved)
    data = saved.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    saved.write_bytes(data[:start] + b"\xff" * (len(data) - start))
    assert read_header(saved) == before
    assert "not finite" in refusal(saved, load)


def test_missing_file_and_folder_are_named(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.safetensors")
    assert "is a folder" in refusal(tmp_path)
    assert "runs/NAME/model.safetensors" in refusal(tmp_path)


def test_file_cut_short_anywhere_is_refused(saved):
    data = saved.read_bytes()
    cuts = {0, 1, 7, 8, 9, 100, len(data) - 1, len(data) - 4, *range(0, len(data), 37)}
    for cut in sorted(cuts):
        saved.write_bytes(data[:cut])
        refusal(saved)
    saved.write_bytes(data + b"\0")
    refusal(saved)


def _zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    return buffer.getvalue()


def _safetensors(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


FOREIGN = {
    "random bytes": np.random.default_rng(0).bytes(5000),
    "zeros": bytes(5000),
    "a pickle": pickle.dumps({"embedding.weight": [1.0]}),
    "a zip": _zip(),
    "text": b"To be, or not to be\n" * 100,
    "a huge header length": (2**63 - 1).to_bytes(8, "little") + bytes(100),
    "a header length beyond the file": (10**6).to_bytes(8, "little") + bytes(100),
    "a header that is not JSON": _safetensors(b"{x}"),
    "a header that is a list": _safetensors(b"[1]"),
    "metadata that are numbers": _safetensors(b'{"__metadata__":{"format":1,"config":2}}'),
    "deeply nested": _safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "foreign safetensors": safetensors.numpy.save({"w": np.zeros(3, np.float32)}, metadata={"format": "pt"}),
    "bare safetensors": safetensors.numpy.save({"w": np.zeros(3, np.float32)}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_model_is_refused(path, content):
    path.write_bytes(content)
    advice = "give a model.safetensors that `charlm train` wrote"
    message = refusal(path, read_header, load, partial(read_tensors, advice=advice))
    assert "not a file of charlm's" in message or "not one of charlm's" in message


def config(key, value):
    return lambda metadata, tensors: metadata["config"].update({key: value})


def drop(key):
    return lambda metadata, tensors: metadata["config"].pop(key)


def entry(key, value):
    return lambda metadata, tensors: metadata.update({key: value})


def tensor(name, change):
    return lambda metadata, tensors: tensors.update({name: np.ascontiguousarray(change(tensors[name]))})


DAMAGED = {
    "newer format": (entry("format", FORMAT + 1), "update charlm"),
    "format 0": (entry("format", 0), "unknown format"),
    "format in words": (entry("format", "one"), "unknown format"),
    "format true": (entry("format", True), "unknown format"),
    "format a table": (entry("format", {"a": 1}), "unknown format"),
    "metadata not JSON": (entry("training", b"{not json"), "not JSON"),
    "metadata nested beyond reason": (entry("training", b"[" * 100_000), "not JSON"),
    "config a list": (entry("config", [1]), "'config'"),
    "corpus null": (entry("corpus", None), "'corpus'"),
    "training a number": (entry("training", 3), "'training'"),
    "no symbols": (lambda metadata, tensors: metadata.pop("symbols"), "'symbols'"),
    "symbols of another unit": (entry("symbols", {"unit": "byte", "codes": [1, 2]}), "disagree about the unit"),
    "symbols of an unknown unit": (entry("symbols", {"unit": "phoneme", "codes": "ab"}), "phoneme"),
    "symbols out of order": (entry("symbols", {"unit": "char", "codes": "ba"}), "rising order"),
    "symbols beyond Unicode": (entry("symbols", {"unit": "char", "codes": [1, 0x110000]}), "a code is not a number"),
    "symbols of the wrong type": (entry("symbols", {"unit": "char", "codes": [1.5]}), "a code is not a number"),
    "words that are none": (entry("symbols", {"unit": "word", "codes": ["a b"]}), "an entry is no word"),
    "words out of order": (entry("symbols", {"unit": "word", "codes": ["b", "a"]}), "words are not in rising order"),
    "words as a text": (entry("symbols", {"unit": "word", "codes": "ab"}), "it has no words"),
    "words under another unit": (entry("symbols", {"unit": "word", "codes": ["a", "b"]}), "disagree about the unit"),
    "no symbol": (entry("symbols", {"unit": "char", "codes": ""}), "no characters"),
    "fewer symbols than weights": (entry("symbols", {"unit": "char", "codes": "ab"}), "its config needs F32"),
    "unknown cell": (config("cell", "transformer"), "--plugin"),
    "cell null": (config("cell", None), "cell"),
    "cell a list": (config("cell", ["lstm"]), "--cell"),
    "activation of another cell": (config("activation", "relu"), "--activation relu does not fit"),
    "activation null": (config("activation", None), "activation"),
    "hidden 0": (config("hidden", 0), "--hidden must be"),
    "hidden auto": (config("hidden", "auto"), "'hidden' open"),
    "hidden null": (config("hidden", None), "hidden"),
    "hidden in words": (config("hidden", "many"), "--hidden must be"),
    "hidden a list": (config("hidden", [3]), "--hidden must be"),
    "hidden beyond float": (config("hidden", 10**400), "--hidden must be"),
    "layers null": (config("layers", None), "layers"),
    "layers too many": (config("layers", 65), "--layers must be"),
    "more layers than tensors": (config("layers", 3), "tensor layers.2.bias_hh is missing"),
    "fewer layers than tensors": (config("layers", 1), "unexpected"),
    "input null": (config("input", None), "input"),
    "dropout 1": (config("dropout", 1), "--dropout must be"),
    "dropout auto": (config("dropout", "auto"), "'dropout' open"),
    "context 0": (config("context", 0), "--context must be"),
    "context null": (config("context", None), "--context must be"),
    "context in words": (config("context", "wide"), "--context must be"),
    "another cell than the tensors": (config("cell", "min-gru"), "layers.0.bias_hh is unexpected"),
    "a cell with more tensors": (config("cell", "peephole-lstm"), "peephole_f is missing"),
    "no hidden": (drop("hidden"), "lacks 'hidden'"),
    "no cell": (drop("cell"), "lacks 'cell'"),
    "no unit": (drop("unit"), "disagree about the unit"),
    "another direction": (config("direction", "sideways"), "direction sideways"),
    "another wiring": (config("wiring", "skip"), "wiring"),
    "unknown setting": (config("attention", 8), "attention"),
    "missing tensor": (lambda metadata, tensors: tensors.pop("readout.bias"), "readout.bias is missing"),
    "extra tensor": (lambda metadata, tensors: tensors.update(zz=np.zeros(2, np.float32)), "zz is unexpected"),
    "half precision": (tensor("readout.weight", lambda w: w.astype(np.float16)), "readout.weight is F16"),
    "double precision": (tensor("readout.bias", lambda w: w.astype(np.float64)), "readout.bias is F64"),
    "integers": (tensor("readout.bias", lambda w: w.astype(np.int32)), "readout.bias is I32"),
    "wrong shape": (tensor("layers.0.weight_hh", lambda w: w.T), "(3, 12), its config needs F32 (12, 3)"),
    "wrong rank": (tensor("readout.bias", lambda w: w[None]), "readout.bias is F32"),
}


@pytest.mark.every_case
@pytest.mark.parametrize(("change", "words"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_header_is_refused_with_what_is_wrong(saved, change, words):
    rewrite(saved, change)
    assert words in refusal(saved).removeprefix(str(saved))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["embedding.weight", "layers.1.bias_hh", "readout.bias"])
def test_weight_that_is_not_finite_is_refused(saved, name, value):
    def spoil(metadata, tensors):
        tensors[name].flat[1] = value

    rewrite(saved, spoil)
    assert read_header(saved).parameters > 0
    assert f"{name} holds numbers that are not finite" in refusal(saved, load)


@given(st.data())
def test_flipped_bytes_are_refused_or_make_another_whole_model(tmp_path_factory, make_model, data):
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    save(path, make_model("gru", hidden=2))
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        model = load(path)
    except CheckpointError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        shapes = {name: weight.shape for name, weight in model.weights.items()}
        assert shapes == parameters.shapes(model.options, model.vocabulary.size)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(
    st.sampled_from(
        [
            "cell",
            "layers",
            "hidden",
            "input",
            "embedding",
            "dropout",
            "activation",
            "unit",
            "wiring",
            "context",
            "skip",
            "between",
        ]
        + ["layer_norm", "tied"]
    ),
    plain_values,
)
def test_any_value_in_the_config_is_refused_or_makes_a_whole_model(tmp_path_factory, make_model, key, value):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save(path, make_model("gru", hidden=2))
    rewrite(path, config(key, value))
    try:
        model = load(path)
    except CheckpointError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert None not in [getattr(model.options, name) for name in model.options.specs()]
        shapes = {name: weight.shape for name, weight in model.weights.items()}
        assert shapes == parameters.shapes(model.options, model.vocabulary.size)


@pytest.mark.parametrize("broken", ["replace", "fsync"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_failed_write_leaves_the_old_file_and_nothing_beside_it(saved, make_model, monkeypatch, broken, reason):
    before = saved.read_bytes()

    def fail(*arguments):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(CharlmError) as caught:
        save(saved, make_model("gru"))
    assert caught.value.exit_code == 1
    assert os.strerror(reason) in str(caught.value) and str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_interrupted_write_leaves_the_old_file_and_nothing_beside_it(saved, make_model, monkeypatch):
    before = saved.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(saved, make_model("gru"))
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_writing_into_a_folder_that_is_not_there_is_a_failure_that_names_it(tmp_path, make_model):
    with pytest.raises(CharlmError, match="no-folder") as caught:
        save(tmp_path / "no-folder" / "model.safetensors", make_model("gru"))
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


def test_new_file_has_the_rights_of_any_new_file(saved):
    other = saved.with_name("other")
    other.write_bytes(b"")
    assert saved.stat().st_mode == other.stat().st_mode


def test_arrays_and_metadata_of_a_progress_file_come_back(path):
    arrays = {"step": np.array(3.0, np.float32), "none": np.zeros((0, 2), np.float32), "i": np.arange(4)}
    metadata = {"format": 1, "config": {"nan": float("inf"), "text": "é\n"}}
    write_tensors(path, arrays, metadata)
    back, words = read_tensors(path, "advice")
    assert words == metadata and back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back[name], array)


def test_older_files_without_the_later_settings_are_read(saved):
    """Direction and wiring were recorded for later versions; a file that lacks them means the only way known."""
    rewrite(saved, lambda metadata, tensors: [metadata["config"].pop(key) for key in checkpoint.KNOWN_WORDS])
    rewrite(saved, lambda metadata, tensors: metadata.pop("version"))
    header = read_header(saved)
    assert header.version == "unknown" and header.options.layers == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tied": True}, "--tied needs an embedding of 3 numbers"),
        ({"tied": True, "input": "one-hot"}, "--input one-hot has none"),
        ({"tied": True, "embedding": 3}, "readout.weight is unexpected"),
        ({"skip": True}, "layers.1.weight_ih is F32"),
        ({"layer_norm": True}, "norm.0.bias is missing"),
        ({"between": "highway"}, "highway.1.bias is missing"),
        ({"between": "bypass"}, "--between must be one of plain, residual, highway"),
        ({"skip": 1}, "--skip must be true or false"),
        ({"layer_norm": None}, "--layer-norm must be true or false"),
    ],
)
def test_a_wiring_that_is_not_that_of_the_tensors_is_refused(saved, change, words):
    rewrite(saved, lambda metadata, tensors: metadata["config"].update(change))
    assert words in refusal(saved)


def test_a_file_from_before_there_were_wirings_is_a_plain_stack(saved):
    """Plain files do not name them, so that they are what they were; naming them is no fault either."""
    metadata, _ = parts(saved)
    assert not {"skip", "between", "layer_norm", "tied"} & set(metadata["config"])
    before = load(saved)
    assert before.options.wiring() == {} and not before.options.skip and before.options.between == "plain"
    named = {"skip": False, "between": "plain", "layer_norm": False, "tied": False}
    rewrite(saved, lambda metadata, tensors: metadata["config"].update(named))
    assert load(saved).options == before.options
