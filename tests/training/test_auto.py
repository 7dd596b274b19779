"""What `auto` becomes follows from text and options alone, fits the text, and is what the help says."""

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charlm import cells
from charlm.config import ModelOptions, TrainOptions
from charlm.data.batches import Batches
from charlm.errors import CorpusError
from charlm.model import parameters
from charlm.spec import AUTO
from charlm.training.auto import planned_steps, resolve

STILL_OPEN = {"device", "threads", "save_every", "init_scale", "forget_bias"}
V = 67
TEXT = 1_000_000

lengths = st.one_of(
    st.builds(lambda epochs: {"epochs": epochs}, st.floats(0.01, 1000)),
    st.builds(lambda steps: {"steps": steps}, st.integers(1, 10**7)),
    st.builds(lambda seconds: {"time": seconds}, st.floats(0.1, 1e5)),
)
networks = st.fixed_dictionaries(
    {
        "cell": st.sampled_from(cells.names()),
        "layers": st.integers(1, 64),
        "hidden": st.sampled_from([AUTO, 1, 17, 512, 65536]),
        "input": st.sampled_from(["one-hot", "embedding"]),
        "optimizer": st.sampled_from(TrainOptions.specs()["optimizer"].words()),
    }
)


def resolved(train=TEXT, valid=50_000, vocabulary=V, **values):
    return resolve(TrainOptions(**values), vocabulary, train, valid)[0]


@given(networks, lengths, st.integers(2, 10**8), st.integers(0, 10**7), st.integers(3, 70_000))
def test_nothing_is_left_open_and_everything_fits_the_text(network, length, train, valid, vocabulary):
    options, notices = resolve(TrainOptions(**network, **length), vocabulary, train, valid)
    assert {name for name in options.specs() if getattr(options, name) == AUTO} == STILL_OPEN
    assert options.batch_size * options.seq_len <= train
    assert 1 <= options.embedding <= options.hidden
    assert 1 <= options.eval_chars <= max(valid, 1)
    assert options.eval_every >= 1 and options.sample_every == 4 * options.eval_every
    assert 0 <= options.dropout <= 0.5
    for name, value in {**network, **length}.items():
        assert value == AUTO or getattr(options, name) == value
    assert all("\n" not in notice for notice in notices)


@given(st.integers(2, 5000), st.booleans(), st.integers(1, 300))
def test_sizes_beside_one_that_was_given_fit_wherever_any_would(train, batch_given, size):
    assume(size <= train)
    options = resolved(train, **{"batch_size" if batch_given else "seq_len": size})
    assert (options.batch_size if batch_given else options.seq_len) == size
    assert Batches(range(train + 1), options.batch_size, options.seq_len).batches_per_epoch >= 1


@pytest.mark.parametrize(
    "sizes", [{"batch_size": 20, "seq_len": 51}, {"batch_size": 1001}, {"seq_len": 1001}, {"seq_len": 5000}]
)
def test_sizes_that_were_given_and_do_not_fit_are_refused_with_ones_that_do(sizes):
    with pytest.raises(CorpusError, match="the train split has 1,000 characters.*at most") as caught:
        resolved(1000, **sizes)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert resolved(1000, batch_size=20, seq_len=50).seq_len == 50


def test_empty_text_is_refused():
    with pytest.raises(CorpusError, match="empty"):
        resolved(0)


@pytest.mark.parametrize(("train", "shrinks"), [(2, True), (100, True), (10_239, True), (10_240, False), (TEXT, False)])
def test_sizes_shrink_for_short_texts_and_say_so(train, shrinks):
    options, notices = resolve(TrainOptions(hidden=256), V, train, 10)
    if shrinks:
        assert options.batch_size < 16 and notices[0].startswith(f"the train split is short ({train:,} characters)")
        assert f"batch-size {options.batch_size}, seq-len {options.seq_len}" in notices[0]
    else:
        assert (options.batch_size, options.seq_len, notices) == (16, 64, [])


def test_what_the_user_gave_never_shrinks_and_is_not_told_of():
    options, notices = resolve(TrainOptions(batch_size=2, seq_len=3), V, 10, 10)
    assert (options.batch_size, options.seq_len, notices) == (2, 3, [])


def test_speed_is_never_measured(monkeypatch):
    """The same size of text and the same options give the same run on every machine."""

    def refuse(*arguments):
        raise AssertionError("auto looked at the clock")

    for clock in ("time", "perf_counter", "monotonic", "process_time", "perf_counter_ns", "time_ns", "thread_time"):
        monkeypatch.setattr(time, clock, refuse)
    for values in ({}, {"time": 300}, {"steps": 10}, {"hidden": 512, "layers": 3}):
        one, other = (resolve(TrainOptions(**values), V, TEXT, 1000) for _ in range(2))
        assert one == other


@given(networks, lengths, st.integers(2, 10**7))
def test_resolving_what_is_resolved_changes_nothing(network, length, train):
    once = resolved(train, **network, **length)
    again, notices = resolve(once, V, train, 50_000)
    assert again == once and notices == []


@pytest.mark.parametrize(
    ("values", "train", "plain", "wired"),
    [
        ({}, 1_000_000, 512, 384),
        ({}, 999_999, 256, 256),
        ({"epochs": 100}, 499_999, 256, 256),
        ({"epochs": 40}, 500_000, 512, 384),
        ({"time": 299.0}, 10**8, 256, 256),
        ({"time": 120.0}, 10**8, 256, 192),
        ({"time": 299.0}, 10**6, 256, 256),
        ({"time": 300.0}, 500_000, 512, 384),
        ({"time": 300.0}, 499_999, 256, 256),
        ({"steps": 9_766}, 10**6, 512, 256),
        ({"steps": 19_531}, 10**6, 512, 256),
        ({"steps": 19_532}, 10**6, 512, 384),
        ({"steps": 9_765}, 10**6, 256, 256),
        ({"steps": 9_765, "batch_size": 64}, 10**6, 512, 384),
        ({"hidden": 7, "time": 900.0}, 10**8, 7, 7),
    ],
)
def test_hidden_is_512_where_text_and_run_are_long(values, train, plain, wired):
    assert resolved(train, layers=1, **values).hidden == plain
    assert resolved(train, **values).hidden == wired


@pytest.mark.parametrize(
    ("seconds", "train", "hidden"),
    [
        (1, 2_000, 256),
        (10, TEXT, 96),
        (30, TEXT, 128),
        (60, TEXT, 192),
        (120, TEXT, 256),
        (300, TEXT, 384),
        (120, 2_700_000, 192),
        (300, 2_700_000, 256),
        (1, 10**8, 64),
        (30, 10**8, 128),
        (120, 10**8, 192),
        (600, 10**8, 256),
        (36_000, 10**8, 384),
    ],
)
def test_two_layers_by_the_clock_are_narrower_where_the_text_is_long_for_the_time(seconds, train, hidden):
    assert resolved(train, time=float(seconds)).hidden == hidden


@pytest.mark.parametrize(
    ("seconds", "train", "given", "hidden"),
    [
        (10, TEXT, {"cell": "gru"}, 192),
        (10, TEXT, {"cell": "rnn"}, 256),
        (10, TEXT, {"layers": 1}, 128),
        (30, TEXT, {"cell": "gru"}, 256),
        (120, TEXT, {"layers": 1}, 256),
        (600, TEXT, {"layers": 1}, 512),
        (600, TEXT, {"cell": "gru"}, 512),
        (120, 10_900_000, {"cell": "gru"}, 256),
        (10, 10_900_000, {"cell": "gru"}, 192),
        (120, 10_900_000, {"layers": 3}, 128),
        (600, 10_900_000, {"layers": 3}, 256),
    ],
)
def test_so_are_plain_stacks(seconds, train, given, hidden):
    assert resolved(train, time=float(seconds), **given).hidden == hidden


@given(
    st.floats(0.1, 1e6),
    st.integers(1_000, 10**8),
    st.integers(3, 5_000),
    st.sampled_from(["one-hot", "embedding"]),
    st.sampled_from([{}, {"layers": 1}, {"layers": 3}, {"cell": "gru"}, {"cell": "min-lstm", "layers": 2}]),
)
def test_that_width_is_the_widest_that_is_taught_enough(seconds, train, vocabulary, kind, given):
    usual = (512 if given else 384) if train >= 500_000 and seconds >= 300 else 256
    widths = [64, 96, 128, 192, 256, 384, 512]
    shape = {"cell": "lstm", "layers": 1, **given} if given else {"layers": 2, "skip": True, "layer_norm": True}

    def taught(width):
        network = ModelOptions(**shape, hidden=width, input=kind, embedding=64, dropout=0.0)
        weights = parameters.count(network, vocabulary)
        seen = seconds * 2.5e11 / 6 / weights
        return seen / train >= 3 or seen / weights >= 10

    found = resolved(train, vocabulary=vocabulary, time=seconds, input=kind, **given).hidden
    wider = [width for width in widths if found < width <= usual]
    assert found <= usual and not any(taught(width) for width in wider)
    assert found == 64 or taught(found)


@given(
    st.floats(0.1, 1e6),
    st.floats(1, 100),
    st.integers(1_000, 10**8),
    st.sampled_from([{}, {"layers": 1}, {"cell": "gru"}]),
)
def test_more_time_never_makes_a_narrower_network(seconds, longer, train, given):
    assert resolved(train, time=seconds, **given).hidden <= resolved(train, time=seconds * longer, **given).hidden


@pytest.mark.parametrize("given", [
    {"layers": 1}, {"layers": 3}, {"hidden": 256}, {"cell": "gru"}, {"cell": "rnn", "layers": 2},
    {"direction": "bidirectional"},
])  # fmt: skip
def test_who_names_a_size_gets_the_plain_stack_of_that_size(given):
    options = resolved(**given)
    assert (options.layers, options.skip, options.layer_norm) == (given.get("layers", 1), False, False)
    assert options.cold_starts == 0.02


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_lstm_of_no_named_size_has_two_layers_that_are_normalised_and_passed_by(direction):
    options = resolved(direction=direction)
    assert (options.layers, options.skip, options.layer_norm, options.between) == (2, True, True, "plain")
    assert options.cold_starts == 0.1
    assert resolved(direction=direction, cold_starts=0).cold_starts == 0
    plain = resolved(skip=False, layer_norm=False)
    assert (plain.layers, plain.hidden, plain.skip, plain.layer_norm) == (2, options.hidden, False, False)
    assert not resolved(skip=False).skip and resolved(skip=False).layer_norm
    named = resolved(hidden=64, skip=True, layer_norm=True)
    assert (named.layers, named.hidden, named.skip, named.layer_norm) == (1, 64, True, True)


def test_batch_is_16_below_512_units_else_32():
    assert [resolved(hidden=hidden).batch_size for hidden in (1, 511, 512, 2048)] == [16, 16, 32, 32]


@pytest.mark.parametrize(("hidden", "embedding"), [(8, 8), (64, 64), (500, 64)])
def test_embedding_is_64_at_most_hidden(hidden, embedding):
    assert resolved(hidden=hidden).embedding == embedding


@pytest.mark.parametrize(
    ("values", "lr"),
    [
        ({"hidden": 256}, 0.008),
        ({"hidden": 64}, 0.008),
        ({"hidden": 1024}, 0.004),
        ({"hidden": 256, "layers": 4, "optimizer": "adam"}, 0.004),
        ({"hidden": 64, "layers": 4}, 0.008),
        ({"optimizer": "rmsprop", "hidden": 4096}, 0.002),
        ({"optimizer": "adagrad", "layers": 8}, 0.02),
        ({"optimizer": "sgd"}, 0.5),
        ({"optimizer": "sgd", "lr": 0.125}, 0.125),
    ],
)
def test_rate_follows_the_rule_in_the_help(values, lr):
    assert resolved(**values).lr == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam", "adamw"])
def test_weights_decay_where_the_optimiser_keeps_that_apart_from_the_gradient(optimizer):
    assert (resolved(optimizer=optimizer).weight_decay > 0) == (optimizer == "adamw")
    assert resolved(optimizer=optimizer, weight_decay=0.5).weight_decay == 0.5


@given(networks, lengths, st.integers(2, 10**8))
def test_decay_spans_four_passes_over_the_text_but_is_never_more_than_a_tenth(network, length, train):
    options = resolved(train, **{**network, "optimizer": "adamw"}, **length)
    passes = 1 / (options.lr * options.weight_decay) / max(1, train / options.batch_size / options.seq_len)
    assert options.weight_decay <= 0.1
    assert passes == pytest.approx(4, rel=0.06) or options.weight_decay == 0.1 and passes > 4


@pytest.mark.parametrize(
    ("load", "dropout"), [(0.5, 0), (6, 0), (7, 0.05), (12, 0.25), (30, 0.4), (60, 0.45), (1000, 0.5)]
)
def test_dropout_of_a_small_network_grows_with_passes_and_parameters_beside_the_text(load, dropout):
    options = ModelOptions(hidden=16, embedding=16, dropout=0.0)
    train = 16 * 64 * 100
    passes = load * train / parameters.count(options, V)
    found = resolved(train, epochs=passes, hidden=16).dropout
    assert found == pytest.approx(dropout) and round(found * 20) == pytest.approx(found * 20)


@pytest.mark.parametrize(("passes", "dropout"), [(0.5, 0), (4, 0), (5, 0.1), (10, 0.3), (20, 0.4), (1000, 0.5)])
def test_dropout_of_a_large_network_grows_with_the_passes(passes, dropout):
    assert resolved(16 * 64 * 10, epochs=passes, hidden=256).dropout == pytest.approx(dropout)


def test_dropout_of_a_run_by_the_clock_grows_with_the_time_and_falls_with_the_size_of_network_and_text():
    times = [resolved(time=seconds, hidden=256).dropout for seconds in (10, 100, 1000, 10_000)]
    assert times == sorted(times) and times[0] == 0 and times[-1] > 0.3
    assert resolved(time=1000, hidden=1024).dropout < resolved(time=1000, hidden=256).dropout
    assert resolved(10 * TEXT, time=1000).dropout < resolved(TEXT, time=1000).dropout


@pytest.mark.parametrize(
    ("values", "warmup"), [({"steps": 5000}, 100), ({"steps": 200}, 20), ({"steps": 9}, 0), ({"time": 60.0}, 100)]
)
def test_warm_up_is_100_steps_at_most_a_tenth_of_the_run(values, warmup):
    assert resolved(**values).warmup == warmup


@pytest.mark.parametrize(
    ("train", "valid", "stretch"),
    [(10**8, 10**6, 200_000), (10**8, 150_000, 150_000), (800_000, 150_000, 100_000), (50, 10, 6), (2, 0, 1)],
)
def test_evaluations_read_the_valid_split_up_to_an_eighth_of_the_train_split(train, valid, stretch):
    assert resolved(train, valid).eval_chars == stretch


@given(st.integers(1000, 10**8), st.integers(1, 10**7), st.integers(1, 200), st.integers(1, 200))
def test_evaluations_read_less_than_an_eighth_of_what_training_reads_between_them(train, valid, batch, seq_len):
    assume(batch * seq_len <= train)
    options = resolved(train, valid, batch_size=batch, seq_len=seq_len)
    between = options.eval_every * batch * seq_len
    assert options.eval_chars * 8 <= between
    assert options.eval_every == 50 or options.eval_chars * 8 > between - batch * seq_len


def test_zero_means_never_and_is_kept():
    options = resolved(eval_every=0, sample_every=0, save_every=0)
    assert (options.eval_every, options.sample_every, options.save_every) == (0, 0, 0)
    assert resolved(eval_every=0).sample_every > 0


def test_planned_steps_are_the_windows_of_the_epochs():
    options = TrainOptions(epochs=2.5)
    assert planned_steps(options, 1000, 10, 10) == 25
    assert planned_steps(options, 1099, 10, 10) == 25
    assert planned_steps(TrainOptions(epochs=0.001), 1000, 10, 10) == 1
    assert planned_steps(TrainOptions(steps=7), 1000, 10, 10) == 7
    assert planned_steps(TrainOptions(time=60), 1000, 10, 10) is None


def test_epsilon_is_the_one_of_the_optimiser_unless_it_is_given():
    for optimizer, epsilon in {"adam": 1e-8, "adamw": 1e-8, "rmsprop": 1e-8, "adagrad": 1e-10}.items():
        assert resolve(TrainOptions(optimizer=optimizer), 65, 10_000, 500)[0].epsilon == epsilon
        assert resolve(TrainOptions(optimizer=optimizer, epsilon=0.5), 65, 10_000, 500)[0].epsilon == 0.5
