"""The wirings that are tried, and a network of any of them in plain words: the slow twin of `charlm.model.wiring`."""

import numpy as np

from charlm import cells

WIRINGS = [
    {"skip": True},
    {"between": "residual"},
    {"between": "highway"},
    {"layer_norm": True},
    {"tied": True, "embedding": 7},
    {"skip": True, "between": "residual", "layer_norm": True},
    {"skip": True, "between": "highway", "layer_norm": True, "tied": True, "embedding": 21},
]
"""For 3 layers of 7 units; those with `tied` are for embedding input alone."""

CASES = [
    {"input": entering, **wiring}
    for wiring in WIRINGS
    for entering in ("one-hot", "embedding")
    if entering == "embedding" or "tied" not in wiring
]


def label(case):
    return "-".join(name if value is True else str(value) for name, value in case.items())


def slow_wired(model, ids, states=None, symbols=None, edit=None):
    """Logits (T, B, V) and last states in float64, one lane and one character at a time, every product written out.

    `symbols` (V,) is what the x of each symbol is multiplied by; `edit` changes h of a layer.
    """
    options, cell = model.options, cells.of(model.options)
    w = {name: np.asarray(weight, np.float64) for name, weight in model.weights.items()}
    size = model.vocabulary.size
    x_of = (w["embedding.weight"] if options.input == "embedding" else np.eye(size)) * (
        np.ones(size) if symbols is None else symbols
    ).reshape(-1, 1)
    readout = w["embedding.weight"] if options.tied else w["readout.weight"]
    logits = np.empty((*ids.shape, size))
    last = []
    for lane in range(ids.shape[1]):
        state = [
            tuple(np.zeros((1, options.hidden)) for _ in cell.state)
            if states is None
            else tuple(part[lane : lane + 1] for part in layer)
            for layer in states or range(options.layers)
        ]
        for t, symbol in enumerate(ids[:, lane]):
            handed, below = [], None
            for n in range(options.layers):
                p = {name: w[f"layers.{n}.{name}"] for name in cell.at(n).shapes(1, 1)}
                enters = [] if n == 0 else [handed[-1]]
                enters += [x_of[symbol]] if n == 0 or options.skip else []
                a = p["weight_ih"] @ np.concatenate(enters) + p["bias_ih"]
                below, _ = cell.at(n).step(np, p, a[None], below, state[n])
                state[n] = below if edit is None else edit(n, below)
                below = state[n]
                out = below[0][0]
                if options.layer_norm:
                    out = (out - np.mean(out)) / (np.var(out) + 0.00001) ** 0.5
                    out = out * w[f"norm.{n}.weight"] + w[f"norm.{n}.bias"]
                if n and options.between == "residual":
                    out = out + handed[-1]
                if n and options.between == "highway":
                    road = w[f"highway.{n}.weight"] @ handed[-1] + w[f"highway.{n}.bias"]
                    open_ = 1 / (1 + np.exp(-road))
                    out = open_ * out + (1 - open_) * handed[-1]
                handed.append(out)
            logits[t, lane] = readout @ (np.concatenate(handed) if options.skip else handed[-1]) + w["readout.bias"]
        last.append(state)
    together = [
        tuple(np.concatenate([state[n][k] for state in last]) for k in range(len(cell.state)))
        for n in range(options.layers)
    ]
    return logits, together
