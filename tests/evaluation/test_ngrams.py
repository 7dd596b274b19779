"""n-grams against a twin made of dictionaries, and against a source whose entropy is known."""

from collections import defaultdict
from itertools import islice
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.evaluation import ngrams
from charlm.synthetic.markov import Markov


def first(count, train, text, vocabulary):
    return list(islice(ngrams.surprises(np.array(train), np.array(text), vocabulary), count))


class Twin:
    """Chen & Goodman's equations one string at a time, with tuples for strings."""

    def __init__(self, train, vocabulary):
        self.train, self.v = train, vocabulary

    def counts(self, order, top):
        """How often each string of `order` stands in the text, or by how many different symbols it is preceded."""
        found = defaultdict(set)
        for end in range(order if top else order + 1, len(self.train) + 1):
            string = tuple(self.train[end - order : end])
            if not top:
                found[string].add(self.train[end - order - 1])
            elif end > 1:  # the first boundary is a history only
                found[string].add(end)
        return {string: len(places) for string, places in found.items()}

    def probability(self, history, symbol, order, top=True):
        if order == 0:
            return 1 / self.v
        history = history[len(history) - (order - 1) :]
        lower = self.probability(history, symbol, order - 1, False)
        counts = self.counts(order, top)
        discounts = self.discounts(counts)
        after = {s[-1]: n for s, n in counts.items() if s[:-1] == history}
        if not sum(after.values()):
            return lower
        saved = sum(discounts[min(n, 3)] for n in after.values())
        own = after.get(symbol, 0)
        return (own - discounts[min(own, 3)] + saved * lower) / sum(after.values())

    @staticmethod
    def discounts(counts):
        n = [sum(1 for found in counts.values() if found == k) for k in range(5)]
        if 0 in n[1:]:
            return [0, 0.5, 0.5, 0.5]
        y = n[1] / (n[1] + 2 * n[2])
        asked = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return [0, *(d if d > 0 else 0.5 for d in asked)]

    def nats(self, text, order):
        """Where there is less history than the order wants, all that there is; its table is not the top one's."""
        found = []
        for place in range(1, len(text)):
            history = tuple(text[:place])
            if place >= order - 1:
                p = self.probability(history, text[place], order)
            else:
                p = self.probability(history, text[place], place + 1, top=False)
            found.append(-log(p))
        return found


def ids(draws, size, vocabulary, skewed=False):
    p = np.arange(1, vocabulary + 1) ** -1.5 if skewed else np.ones(vocabulary)
    return [0, *(int(s) for s in draws.choice(vocabulary, size, p=p / p.sum()))]


@pytest.mark.parametrize(("size", "vocabulary"), [(1, 3), (5, 3), (200, 3), (300, 9), (300, 12_000)])
def test_a_twin_of_dictionaries_gives_the_same(size, vocabulary):
    draws = np.random.default_rng(size + vocabulary)
    train, text = (ids(draws, n, vocabulary, skewed=True) for n in (size, 25))
    twin = Twin(train, vocabulary)
    for order, found in enumerate(first(5, train, text, vocabulary), 1):
        np.testing.assert_allclose(found, twin.nats(text, order), rtol=0, atol=1e-12, err_msg=f"order {order}")


@given(st.integers(0, 10**6), st.integers(1, 400), st.integers(3, 12))
def test_the_probabilities_of_all_symbols_add_up_to_one(seed, size, vocabulary):
    draws = np.random.default_rng(seed)
    train = ids(draws, size, vocabulary, skewed=bool(seed % 2))
    at = int(draws.integers(size))
    history = draws.choice([0, 1]) and train[: at + 1] or ids(draws, 8, vocabulary)
    last = [[nats[-1] for nats in first(9, train, [*history, s], vocabulary)] for s in range(vocabulary)]
    np.testing.assert_allclose(np.exp(-np.array(last)).sum(0), 1, rtol=0, atol=1e-12)
    assert np.isfinite(last).all()


def test_a_source_of_known_entropy_is_learned_by_the_order_that_it_has():
    text = np.frombuffer(b"".join(Markov(3).blocks(420_000)), np.uint8).astype(np.int64) - ord("a") + 2
    train, rest = np.concatenate(([0], text[:400_000])), np.concatenate(([0], text[400_000:]))
    bits = [nats.mean() / log(2) for nats in first(4, train, rest, 10)]
    exact = Markov(3).entropy().bits
    assert bits[0] > bits[1] > bits[2] + 0.05
    assert bits[2] == pytest.approx(exact, abs=0.02)  # the 20,000 letters' own entropy is off by about 0.006
    own = -np.log2(_weights(rest)).mean()
    assert bits[2] - own == pytest.approx(64 * 7 / 2 / 400_000 / log(2), abs=0.002)
    assert bits[3] < bits[2] + 0.02


def _weights(ids):
    """The source's own probability of each letter, after the two before."""
    table = np.array(Markov(3).weights) / 2.0**32
    a = ids[1:] - 2
    return table[a[:-2] * 8 + a[1:-1], a[2:]]


def test_texts_may_be_mapped_of_any_type_and_stay_as_they_are(tmp_path):
    draws = np.random.default_rng(1)
    train, text = ids(draws, 3000, 40, skewed=True), ids(draws, 200, 40, skewed=True)
    (tmp_path / "train.bin").write_bytes(np.array(train, np.uint8).tobytes())
    mapped = np.memmap(tmp_path / "train.bin", np.uint8, "r")
    found = list(islice(ngrams.surprises(mapped, np.array(text, np.uint16), 40), 6))
    for one, other in zip(found, first(6, train, text, 40), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(mapped, train)


def test_codes_that_do_not_fit_beside_their_places_are_sorted_all_the_same():
    codes = np.random.default_rng(0).integers(0, 50, 300)
    packed, plain = ngrams._number(codes.copy(), 50), ngrams._number(codes.copy(), 1 << 60)
    for one, other in zip(packed[:3], plain[:3], strict=True):
        assert np.array_equal(one, other)
    for distinct, _, numbers, places in (packed, plain):
        assert np.array_equal(distinct, np.unique(codes))
        assert np.array_equal(distinct[numbers], codes) and np.array_equal(codes[places], distinct)


def test_orders_go_on_beyond_the_length_of_the_texts():
    found = first(12, [0, 2, 3], [0, 3, 2, 3], 4)
    assert all(np.isfinite(nats).all() for nats in found)
    assert np.array_equal(found[-1], found[5])
