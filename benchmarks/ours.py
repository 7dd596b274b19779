"""charlm through its own front door: the library's functions, as the command line calls them."""

import tempfile
import time
from pathlib import Path

import charlm


class Training:
    """`charlm.plan`, which times real steps of a run that writes nothing; characters per second."""

    imports = ("torch._dynamo", "charlm.training.train")  # torch loads the first with its first optimiser

    def __init__(
        self,
        corpus: str,
        cell: str,
        layers: int,
        hidden: int,
        batch: int,
        seq_len: int,
        steps: int,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.corpus, self.steps, self.characters = corpus, steps, batch * seq_len
        self.values = {"cell": cell, "layers": layers, "hidden": hidden, "batch_size": batch, "seq_len": seq_len}
        self.values |= {"device": device, "precision": precision}

    def turn(self) -> float:
        """Some steps."""
        _, milliseconds = charlm.plan(self.corpus, measure=self.steps, dropout=0.0, **self.values)
        return self.characters / milliseconds * 1000


class Sampling:
    """`charlm.samples`; characters per second, of all samples together."""

    def __init__(self, model: str, length: int, num: int = 1) -> None:
        self.model, self.length, self.num = charlm.load(model), length, num

    def turn(self) -> float:
        """One sample, or several side by side."""
        began = time.perf_counter()
        charlm.samples(self.model, length=self.length, num=self.num, seed=1)
        return self.num * self.length / (time.perf_counter() - began)


class Evaluating:
    """`charlm.evaluate` of the valid split by the default protocol; characters per second."""

    def __init__(self, model: str, data: str) -> None:
        self.model, self.data = charlm.load(model), Path(data)

    def turn(self) -> float:
        """The whole split."""
        began = time.perf_counter()
        characters = charlm.evaluate(self.model, data=self.data, split="valid").score.characters
        return characters / (time.perf_counter() - began)


class Preparing:
    """`charlm.prepare`; megabytes of the file per second."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def turn(self) -> float:
        """The whole file."""
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            began = time.perf_counter()
            charlm.prepare(self.path, out=folder)
            return self.path.stat().st_size / 1e6 / (time.perf_counter() - began)
