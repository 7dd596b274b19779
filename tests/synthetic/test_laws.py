"""Synthetic sources: texts follow the grammar, the perfect model is perfect, and the entropy is what it says."""

import hashlib
import tracemalloc
from math import log, sqrt

import numpy as np
import pytest
from grammars import (
    anbn_lines,
    bits,
    bracket_lines,
    check_anbn,
    check_brackets,
    check_copy,
    copy_lines,
    next_letters,
    prefixes,
)

from charlm import synthetic
from charlm.errors import CorpusError, UsageError
from charlm.synthetic import make
from charlm.synthetic._source import Automaton

SOURCES = [
    ("markov", {}),
    ("hidden-markov", {}),
    ("hidden-markov", {"states": 3, "alphabet": 2, "stay": 0.0}),
    ("brackets", {}),
    ("brackets", {"kinds": 1, "depth": 1}),
    ("brackets", {"kinds": 4, "depth": 3}),
    ("copy", {}),
    ("copy", {"delay": 0, "copied": 1, "alphabet": 2}),
    ("copy", {"delay": 60, "alphabet": 26}),
    ("anbn", {}),
    ("anbn", {"counts": "geometric", "mean": 4}),
    ("anbn", {"mean": 1}),
]


def drawn(source: synthetic.Source, size: int) -> bytes:
    return b"".join(source.blocks(size))


@pytest.mark.parametrize(("name", "values"), SOURCES)
def test_a_text_has_the_size_that_was_asked_for_and_a_longer_one_begins_with_it(name, values):
    source = make(name, 3, **values)
    long, short = drawn(source, 150_000), drawn(source, 70_001)
    assert (len(long), len(short)) == (150_000, 70_001) and long.startswith(short)
    assert set(long) <= set(source.letters) and len(set(source.letters)) == len(source.letters)
    assert max(map(len, source.blocks(150_000))) <= 1 << 16
    assert drawn(source, 1) == long[:1]
    assert (drawn(make(name, 4, **values), 150_000) == long) == (source.entropy().bits == 0)


@pytest.mark.parametrize(
    ("name", "seed", "digest"),
    [
        ("markov", 0, "69decb4af38deee7a8defe291fd9f378a30ea30bf4106ee8f4810c0e495afda1"),
        ("markov", 7, "d6359c9f07092fc26b6e4de85b40bcb9f010917ea1bf68c5db3dfe51c70cd096"),
        ("hidden-markov", 0, "896ba23d4657fdb4096885d901a7ab3590c40c7c1eca137c1f0eb8a01d79026e"),
        ("brackets", 0, "72661b2ea614c4a342b6b03096707074f852961b13c69f36e7ad21c4888f3c86"),
        ("copy", 0, "470db7220f69c06ee457a9aa86d08cb090167240b76931b96d01bd478b00069a"),
        ("anbn", 0, "2029c6436cae0b721f0e4524d8dc4b47e430b6ca70b0de0833cba9a63ab050e4"),
    ],
)
def test_a_seed_gives_the_same_text_on_every_machine(name, seed, digest):
    assert hashlib.sha256(drawn(make(name, seed), 100_000)).hexdigest() == digest


@pytest.mark.parametrize(("name", "values"), [case for case in SOURCES if case[0] in ("brackets", "copy", "anbn")])
def test_every_line_follows_the_grammar(name, values):
    source = make(name, 5, **values)
    *lines, _ = drawn(source, 60_000).decode().split("\n")
    assert len(lines) > 500
    if name == "copy":
        for line in lines:
            check_copy(line, source.delay, source.copied, source.alphabet)
        assert len({line[0] for line in lines}) == source.alphabet
    elif name == "anbn":
        found = [check_anbn(line) for line in lines]
        spread = sqrt(np.var(found) / len(found)) + 1e-12
        assert abs(np.mean(found) - source.mean) < 4 * spread
        assert source.counts == "geometric" or set(found) == set(range(1, 2 * source.mean))
    else:
        deepest = max(check_brackets(line, source.kinds) for line in lines)
        assert deepest == source.depth if source.depth else deepest > 6


LINES = [
    ("copy", {"delay": 3, "copied": 2, "alphabet": 3}, copy_lines(3, 2, 3)),
    ("copy", {"delay": 0, "copied": 3, "alphabet": 2}, copy_lines(0, 3, 2)),
    ("anbn", {"mean": 3}, anbn_lines("uniform", 3)),
    ("anbn", {"counts": "geometric", "mean": 3}, anbn_lines("geometric", 3)),
]


@pytest.mark.parametrize(("name", "values", "lines"), LINES)
def test_entropy_and_probabilities_are_those_of_all_lines_gone_through(name, values, lines):
    source = make(name, **values)
    assert sum(lines.values()) == pytest.approx(1, abs=1e-12)
    assert source.entropy().bits == pytest.approx(bits(lines), abs=1e-8)
    for line in [line for line in lines if len(line) < 30]:
        expected = source.expect(line.encode())
        assert np.exp(-expected.nats.sum()) == pytest.approx(lines[line], abs=1e-8)
        for before, found in zip(prefixes(line), expected.probabilities, strict=True):
            np.testing.assert_allclose(found, next_letters(lines, before, source.letters.decode()), atol=1e-7)


@pytest.mark.parametrize(("kinds", "depth"), [(1, 0), (2, 0), (2, 1), (3, 2)])
def test_brackets_have_the_probabilities_of_their_grammar(kinds, depth):
    source = make("brackets", kinds=kinds, depth=depth)
    lines = bracket_lines(kinds, depth, 8)
    assert len(lines) > 100 and sum(lines.values()) < 1
    for line, share in lines.items():
        assert source.expect(line.encode()).nats.sum() == pytest.approx(-log(share), abs=1e-6), line


def stationary_bits(source: Automaton) -> float:
    """Entropy rate of an automaton of few states, each as often as it is in the long run."""
    states, rows = [source.start()], []
    for state in states:
        row = {}
        for letter, weight in enumerate(source.distribution(state).weights):
            if weight:
                after = source.after(state, letter)
                if after not in states:
                    states.append(after)
                row[states.index(after)] = row.get(states.index(after), 0) + weight / 2**32
        rows.append(row)
    step = np.zeros((len(states), len(states)))
    for place, row in enumerate(rows):
        step[place, list(row)] = list(row.values())
    equations = np.vstack((step.T - np.eye(len(states)), np.ones(len(states))))
    pi = np.linalg.lstsq(equations, np.eye(len(states) + 1)[-1], rcond=None)[0]
    p = [np.array(source.distribution(state).weights) / 2**32 for state in states]
    return float(sum(share * -(row[row > 0] * np.log2(row[row > 0])).sum() for share, row in zip(pi, p, strict=True)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("markov", {}),
        ("copy", {"delay": 2, "copied": 2, "alphabet": 3}),
        ("anbn", {"mean": 4}),
        ("brackets", {"kinds": 1, "depth": 1}),
        ("brackets", {"kinds": 2, "depth": 3}),
        ("brackets", {"kinds": 3, "depth": 2}),
    ],
)
def test_the_entropy_is_that_of_all_states_in_the_long_run(name, values):
    source = make(name, **values)
    assert source.entropy().bits == pytest.approx(stationary_bits(source), abs=1e-9)


def test_brackets_without_a_bound_are_the_limit_of_deeper_ones():
    bounded = [make("brackets", kinds=3, depth=depth).entropy().bits for depth in (1, 5, 20, 80)]
    free = make("brackets", kinds=3).entropy().bits
    gaps = [abs(found - free) for found in bounded]
    assert gaps == sorted(gaps, reverse=True) and gaps[0] > 0.1 and gaps[-1] < 1e-9


@pytest.mark.parametrize(("name", "values"), SOURCES)
def test_a_perfect_models_mean_surprise_is_the_entropy_within_four_standard_errors(name, values):
    source = make(name, 11, **values)
    size = 120_000
    surprise = source.expect(drawn(source, size)).nats / log(2)
    blocks = surprise.reshape(120, -1).mean(1)
    entropy = source.entropy()
    error = blocks.std(ddof=1) / sqrt(len(blocks)) + (entropy.error or 0)
    assert abs(surprise.mean() - entropy.bits) < 4 * error + 1e-9


@pytest.mark.parametrize(("name", "values"), SOURCES)
def test_what_is_expected_sums_to_one_and_situations_do_not_look_ahead(name, values):
    source = make(name, 2, **values)
    text = drawn(source, 3000)
    expected = source.expect(text)
    np.testing.assert_allclose(expected.probabilities.sum(1), 1, atol=1e-12)
    assert expected.probabilities.shape == (3000, len(source.letters))
    assert bytes(source.letters[letter] for letter in expected.letters) == text
    assert set(source.memory) <= set(source.situations) and expected.situations.max() < len(source.situations)
    shorter = source.expect(text[:1501])
    assert (shorter.situations == expected.situations[:1501]).all()
    assert (shorter.probabilities == expected.probabilities[:1501]).all()


def test_situations_are_what_they_say():
    copy = make("copy", delay=2, copied=2)
    names = [copy.situations[place] for place in copy.expect(b"ab..:ab\nc").situations]
    assert names == ["string"] * 2 + ["delay"] * 2 + ["mark"] + ["copy"] * 2 + ["line end", "string"]
    anbn = make("anbn")
    assert anbn.expect(b"aabb\na").situations.tolist() == [0, 0, 0, 1, 1, 0]
    brackets = make("brackets")
    names = [brackets.situations[place] for place in brackets.expect(b'["ab"]\n').situations]
    assert names == ["outside", "inside", "in a quote", "in a quote", "in a quote", "inside", "outside"]


@pytest.mark.parametrize(("name", "values"), [case for case in SOURCES if case[0] not in ("markov", "hidden-markov")])
def test_in_memory_one_letter_is_the_likeliest_alone(name, values):
    source = make(name, 2, **values)
    expected = source.expect(drawn(source, 20_000))
    memory = np.isin(expected.situations, [source.situations.index(word) for word in source.memory])
    best = np.sort(expected.probabilities[memory], 1)
    assert len(best) > 100 and (best[:, -1] > best[:, -2] + 0.1).all()


@pytest.mark.parametrize(
    ("name", "text", "at"),
    [
        ("markov", b"abcx", 3),
        ("hidden-markov", b"ab\n", 2),
        ("copy", b"abcde...:", 8),
        ("copy", b"ab.", 2),
        ("anbn", b"aab\n", 3),
        ("anbn", b"b", 0),
        ("anbn", b"a" * 20, 19),
        ("brackets", b"[(])", 2),
        ("brackets", b'""', 1),
        ("brackets", b"\n", 0),
        ("brackets", b"()a", 2),
        ("brackets", b"\xff", 0),
    ],
)
def test_a_text_of_another_source_is_refused_and_its_place_is_named(name, text, at):
    with pytest.raises(CorpusError, match=rf"never writes .* \(at {at}, counted from 0\)"):
        make(name).expect(text)


def test_a_text_of_any_size_is_drawn_in_bounded_memory():
    for name in synthetic.names():
        source = make(name)
        blocks = source.blocks(10**9)
        next(blocks)
        tracemalloc.start()
        for _ in range(2):
            next(blocks)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000, name
        tracemalloc.stop()


def test_sources_are_known_by_name_with_their_parameters():
    assert synthetic.names() == ("anbn", "brackets", "copy", "hidden-markov", "markov")
    assert synthetic.parameters("copy") == ("delay", "copied", "alphabet")
    assert synthetic.takers("alphabet") == ("copy", "hidden-markov") and synthetic.takers("seed") == synthetic.names()
    assert synthetic.settings(make("copy", delay=3)) == {"delay": 3, "copied": 5, "alphabet": 8}
    with pytest.raises(UsageError, match="markow is no synthetic source; there are anbn, brackets"):
        make("markow")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("copy", {"delay": -1}, "--delay"),
        ("copy", {"alphabet": 100}, "--alphabet"),
        ("copy", {"kinds": 2}, "copy has no parameter 'kinds'; it has seed, delay, copied, alphabet"),
        ("hidden-markov", {"states": 0}, "--states"),
        ("brackets", {"kinds": 9}, "--kinds"),
        ("anbn", {"counts": "x"}, "--counts"),
        ("anbn", {"size": 5}, "no parameter 'size'"),
        ("markov", {"seed": -1}, "--seed"),
    ],
)
def test_parameters_are_checked_as_options_are(name, values, told):
    with pytest.raises(UsageError, match=told):
        make(name, **values)


def test_parameters_that_are_none_have_their_defaults():
    assert make("copy", seed=None, delay=None) == make("copy") != make("copy", delay=3)
    assert make("copy", delay="3") == make("copy", delay=3)
