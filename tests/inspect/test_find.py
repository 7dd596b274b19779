"""Units made to follow a feature are found; what follows nothing is not, however slow the feature is."""

import numpy as np
import pytest
from texts import WORDS, quoting

from charlm.errors import CharlmError, CorpusError, UsageError
from charlm.inspect.correlate import CLASSES, Correlation, classes
from charlm.inspect.features import of_text
from charlm.inspect.find import find

LETTERS = "".join(WORDS) + ' \n"('


def ids_of(model, text):
    return np.concatenate(([0], model.vocabulary.encode_text(text), [0])).astype(np.int64)


def found(model, ids, names=None, **more):
    return {each.feature: each for each in find(model, ids, of_text(ids, model.vocabulary, names), **more)}


def test_a_quote_detector_and_a_column_counter_are_found(tracker):
    ids = ids_of(tracker, quoting(6000))
    by_name = found(tracker, ids)
    quotes, column = by_name["double-quotes"], by_name["column"]
    assert str(quotes.finds[0].unit) == "0:0" and quotes.finds[0].confirmed
    assert quotes.finds[0].first > 0.99 and quotes.finds[0].second > 0.99 > quotes.baseline
    assert (str(column.finds[0].unit), column.finds[0].confirmed) == ("0:1", True)
    assert column.finds[0].second > 0.95 and by_name["quotes"].finds == quotes.finds
    assert len(quotes.finds) == 3 and len({one.unit for one in quotes.finds}) == 3


def test_the_part_can_be_chosen(tracker):
    ids = ids_of(tracker, quoting(4000))
    for part in ("h", "c"):
        (each,) = find(tracker, ids, of_text(ids, tracker.vocabulary, ("quotes",)), part=part, best=6)
        assert {one.part for one in each.finds} == {part} and len(each.finds) == 6
    with pytest.raises(UsageError, match="--part 'q' is no part of the state of the lstm; choose h, c, or all"):
        find(tracker, ids, {}, part="q")


def test_what_the_text_does_not_have_is_said(tracker, make_model):
    by_name = found(tracker, ids_of(tracker, quoting(3000)))
    assert by_name["brackets"].problem == "no brackets in this text" and not by_name["brackets"].finds
    assert by_name["comment"].problem == "no comments in this text"
    model = make_model(letters=LETTERS + "#")
    rare = found(model, ids_of(model, "# the sea\n" + quoting(3000)))["comment"].problem
    assert rare.startswith("too rare: it comes on 0 times in one half of the text, and 5 are needed")


def test_a_feature_of_the_character_alone_is_nothing_to_remember(tracker):
    ids = ids_of(tracker, quoting(3000))
    spaces = ids == tracker.vocabulary.encode_text(" ")[0]
    (each,) = find(tracker, ids, {"spaces": spaces})
    assert each.problem.startswith("the character just read tells it") and each.told > 0.999
    (each,) = find(tracker, ids, {"always": np.ones(len(ids), bool)})
    assert each.problem == "always on in this text: always"


def test_too_short_a_text_is_refused(tracker):
    ids = ids_of(tracker, quoting(1500))
    with pytest.raises(CorpusError, match="the text has 1,501 characters, and at least 2,000 are needed"):
        find(tracker, ids, of_text(ids, tracker.vocabulary))


def noise(length, random):
    """A feature that comes and goes by chance, each state lasting 50 characters on average, of no text at all."""
    return np.cumsum(random.random(length) < 0.02) % 2 == 1


def test_noise_is_followed_by_no_unit(make_model):
    """Five features that are noise for each of 20 networks: none is confirmed, and a half alone seldom passes."""
    halves, naive = 0, 0
    for seed in range(20):
        model = make_model(cell=("lstm", "gru")[seed % 2], hidden=12, seed=seed, letters=LETTERS)
        ids = ids_of(model, quoting(2400, seed))
        random = np.random.default_rng(seed)
        features = {f"noise {n}": noise(len(ids), random) for n in range(5)}
        for each in find(model, ids, features, shuffles=20, seed=seed, best=12):
            assert each.problem is None and not any(one.confirmed for one in each.finds)
            halves += abs(each.finds[0].first) > each.baseline
            naive += abs(each.finds[0].first) > 3 / np.sqrt(len(ids) / 2)
    assert halves <= 10, "each half alone passes at most once in 21 on average"
    assert naive > 50, "without the baseline, three standard errors would find chance everywhere"


def test_a_feature_of_another_text_is_followed_by_no_unit(tracker):
    for seed in range(5):
        ids, other = (ids_of(tracker, quoting(3000, one)) for one in (seed, 100 + seed))
        features = {"quotes": of_text(other, tracker.vocabulary, ("quotes",))["quotes"]}
        (each,) = find(tracker, ids, features, best=6, seed=seed)
        assert not any(one.confirmed for one in each.finds)


def test_a_chance_of_the_first_half_is_not_confirmed_by_a_second_that_disagrees(tracker):
    """What unit 0 does is taken for a feature, turned over in the second half."""
    ids = ids_of(tracker, quoting(4000))
    feature = of_text(ids, tracker.vocabulary, ("quotes",))["quotes"].copy()
    feature[len(ids) // 2 :] ^= True
    (each,) = find(tracker, ids, {"quotes": feature})
    best = each.finds[0]
    assert str(best.unit) == "0:0" and best.first > 0.9 and best.second < -0.9 and not best.confirmed


def test_the_seed_decides_the_shifts(tracker):
    ids = ids_of(tracker, quoting(3000))
    features = of_text(ids, tracker.vocabulary, ("column",))
    one, same, other = (find(tracker, ids, features, seed=seed)[0] for seed in (1, 1, 2))
    assert one == same and other.baseline != one.baseline and other.finds[0].first == one.finds[0].first


def test_progress_ends_at_the_end_and_layers_are_told_apart(make_model):
    model = make_model(cell="gru", layers=2, hidden=5, letters=LETTERS)
    ids = ids_of(model, quoting(2500))
    told = []
    by_name = {each.feature: each for each in find(
        model, ids, of_text(ids, model.vocabulary), best=10, progress=lambda *at: told.append(at)
    )}  # fmt: skip
    assert told[-1] == (2501, 2501)
    units = {(one.unit.layer, one.unit.index) for one in by_name["column"].finds}
    assert units == {(layer, unit) for layer in range(2) for unit in range(5)}
    assert {one.part for one in by_name["column"].finds} == {"h"}


def test_a_state_without_bounds_is_an_error(make_model):
    model = make_model(cell="rnn", activation="linear", scale=30.0, letters=LETTERS)
    ids = ids_of(model, quoting(2500))
    with pytest.raises(CharlmError, match="grows with the text"):
        find(model, ids, of_text(ids, model.vocabulary))


def slow(feature, read, x):
    """The correlation of what is left of feature and units (N, U) when each character's means are taken off."""
    y, x = feature.astype(np.float64), x.astype(np.float64)
    for symbol in np.unique(read):
        rows = read == symbol
        y, x = np.where(rows, y - y[rows].mean(), y), np.where(rows[:, None], x - x[rows].mean(0), x)
    return (y @ x) / np.sqrt((y @ y) * (x * x).sum(0))


def test_sums_give_the_correlation_of_a_slow_twin():
    random = np.random.default_rng(5)
    read = random.choice(9, 3000, p=np.arange(1, 10) / 45)
    features = np.stack([noise(3000, random), random.standard_normal(3000).cumsum()]).astype(np.float32)
    x = (5 + read[:, None] + random.standard_normal((3000, 4)) + features[0][:, None]).astype(np.float32)
    shifts = np.array([0, 700, 1900])
    sums = Correlation(features, classes(read), shifts, 4)
    places = random.permutation(3000)
    for part in np.split(places, [100, 101, 2000]):
        sums.add(part, x[part])
    wanted = [[slow(np.roll(y, shift), read, x) for shift in shifts] for y in features]
    np.testing.assert_allclose([sums.partial(0), sums.partial(1)], wanted, atol=1e-5)
    plain = [[np.corrcoef(y, unit)[0, 1] for unit in x.T] for y in features]
    np.testing.assert_allclose([sums.plain(0), sums.plain(1)], plain, atol=1e-5)


def test_what_the_character_says_of_both_does_not_count():
    random = np.random.default_rng(6)
    read = random.integers(0, 5, 5000)
    feature = (random.random(5000) < 0.2 * read)[None].astype(np.float32)
    x = np.stack([read, read + 0.01 * random.standard_normal(5000), np.full(5000, 3)], 1).astype(np.float32)
    sums = Correlation(feature, classes(read), np.array([0]), 3)
    sums.add(np.arange(5000), x)
    assert sums.plain(0)[0] > 0.5 and sums.plain(0)[2] == 0
    assert abs(sums.partial(0)).max() < 0.05 and sums.partial(0)[0, 0] == 0
    grand = feature[0].mean()
    explained = sum((read == a).sum() * (feature[0][read == a].mean() - grand) ** 2 for a in range(5))
    assert sums.told(0) == pytest.approx(explained / ((feature[0] - grand) ** 2).sum(), rel=1e-5)


def test_frequent_characters_are_told_apart_and_rare_ones_are_one():
    read = np.repeat(np.arange(400), np.arange(400, 0, -1))
    kinds = classes(read)
    assert len(np.unique(kinds)) == CLASSES
    for symbol in (0, 100, CLASSES - 2):
        assert (kinds == kinds[read == symbol][0]).sum() == 400 - symbol
    assert (kinds[read >= CLASSES - 1] == CLASSES - 1).all()
