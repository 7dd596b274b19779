"""A bidirectional network: two stacks that have not seen what is predicted, and every symbol given all others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from wirings import CASES, label, slow_wired

from charlm import cells
from charlm.config import ModelOptions, TrainOptions
from charlm.errors import UsageError
from charlm.evaluation.bidirectional import conditionals, read_from_right
from charlm.evaluation.block_losses import BlockLosses
from charlm.evaluation.scoring import SEGMENT_SYMBOLS, score
from charlm.evaluation.warm_up import WARM_UP_SYMBOLS
from charlm.model import checkpoint, parameters
from charlm.model.checkpoint import Model
from charlm.model.initializers import initialize
from charlm.model.network import FORWARD, DropoutMasks, Network, RightContext
from charlm.model.parameters import REVERSE
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

SYMBOLS = Vocabulary("char", np.arange(97, 104, dtype=np.uint32))
V = SYMBOLS.size


def make(cell: str = "lstm", *, seed: int = 0, scale: float = 0.5, **values: object) -> Model:
    """One with random weights in float64."""
    sizes = {"layers": 2, "hidden": 7, "input": "one-hot", "embedding": 5, "dropout": 0.0}
    options = ModelOptions.of({**sizes, "cell": cell, "direction": "bidirectional", **values})
    if options.tied:
        options = options.replace(embedding=options.readout_size)
    random = np.random.default_rng(seed)
    shapes = parameters.shapes(options, V)
    weights = {name: scale * random.standard_normal(shape) for name, shape in shapes.items()}
    return Model(options, SYMBOLS, weights)


def network_of(model: Model) -> Network:
    network = Network(model.options, V).double()
    return network.load_weights(model.weights).to_device(torch.device("cpu")).double()


def halves(model: Model) -> tuple[Model, Model]:
    """The two networks that it is made of, whose logits are to be added; the bias is that of the first."""
    size = model.options.readout_size // 2
    table = "embedding.weight" if model.options.tied else "readout.weight"
    whole = model.weights[table]
    common = {"readout.bias": model.weights["readout.bias"]}
    if model.options.input == "embedding":
        common["embedding.weight"] = model.weights["embedding.weight"]
    options = model.options.replace(direction="forward", tied=False)
    layers = [name for name in model.weights if name.startswith((REVERSE, "layers.", "norm.", "highway."))]
    left = {name: model.weights[name] for name in layers if not name.startswith(REVERSE)}
    right = {name.removeprefix(REVERSE): model.weights[name] for name in layers if name.startswith(REVERSE)}
    return (
        replace(model, options=options, weights={**common, **left, "readout.weight": whole[:, :size]}),
        replace(model, options=options, weights={**common, **right, "readout.weight": whole[:, size:],
                                                 "readout.bias": np.zeros(V)}),
    )  # fmt: skip


def slow_nats(model: Model, ids: np.ndarray) -> np.ndarray:
    """Nats (N,) of every symbol of a text (N + 1,) given the others, one step after the other in float64."""
    left, right = halves(model)
    before, _ = slow_wired(left, ids[:-1, None])
    behind, _ = slow_wired(right, np.concatenate(([BOUNDARY], ids[:1:-1]))[:, None])
    logits = before[:, 0] + behind[::-1, 0]
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(ids) - 1), ids[1:]]


def text(size: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(([BOUNDARY], np.random.default_rng(seed).integers(0, V, size)))


def nats_of(network: Network, ids: np.ndarray, **how: object) -> np.ndarray:
    """(N,) of each symbol."""
    pieces = BlockLosses(np.arange(len(ids) - 1))
    found = score(network, ids, block_losses=pieces, **how)  # type: ignore[arg-type]
    assert found.characters == len(ids) - 1 and found.nats == pytest.approx(pieces.nats.sum(), rel=1e-12)
    return pieces.nats


@pytest.mark.parametrize("cell", cells.names())
def test_every_cell_is_two_networks_whose_logits_are_added(cell):
    model, ids = make(cell), text(40)
    network = network_of(model)
    wanted = slow_nats(model, ids)
    assert nats_of(network, ids, exact=True) == pytest.approx(wanted, abs=1e-6, rel=1e-6)  # the loss is float32
    found = conditionals(network, ids, np.arange(1, 41)).detach().numpy()
    assert -found[np.arange(40), ids[1:]] == pytest.approx(wanted, abs=1e-6, rel=1e-6)
    assert np.exp(found).sum(1) == pytest.approx(np.ones(40), abs=1e-6)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_every_wiring_is_two_networks_whose_logits_are_added(case):
    model, ids = make("gru", layers=3, **case), text(30)
    assert nats_of(network_of(model), ids, exact=True) == pytest.approx(slow_nats(model, ids), abs=1e-6)


@pytest.mark.parametrize("case", [{}, *CASES], ids=label)
def test_a_symbol_is_predicted_by_all_others_and_not_by_itself(case):
    network, ids = network_of(make("lstm", layers=3, **case)), text(12)
    asked = conditionals(network, ids, np.array([6])).detach()
    for place in range(1, 13):
        other = ids.copy()
        other[place] = (ids[place] + 1) % V
        found = conditionals(network, other, np.array([6])).detach()
        assert torch.equal(found, asked) == (place == 6), place


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 700, SEGMENT_SYMBOLS, SEGMENT_SYMBOLS + 1, 9000])
def test_the_whole_text_is_its_blocks(size):
    network, ids = network_of(make("gru", layers=1)), text(size)
    with torch.inference_mode():
        wanted = -conditionals(network, ids, np.arange(1, size + 1)).numpy()[np.arange(size), ids[1:]]
    assert nats_of(network, ids, exact=True) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize(
    "size",
    [
        500,
        3 * SEGMENT_SYMBOLS,
        3 * SEGMENT_SYMBOLS + 100,
        4 * SEGMENT_SYMBOLS - WARM_UP_SYMBOLS,
        4 * SEGMENT_SYMBOLS - 1,
    ],
)
def test_a_segment_is_warmed_up_from_both_sides_and_hangs_on_nothing_else(size, bounded):
    network, ids = network_of(make("sum", layers=1, scale=0.1)), text(size)  # which forgets nothing
    whole = nats_of(network, ids, starts_at_boundary=bounded)
    for start in range(0, size, SEGMENT_SYMBOLS):
        first, end = max(0, start - WARM_UP_SYMBOLS), min(size, start + SEGMENT_SYMBOLS + WARM_UP_SYMBOLS)
        part = np.append(ids, BOUNDARY)[first : end + 2].copy()
        if bounded or first == 0:
            part[0] = BOUNDARY
        if bounded or end == size:
            part[-1] = BOUNDARY
        length, before = min(SEGMENT_SYMBOLS, size - start), start - first
        with torch.inference_mode():
            left, _ = network.run_layers(network.to_tensor(part[:-2, None]), network.initial_state(1))
            right, _ = read_from_right(network, part[2:, None], network.initial_state(1))
            nats = -network.logits(torch.cat([left, right], -1)).log_softmax(-1)[:, 0].numpy()
        wanted = nats[np.arange(before, before + length), ids[start + 1 : start + 1 + length]]
        assert whole[start : start + length] == pytest.approx(wanted, abs=1e-5, rel=1e-6)
    assert nats_of(network, ids, starts_at_boundary=bounded, batch_size=1) == pytest.approx(whole, abs=1e-6)
    parts = BlockLosses(np.arange(size))
    sums = [score(network, ids, starts_at_boundary=bounded, shard=(rank, 3), block_losses=parts) for rank in range(3)]
    assert parts.nats == pytest.approx(whole, abs=1e-6) and sum(found.characters for found in sums) == size


def test_the_stack_from_the_right_is_begun_like_that_from_the_left_and_with_numbers_of_its_own():
    options = make("lstm", layers=2).options
    network = Network(options, V, seed=3)
    weights = network.named_weights()
    stack = [name for name in weights if name.startswith("layers.")]
    assert [name for name in weights if name.startswith(REVERSE)] == [REVERSE + name for name in stack]
    assert weights["readout.weight"].shape == (V, 14)
    for name in stack:
        one, other = weights[name].detach(), weights[REVERSE + name].detach()
        if name.endswith("weight_hh"):
            block = other[:7]
            assert torch.allclose(block @ block.T, torch.eye(7), atol=1e-5)
        if name.endswith("bias_ih"):
            assert other[7:14].tolist() == [1.0] * 7, "the forget gate"
        assert torch.equal(one, other) == name.endswith("bias_ih") or name.endswith("bias_hh"), name
    forward = Network(options.replace(direction="forward"), V, seed=3).named_weights()
    assert all(torch.equal(weights[name], forward[name]) for name in stack)


def test_first_weights_that_are_asked_for_are_those_of_both_stacks():
    values = {"direction": "bidirectional", "hidden": 5, "embedding": 3, "dropout": 0.0, "layers": 2}
    options = TrainOptions.of({**values, "init": "uniform", "init_scale": 0.25, "forget_bias": 3.0})
    network = Network(ModelOptions.of(values), V)
    initialize(network.named_weights(), options)
    for side in (FORWARD, REVERSE):
        assert network.weight(f"{side}layers.1.bias_ih")[5:10].tolist() == [3.0] * 5
        assert 0 < network.weight(f"{side}layers.1.bias_hh").abs().max() <= 0.25
        assert 0.2 < network.weight(f"{side}layers.0.weight_hh").abs().max() <= 0.25


def test_masks_of_both_sides_are_drawn_apart_but_for_the_symbols():
    network = network_of(make("gru", layers=2))
    asked: dict[str, list[int]] = {"drop": [], "weights": [], "symbols": []}

    def mask(kind):
        def drop(number, x):
            asked[kind].append(number)
            return x

        return drop

    ids = torch.zeros(3, 2, dtype=torch.int64)
    network(
        ids,
        network.initial_state(2),
        DropoutMasks(mask("drop"), mask("weights"), mask("symbols")),
        RightContext(ids, network.initial_state(2)),
    )
    assert asked == {"drop": [0, 1, 2, 3], "weights": [0, 1, 2, 3], "symbols": [0, 0]}


def test_gradients_reach_both_stacks_through_the_readout():
    network = network_of(make("rnn", layers=2, scale=0.3))
    ids = torch.from_numpy(text(21)[None].T.copy())
    before, wanted = ids[:-1], ids[1:]
    behind = RightContext(torch.cat([ids.new_zeros(1, 1), ids[2:].flip(0)]), network.initial_state(1))

    def loss():
        logits, _ = network(before, network.initial_state(1), right_context=behind)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())

    network.backend = "plain"
    loss().backward()
    for name in ("layers.0.weight_ih", f"{REVERSE}layers.0.weight_hh", f"{REVERSE}layers.1.bias_ih", "readout.weight"):
        weight = network.weight(name)
        assert weight.grad is not None
        place = tuple(index // 2 for index in weight.shape)
        with torch.no_grad():
            sides = []
            for step in (1e-5, -2e-5):
                weight[place] += step
                sides.append(float(loss()))
            weight[place] += 1e-5
        assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(float(weight.grad[place]), abs=1e-6), name


def test_a_file_gives_it_back(tmp_path):
    model = make("peephole-lstm", skip=True, between="highway", layer_norm=True)
    model = replace(model, weights={name: weight.astype(np.float32) for name, weight in model.weights.items()})
    checkpoint.save(tmp_path / "m", model)
    again = checkpoint.load(tmp_path / "m")
    assert again.options == model.options and list(sorted(again.weights)) == sorted(model.weights)
    assert all((again.weights[name] == weight).all() for name, weight in model.weights.items())
    with pytest.raises(UsageError, match=f"{tmp_path}/m is bidirectional.*cannot fly; .*score --cloze"):
        again.check_one_way("fly")


def test_a_tied_table_has_a_column_for_every_number_of_both_sides():
    options = ModelOptions.of(
        {"cell": "gru", "layers": 1, "hidden": 6, "input": "embedding", "embedding": 6, "tied": True,
         "direction": "bidirectional", "dropout": 0.0}
    )  # fmt: skip
    with pytest.raises(UsageError, match="needs an embedding of 12 numbers, as many as the readout reads of both"):
        parameters.check(options)
    parameters.check(options.replace(embedding=12))
