"""Scoring reads every character once, starts cold, and looks without touching."""

from math import exp, inf, log, log2

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm import cells
from charlm.evaluation.scoring import CHUNK_SYMBOLS, SEGMENT_SYMBOLS, Score, max_segments, score
from charlm.evaluation.warm_up import WARM_UP_SYMBOLS
from charlm.model.network import Network
from charlm.tokenizers.vocabulary import BOUNDARY

KINDS = [(name, activation) for name in cells.names() for activation in cells.make(name).activations]
V = 10


def text(characters, seed=0):
    """A boundary, then random symbols."""
    ids = np.random.default_rng(seed).integers(0, V, characters + 1)
    ids[0] = BOUNDARY
    return ids.astype(np.uint8)


@pytest.fixture(scope="module")
def counting(make_options):
    """A network whose loss depends on nothing but the symbol to come, and differs for each of 3001 of them."""
    network = Network(make_options("rnn", hidden=1), 3001)
    random = np.random.default_rng(4)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.weight("readout.bias").copy_(torch.from_numpy(random.normal(0, 3, 3001)))
    bias = network.weight("readout.bias").detach().double().numpy()
    return network, np.log(np.exp(bias).sum()) - bias


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_exact_protocol_is_one_pass_character_by_character(make_model, make_network, slow_losses, kind):
    model = make_model(*kind, layers=2, input="embedding")
    ids = text(CHUNK_SYMBOLS * 3 + 5)
    wanted = slow_losses(model, ids).sum()
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-6)):
        result = score(make_network(model, "plain", dtype), ids, exact=True)
        assert result.characters == len(ids) - 1
        assert result.nats == pytest.approx(wanted, rel=tolerance)


@pytest.mark.parametrize("bounded", [True, False])
def test_default_protocol_scores_each_segment_warmed_up_on_the_text_before_it(
    make_model, make_network, slow_losses, bounded
):
    """Told by a network that forgets nothing: one symbol more or less of warm-up shows in the loss."""
    model = make_model("rnn", "linear", seed=3)
    for name, weight in model.weights.items():
        weight[:] = np.eye(7) if name.endswith("weight_hh") else weight / 10
    ids = text(2 * SEGMENT_SYMBOLS + 300)

    def by_definition(warm_up):
        nats = 0.0
        for start in range(0, len(ids) - 1, SEGMENT_SYMBOLS):
            before = min(start, warm_up)
            piece = ids[start - before : min(start + SEGMENT_SYMBOLS, len(ids) - 1) + 1].copy()
            if bounded and before:
                piece[0] = BOUNDARY
            nats += slow_losses(model, piece)[before:].sum()
        return nats

    network = make_network(model, "plain", torch.float64)
    wanted = by_definition(WARM_UP_SYMBOLS)
    result = score(network, ids, starts_at_boundary=bounded)
    assert result.characters == len(ids) - 1
    assert result.nats == pytest.approx(wanted, rel=1e-7)
    for other in (
        score(network, ids, starts_at_boundary=not bounded).nats,
        by_definition(WARM_UP_SYMBOLS - 1),
        by_definition(0),
        score(network, ids, exact=True).nats,
    ):
        assert other != pytest.approx(wanted, rel=1e-6)


@given(st.integers(1, 3000), st.sampled_from([1, 2, 3, 64]), st.booleans())
def test_every_character_is_scored_exactly_once(counting, characters, batch, exact):
    """Each symbol of the text has a loss of its own, so that one left out or taken twice shows in the sum."""
    network, losses = counting
    ids = np.concatenate(([BOUNDARY], 1 + np.random.default_rng(characters).permutation(3000)[:characters]))
    result = score(network, ids, exact=exact, batch_size=batch)
    assert result.characters == characters
    assert result.nats == pytest.approx(losses[ids[1:]].sum(), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(
    "characters", [1, 2, CHUNK_SYMBOLS - 1, CHUNK_SYMBOLS, CHUNK_SYMBOLS + 1, SEGMENT_SYMBOLS - 1, SEGMENT_SYMBOLS]
)
def test_texts_that_fit_one_segment_score_the_same_in_both_protocols(make_model, make_network, characters):
    network = make_network(make_model("gru", layers=2))
    ids = text(characters)
    one, other = score(network, ids), score(network, ids, exact=True)
    assert one.characters == other.characters == characters
    assert one.nats == pytest.approx(other.nats, rel=1e-6)


@pytest.mark.parametrize("characters", [SEGMENT_SYMBOLS + 1, 5 * SEGMENT_SYMBOLS + 77, 8 * SEGMENT_SYMBOLS])
def test_batch_size_does_not_change_the_result(make_model, make_network, characters):
    network = make_network(make_model("lstm")).to_device(torch.device("cpu"))
    found = [score(network, text(characters), batch_size=batch) for batch in (1, 7, 64)]
    assert {result.characters for result in found} == {characters}
    assert [result.nats for result in found] == pytest.approx([found[0].nats] * 3, rel=1e-6)


def test_of_a_large_table_fewer_segments_run_at_once_with_the_same_result(make_model, make_network, monkeypatch):
    network, ids = make_network(make_model("gru")), text(5 * SEGMENT_SYMBOLS + 77)
    wanted, seen = score(network, ids), []
    monkeypatch.setattr("charlm.evaluation.scoring.MAX_LOGITS_BYTES", 2 * 4 * CHUNK_SYMBOLS * 3 * network.vocab_size)
    network.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[1]))
    assert score(network, ids).nats == pytest.approx(wanted.nats, rel=1e-6) and max(seen) == 2


def test_how_many_segments_run_at_once():
    assert [max_segments(size, 64) for size in (67, 1000, 10_000, 10**9)] == [64, 64, 17, 1]
    assert max_segments(67, 3) == 3


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("characters", [1, SEGMENT_SYMBOLS, 2 * SEGMENT_SYMBOLS + 1, 7 * SEGMENT_SYMBOLS + 77])
def test_the_parts_of_a_text_together_score_what_the_whole_does(make_model, make_network, characters, parts):
    network = make_network(make_model("gru")).to_device(torch.device("cpu"))
    whole = score(network, text(characters))
    found = [score(network, text(characters), shard=(number, parts)) for number in range(parts)]
    assert sum(part.characters for part in found) == characters
    assert sum(part.nats for part in found) == pytest.approx(whole.nats, rel=1e-6)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", cells.names())
def test_network_without_weights_scores_the_logarithm_of_the_vocabulary(make_model, make_network, name, exact):
    result = score(make_network(make_model(name, scale=0.0)), text(1500), exact=exact)
    assert result.bits_per_char == pytest.approx(log2(V), rel=1e-6)
    assert result.perplexity == pytest.approx(V, rel=1e-5)


def test_every_text_starts_cold_from_its_boundary(make_model, make_network, slow_losses):
    """The first characters score the same whatever follows them and whatever was scored before."""
    model, ids = make_model("lstm"), text(400)
    network, losses = make_network(model, "plain", torch.float64), slow_losses(model, ids)
    for characters in (1, 2, 130, 400):
        score(network, text(300, seed=characters))
        assert score(network, ids[: characters + 1]).nats == pytest.approx(losses[:characters].sum(), rel=1e-6)


@pytest.mark.parametrize("exact", [False, True])
def test_scoring_leaves_weights_gradients_and_random_numbers_alone(make_model, make_network, exact):
    network = make_network(make_model("lstm", layers=2))
    logits, _ = network(torch.tensor([[3], [4]]), network.initial_state(1))
    logits.sum().backward()
    weights = network.arrays()
    gradients = [w.grad.clone() for w in network.parameters()]
    generator, ids = torch.get_rng_state(), text(1300)
    kept = ids.copy()
    one, other = (score(network, ids, exact=exact) for _ in range(2))
    assert one == other and (ids == kept).all()
    assert torch.equal(generator, torch.get_rng_state()) and torch.is_grad_enabled()
    assert all((network.arrays()[name] == weight).all() for name, weight in weights.items())
    assert all(torch.equal(w.grad, g) for w, g in zip(network.parameters(), gradients, strict=True))
    network(torch.tensor([[3], [4]]), network.initial_state(1))[0].sum().backward()


@pytest.mark.parametrize("characters", [4 * CHUNK_SYMBOLS, 2500])
@pytest.mark.parametrize(("exact", "batch"), [(True, 1), (False, 1), (False, 2), (False, 64)])
def test_progress_rises_to_the_number_of_characters(make_model, make_network, exact, batch, characters):
    told = []
    result = score(
        make_network(make_model("rnn")),
        text(characters),
        exact=exact,
        batch_size=batch,
        progress=lambda done, nats: told.append(done),
    )
    assert told[-1] == result.characters == characters
    assert told[0] <= CHUNK_SYMBOLS * batch and all(
        before < after for before, after in zip(told, told[1:], strict=False)
    )


def test_ids_may_be_of_any_integer_type_and_read_only(make_model, make_network):
    network, ids = make_network(make_model("gru")), text(300)
    ids.flags.writeable = False
    assert score(network, ids) == score(network, ids.astype(np.uint32)) == score(network, ids.astype(np.int64))


def test_score_sums_first_and_divides_last():
    """Two characters of 0 nats and one of 3 make 1 nat per character, e in perplexity, 1 / ln 2 bits."""
    result = Score(3.0, 3)
    assert result.nats_per_char == 1.0
    assert result.bits_per_char == pytest.approx(1 / log(2))
    assert result.perplexity == pytest.approx(exp(1))
    assert Score(3 * log(2), 3).bits_per_char == pytest.approx(1.0)
    assert Score(708.0, 1).perplexity == exp(708) and Score(7e5, 1).perplexity == inf
