"""What changes the bits of a network's output, and what does not: the table in docs/compressed.md.

    python -m benchmarks.arithmetic

The same network reads the same symbols in processes that differ in one thing each: the kernels of OpenBLAS and of
NumPy that another processor would have, threads, how many streams are read side by side. Three arithmetics do it:
NumPy in float32, in float64, and `charlm.compression.exact_arithmetic`. What is left out: other versions of NumPy; run
the module in their environments, and compare the digests of the first row.
"""

import json
import os
import subprocess
import sys
from hashlib import sha256

import numpy as np

from charlm.compression.exact_arithmetic import exact_stepper, frequencies
from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.model.stepper import Stepper
from charlm.tokenizers.vocabulary import Vocabulary

STEPS, STREAMS = 50, 32
PROGRAM = "import json; from benchmarks.arithmetic import digests; print(json.dumps(digests()))"
CHANGES: dict[str, dict[str, str]] = {
    "nothing": {},
    "two BLAS threads": {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    **{
        f"OpenBLAS for {name}": {"OPENBLAS_CORETYPE": name}
        for name in ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake")
    },
    "NumPy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"},
    "NumPy without AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
    "every stream alone": {"CHARLM_TRIAL_ALONE": "1"},
}


def network(cell: str) -> Model:
    """A model with two layers of 256 units and weights of the size that training gives."""
    options = ModelOptions(cell=cell, layers=2, hidden=256, input="one-hot", embedding=16, dropout=0.0)
    symbols = Vocabulary("byte", np.arange(65, dtype=np.uint32))
    random = np.random.default_rng(0)
    shapes = parameters.shapes(options, symbols.size)
    weights = {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    return Model(options, symbols, weights)


def logits(stepper: Stepper, steps: int, streams: slice) -> np.ndarray:
    """(T, B, V) of some of the streams."""
    ids = np.random.default_rng(1).integers(0, stepper.vocab_size, (steps, STREAMS))[:, streams]
    states, found = stepper.start(ids.shape[1]), []
    for row in ids:
        output, states = stepper.step(row, states)
        found.append(output)
    return np.stack(found)


def digests(cells: tuple[str, ...] = ("lstm", "gru", "rnn"), steps: int = STEPS) -> dict[str, str]:
    """By arithmetic, a digest of the output of networks of some cells."""
    found = {name: sha256() for name in ("float32", "float64", "portable")}
    alone = "CHARLM_TRIAL_ALONE" in os.environ
    for cell in cells:
        model = network(cell)
        wide = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
        made = {"float32": Stepper(model), "float64": Stepper(model, weights=wide), "portable": exact_stepper(model)}
        for name, stepper in made.items():
            parts = [slice(n, n + 1) for n in range(STREAMS)] if alone else [slice(None)]
            output = np.concatenate([logits(stepper, steps, part) for part in parts], 1)
            found[name].update(frequencies(output).tobytes() if name == "portable" else output.tobytes())
    return {name: digest.hexdigest()[:12] for name, digest in found.items()}


def main() -> None:
    """Print the table."""
    base: dict[str, str] = {}
    print("| changed | float32 | float64 | portable |\n|---|---|---|---|")
    for change, environment in CHANGES.items():
        started = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(started.stdout)
        base = base or found
        words = [found[name] if found is base else "same" if found[name] == base[name] else "differs" for name in base]
        print(f"| {change} | {' | '.join(words)} |")


if __name__ == "__main__":
    main()
