"""Units that follow a feature of the text, found on one half of it and confirmed on the other.

With hundreds of units some follow anything by chance, and slow features make it worse: what changes ten times in
a text is easily met. So the same is done with the feature shifted in a circle by a random distance, which keeps
its own pace and loses its place in the text. The *baseline* of a feature is the largest |r| that any unit reaches
with any of S shifted ones, on either half. A unit is **confirmed** where

    |r| > baseline on the first half, |r| > baseline on the second, and both with the same sign.

Where states have nothing to do with the feature, its true place is one of S + 1 that are alike, so that the
chance that any unit of the whole network passes on one half is at most 1 / (S + 1), and on both, as far as the
halves are independent, at most 1 / (S + 1)²: with S = 40 one false discovery in 1,681 features. The maximum over
all units takes care of there being many (Westfall & Young 1993, "Resampling-based multiple testing"). It is
approximate where a text changes its ways within a half.

r is the partial correlation given the character just read (`charlm.inspect.correlate`): what is found remembers
something, and does not merely see a quote mark. It need not be a cause; for that, see `charlm.inspect.ablate`.

Shapes: N characters, F features, S shifts, U units of all layers and parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlm import memory
from charlm.errors import CorpusError
from charlm.inspect.activations import Progress, read, segments_for
from charlm.inspect.correlate import MIN_SPREAD, Correlation, classes
from charlm.inspect.features import FEATURES, on
from charlm.inspect.states import state_entries, states_of
from charlm.model.checkpoint import Model
from charlm.model.units import HiddenUnit

MIN_CHARACTERS = 2000
"""Below these, shifted features are too much alike to say what is chance."""

MIN_RUNS = 5
"""How often a feature must come on in each half: of less, shifts do not make a baseline."""

NEAREST = 20
"""Shifts are at least so small a part of a half, from either side."""


@dataclass(frozen=True)
class Find:
    """How one unit follows a feature.

    Attributes:
        unit: which.
        part: of its state: h, or another one through a tanh.
        first, second: r on each half.
        plain: the usual correlation on the second half, the character just read not taken into account.
        confirmed: whether it is no chance, by the rule above.
    """

    unit: HiddenUnit
    part: str
    first: float
    second: float
    plain: float
    confirmed: bool


@dataclass(frozen=True)
class Followed:
    """The units that follow a feature best on the first half.

    Attributes:
        feature: its name.
        mean: of its values; of a true-or-false one, its share of the text.
        told: how much of its variance the character just read explains.
        baseline: the largest |r| with a shifted feature.
        problem: why nothing can be said, in words; then there are no finds.
        finds: the best first.
    """

    feature: str
    mean: float
    told: float
    baseline: float
    problem: str | None
    finds: tuple[Find, ...]


@np.errstate(all="ignore")  # of weights whose products overflow, an error will speak
def find(
    model: Model,
    ids: np.ndarray,
    features: Mapping[str, np.ndarray],
    *,
    part: str = "all",
    best: int = 3,
    shuffles: int = 40,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Followed]:
    """Look for units that follow features.

    Args:
        model: of any cell.
        ids: (N + 1,) symbols, the boundary first.
        features: (N + 1,) each, what is so once a symbol was read (`charlm.inspect.features`).
        part: of the state, by name, or `all`.
        best: how many units of each feature to tell of.
        shuffles: S.
        seed: of the shifts.
        progress: told how far it is.

    Raises:
        CorpusError: the text is too short.
        UsageError: the cell has no such part, or it takes more memory than there is.
        CharlmError: the state is not finite.
    """
    half = (len(ids) - 1) // 2
    if half < MIN_CHARACTERS // 2:
        raise CorpusError(
            f"the text has {len(ids) - 1:,} characters, and at least {MIN_CHARACTERS:,} are needed to tell "
            f"units that follow something from chance; give a longer text, another --split, or more --chars"
        )
    entries = state_entries(model, part)
    problems = {name: _problem(name, values[: 2 * half], half) for name, values in features.items()}
    names = [name for name in features if problems[name] is None]
    halves: list[Correlation] = []
    if names:
        units = model.options.hidden * len(entries)
        memory.check(_bytes(half, len(names), shuffles, units), "comparing so much", "choose one --feature or --part")
        halves = _halves(ids, [features[name] for name in names], units, shuffles, seed)
        _correlate(model, ids, halves, entries, progress)
    results = dict(zip(names, _told(names, halves, entries, model.options.hidden, best, features), strict=True))
    return [results.get(name) or _nothing(name, values, problems[name]) for name, values in features.items()]


def _problem(name: str, values: np.ndarray, half: int) -> str | None:
    """Why a feature cannot be looked for in this text."""
    if values.min() == values.max():
        absent = FEATURES[name].absent if name in FEATURES else name
        return f"always on in this text: {name}" if values.dtype == bool and values[0] else f"no {absent} in this text"
    runs = min(int(np.count_nonzero(np.diff(on(values)[at : at + half].astype(np.int8)) > 0)) for at in (0, half))
    if runs < MIN_RUNS:
        return f"too rare: it comes on {runs} times in one half of the text, and {MIN_RUNS} are needed"
    return None


def _bytes(half: int, features: int, shuffles: int, units: int) -> int:
    """What the sums and the features come to."""
    return 2 * features * ((shuffles + 1) * (units + 256) * 8 + half * 8) + 2 * 256 * units * 8


def _halves(ids: np.ndarray, features: list[np.ndarray], units: int, shuffles: int, seed: int) -> list[Correlation]:
    """Nothing yet of either half; each has shifts of its own, the first of which is none."""
    half = (len(ids) - 1) // 2
    random = np.random.default_rng(seed)
    kinds = classes(np.asarray(ids[: 2 * half]))
    near = half // NEAREST
    far = half - 2 * near
    halves = []
    for start in (0, half):
        shifts = near + random.choice(far, min(shuffles, far), replace=False)
        stretch = slice(start, start + half)
        values = np.stack([each[stretch] for each in features])
        halves.append(Correlation(values, kinds[stretch], np.append(0, shifts), units))
    return halves


def _correlate(
    model: Model, ids: np.ndarray, halves: list[Correlation], entries: list[tuple[int, str]], progress: Progress | None
) -> None:
    """Read the text once, and sum up."""
    characters = len(ids) - 1
    half, done = characters // 2, 0
    names = tuple(dict.fromkeys(name for _, name in entries))
    for block in read(model, ids, names=names, segments=segments_for(characters)):
        at = block.at[block.inside]
        x = states_of(block, entries)
        for start, sums in zip((0, half), halves, strict=True):
            rows = (at >= start) & (at < start + half)
            if rows.any():
                sums.add(at[rows] - start, x[rows])
        done += len(at)
        if progress is not None:
            progress(done, characters)


def _told(
    names: list[str],
    halves: list[Correlation],
    entries: list[tuple[int, str]],
    hidden: int,
    best: int,
    features: Mapping[str, np.ndarray],
) -> list[Followed]:
    """What the sums say of each feature."""
    results = []
    for index, name in enumerate(names):
        mean = float(features[name].mean(dtype=np.float64))
        strength = max(sums.told(index) for sums in halves)
        if strength > 1 - MIN_SPREAD:
            problem = "the character just read tells it; there is nothing to remember"
            results.append(Followed(name, mean, strength, 0.0, problem, ()))
            continue
        first, second = (sums.partial(index) for sums in halves)
        plain = halves[1].plain(index)
        baseline = float(max(np.abs(first[1:]).max(), np.abs(second[1:]).max()))
        one, other = first[0], second[0]
        finds = []
        for at in _ranked(np.abs(one), hidden, entries)[:best]:
            layer, part = entries[at // hidden]
            sure = min(abs(one[at]), abs(other[at])) > baseline and one[at] * other[at] > 0
            unit = HiddenUnit(layer, at % hidden)
            finds.append(Find(unit, part, float(one[at]), float(other[at]), float(plain[at]), bool(sure)))
        results.append(Followed(name, mean, strength, baseline, None, tuple(finds)))
    return results


def _ranked(size: np.ndarray, hidden: int, entries: list[tuple[int, str]]) -> list[int]:
    """Units from the largest |r| on, each by the part that has it."""
    seen: set[tuple[int, int]] = set()
    results = []
    for at in np.argsort(-size, kind="stable").tolist():
        unit = entries[at // hidden][0], at % hidden
        if unit not in seen:
            seen.add(unit)
            results.append(at)
    return results


def _nothing(name: str, values: np.ndarray, problem: str | None) -> Followed:
    return Followed(name, float(values.mean(dtype=np.float64)), 0.0, 0.0, problem, ())
