"""What is to be said of the units of a model on a text, in plain values: the keys of `--json`.

What is left out: how it is found (`charlm.inspect.find`, `ablate`, `gates`), and how it is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from charlm.config import AblateOptions, FindOptions
from charlm.data.direction import BACKWARD
from charlm.errors import UsageError
from charlm.evaluation.texts import EvalText
from charlm.inspect.ablate import Ablation, Loss, ablate
from charlm.inspect.activations import Progress
from charlm.inspect.features import FEATURES, of_text
from charlm.inspect.find import Find, Followed, find
from charlm.inspect.gates import always, gates
from charlm.model.checkpoint import Model
from charlm.model.units import HiddenUnit, parse_unit

ABLATED = 50_000
"""Characters of the second half that are read again without a unit that was found."""

SHOWN = 20_000
"""Characters of the passage in a report."""

Counting = Callable[[str], AbstractContextManager[Progress | None]]
"""Shows progress of what is named while it lasts."""


def _check_direction(model: Model) -> None:
    """Refuse a model for which features are not defined: they begin with what stands on the left of a text."""
    if model.options.direction == BACKWARD:
        raise UsageError(
            "features of a text are what is so once a character was read from the left, and "
            f"{model.path or 'the model'} reads from right to left; give one trained with --direction forward"
        )


def _uncounted(what: str) -> AbstractContextManager[None]:
    return nullcontext()


def find_report(model: Model, text: EvalText, options: FindOptions, counting: Counting = _uncounted) -> dict[str, Any]:
    """The keys of `charlm inspect find --json`: units that follow features, and what is lost without them.

    Taken away is the best confirmed unit of each feature, on the half of the text that confirmed it.

    Raises:
        CorpusError, UsageError, CharlmError: as in `find` and `ablate`, or the model reads from right to left.
    """
    _check_direction(model)
    names = (options.feature,) if options.feature else None
    features = of_text(text.ids, model.vocabulary, names)
    with counting("reading") as progress:
        followed = find(
            model, text.ids, features, part=options.part, best=options.best, shuffles=options.shuffles,
            seed=options.seed, progress=progress,
        )  # fmt: skip
    best = {each.feature: next((one.unit for one in each.finds if one.confirmed), None) for each in followed}
    groups = [(unit,) for unit in dict.fromkeys(best.values()) if unit is not None]
    half = (len(text.ids) - 1) // 2
    again = slice(half, half + min(half, ABLATED) + 1)
    cut = {name: values[again] for name, values in features.items()}
    with counting("without a unit") as progress:
        taken = ablate(model, text.ids[again], groups, cut, progress=progress)
    ablations = {result.units[0]: result for result in taken}
    return {
        **_heading(model, text),
        "shuffles": options.shuffles,
        "seed": options.seed,
        "characters_ablated": len(text.ids[again]) - 1 if groups else 0,
        "features": [_followed(each, best[each.feature], ablations) for each in followed],
    }


def best_of(report: Mapping[str, Any]) -> dict[str, tuple[HiddenUnit, str]]:
    """The best confirmed unit and the part of its state, for each feature that has one in the keys of `find_report`."""
    confirmed = {
        each["feature"]: next((unit for unit in each["units"] if unit["confirmed"]), None)
        for each in report["features"]
    }
    return {name: (HiddenUnit(unit["layer"], unit["unit"]), unit["part"]) for name, unit in confirmed.items() if unit}


def shown_of(ids: np.ndarray) -> np.ndarray:
    """The passage that a report shows: the first `SHOWN` characters of the half that confirms, after a boundary."""
    half = (len(ids) - 1) // 2
    return np.concatenate((ids[:1], ids[half + 1 : half + 1 + SHOWN]))


def ablate_report(
    model: Model, text: EvalText, options: AblateOptions, words: Sequence[str], progress: Progress | None = None
) -> dict[str, Any]:
    """The keys of `charlm inspect ablate --json`: each unit taken away alone and, of several, all together.

    Args:
        model: not changed.
        text: what is scored with and without them.
        options: the feature, and what a unit is set to.
        words: units as LAYER:UNIT.
        progress: as in `ablate`.

    Raises:
        UsageError: there is no such unit, or the model reads from right to left.
        CharlmError: as in `ablate`.
    """
    _check_direction(model)
    units = tuple(dict.fromkeys(parse_unit(word, model) for word in words))
    groups = [*((unit,) for unit in units), *([units] if len(units) > 1 else [])]
    features = of_text(text.ids, model.vocabulary, (options.feature,) if options.feature else None)
    rows = ablate(model, text.ids, groups, features, to=options.to, progress=progress)
    return {
        **_heading(model, text),
        "to": options.to,
        "bits_per_char": rows[0].before,
        "ablations": [
            {
                "units": [str(unit) for unit in each.units],
                "bits_per_char": each.after,
                "bits_lost": each.lost,
                "features": {name: _loss(loss) for name, loss in each.features.items()},
            }
            for each in rows
        ],
    }


def gates_report(model: Model, text: EvalText, progress: Progress | None = None) -> dict[str, Any]:
    """The keys of `charlm inspect gates --json`.

    Raises:
        CharlmError: as in `gates`.
    """
    gate_rows, outputs = gates(model, text.ids, progress)
    return {
        **_heading(model, text),
        "cell": model.options.cell,
        "gates": [
            {
                "layer": gate.layer,
                "gate": gate.name,
                "mean": gate.mean,
                "below": float(gate.below.mean()),
                "above": float(gate.above.mean()),
                "always_below": always(gate.below),
                "always_above": always(gate.above),
                "below_by_unit": gate.below.tolist(),
                "above_by_unit": gate.above.tolist(),
            }
            for gate in gate_rows
        ],
        "outputs": [
            {
                "layer": output.layer,
                "mean_size": output.mean,
                "above": float(output.above.mean()),
                "always_above": always(output.above),
                "dead": int(np.count_nonzero(output.zero == 1)),
                "above_by_unit": output.above.tolist(),
            }
            for output in outputs
        ],
    }


def _heading(model: Model, text: EvalText) -> dict[str, Any]:
    return {"model": model.label, "text": text.name, "characters": len(text.ids) - 1, "hidden": model.options.hidden}


def _followed(each: Followed, best: HiddenUnit | None, ablations: dict[HiddenUnit, Ablation]) -> dict[str, Any]:
    return {
        "feature": each.feature,
        "about": FEATURES[each.feature].about,
        "mean": each.mean,
        "told_by_character": each.told,
        "baseline": None if each.problem else each.baseline,
        "problem": each.problem,
        "units": [_found(one, each.feature, ablations.get(best) if best == one.unit else None) for one in each.finds],
    }


def _found(one: Find, feature: str, ablation: Ablation | None) -> dict[str, Any]:
    return {
        "layer": one.unit.layer,
        "unit": one.unit.index,
        "part": one.part,
        "first": one.first,
        "second": one.second,
        "correlation": one.plain,
        "confirmed": one.confirmed,
        "ablation": None if ablation is None else {"bits_lost": ablation.lost, **_loss(ablation.features[feature])},
    }


def _loss(loss: Loss) -> dict[str, Any]:
    return {
        "bits_lost_on": loss.on,
        "bits_lost_off": loss.off,
        "characters_on": loss.characters_on,
        "characters_off": loss.characters_off,
    }
