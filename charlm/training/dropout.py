"""Dropout masks and state resets: what is random in a training step, whatever was before it.

Dropout of activations is between layers and before the output layer, not on the recurrence (Srivastava et al.
2014; Zaremba, Sutskever & Vinyals 2014), drawn for every step or *locked*, one mask for all steps of a chunk (Gal &
Ghahramani 2016; Merity, Keskar & Socher 2018). The recurrence has dropout of its weights, one mask a chunk
(DropConnect, Wan et al. 2013; for recurrent weights Merity, Keskar & Socher 2018), and the input dropout of whole
symbols, the same all through a chunk (Gal & Ghahramani 2016).

An NVIDIA GPU draws its own masks, other ones than the CPU: to send them there would hold up every step.

Everything follows from (seed, step) and a position in the batch, never from what was drawn before, so that
a resumed run, an evaluated run and a run on several processes see the same.
"""

import hashlib

import torch
from torch import Tensor

from charlm.model.network import DropoutFn


class StepRandom:
    """Random bytes, which follow from the seed, the step and what they are for.

    Those of a step take the place in memory that those of the step before had, where a pass that was recorded
    (`charlm.training.cuda_graph`) reads them.
    """

    def __init__(self, seed: int, step: int = 0) -> None:
        self._seed, self._step = seed, step
        self._drawn: dict[tuple[str, int, torch.device], Tensor] = {}

    def seek(self, step: int) -> None:
        """Go to another step, and draw for it what was asked for before."""
        self._step = step
        for (purpose, _, _), words in self._drawn.items():
            self._draw(words, purpose)

    def bytes(self, purpose: str, count: int, device: torch.device) -> Tensor:
        """(count,) uint8 of the present step on a device."""
        key = (purpose, count, device)
        if key not in self._drawn:
            self._drawn[key] = torch.empty((count + 7) // 8, dtype=torch.int64, device=device)
            self._draw(self._drawn[key], purpose)
        return self._drawn[key].view(torch.uint8)[:count]

    def _draw(self, words: Tensor, purpose: str) -> None:
        words.random_(-(2**63), None, generator=_generator(self._seed, self._step, purpose, words.device))


def dropout_masks(
    rate: float, random: StepRandom, of: str = "", part: tuple[int, int] = (0, 1), *, locked: bool = False
) -> DropoutFn | None:
    """The dropout of the step at which the noise is, or None where nothing is dropped.

    The rate is rounded to 1/256: a random byte per activation is cheaper to draw than a random number.
    However high it is, one activation in 256 stays.

    Args:
        rate: share that is dropped.
        random: what the masks follow from.
        of: tells several kinds of masks apart.
        part: which of how many equal parts of the sequences the activations are; masks are drawn for all, so
            that they do not depend on it.
        locked: one mask for the whole length of the first axis.
    """
    level = min(round(rate * 256), 255)
    if level == 0:
        return None
    keep = 256 / (256 - level)

    def drop(layer: int, x: Tensor) -> Tensor:
        """Drop elements of x and scale up those that stay."""
        device = x.device if x.device.type == "cuda" else torch.device("cpu")
        rank, world = part
        like = x[:1] if locked else x
        drawn = random.bytes(f"{of}{layer}", like.numel() * world, device)
        drawn = drawn.view(len(like), -1, x.shape[-1]).to(x.device)
        if world > 1:
            drawn = drawn.chunk(world, 1)[rank]
        mask = (drawn.reshape(like.shape) >= level).to(x.dtype)
        return x * mask.mul_(keep) if x.dtype.itemsize > 2 else x * mask * keep  # bfloat16 would round `keep`

    return drop


RESET_DRAW_STEPS = 64
"""Steps whose resets are drawn at once."""


class StateResets:
    """Which of B sequences begin a chunk from the zero state, each with probability `share`.

    A network that only ever carries its state is never taught to begin. It can then have states that it
    does not find out of, and evaluation and sampling, which do begin, may fall into them.

    They are drawn for some steps at once: between two steps the code that draws has left the processor's caches, and
    takes six times as long.

    Args:
        share, seed, batch: the probability, what they follow from, and B.
        own: the sequences of this process.
        side: chunks that are read from their end have draws of their own.
    """

    def __init__(self, share: float, seed: int, batch: int, own: slice = slice(None), side: str = "") -> None:
        self._share, self._seed, self._batch, self._own, self._side = share, seed, batch, own, side
        self._first, self._drawn = -1, list[Tensor | None]()

    def at(self, step: int) -> Tensor | None:
        """Booleans (B,), one for each sequence of this process; None if it is none of them."""
        if self._share == 0:
            return None
        first = step - step % RESET_DRAW_STEPS
        if first != self._first:
            self._first, self._drawn = first, [self._draw(first + more) for more in range(RESET_DRAW_STEPS)]
        return self._drawn[step - first]

    def _draw(self, step: int) -> Tensor | None:
        generator = _generator(self._seed, step, f"{self._side}cold")
        resets = (torch.rand(self._batch, generator=generator) < self._share)[self._own]
        return resets if resets.any() else None


def _generator(seed: int, step: int, purpose: int | str, device: torch.device | None = None) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}:{step}:{purpose}".encode(), digest_size=8).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest, "little"))
