"""Pieces get each loss once, whatever the order, the protocol, the batch and the number of parts."""

import numpy as np
import pytest

from charlm.evaluation.block_losses import BlockLosses
from charlm.evaluation.scoring import SEGMENT_SYMBOLS, score
from charlm.tokenizers.vocabulary import BOUNDARY


def text(characters):
    ids = np.random.default_rng(characters).integers(0, 9, characters + 1)
    ids[0] = BOUNDARY
    return ids.astype(np.uint8)


@pytest.fixture
def losses(make_model):
    """A network whose loss depends on nothing but the symbol to come, and that loss."""
    model = make_model("rnn", scale=0.0)
    bias = np.random.default_rng(4).normal(0, 3, model.vocabulary.size).astype(np.float32)
    model.weights["readout.bias"][:] = bias
    return model, np.log(np.exp(bias.astype(np.float64)).sum()) - bias


@pytest.mark.parametrize(
    ("how", "parts"), [({"exact": True}, 1), ({"batch_size": 1}, 3), ({"batch_size": 7}, 1), ({"batch_size": 7}, 3)]
)
@pytest.mark.parametrize("characters", [1, 700, 3 * SEGMENT_SYMBOLS + 77])
def test_pieces_hold_the_losses_of_their_characters(make_network, losses, characters, how, parts):
    model, loss = losses
    ids, draws = text(characters), np.random.default_rng(3)
    starts = np.unique(np.concatenate(([0], draws.integers(0, characters, 40))))
    network, sums, nats = make_network(model), np.zeros(len(starts)), 0.0
    for number in range(parts):
        pieces = BlockLosses(starts)
        nats += score(network, ids, shard=(number, parts), block_losses=pieces, **how).nats
        sums += pieces.nats
    np.testing.assert_allclose(sums, np.add.reduceat(loss[ids[1:]], starts), rtol=1e-5, atol=1e-5)
    assert sums.sum() == pytest.approx(nats, rel=1e-9)


@pytest.mark.parametrize("exact", [False, True])
def test_collecting_changes_no_score(make_model, make_network, exact):
    network, ids = make_network(make_model("lstm")), text(2500)
    pieces = BlockLosses(np.arange(0, 2500, 10))
    assert score(network, ids, exact=exact) == score(network, ids, exact=exact, block_losses=pieces)
    none = BlockLosses(np.zeros(0, np.int64))
    score(network, ids, exact=exact, block_losses=none)
    assert none.nats.size == 0
