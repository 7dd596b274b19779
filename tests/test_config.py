"""Every option is checked where it is made, with a line that names flag, range and value."""

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soaking import for_each

from charlm import config
from charlm.cli.commands import app
from charlm.config import (
    EvalOptions,
    GetOptions,
    MeasureOptions,
    ModelOptions,
    PrepareOptions,
    SampleOptions,
    TrainOptions,
    cell_names,
    read_config,
)
from charlm.config.commands import COMMANDS, COMMANDS_WITHOUT_OPTIONS
from charlm.errors import UsageError
from charlm.spec import AUTO, MAX_INTEGER, Spec, flag

pytestmark = pytest.mark.every_case

GROUPS = [PrepareOptions, TrainOptions, EvalOptions, SampleOptions, MeasureOptions, GetOptions]
ALL = [(group, name) for group in GROUPS for name in group.specs()]
NUMERIC = {"integer", "number", "count", "duration"}
NUMBERS = [(group, name) for group, name in ALL if group.specs()[name].kind in NUMERIC]
WHOLE = [(group, name) for group, name in NUMBERS if group.specs()[name].kind in ("integer", "count")]
CHOICES = [(group, name) for group, name in ALL if group.specs()[name].kind == "choice"]

ABSURD = [
    "", " ", "abc", "-", "0x10", "1,5", "nan", "-inf", "inf", "1e999", "9" * 400, "9" * 5000, "1k1",
    float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), 2 * MAX_INTEGER, 1e300, True, False, b"1x",
    [1], [], {}, {"a": 1}, (1,), object(), 1j,
]  # fmt: skip


def taken(group, name, value):
    """What the option makes of a value; the other share of the text is 0, since both together are bounded too."""
    others = {other: 0 for other in ("valid_fraction", "test_fraction") if name.endswith("_fraction") and other != name}
    return getattr(group(**{name: value}, **others), name)


def refusal(group, name, value):
    """The line with which a value is refused."""
    with pytest.raises(UsageError) as caught:
        taken(group, name, value)
    message = str(caught.value)
    assert caught.value.exit_code == 2 and "\n" not in message and len(message) < 400
    return message


TOO_LARGE = f"; no option takes more than {MAX_INTEGER:,}"


def in_range(spec: Spec) -> float:
    """Some number that the option takes."""
    if spec.high is not None:
        return spec.high
    low = spec.low if spec.low is not None else spec.above if spec.above is not None else 0
    return low + 1 if spec.below is None else (low + spec.below) / 2


@for_each(NUMBERS)
def test_numeric_option_refuses_nonsense_with_flag_range_and_value(option):
    group, name = option
    spec = group.specs()[name]
    for value in ABSURD:
        message = refusal(group, name, value)
        assert message.startswith(f"{flag(name)} must be {spec.range()}, got ")
        shown = repr(value)
        assert message.removesuffix(TOO_LARGE).endswith(shown if len(shown) <= 60 else shown[:57] + "...")
        assert not message.endswith(TOO_LARGE) or spec.high is None and spec.below is None


@for_each(NUMBERS)
def test_numeric_option_refuses_what_lies_just_outside_its_range_and_takes_what_lies_at_its_edge(option):
    group, name = option
    spec = group.specs()[name]
    whole = spec.kind in ("integer", "count")
    little = 1 if whole else 2.0**-30
    assert taken(group, name, in_range(spec)) == in_range(spec)
    for edge, sign, belongs in (
        (spec.low, -1, True),
        (spec.above, -1, False),
        (spec.high, 1, True),
        (spec.below, 1, False),
    ):
        if edge is None:
            continue
        assert f"{edge:g}" in refusal(group, name, edge + sign * little)
        if belongs:
            assert taken(group, name, edge) == edge
        else:
            refusal(group, name, edge)
            inside = edge - sign * (1 if whole else 2.0**-30)
            assert taken(group, name, inside) == inside


@for_each(NUMBERS)
def test_no_number_may_be_negative(option):
    group, name = option
    for value in (-1, -1e-300, "-1", -(2**60)):
        refusal(group, name, value)


@for_each(WHOLE)
def test_whole_number_is_not_cut_from_a_fraction(option):
    group, name = option
    good = int(in_range(group.specs()[name]))
    assert taken(group, name, float(good)) == good
    assert type(taken(group, name, str(good))) is int
    for value in (good - 0.5, str(good - 0.5)):
        refusal(group, name, value)


@for_each(ALL)
def test_auto_is_taken_only_where_its_rule_is_told(option):
    group, name = option
    spec = group.specs()[name]
    if spec.kind == "text":
        return
    if spec.auto:
        assert taken(group, name, "auto") == AUTO
        assert spec.range().endswith(", or auto")
    else:
        assert "or auto" not in refusal(group, name, "auto")


@for_each(ALL)
def test_default_is_a_value_the_option_would_take_and_help_says_what_it_does(option):
    group, name = option
    spec, default = group.specs()[name], group.default(name)
    assert spec.read(name, default) == default
    assert (default == AUTO) <= bool(spec.auto)
    assert re.match(r"[A-Z].*\.$", spec.help, re.DOTALL) and "\n" not in spec.help


@for_each(ALL)
def test_none_is_taken_only_where_it_is_the_default(option):
    group, name = option
    if group.default(name) is None:
        assert taken(group, name, None) is None
    else:
        refusal(group, name, None)


@for_each(CHOICES)
def test_choice_takes_its_words_and_suggests_the_nearest(option):
    group, name = option
    words = group.specs()[name].words()
    assert [taken(group, name, word) for word in words] == list(words)
    assert f"did you mean {words[0]}?" in refusal(group, name, words[0] + "x")
    for value in (1, True, [words[0]], "zzzz", "", {"a": 1}):
        message = refusal(group, name, value)
        assert all(word in message for word in words)


@pytest.mark.parametrize("value", ["yes", 1, 0, "", None, [], "True", 1.0])
def test_switch_is_true_or_false(value):
    assert EvalOptions(exact=True).exact is EvalOptions(exact="true").exact is True
    assert EvalOptions(exact="false").exact is False
    assert "--exact must be true or false" in refusal(EvalOptions, "exact", value)


@pytest.mark.parametrize("value", [1, True, ["a"], b"a", {}])
def test_text_is_text(value):
    assert "--encoding must be a text" in refusal(PrepareOptions, "encoding", value)


def test_a_path_of_the_library_is_the_text_that_names_it():
    options = PrepareOptions(out=Path("a") / "b")
    assert options == PrepareOptions(out=str(Path("a") / "b")) and isinstance(options.out, str)
    assert TrainOptions(embeddings=Path("vectors.txt"), input="embedding").embeddings == "vectors.txt"
    assert "--out must be a text" in refusal(PrepareOptions, "out", Path("a\0b"))


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("12", 12), ("500k", 500_000), ("500K", 500_000), ("2M", 2_000_000), ("2m", 2_000_000), ("1.5k", 1500),
        ("1g", 10**9), ("1e3", None), ("1.0005k", None), ("k", None), ("0.1", None), ("1kk", None), ("-1k", None),
    ],
)  # fmt: skip
def test_counts_have_suffixes(word, number):
    if number is None:
        assert "a whole number such as 1000, 500k or 2M" in refusal(SampleOptions, "length", word)
    else:
        assert SampleOptions(length=word).length == number


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("1.5h", 5400), ("10M", 600), ("45", 45), (45, 45),
        ("0s", None), ("-1m", None), ("s", None), ("1h30m", None), ("ten minutes", None),
        ("infs", None), ("nand", None),
    ],
)  # fmt: skip
def test_durations_have_units(word, seconds):
    if seconds is None:
        assert "a time such as 90s, 10m or 2h" in refusal(TrainOptions, "time", word)
    else:
        assert TrainOptions(time=word).time == seconds


@pytest.mark.parametrize(
    ("group", "wrong", "near"),
    [
        (TrainOptions, "batchsize", "batch_size"),
        (TrainOptions, "hiden", "hidden"),
        (TrainOptions, "learning", None),
        (SampleOptions, "temprature", "temperature"),
        (PrepareOptions, "hidden", None),
        (EvalOptions, "", None),
    ],
)
def test_unknown_name_is_refused_and_the_nearest_suggested(group, wrong, near):
    with pytest.raises(UsageError, match=f"unknown option {wrong!r}") as caught:
        group.of({wrong: 1})
    if near:
        assert str(caught.value).endswith(f"; did you mean {near}?")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "values", "words"),
    [
        (TrainOptions, {"steps": 5, "time": "1m"}, "--steps and --time"),
        (PrepareOptions, {"valid_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        (SampleOptions, {"stop": ""}, "--stop"),
    ],
)
def test_options_that_contradict_each_other_are_refused(group, values, words):
    with pytest.raises(UsageError, match=words) as caught:
        group(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("group", GROUPS)
def test_options_cannot_be_changed_but_copied_and_are_checked_again(group):
    options, name = group(), next(name for name, spec in group.specs().items() if spec.kind == "integer")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options, name, 3)
    assert getattr(options.replace(**{name: 3}), name) == 3 and options == group()
    with pytest.raises(UsageError):
        options.replace(**{name: -1})


@settings(deadline=None)
@given(st.integers(1, 500), st.floats(1e-6, 1000), st.sampled_from(["90s", None]), st.sampled_from(["rnn", "gru"]))
def test_values_make_the_same_options_again(batch, lr, time, cell):
    options = TrainOptions(batch_size=batch, lr=lr, time=time, cell=cell)
    values = options.values()
    assert TrainOptions.of(values) == options
    assert None not in values.values() and ("time" in values) == (time is not None) and "steps" not in values


def test_training_has_every_option_of_the_network():
    shape = {"layers", "hidden", "skip", "layer_norm"}
    for name, spec in ModelOptions.specs().items():
        there = TrainOptions.specs()[name]
        assert replace(there, auto=spec.auto) == spec and (there == spec) == (name not in shape), name
    assert {name for name in shape if TrainOptions.default(name) == AUTO} == shape
    assert all(TrainOptions.default(name) == ModelOptions.default(name) for name in ModelOptions.specs().keys() - shape)


def test_one_name_means_one_kind_of_thing_in_every_command():
    kinds = {}
    for group, name in ALL:
        kinds.setdefault(name, set()).add(group.specs()[name].kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_cells_to_choose_from_are_the_files_of_their_folder():
    folder = Path(config.__file__).parent.parent / "cells"
    assert set(cell_names()) == {path.stem.replace("_", "-") for path in folder.glob("[!_]*.py")}
    assert TrainOptions.specs()["cell"].words() == cell_names()


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "charlm.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_configuration_is_read_from_the_top_and_from_the_table_of_the_command(toml):
    path = toml("""
        hidden = 64
        batch-size = 8
        seq_len = "32"
        [train]
        hidden = 128
        time = "10m"
        [sample]
        temperature = 0.5
        [prepare]
        min-count = 2
    """)
    values = read_config(path, "train", TrainOptions)
    assert values == {"hidden": 128, "batch_size": 8, "seq_len": "32", "time": "10m"}
    assert TrainOptions.of(values).seq_len == 32
    path = toml("[sample]\ntemperature = 0.5\n[train]\nhidden = 3\n")
    assert read_config(path, "sample", SampleOptions) == {"temperature": 0.5}
    assert read_config(path, "eval", EvalOptions) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hiden = 3", "unknown option 'hiden' in .*charlm.toml; did you mean hidden"),
        ("[train]\nhiden = 3", "did you mean hidden"),
        ("[train.more]\nhidden = 3", "unknown option 'more'"),
        ("[train]\ntemperature = 1.0", "unknown option 'temperature'"),
        ("hidden = 0", "--hidden must be"),
        ("hidden = [3]", "--hidden must be"),
        ("hidden = 1979-05-27", "--hidden must be"),
        ("cell = 'lstmm'", "did you mean lstm"),
        ("steps = 3\ntime = '1m'", "--steps and --time"),
        ("train = 3", "unknown option 'train'"),
        ("[[train]]\nhidden = 3", "unknown option 'train'"),
        ("hidden = ", "charlm.toml cannot be read: .*it must be a TOML file"),
        ("hidden = 3\nhidden = 4", "cannot be read"),
        ("batch_size = 3\nbatch-size = 4", "charlm.toml has both batch-size and batch_size"),
        ("[train]\nbatch_size = 3\nbatch-size = 4", "charlm.toml has both batch-size and batch_size"),
        ("seed = 9007199254740993", "no option takes more than 9,007,199,254,740,992"),
    ],
)
def test_configuration_that_cannot_be_used_is_refused_in_one_line(toml, text, words):
    with pytest.raises(UsageError, match=words) as caught:
        read_config(toml(text), "train", TrainOptions)
    assert "\n" not in str(caught.value)


def test_configuration_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(UsageError, match=f"--config {re.escape(str(path))} cannot be read") as caught:
            read_config(path, "train", TrainOptions)
        assert "\n" not in str(caught.value)


def test_a_file_may_have_tables_of_every_command(toml):
    names = {command.name for command in app.registered_commands}
    groups = {group.typer_instance.info.name for group in app.registered_groups}
    assert names | groups == {name.split()[0] for name in COMMANDS} | set(COMMANDS_WITHOUT_OPTIONS)
    path = toml("hidden = 3\n" + "".join(f"[{name}]\n" for name in sorted(names | groups)))
    assert read_config(path, "train", TrainOptions) == {"hidden": 3}
