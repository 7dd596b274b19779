"""What the machine could do: large float32 matrix products, by both libraries that torch has on the CPU."""

import time

import torch

from charlm.model import ops

SIZE = 1536
TIMES = 12


class Products:
    """Square products; floating-point operations per second.

    Args:
        library: `onednn` or `mkl`, which `torch.mm` asks; charlm asks one or the other (`charlm.model.ops`).
    """

    def __init__(self, library: str) -> None:
        self.a, self.b = torch.randn(2, SIZE, SIZE)
        self.multiply = ops.onednn_matmul if library == "onednn" and ops.has_onednn() else torch.mm

    def turn(self) -> float:
        """A dozen."""
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            self.multiply(self.a, self.b)
            times.append(time.perf_counter() - began)
        return 2 * SIZE**3 / sorted(times)[TIMES // 2]
