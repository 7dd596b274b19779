"""Gradients through time of one or several models: a table, sentences and a plot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from charlm.show.format import line
from charlm.show.plots import INK, colour, label, logarithmic, svg
from charlm.show.sparkline import can_show, sparkline
from charlm.show.terminal import to_stdout, wide_screen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ModelGradients = Mapping[str, Any]
"""The keys of a model in `charlm inspect gradients --json`."""

MIN_PLOTTED_NORM = 1e-20
"""Lower end of a plot's axis; smaller norms are outside the frame."""

SENTENCE_DISTANCE = 32
"""Characters back of which a sentence speaks, at most the whole window."""

SPARKLINE_WIDTH = 8
"""Characters of a sparkline."""

WIDE_COLUMNS = 110
"""Columns of a terminal at which the table has every k; below, every second one."""


@dataclass(frozen=True)
class Row:
    """One curve over k.

    Attributes:
        quantity: such as `∂L/∂h`.
        values: (window + 1,) the medians, or the bound.
    """

    model: str
    layer: int
    quantity: str
    values: Sequence[float | None]


@to_stdout()
def print_gradients(models: Sequence[ModelGradients]) -> None:
    """Print the tables and sentences on stdout."""
    console = wide_screen()
    ks = distances(models[0]["window"])
    columns = ks if console.width >= WIDE_COLUMNS else sorted({0, *ks[1::2], ks[-1]})
    console.print(Text(_for_stdout("‖·‖ by layer, k characters back, medians over the places"), style="dim"))
    floor, top = _sparkline_range(models)
    for model in models:
        console.print()
        console.print(Text(line(model["name"]), style="bold"))
        console.print(_norm_table(model, columns, floor, top))
    if any(layer["recurrent"] for model in models for layer in model["layers"]):
        console.print(_weight_table(models))
    for sentence in _all_sentences(models):
        console.print(Text(_for_stdout(sentence)), soft_wrap=True)


def _sparkline_range(models: Sequence[ModelGradients]) -> tuple[float, float]:
    """The common range of the sparklines, in powers of ten, without the bounds, which may be huge."""
    logs = [
        log10(value)
        for model in models
        for row in rows(model)
        if row.quantity != BOUND_NAME
        for value in row.values
        if value
    ]
    return max(min(logs, default=0), -12), max(logs, default=0)


def _norm_table(model: ModelGradients, ks: Sequence[int], floor: float, top: float) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("layer", no_wrap=True, min_width=16)
    for k in ks:
        table.add_column(f"k={k}", justify="right", no_wrap=True, min_width=7)
    table.add_column("log", no_wrap=True)
    for row in rows(model):
        heights = [log10(value) if value else -inf for value in row.values]
        spark = sparkline(range(len(heights)), heights, width=SPARKLINE_WIDTH, low=floor, high=top)
        numbers = (short_norm(row.values[k]) for k in ks)
        table.add_row(Text(line(f"{row.layer} {_for_stdout(row.quantity)}", 30)), *numbers, spark)
    return table


def _weight_table(models: Sequence[ModelGradients]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("model", overflow="fold")
    for title in ("layer", "gate", "largest singular value", "spectral radius"):
        table.add_column(title, justify="right")
    for model in models:
        for layer in model["layers"]:
            for block in layer["recurrent"]:
                table.add_row(
                    Text(line(model["name"])), str(layer["layer"]), Text(line(block["gate"])),
                    f"{block['singular_value']:.4f}", f"{block['spectral_radius']:.4f}",
                )  # fmt: skip
    return table


BOUND_NAME = "(β_W β_h)^k"


def rows(model: ModelGradients) -> Iterator[Row]:
    """All curves of a model, from its lowest layer up."""
    for layer in model["layers"]:
        key = model["name"], layer["layer"]
        for part, spread in layer["loss"].items():
            yield Row(*key, f"∂L/∂{part}", spread["median"])
        for part, spread in layer["own"].items():
            yield Row(*key, f"∂{part}/∂{part}", spread["median"])
        for part, spread in _carousels(layer):
            yield Row(*key, f"∂{part}/∂{part} carousel", spread["median"])
        if layer["bound"] is not None:
            yield Row(*key, BOUND_NAME, layer["bound"])


def report(models: Sequence[ModelGradients], seed: int) -> dict[str, Any]:
    """The variables of `gradients.html`."""
    window, positions = models[0]["window"], models[0]["positions"]
    ks = distances(window)
    texts = line(", ".join(dict.fromkeys(model["text"] for model in models)), 1000)
    return {
        "title": "Gradients through time",
        "about": f"{window} characters back from {positions} places, seed {seed}; {texts}",
        "sentences": list(_all_sentences(models)),
        "ks": ks,
        "rows": [
            {
                "model": line(row.model),
                "layer": row.layer,
                "what": row.quantity,
                "numbers": [short_norm(row.values[k]) for k in ks],
            }
            for model in models
            for row in rows(model)
        ],
        "blocks": [
            {"model": line(model["name"]), "layer": layer["layer"], **block}
            for model in models
            for layer in model["layers"]
            for block in layer["recurrent"]
        ],
    }


def distances(window: int) -> list[int]:
    """The k of the table: 0, 1, 2, 4, 8, … and the last one, the window."""
    powers = [1 << n for n in range(window.bit_length()) if 1 << n < window]
    return [0, *powers, window]


def sentences(model: ModelGradients) -> Iterator[str]:
    """Sentences about the gradients of the highest layer."""
    top, k = model["layers"][-1], min(SENTENCE_DISTANCE, model["window"])
    name, after = line(model["name"]), f"after {k} character{'s' * (k > 1)}"
    part, remaining = _remaining(top, k)
    of = "" if part == "h" else f", at {part}"
    if remaining is None:
        yield f"{name}: the loss has no gradient at any place that was followed"
    elif remaining > 1:
        yield f"{name}: {after} the gradient is {short_norm(remaining)} times as large{of}"
    else:
        yield f"{name}: {after} {short_norm(remaining)} of the gradient is left{of}"
    for part, spread in _carousels(top):
        yield f"{name}: on the carousel, from {part} to {part} alone, {short_norm(spread['median'][k])} is left {after}"
    if top["slope"] is None:
        return
    (block,) = top["recurrent"]
    factor, radius = block["singular_value"] * top["slope"], block["spectral_radius"] * top["slope"]
    sentence = f"{name}: with the largest slope, {top['slope']:g}, the singular value is {factor:.3f}"
    if factor < 1:
        yield f"{sentence}: gradients must vanish"
    elif radius < 1:
        yield (
            f"{sentence} and the eigenvalue {radius:.3f}: gradients may grow, "
            f"not for long where all slopes are as large"
        )
    else:
        yield f"{sentence} and the eigenvalue {radius:.3f}: gradients may explode where the slopes are largest"


def _carousels(layer: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of the state with a direct path to themselves, with their norms; a delay line has none."""
    return ((part, spread) for part, spread in layer["carousel"].items() if any(spread["median"][1:]))


def _remaining(layer: Mapping[str, Any], k: int) -> tuple[str, float | None]:
    """The share of the gradient that remains after k steps, and the part of the state that has it.

    The part is h, or the one with the largest share if the cell's next state does not depend on h."""
    shares = {part: spread["median"][k] for part, spread in layer["left"].items()}
    part = max(shares, key=lambda name: shares[name] or 0) if shares["h"] == 0 else "h"
    return part, shares[part]


def _all_sentences(models: Sequence[ModelGradients]) -> Iterator[str]:
    """The sentences of all models, and the cells to which the bound does not apply."""
    for model in models:
        yield from sentences(model)
    cells = dict.fromkeys(line(model["cell"]) for model in models if model["layers"][-1]["slope"] is None)
    if cells:
        yield f"the bound (β_W β_h)^k is one of simple recurrent networks, and says nothing of {', '.join(cells)}"


def short_norm(value: float | None) -> str:
    """A norm in short: `0.0312`, `4.1e-07`; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.1e}" if value and not 0.001 <= value < 1000 else f"{value:.3g}"


def _for_stdout(text: str) -> str:
    """The text, with ASCII in place of its symbols if stdout cannot show them."""
    if can_show(text):
        return text
    for symbol, ascii_text in (("∂", "d"), ("‖·‖", "norms"), ("β", "b")):
        text = text.replace(symbol, ascii_text)
    return text


def plot(models: Sequence[ModelGradients]) -> str:
    """Plot the gradient that remains of the loss, and through a layer alone, over k, as SVG.

    Each layer has a row of axes."""
    layers = max(len(model["layers"]) for model in models)

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(layers, 2, sharex=True, squeeze=False)
        for number, (left, right) in enumerate(grid):
            suffix = f", layer {number + 1}" if layers > 1 else ""
            same_layer = [model["layers"][number] for model in models if number < len(model["layers"])]
            read, carried = (
                " or ".join(dict.fromkeys(map(part_of, same_layer))) for part_of in (_loss_variable, _carousel_variable)
            )
            left.set_title(f"of the loss: ‖∂L_t/∂s_(t-k)‖ over ‖∂L_t/∂h_t‖, s = {read}{suffix}")
            right.set_title(f"of the layer alone: ‖∂s_t/∂s_(t-k)‖, s = {carried}{suffix}")
            for index, model in enumerate(models):
                if number < len(model["layers"]):
                    _draw_layer(left, right, model["layers"][number], index)
            for axes in (left, right):
                _scale(axes, models, number, "left" if axes is left else "own")
        for axes in grid[-1]:
            axes.set_xlabel("k, characters back")
        _legend(grid[0][1], models)

    return svg(draw, 11.5, 0.7 + 4.0 * layers)


def _loss_variable(layer: Mapping[str, Any]) -> str:
    """The part of the state through which the loss reaches back: h if the next state depends on it."""
    return _remaining(layer, 1)[0]


def _carousel_variable(layer: Mapping[str, Any]) -> str:
    """The part of the state with a direct path to itself, or h if there is none."""
    return next((part for part, _ in _carousels(layer)), "h")


def _draw_layer(left: "Axes", right: "Axes", layer: Mapping[str, Any], index: int) -> None:
    tone, style = colour(index)
    _draw_spread(left, layer["left"][_loss_variable(layer)], tone, style)
    part = _carousel_variable(layer)
    _draw_spread(right, layer["own"][part], tone, style)
    if part != "h":
        right.plot(*_points(layer["carousel"][part]["median"]), color=tone, linestyle="--", marker=".", markevery=8)
    if layer["bound"] is not None:
        for axes in (left, right):
            axes.plot(*_points(layer["bound"]), color=tone, linestyle=":", linewidth=1.2)


def _draw_spread(axes: "Axes", spread: Mapping[str, Any], tone: str, style: Any) -> None:
    """Draw the median as a line, and the range between the quantiles as a band."""
    axes.plot(*_points(spread["median"]), color=tone, linestyle=style)
    ks = [k for k, (low, high) in enumerate(zip(spread["low"], spread["high"], strict=True)) if low and high]
    axes.fill_between(
        ks, [spread["low"][k] for k in ks], [spread["high"][k] for k in ks],
        color=tone, alpha=0.13, linewidth=0,
    )  # fmt: skip


def _points(values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """The points above 0, which a logarithmic axis can show."""
    points = [(k, value) for k, value in enumerate(values) if value]
    return [k for k, _ in points], [value for _, value in points]


def _scale(axes: "Axes", models: Sequence[ModelGradients], number: int, kind: str) -> None:
    """Fit the axis to the measured values; a bound may leave the frame."""
    spreads = [
        spread
        for model in models
        if number < len(model["layers"])
        for quantity in (kind, *(["carousel"] if kind == "own" else []))
        for spread in model["layers"][number][quantity].values()
    ]
    norms = [value for spread in spreads for values in spread.values() for value in values if value]
    if norms:
        logarithmic(axes, max(min(norms), MIN_PLOTTED_NORM), max(norms))


def _legend(axes: "Axes", models: Sequence[ModelGradients]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour(index)[0], linestyle=colour(index)[1]) for index in range(len(models))]
    names = [label(model["name"], 40) for model in models]
    layers = [layer for model in models for layer in model["layers"]]
    if any(_carousel_variable(layer) != "h" for layer in layers):
        handles.append(Line2D([], [], color=INK, linestyle="--", marker="."))
        names.append("carousel, ∂s/∂s alone")
    if any(layer["bound"] for layer in layers):
        handles.append(Line2D([], [], color=INK, linestyle=":"))
        names.append("bound (β_W β_h)^k")
    axes.figure.legend(handles, names, loc="outside lower center", ncols=4)
