"""What is drawn never breaks the rules of a text, and follows from seed and sample number alone."""

from itertools import islice

import numpy as np
import pytest

from charlm import cells
from charlm.model.logits import log_softmax
from charlm.model.stepper import Stepper
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import generate, random_streams
from charlm.tokenizers.vocabulary import BOUNDARY, UNKNOWN

NOTHING = np.array([], dtype=np.int64)


def written(stepper, length, *, seed=0, number=1, prompt=NOTHING, rules=None, **more):
    """Ids (length, B)."""
    drawn = generate(
        stepper, np.asarray(prompt, np.int64), rules or SamplingParams(), random_streams(seed, number), **more
    )
    return np.stack(list(islice(drawn, length)))


@pytest.fixture(scope="module")
def eager(make_model):
    """A model that would write boundaries and unknown symbols most of the time."""
    model = make_model("gru", layers=2, seed=5)
    model.weights["readout.bias"][[BOUNDARY, UNKNOWN]] += 4
    return Stepper(model)


@pytest.fixture(scope="module")
def plain(make_model):
    return Stepper(make_model("lstm", layers=2, seed=6, scale=0.7))


def test_unknown_symbol_is_never_drawn_though_it_is_the_likeliest(eager):
    logits, _ = eager.step(np.array([BOUNDARY]), eager.start())
    assert np.exp(log_softmax(logits))[0, UNKNOWN] > 0.2
    for rules in (
        SamplingParams(),
        SamplingParams(0),
        SamplingParams(top_k=1),
        SamplingParams(2.0),
        SamplingParams(top_p=0.1),
        SamplingParams(min_p=1.0),
    ):
        assert not (written(eager, 200, number=3, rules=rules) == UNKNOWN).any()


def test_boundary_ends_documents_but_never_an_empty_one(eager):
    ids = written(eager, 500, number=4)
    ends = ids == BOUNDARY
    assert not ends[0].any(), "the prompt's own boundary stands before the first character"
    assert not (ends[1:] & ends[:-1]).any()
    assert ends.mean() > 0.2


def test_boundary_is_not_drawn_right_after_a_prompt_that_ends_with_one(eager):
    assert (written(eager, 1, number=200, prompt=[5, BOUNDARY]) != BOUNDARY).all()
    assert (written(eager, 1, number=200, prompt=[BOUNDARY, 5]) == BOUNDARY).any()


@pytest.mark.parametrize("name", cells.names())
def test_sample_is_the_same_however_many_are_drawn_beside_it(make_model, name):
    stepper = Stepper(make_model(name, layers=2, seed=7))
    ten = written(stepper, 200, number=10, prompt=[3, 4])
    for number in (1, 3):
        np.testing.assert_array_equal(written(stepper, 200, number=number, prompt=[3, 4]), ten[:, :number])
    assert len({tuple(column) for column in ten.T}) == 10


def test_same_seed_same_text_other_seed_other_text(plain):
    one = written(plain, 200, seed=3)
    assert (written(plain, 200, seed=3) == one).all()
    assert (written(plain, 200, seed=4) != one).any()


def test_filters_that_filter_nothing_change_nothing(plain):
    same = SamplingParams(temperature=1.0, top_k=100, top_p=1.0, min_p=0.0)
    np.testing.assert_array_equal(written(plain, 200, rules=same), written(plain, 200))


def test_temperature_zero_writes_the_likeliest_symbol_whatever_the_seed(plain):
    greedy = written(plain, 60, rules=SamplingParams(0))[:, 0]
    assert (written(plain, 60, rules=SamplingParams(0), seed=99)[:, 0] == greedy).all()
    last, states = BOUNDARY, plain.start()
    for symbol in greedy:
        logits, states = plain.step(np.array([last]), states)
        logits[0, UNKNOWN] = -np.inf
        if last == BOUNDARY:
            logits[0, BOUNDARY] = -np.inf
        assert symbol == logits[0].argmax()
        last = symbol


def test_prompt_is_read_before_anything_is_written(plain):
    """Going on from what was written, as a prompt, gives the symbols that came next."""
    greedy = written(plain, 40, rules=SamplingParams(0))[:, 0]
    rest = written(plain, 25, prompt=greedy[:15], rules=SamplingParams(0))[:, 0]
    np.testing.assert_array_equal(rest, greedy[15:])


def test_probabilities_of_the_first_symbol_are_those_of_the_network(plain):
    """2000 samples side by side: each frequency within four standard deviations."""
    first = written(plain, 1, number=2000)[0]
    logits, _ = plain.step(np.array([BOUNDARY]), plain.start())
    logits[0, [BOUNDARY, UNKNOWN]] = -np.inf
    p = np.exp(log_softmax(logits.astype(np.float64)))[0]
    counts = np.bincount(first, minlength=len(p))
    assert (np.abs(counts - 2000 * p) <= 4 * np.sqrt(2000 * p * (1 - p)) + 1e-9).all()


def test_torch_stepper_writes_the_same_text(make_model):
    model = make_model("lstm", layers=2, seed=8)
    np.testing.assert_array_equal(written(Stepper(model, "cpu"), 200, number=3), written(Stepper(model), 200, number=3))
