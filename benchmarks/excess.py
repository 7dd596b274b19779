"""The loss of a model above that of a perfect one, by situation: what it cannot remember of a synthetic source.

The perfect model knows the distribution of the source (`charlm.synthetic`). A situation follows from the symbols
before, so that the excess is below 0 only by luck; in situations that need memory, it is what forgetting costs.
Not here: texts whose distribution is not known.
"""

from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np

from charlm.errors import CorpusError
from charlm.inspect.record import record
from charlm.model.checkpoint import Model
from charlm.synthetic import Source
from charlm.tokenizers.decoding import LF
from charlm.tokenizers.vocabulary import BOUNDARY, FIRST_SYMBOL, Vocabulary


@dataclass(frozen=True)
class Excess:
    """One situation.

    Attributes:
        situation: of `Source.situations`.
        memory: whether it needs memory.
        characters: how many were predicted in it.
        perfect_bits: of the perfect model for each of them, on average.
        bits: of the model.
        agreement: the share of them whose likeliest symbol is the same for both models.
    """

    situation: str
    memory: bool
    characters: int
    perfect_bits: float
    bits: float
    agreement: float

    @property
    def excess(self) -> float:
        """Bits per character above the perfect model."""
        return self.bits - self.perfect_bits

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "excess": self.excess}


def by_situation(model: Model, source: Source, ids: np.ndarray) -> list[Excess]:
    """The situations that occur, in the order of the source.

    Args:
        model: of any cell type, with characters or bytes as symbols.
        source: that the text was drawn from, with its parameters.
        ids: (N + 1,) symbols of the text, the boundary first. It begins as the source begins: where a line does, if
            it writes lines. An end of a document counts as a line end.

    Raises:
        CorpusError: the source never writes such a text.
        CharlmError: the model's numbers are not finite.
    """
    codes = _codes(model.vocabulary)
    text = codes[np.asarray(ids[1:], np.int64)]
    foreign = np.flatnonzero(text > 0xFF)
    if foreign.size:
        raise CorpusError(
            f"the text has a symbol that {source.name} never writes (at {foreign[0]:,}, counted from 0); "
            f"give a text of this source"
        )
    expected = source.expect(text.astype(np.uint8).tobytes())
    reading = record(model, ids, top=1)
    letters = np.frombuffer(source.letters, np.uint8)
    agrees = codes[reading.top[:-1, 0].astype(np.int64)] == letters[expected.likeliest]
    rows = []
    for number, name in enumerate(source.situations):
        here = expected.situations == number
        if here.any():
            losses = expected.nats, reading.nats
            perfect, own = (float(nats[here].mean(dtype=np.float64)) / log(2) for nats in losses)
            agreement = float(agrees[here].mean())
            rows.append(Excess(name, name in source.memory, int(here.sum()), perfect, own, agreement))
    return rows


def together(rows: list[Excess], name: str) -> Excess:
    """Several situations as one, each by its characters."""
    counts = np.array([row.characters for row in rows])
    perfect, own, agreement = (
        float(np.average([getattr(row, key) for row in rows], weights=counts))
        for key in ("perfect_bits", "bits", "agreement")
    )
    return Excess(name, all(row.memory for row in rows), int(counts.sum()), perfect, own, agreement)


def _codes(vocabulary: Vocabulary) -> np.ndarray:
    """(V,) the character of each symbol; a boundary is a line end, and the unknown symbol beyond all characters."""
    codes: np.ndarray = np.full(vocabulary.size, np.iinfo(np.int64).max)
    codes[BOUNDARY] = LF
    codes[FIRST_SYMBOL:] = vocabulary.codes
    return codes
