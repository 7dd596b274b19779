"""Tables about units: the features they follow, the loss without them, and their gates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from charlm.inspect.record import Record
from charlm.show.format import line
from charlm.show.tables import Grid, rich_table
from charlm.show.terminal import to_stdout, wide_screen
from charlm.show.text_view import TextView, Track, surprise
from charlm.tokenizers.vocabulary import Vocabulary

Row = Sequence[str]


def find_rows(report: Mapping[str, Any]) -> list[Row]:
    """Rows of the result of `charlm inspect find`, from its JSON keys; the columns are `FIND_COLUMNS`."""
    rows: list[Row] = []
    for feature in report["features"]:
        name = feature["feature"]
        if feature["problem"]:
            rows.append((name, "", "", "", "", "", "", line(feature["problem"]), ""))
        for unit in feature["units"]:
            ablation, lost = unit["ablation"], ""
            if ablation is not None:
                lost = f"{_bits(ablation['bits_lost_on'])} on, {_bits(ablation['bits_lost_off'])} off"
            rows.append((name, f"{unit['layer']}:{unit['unit']}", line(unit["part"]), _correlation(unit["first"]),
                         _correlation(unit["second"]), f"{feature['baseline']:.2f}", _correlation(unit["correlation"]),
                         "confirmed" if unit["confirmed"] else "may be chance", lost))  # fmt: skip
            name = ""
    return rows


FIND_COLUMNS = (
    "feature",
    "unit",
    "part",
    "r, 1st half",
    "r, 2nd half",
    "baseline",
    "plain r",
    "verdict",
    "bits lost without",
)


def view(report: Mapping[str, Any], vocabulary: Vocabulary, record: Record, best: Mapping[str, str]) -> TextView:
    """The report of `charlm inspect find`: its table, and a text coloured by the units.

    Args:
        report: the keys of `--json`.
        vocabulary: of the model.
        record: a passage that was read, with the values of the units in `best`, in that order.
        best: the names of the best units, by feature.
    """
    tracks = [
        Track(f"{feature}: {unit}", values, "paper", max(1.0, float(np.abs(values).max(initial=0))))
        for (feature, unit), values in zip(best.items(), record.values.T, strict=True)
    ]
    return TextView(
        title="What the units remember",
        about="Units that follow a feature of the text; below, a passage with the colours of each feature's best unit.",
        facts={"model": report["model"], "text": report["text"], "read": f"{report['characters']:,} characters"},
        vocabulary=vocabulary,
        ids=record.ids,
        tracks=(*tracks, surprise(record.bits)),
        top=record.top,
        probabilities=record.probabilities,
        tables=(Grid("Units and features", FIND_COLUMNS, [tuple(row) for row in find_rows(report)], _FIND_NOTE),),
    )


_FIND_NOTE = (
    "r is the correlation of unit and feature, once the mean for the character just read is taken off both, so that a "
    "unit which only sees the character has none; plain r leaves it in. The best units of the first half of the text "
    "are shown. One is confirmed where r has the same sign on both halves and is larger on both than the baseline: the "
    "largest that any unit reaches with copies of the feature that were shifted along the text. Of each feature's best "
    "confirmed unit the last column says what is lost per character, on the feature and off it, where its state is "
    "held at the mean."
)


def ablation_rows(report: Mapping[str, Any]) -> list[Row]:
    """Rows of the result of `charlm inspect ablate`, from its JSON keys; the columns are `ABLATION_COLUMNS`."""
    rows: list[Row] = []
    for ablation in report["ablations"]:
        units = "+".join(ablation["units"])
        rows.append((line(units, 40), "everywhere", _bits(ablation["bits_lost"]), "", f"{report['characters']:,}", ""))
        for name, loss in ablation["features"].items():
            off = _bits(loss["bits_lost_off"]) if loss["characters_off"] else ""
            if loss["characters_on"]:
                rows.append(("", name, _bits(loss["bits_lost_on"]), off, f"{loss['characters_on']:,}",
                             f"{loss['characters_off']:,}"))  # fmt: skip
    return rows


ABLATION_COLUMNS = ("unit", "feature", "bits lost on it", "off it", "characters on it", "off it")


def gate_rows(report: Mapping[str, Any]) -> list[Row]:
    """Rows of the gates in `charlm inspect gates`, from its JSON keys; the columns are `GATE_COLUMNS`."""
    return [
        (str(gate["layer"]), line(gate["gate"]), f"{gate['mean']:.3f}", f"{gate['below']:.1%}", f"{gate['above']:.1%}",
         _of_all_units(gate["always_below"], report), _of_all_units(gate["always_above"], report))
        for gate in report["gates"]
    ]  # fmt: skip


GATE_COLUMNS = ("layer", "gate", "mean", "below 0.1", "above 0.9", "units always below", "units always above")


def output_rows(report: Mapping[str, Any]) -> list[Row]:
    """Rows of the outputs in `charlm inspect gates`, from its JSON keys; the columns are `OUTPUT_COLUMNS`."""
    return [
        (str(layer["layer"]), "h", f"{layer['mean_size']:.3f}", f"{layer['above']:.1%}",
         _of_all_units(layer["always_above"], report), _of_all_units(layer["dead"], report))
        for layer in report["outputs"]
    ]  # fmt: skip


OUTPUT_COLUMNS = ("layer", "output", "mean |h|", "|h| above 0.9", "units always above", "dead units (always 0)")


@to_stdout()
def print_table(titles: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table on stdout; words are aligned left, numbers right."""
    wide_screen().print(rich_table(titles, rows, words=_TEXT_COLUMNS))


_TEXT_COLUMNS = ("feature", "verdict", "bits lost without", "unit", "gate")


def _correlation(correlation: float) -> str:
    return f"{correlation:+.2f}"


def _bits(lost: float) -> str:
    return f"{lost:+.4f}"


def _of_all_units(number: int, report: Mapping[str, Any]) -> str:
    return f"{number:,} of {report['hidden']:,}"
