"""A training step by each way through time, interleaved in one run: `python benchmarks/step.py`.

Medians of forward, backward, clipping and AdamW on random text of 65 symbols; the ratio is torch's
own kernels over charlm's BPTT. `charlm.model.recurrence.choose` follows these numbers.
"""

import statistics
import time

import torch
from torch.nn import functional as F

from charlm.config import ModelOptions
from charlm.model.network import Network

SHAPES = ((2, 128, 50, 50), (1, 256, 16, 64), (1, 256, 32, 64), (2, 256, 64, 64), (1, 512, 32, 64), (3, 512, 50, 100))
VOCABULARY = 65
ROUNDS = 7
PATHS = ("bptt", "fused", "plain")


def main() -> None:
    """Print a line per cell and shape."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; milliseconds per step, median of {ROUNDS}")
    print(f"{'cell':5} {'shape':>7} {'batch':>5} {'window':>6} {'bptt':>8} {'fused':>8} {'plain':>8}  fused/bptt")
    for cell in ("rnn", "gru", "lstm"):
        for layers, hidden, batch, seq_len in SHAPES:
            times = measure(cell, layers, hidden, batch, seq_len)
            shown = " ".join(f"{times[path]:8.1f}" for path in PATHS)
            print(
                f"{cell:5} {layers}x{hidden:<5} {batch:5} {seq_len:6} {shown}  {times['fused'] / times['bptt']:.2f}",
                flush=True,
            )


def measure(cell: str, layers: int, hidden: int, batch: int, seq_len: int) -> dict[str, float]:
    """Median milliseconds of a step by each path."""
    options = ModelOptions(cell=cell, layers=layers, hidden=hidden, embedding=64, dropout=0.0)
    network = Network(options, VOCABULARY)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    inputs, targets = (torch.randint(VOCABULARY, (seq_len, batch)) for _ in range(2))
    times: dict[str, list[float]] = {path: [] for path in PATHS}
    for _ in range(ROUNDS + 1):
        for path, spent in times.items():
            network.path = path  # type: ignore[assignment]
            began = time.perf_counter()
            logits, _ = network(inputs, network.start(batch))
            optimizer.zero_grad()
            F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            spent.append(1000 * (time.perf_counter() - began))
    return {path: statistics.median(spent[1:]) for path, spent in times.items()}


if __name__ == "__main__":
    main()
