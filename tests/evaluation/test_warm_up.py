"""Evaluation, inspection and gradients read the same symbols before a segment (a network that forgets nothing)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from charlm.evaluation.block_losses import BlockLosses
from charlm.evaluation.scoring import SEGMENT_SYMBOLS, score
from charlm.evaluation.warm_up import WARM_UP_SYMBOLS, warm_up_ids
from charlm.inspect.activations import read
from charlm.inspect.unrolled import Unrolled
from charlm.tokenizers.vocabulary import BOUNDARY

SEGMENTS = 3


@pytest.mark.parametrize("documents", [0, 5])
def test_inspection_warms_up_as_evaluation_does(make_model, make_network, documents):
    model = make_model("rnn", "linear", seed=3)
    for name, weight in model.weights.items():
        weight[:] = np.eye(7) if name.endswith("weight_hh") else weight / 10
    model = replace(model, corpus={"documents": documents})
    ids = np.random.default_rng(0).integers(1, model.vocabulary.size, SEGMENTS * SEGMENT_SYMBOLS + 1)
    ids[0] = BOUNDARY
    losses = {}
    for at_boundary in (True, False):
        blocks = BlockLosses(np.arange(len(ids) - 1))
        score(make_network(model), ids, starts_at_boundary=at_boundary, block_losses=blocks)
        losses[at_boundary] = blocks.nats
    (block,) = read(model, ids, segments=SEGMENTS)
    assert block.inside.all()
    assert block.nats.T.ravel() == pytest.approx(losses[model.starts_at_boundary], abs=1e-4)
    assert block.nats.T.ravel() != pytest.approx(losses[not model.starts_at_boundary], abs=1e-4)
    starts = np.arange(1, SEGMENTS) * SEGMENT_SYMBOLS
    before = warm_up_ids(ids, starts, model.starts_at_boundary)
    _, states = make_network(model, dtype=torch.float64).run_layers(
        torch.from_numpy(before), make_network(model, dtype=torch.float64).initial_state(len(starts))
    )
    for one, other in zip(Unrolled(model).warm(ids, starts, WARM_UP_SYMBOLS), states, strict=True):
        assert one[0].numpy() == pytest.approx(other[0].detach().numpy(), abs=1e-9)
