"""What is learned per minute, by the defaults: `python -m benchmarks.learning shakespeare.txt --time 2m --seeds 0 1 2`.

Each run is `charlm train --time …` on a text split 90/10 (a built-in text's name will do as well), one after the
other, with the machine to itself. Reported are the loss on the whole valid split, in nats per character, and, for
comparison, what nanoGPT's protocol makes of the same model: the mean over random windows of 64 characters, each read
from a cold state.

    --set weight_decay=0 --set hidden=384     another choice in place of auto, to see what auto's is worth
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import charlm
from benchmarks.results import describe_machine
from charlm.model.network import Network

WINDOWS, WINDOW = 2400, 64
"""nanoGPT's CPU recipe estimates its loss on 200 batches of 12 windows of 64 characters."""


def main() -> None:
    """Run and print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--time", default="2m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    asked = parser.parse_args()
    values = dict(pair.split("=", 1) for pair in asked.set)
    print(describe_machine().split(". Medians")[0], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = charlm.prepare(asked.text, out=folder, valid_fraction=0.1, test_fraction=0)
        for seed in asked.seeds:
            began = time.perf_counter()
            done = charlm.train(corpus, root=folder, time=asked.time, seed=seed, started=began, **values)
            took = time.perf_counter() - began
            model = charlm.load(done.model)
            last = json.loads((done.path / "metrics.jsonl").read_text().splitlines()[-1])
            options = json.dumps(values) if values else "auto"
            print(
                f"{Path(asked.text).name}, {asked.time}, {options}, seed {seed}: valid {done.valid_nats:.4f} nats over "
                f"{done.valid_characters:,} characters (random cold windows {_cold_windows(model, corpus):.4f}); "
                f"{model.options.cell} {model.options.layers}x{model.options.hidden}, "
                f"dropout {model.options.dropout}, {done.step:,} steps, {last['epoch']:.1f} passes, "
                f"{last['characters'] / took:,.0f} chars/s, {took:.1f} s",
                flush=True,
            )


def _cold_windows(model: charlm.Model, corpus: charlm.Corpus) -> float:
    """nanoGPT's protocol: nats per character over random windows, each from the zero state."""
    network = Network(model.options, model.vocabulary.size).load_weights(model.weights).to_device(torch.device("cpu"))
    ids = np.asarray(corpus.split("valid")[1:], np.int64)
    starts = np.random.default_rng(0).integers(len(ids) - WINDOW - 1, size=WINDOWS)
    places = starts[None, :] + np.arange(WINDOW)[:, None]
    with torch.inference_mode():
        logits, _ = network(torch.from_numpy(ids[places]), network.initial_state(WINDOWS))
        return float(F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(ids[places + 1]).flatten()))


if __name__ == "__main__":
    main()
