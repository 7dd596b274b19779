"""What is lost without a unit is what a slow loop finds; without one that nobody reads, nothing is lost."""

from math import log

import numpy as np
import pytest
from texts import text_of

from charlm.errors import CharlmError
from charlm.inspect.ablate import ablate
from charlm.inspect.features import of_text, on
from charlm.model.logits import log_softmax
from charlm.model.stepper import Stepper
from charlm.model.units import HiddenUnit


def ids_of(model, characters, seed=1):
    return np.concatenate(([0], model.vocabulary.encode_text(text_of(characters, seed=seed))))


def slow_nats(model, ids, held):
    """The surprise of each character, one step at a time; `held` is a value by layer, part (a number) and unit."""
    stepper = Stepper(model)
    states, nats, seen = stepper.start(), [], []

    def edit(layer, state):
        parts = [part.copy() for part in state]
        for (at, part, unit), value in held.items():
            if at == layer:
                parts[part][:, unit] = value
        return tuple(parts)

    for symbol, following in zip(ids, ids[1:], strict=False):
        logits, states = stepper.step(np.array([symbol]), states, edit=edit)
        seen.append([[part[0] for part in state] for state in states])
        nats.append(-log_softmax(logits.astype(np.float64))[0, following])
    return np.array(nats), np.array(seen).mean(0)


@pytest.mark.parametrize("to", ["mean", "zero"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_losses_are_those_of_a_slow_loop(make_model, cell, to):
    model = make_model(cell=cell, layers=2, scale=0.8)
    ids = ids_of(model, 300)
    features = of_text(ids, model.vocabulary, ("single-quotes", "word", "column"))
    groups = [(HiddenUnit(0, 3),), (HiddenUnit(1, 2),), (HiddenUnit(0, 3), HiddenUnit(1, 2))]
    before, means = slow_nats(model, ids, {})
    for group, found in zip(groups, ablate(model, ids, groups, features, to=to), strict=True):
        held = {(unit.layer, part, unit.index): means[unit.layer, part, unit.index] if to == "mean" else 0.0
                for unit in group for part in range(means.shape[1])}  # fmt: skip
        lost = (slow_nats(model, ids, held)[0] - before) / log(2)
        assert found.units == group and found.characters == 300
        assert found.before == pytest.approx(before.mean() / log(2), abs=1e-5)
        assert found.lost == pytest.approx(lost.mean(), abs=1e-5) and abs(found.lost) > 1e-3
        for name, values in features.items():
            mask, loss = on(values[:-1]), found.features[name]
            assert (loss.characters_on, loss.characters_off) == (mask.sum(), (~mask).sum())
            assert loss.on == pytest.approx(lost[mask].mean() if mask.any() else 0, abs=1e-5)
            assert loss.off == pytest.approx(lost[~mask].mean(), abs=1e-5)


@pytest.mark.cases(1)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_unit_that_nobody_reads_loses_exactly_nothing(make_model, cell):
    model = make_model(cell=cell, layers=2)
    model.weights["layers.0.weight_hh"][:, 4] = 0
    model.weights["layers.1.weight_ih"][:, 4] = 0
    ids = ids_of(model, 3000)
    features = of_text(ids, model.vocabulary)
    for to in ("mean", "zero"):
        unused, used = ablate(model, ids, [(HiddenUnit(0, 4),), (HiddenUnit(0, 3),)], features, to=to)
        assert unused.lost == 0 and all(loss.on == loss.off == 0 for loss in unused.features.values())
        assert used.lost != 0


def test_progress_counts_every_reading(make_model):
    model, told = make_model(), []
    ablate(model, ids_of(model, 400), [(HiddenUnit(0, 1),)], {}, progress=lambda *at: told.append(at))
    assert told[-1] == (800, 800)
    assert ablate(model, ids_of(model, 400), [], {}) == []


def test_a_loss_that_is_no_number_is_an_error(make_model):
    model = make_model(cell="rnn", activation="linear", scale=30.0)
    with pytest.raises(CharlmError, match="no finite number"):
        ablate(model, ids_of(model, 500), [(HiddenUnit(0, 0),)], {})
