"""Every cell once more, from docs/checkpoint.md alone: vectors of one text, in NumPy's float64, from the zero state.

Where the page gives a recursion that has another form, the other form stands here: sums over all characters so far
instead of states that are carried.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]


def logits(config: Mapping[str, Any], weights: Mapping[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """(T, V) after each of T symbols.

    Args:
        config: as in a model file; `context` may be missing.
        weights: as in a model file.
        ids: (T,) symbols.
    """
    w = {name: weight.astype(np.float64) for name, weight in weights.items()}
    xs = w["embedding.weight"][ids] if config["input"] == "embedding" else np.eye(w["layers.0.weight_ih"].shape[1])[ids]
    memories: np.ndarray | None = None
    for layer in range(config["layers"]):
        prefix = f"layers.{layer}."
        p = {name.removeprefix(prefix): weight for name, weight in w.items() if name.startswith(prefix)}
        xs, memories = LAYERS[config["cell"]](config, p, xs, memories)
    return xs @ w["readout.weight"].T + w["readout.bias"]


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


F: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh, "relu": lambda x: np.maximum(0, x), "sigmoid": logistic, "linear": lambda x: x,
}  # fmt: skip


def rnn(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    h, out = np.zeros(config["hidden"]), []
    for x in xs:
        h = F[config["activation"]](p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"])
        out.append(h)
    return np.array(out), None


def preactivation(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    f, s, out = F[config["activation"]], np.zeros(config["hidden"]), []
    for x in xs:
        s = p["weight_hh"] @ f(s) + p["weight_ih"] @ x + p["bias_ih"] + p["bias_hh"]
        out.append(s)
    return f(np.array(out)), None


def gated(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, np.ndarray]:
    """lstm, peephole-lstm and depth-gated-lstm: what a cell does not have adds nothing."""
    hidden = config["hidden"]
    none = np.zeros(hidden)
    h, c, out, kept = none, none, [], []
    for t, x in enumerate(xs):
        a = p["weight_ih"] @ x + p["bias_ih"]
        lifted = none
        if "depth_c" in p:
            lifted = logistic(a[4 * hidden :] + p["depth_c"] * c + p["depth_below"] * memories[t]) * memories[t]
        i, f, g, o = np.split(a[: 4 * hidden] + p["weight_hh"] @ h + p["bias_hh"], 4)
        i, f = logistic(i + p.get("peephole_i", none) * c), logistic(f + p.get("peephole_f", none) * c)
        c = lifted + f * c + i * np.tanh(g)
        h = logistic(o + p.get("peephole_o", none) * c) * np.tanh(c)
        out.append(h)
        kept.append(c)
    return np.array(out), np.array(kept)


def gru(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    h, out = np.zeros(config["hidden"]), []
    for x in xs:
        a_r, a_z, a_n = np.split(p["weight_ih"] @ x + p["bias_ih"], 3)
        b_r, b_z, b_n = np.split(p["weight_hh"] @ h + p["bias_hh"], 3)
        r, z = logistic(a_r + b_r), logistic(a_z + b_z)
        h = (1 - z) * np.tanh(a_n + r * b_n) + z * h
        out.append(h)
    return np.array(out), None


def memory(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    """c is the sum of everything that was ever added."""
    added, out = [np.zeros(config["hidden"])], []
    for x in xs:
        h = np.tanh(np.sum(added, 0))
        added.append(np.tanh(p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]))
        out.append(np.tanh(np.sum(added, 0)))
    return np.array(out), None


def total(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    return np.cumsum(np.tanh(xs @ p["weight_ih"].T + p["bias_ih"]), 0), None


def weighted(kept: np.ndarray, added: np.ndarray) -> np.ndarray:
    """h_t = the sum over s <= t of added_s times everything kept from s + 1 to t, all (T, H)."""
    return np.array([sum(added[s] * np.prod(kept[s + 1 : t + 1], 0) for s in range(t + 1)) for t in range(len(kept))])


def running(kept: np.ndarray, added: np.ndarray) -> np.ndarray:
    """The same one after the other, for long texts."""
    h, out = np.zeros(kept.shape[1]), []
    for keep, add in zip(kept, added, strict=True):
        h = keep * h + add
        out.append(h)
    return np.array(out)


def min_gru(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    a_z, a_n = np.split(xs @ p["weight_ih"].T + p["bias_ih"], 2, 1)
    z = logistic(a_z)
    return (weighted if len(xs) < 50 else running)(1 - z, z * a_n), None


def min_lstm(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    a_f, a_i, a_n = np.split(xs @ p["weight_ih"].T + p["bias_ih"], 3, 1)
    f, i = logistic(a_f), logistic(a_i)
    return (weighted if len(xs) < 50 else running)(f / (f + i), i / (f + i) * a_n), None


def window(config: Mapping[str, Any], p: Weights, xs: np.ndarray, memories: Any) -> tuple[np.ndarray, Any]:
    """Straight from the characters: no state, no partial sums."""
    blocks = np.split(p["weight_ih"], config.get("context", 8))
    biases = np.split(p["bias_ih"], len(blocks))
    out = []
    for t in range(len(xs)):
        seen = range(min(t + 1, len(blocks)))
        out.append(np.tanh(sum(blocks[k] @ xs[t - k] + biases[k] for k in seen)))
    return np.array(out), None


LAYERS: dict[str, Callable[[Mapping[str, Any], Weights, np.ndarray, Any], tuple[np.ndarray, Any]]] = {
    "rnn": rnn, "lstm": gated, "gru": gru, "peephole-lstm": gated, "depth-gated-lstm": gated, "memory": memory,
    "sum": total, "preactivation-rnn": preactivation, "min-gru": min_gru, "min-lstm": min_lstm, "window-mlp": window,
}  # fmt: skip
"""h (T, H) of a layer, and its memory (T, H) where the layer above may read it, from what it reads (T, in)."""
