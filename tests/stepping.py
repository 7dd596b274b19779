"""A model that reads symbol after symbol, for all that has a `step`."""

import numpy as np


def walk(stepper, ids, states=None, **more):
    """Logits (T, B, V) and the last states of stepping through ids (T, B)."""
    states, found = stepper.start(ids.shape[1]) if states is None else states, []
    for row in ids:
        logits, states = stepper.step(row, states, **more)
        found.append(logits)
    return np.stack(found), states
