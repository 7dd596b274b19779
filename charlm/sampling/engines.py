"""The choice of engine: which code computes the next logits.

Not here: what is drawn from the logits (`charlm.sampling.generate`).
"""

from charlm.model.checkpoint import Model
from charlm.model.stepper import Edit, Stepper
from charlm.model.wiring import is_plain_stack
from charlm.sampling.generate import Engine, SingleStreamEngine
from charlm.sampling.single_stream import SINGLE_STREAM_CELLS, SingleStream, WiredSingleStream

MIN_TORCH_MULTIPLICATIONS = 1 << 28
"""Multiplications for one character of all samples from which torch is used: its import, a second, is then paid back
within some 500 characters of each sample. The samples' length does not count: their digits must not depend on it."""


def choose_engine(model: Model, num: int, device: str, edit: Edit | None) -> Engine | SingleStreamEngine:
    """The fastest engine that can write `num` samples; it depends on the model and `num` only, never on a measurement.

    | device | samples | network | engine |
    |---|---|---|---|
    | CPU | 1, without an edit | rnn, lstm, gru; plain stack | `SingleStream`, NumPy |
    | CPU | 1, without an edit | the same with skip or layer norm | `WiredSingleStream`, NumPy |
    | CPU | many, large | rnn, lstm, gru; plain stack | `ManyStreams`, torch |
    | CPU | any | any | `Stepper`, NumPy |
    | other | any | any | `Stepper`, torch |

    Raises:
        UsageError: this machine does not have the device.
    """
    if device != "cpu":
        from charlm.runtime.device import find_device

        return Stepper(model, find_device(device).type)
    plain = is_plain_stack(model.options)
    if model.options.cell in SINGLE_STREAM_CELLS and model.options.between == "plain":
        if num == 1 and edit is None:
            return SingleStream(model) if plain else WiredSingleStream(model)
        if plain and multiplications(model, num) >= MIN_TORCH_MULTIPLICATIONS:
            return many_streams(model, num)
    return Stepper(model)


def many_streams(model: Model, num: int) -> Engine:
    """The engine for many samples of a large network."""
    from charlm.runtime.malloc import keep_freed_memory
    from charlm.sampling.many_streams import ManyStreams

    keep_freed_memory()
    return ManyStreams(model, num)


def multiplications(model: Model, num: int) -> int:
    """Multiplications for one character of all samples."""
    return num * sum(weight.size for name, weight in model.weights.items() if name != "embedding.weight")
