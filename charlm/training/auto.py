"""What `auto` becomes: rules on the size of the text and the length of the run, never on measured speed.

The rules stand in the help of each option (`charlm.config`) and in the README; here they are
computed. The resolved values are what a run saves.
"""

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

from charlm import cells
from charlm.config import ModelOptions, TrainOptions
from charlm.data.batches import Batches, too_short
from charlm.data.corpus import Corpus
from charlm.data.word2vec import Vectors
from charlm.errors import CorpusError, UsageError
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.spec import AUTO
from charlm.training import presets
from charlm.training.pretrained import with_embedding_size, with_source_network

NOMINAL_SPEED = 2.5e11
"""Floating-point operations a second of a nominal laptop, by which `--time` is turned into characters.
A constant, not a measurement: the same command makes the same network everywhere."""

LONG_RUN = 20_000_000
LONG_TIME = 300.0
LONG_TEXT = 500_000
PLAIN_HIDDEN = (256, 512)
"""Of a plain stack, and those where text and run are long."""

DEFAULT_SEQ_LEN = 64

WIRED_HIDDEN = (256, 384)
"""Of each of two layers with skip and layer normalisation, where the time is not short for the text."""

HIDDEN_SIZES = (64, 96, 128, 192, 256, 384, 512)
"""Of each layer where it may be: each has about half the parameters of the next."""

MIN_EPOCHS = 3.0
ENOUGH_PER_PARAMETER = 10.0
"""Passes over the text, and characters per parameter: where a nominal machine comes to neither in `--time`, a narrower
network learns more (docs/notes.md). Of words, Hoffmann et al. (2022) found 20 per parameter best for transformers that
see none twice."""

COLD_STARTS, WIRED_COLD_STARTS = 0.02, 0.1
"""Of a plain stack, and of those two layers, which learn to begin less well (docs/notes.md)."""

PASSES_WITHOUT_DROPOUT = 4.0
LOAD_WITHOUT_DROPOUT = 6.0
PASSES_REMEMBERED = 4
MAX_WEIGHT_DECAY = 0.1
MAX_EVAL_CHARACTERS = 200_000
EVALUATION_SPACING = 8
MIN_EVAL_STEPS = 50
_NAMES = tuple(ModelOptions.specs())
RATES = {"adam": 0.008, "adamw": 0.008, "rmsprop": 0.002, "adagrad": 0.02, "sgd": 0.5}


def resolve_options(
    corpus: Corpus, values: Mapping[str, Any], source: Model | None, vectors: Vectors | None
) -> tuple[TrainOptions, list[str]]:
    """The options of a new run, every `auto` decided, and notices about them.

    From the strongest: what `source` or `vectors` fix, what the user set, the preset, and the rules of this module.

    Args:
        corpus: to train on.
        values: what the user set, by name.
        source: the model whose weights the run starts from, if any.
        vectors: of the embedding that it starts from, if any.

    Raises:
        UsageError, CorpusError: options contradict each other, or do not fit the corpus.
    """
    values = with_embedding_size(vectors, with_source_network(source, values))
    options, notices = resolve_for(corpus, TrainOptions.of(presets.with_preset(values)))
    return options, notices + presets.corpus_notices(options.preset, corpus.options)


def resolve_for(corpus: Corpus, options: TrainOptions) -> tuple[TrainOptions, list[str]]:
    """The options with every `auto` decided for a corpus; what was decided before stays.

    Raises:
        UsageError, CorpusError: options contradict each other, or do not fit the corpus.
    """
    valid = len(corpus.split("valid")) - 1 if corpus.has("valid") else 0
    resolved, notices = resolve(options, corpus.vocabulary.size, len(corpus.split("train")) - 1, valid)
    if options.patience and not (valid and resolved.eval_every):
        why = "there is no valid split" if not valid else "--eval-every 0 leaves out all evaluations"
        raise UsageError(f"--patience {options.patience} counts evaluations, and {why}; leave it out")
    if options.weight_drop and not cells.of(options).recurrent:
        raise UsageError(
            f"--weight-drop {options.weight_drop:g} drops recurrent weights, and the cell {options.cell} has none; "
            f"leave it out"
        )
    if options.bidirectional:
        notices.append(
            "bidirectional: losses are of each character given both sides, and compare with no other model's"
        )
    if not valid:
        notices.append(f"{corpus.name} has no valid split: the latest model is kept as the best")
    return resolved, notices


def resolve(options: TrainOptions, vocab_size: int, train: int, valid: int) -> tuple[TrainOptions, list[str]]:
    """Decide everything that was left `auto`.

    Args:
        options: with any `auto`.
        vocab_size: V.
        train, valid: characters of the splits.

    Returns:
        The options without any `auto` but `device`, `threads` and `save_every`, which change no result, and
        `init_scale` and `forget_bias`, which are no single number; and notices of what had to shrink.

    Raises:
        CorpusError: the batch size and sequence length that the user set do not fit the text.
        UsageError: options of the network contradict each other.
    """
    options = options.replace(**_shape(options, vocab_size, train))
    parameters.check(options)
    _check_embeddings(options)
    chosen: dict[str, Any] = {}

    def settle(name: str, value: Any) -> Any:
        option = getattr(options, name)
        chosen[name] = value if option == AUTO else option
        return chosen[name]

    hidden = options.hidden
    settle("embedding", embedding_size(options))
    batch, seq_len, notices = _batch_and_seq_len(options, hidden, train)
    chosen |= {"batch_size": batch, "seq_len": seq_len}
    settle("lr", _learning_rate(options, hidden))
    settle("weight_decay", _weight_decay(options, chosen["lr"], train / batch / seq_len))
    settle("epsilon", 1e-10 if options.optimizer == "adagrad" else 1e-8)
    steps = planned_steps(options, train, batch, seq_len)
    undropped = _without_dropout(options)
    seen = steps * batch * seq_len if steps is not None else _seen_in_time(options, undropped, vocab_size)
    passes = seen / train
    settle("dropout", _dropout(passes, passes * parameters.count(undropped, vocab_size) / train))
    settle("warmup", 100 if steps is None else min(100, steps // 10))
    stretch = settle("eval_chars", max(1, min(valid, MAX_EVAL_CHARACTERS, train // EVALUATION_SPACING)))
    spacing = max(MIN_EVAL_STEPS, ceil(EVALUATION_SPACING * min(stretch, max(valid, 1)) / (batch * seq_len)))
    every = settle("eval_every", spacing)
    settle("sample_every", _sampling(options, 4 * (every or spacing)))
    resolved = options.replace(**chosen)
    parameters.check(resolved)
    return resolved, notices


def _sampling(options: TrainOptions, spacing: int) -> int:
    """The steps between two samples; none of a network that cannot write.

    Raises:
        UsageError: it was asked for some.
    """
    if not options.bidirectional:
        return spacing
    if options.sample_every not in (AUTO, 0):
        raise UsageError(
            f"--sample-every {options.sample_every}: a bidirectional network writes no samples, as each character is "
            f"predicted from those behind it too; leave it out"
        )
    return 0


def _check_embeddings(options: TrainOptions) -> None:
    """Refuse what is said of embeddings where there are none, or where it would be said of the output layer too."""
    asked = "--embeddings" if options.embeddings is not None else "--freeze-embeddings"
    if options.input != "embedding" and (options.embeddings is not None or options.freeze_embeddings):
        raise UsageError(f"{asked} is about embeddings, and --input {options.input} has none; give --input embedding")
    if options.freeze_embeddings and options.tied:
        raise UsageError("--freeze-embeddings with --tied would freeze the readout too; leave one of them out")


def embedding_size(options: ModelOptions) -> int:
    """The size of an embedding where the hidden units are decided: what the output layer reads, if that is tied to it.
    The size of an embedding where the hidden units are decided: what the output layer reads, if that is tied to it."""
    return options.readout_size if options.tied else min(64, options.hidden)


def steps_of(options: TrainOptions, batches: Batches) -> int | None:
    """The steps of the whole run over these batches; None if the clock decides."""
    return planned_steps(options, len(batches.ids) - 1, batches.batch_size, batches.seq_len)


def planned_steps(options: TrainOptions, train: int, batch: int, seq_len: int) -> int | None:
    """The steps of the whole run; None if the clock decides."""
    if options.time is not None:
        return None
    batches_per_epoch = train // batch // seq_len
    return options.steps or max(1, round(options.epochs * batches_per_epoch))


def _shape(options: TrainOptions, vocab_size: int, train: int) -> dict[str, Any]:
    """Layers, what connects them, units, and how often they begin cold.

    Whoever names layers or units gets the plain stack that goes by that name. Where both are left open, two layers of
    an lstm whose input goes past them and whose outputs are normalised learn far more in the same time than one layer
    of as many weights (docs/notes.md).
    """
    open_lstm = options.cell == "lstm" and not options.bidirectional
    open_lstm = open_lstm and options.layers == AUTO and options.hidden == AUTO
    small, large = WIRED_HIDDEN if open_lstm else PLAIN_HIDDEN
    usual = {
        "layers": 2 if open_lstm else 1,
        "hidden": large if _is_long(options, train, large) else small,
        "skip": open_lstm,
        "layer_norm": open_lstm,
        "cold_starts": WIRED_COLD_STARTS if open_lstm else COLD_STARTS,
    }
    shape = {name: value for name, value in usual.items() if getattr(options, name) == AUTO}
    if options.hidden == AUTO and options.time is not None:
        shape["hidden"] = _width(options.replace(**shape), vocab_size, train)
    return shape


def _width(options: TrainOptions, vocab_size: int, train: int) -> int:
    """The widest, up to the usual, that a nominal machine teaches enough in `--time`."""

    def learns(hidden: int) -> bool:
        network = _without_dropout(options.replace(hidden=hidden))
        seen = _seen_in_time(options, network, vocab_size)
        enough = ENOUGH_PER_PARAMETER * parameters.count(network, vocab_size)
        return seen >= min(MIN_EPOCHS * train, enough)

    widths = [width for width in HIDDEN_SIZES if width <= options.hidden]
    return max(filter(learns, widths), default=widths[0])


def _without_dropout(options: TrainOptions) -> ModelOptions:
    """The network of options in which only the size of an embedding and dropout may be open; dropout has no weights."""
    values = {name: getattr(options, name) for name in _NAMES}
    if options.embedding == AUTO:
        values["embedding"] = embedding_size(options)
    return ModelOptions(**values | {"dropout": 0.0})


def _is_long(options: TrainOptions, train: int, hidden: int) -> bool:
    """Whether text and run are long enough to fill a large network, of so many units."""
    if train < LONG_TEXT:
        return False
    if options.time is not None:
        return options.time >= LONG_TIME
    if options.steps is None:
        return options.epochs * train >= LONG_RUN
    batch = _usual_batch(hidden) if options.batch_size == AUTO else options.batch_size
    seq_len = DEFAULT_SEQ_LEN if options.seq_len == AUTO else options.seq_len
    return options.steps * batch * seq_len >= LONG_RUN


def _usual_batch(hidden: int) -> int:
    return 16 if hidden < PLAIN_HIDDEN[1] else 32


def _batch_and_seq_len(options: TrainOptions, hidden: int, train: int) -> tuple[int, int, list[str]]:
    """Batch size and sequence length: what the user set, the rest as large as its rule and the text allow."""
    batch_given, seq_given = options.batch_size != AUTO, options.seq_len != AUTO
    usual_batch, usual_seq = _usual_batch(hidden), DEFAULT_SEQ_LEN
    if batch_given and seq_given:
        batch, seq_len = options.batch_size, options.seq_len
    elif batch_given:
        batch, seq_len = options.batch_size, min(usual_seq, max(1, train // options.batch_size))
    else:
        seq_len = options.seq_len if seq_given else min(usual_seq, max(1, train // 2))
        wanted_windows = 10
        batch = max(1, min(usual_batch, train // (seq_len * wanted_windows)))
    if batch * seq_len > train:
        raise CorpusError(too_short(train, batch, seq_len))
    notices = []
    if (not batch_given and batch < usual_batch) or (not seq_given and seq_len < usual_seq):
        notices.append(f"the train split is short ({train:,} characters): batch-size {batch}, seq-len {seq_len}")
    return batch, seq_len, notices


def _learning_rate(options: TrainOptions, hidden: int) -> float:
    highest = RATES[options.optimizer]
    if options.optimizer in ("adam", "adamw"):
        return float(f"{highest * min(1.0, sqrt(256 / hidden / options.layers)):.3g}")
    return highest


def _seen_in_time(options: TrainOptions, model: ModelOptions, vocab_size: int) -> float:
    """Characters that a nominal machine trains on in `--time`: 6 operations per parameter and character."""
    return options.time * NOMINAL_SPEED / (6 * parameters.count(model, vocab_size)) if options.time else 0.0


def _weight_decay(options: TrainOptions, rate: float, steps_per_pass: float) -> float:
    """1 / (4 x rate x steps per pass): AdamW's weights are then a mean over the updates of the last four passes.

    That span, counted in passes, is what stays the same from one size of text to another (Wang & Aitchison 2024).
    """
    if options.optimizer != "adamw":
        return 0.0
    return float(f"{min(MAX_WEIGHT_DECAY, 1 / (PASSES_REMEMBERED * rate * max(1.0, steps_per_pass))):.2g}")


def _dropout(passes: float, load: float) -> float:
    """0.5 times the smaller of 1 - 4 / passes and 1 - 6 / load, in steps of 0.05.

    Load is passes x parameters / characters of the text. A text that is seen a few times, or by a network
    that is small beside it, needs none.
    """
    needed = min(1 - PASSES_WITHOUT_DROPOUT / max(passes, 1e-9), 1 - LOAD_WITHOUT_DROPOUT / max(load, 1e-9))
    return max(0.0, round(10 * needed) / 20)
