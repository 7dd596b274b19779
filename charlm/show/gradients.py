"""Gradients through time, of models side by side: a table, a sentence for each, and a plot."""

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

Measured = Mapping[str, Any]
"""The keys of a model in `charlm inspect gradients --json`."""

FAINTEST = 1e-20
"""What a plot shows, at the least; beyond it curves leave the frame."""

FAR = 32
"""Characters that the sentence looks back, where the window is as long."""

SPARK = 8

WIDE = 110
"""Columns of a terminal that shows every k of the table."""


@dataclass(frozen=True)
class Row:
    """One curve over k: of which model and layer, what it is, its medians."""

    model: str
    layer: int
    what: str
    values: Sequence[float | None]


@to_stdout()
def in_terminal(models: Sequence[Measured]) -> None:
    """The tables and sentences on stdout."""
    console = wide_screen()
    ks = distances(models[0]["window"])
    chosen = ks if console.width >= WIDE else sorted({0, *ks[1::2], ks[-1]})
    console.print(Text(_plainly("‖·‖ by layer, k characters back, medians over the places"), style="dim"))
    floor, top = _heights(models)
    for model in models:
        console.print()
        console.print(Text(line(model["name"]), style="bold"))
        console.print(_curves(model, chosen, floor, top))
    if any(layer["recurrent"] for model in models for layer in model["layers"]):
        console.print(_weights(models))
    for sentence in _all_sentences(models):
        console.print(Text(_plainly(sentence)), soft_wrap=True)


def _heights(models: Sequence[Measured]) -> tuple[float, float]:
    """The range of all sparklines, in powers of ten; bounds, which may be astronomical, do not count."""
    logs = [
        log10(value) for model in models for row in rows(model) if row.what != BOUND for value in row.values if value
    ]
    return max(min(logs, default=0), -12), max(logs, default=0)


def _curves(model: Measured, ks: Sequence[int], floor: float, top: float) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("layer", no_wrap=True, min_width=16)
    for k in ks:
        table.add_column(f"k={k}", justify="right", no_wrap=True, min_width=7)
    table.add_column("log", no_wrap=True)
    for row in rows(model):
        heights = [log10(value) if value else -inf for value in row.values]
        drawn = sparkline(range(len(heights)), heights, width=SPARK, low=floor, high=top)
        numbers = (number(row.values[k]) for k in ks)
        table.add_row(Text(line(f"{row.layer} {_plainly(row.what)}", 30)), *numbers, drawn)
    return table


def _weights(models: Sequence[Measured]) -> Table:
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


BOUND = "(β_W β_h)^k"


def rows(model: Measured) -> Iterator[Row]:
    """Every curve of a model, from its lowest layer on."""
    for layer in model["layers"]:
        key = model["name"], layer["layer"]
        for part, spread in layer["loss"].items():
            yield Row(*key, f"∂L/∂{part}", spread["median"])
        for part, spread in layer["own"].items():
            yield Row(*key, f"∂{part}/∂{part}", spread["median"])
        for part, spread in _carousels(layer):
            yield Row(*key, f"∂{part}/∂{part} carousel", spread["median"])
        if layer["bound"] is not None:
            yield Row(*key, BOUND, layer["bound"])


def report(models: Sequence[Measured], seed: int) -> dict[str, Any]:
    """What the report of `gradients.html` names."""
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
                "what": row.what,
                "numbers": [number(row.values[k]) for k in ks],
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
    """The k of the table: 0, 1, 2, 4, 8, … and the window."""
    powers = [1 << n for n in range(window.bit_length()) if 1 << n < window]
    return [0, *powers, window]


def sentences(model: Measured) -> Iterator[str]:
    """What is seen, in words, of the highest layer."""
    top, k = model["layers"][-1], min(FAR, model["window"])
    name, after = line(model["name"]), f"after {k} character{'s' * (k > 1)}"
    part, left = _most_left(top, k)
    of = "" if part == "h" else f", at {part}"
    if left is None:
        yield f"{name}: the loss has no gradient at any place that was followed"
    elif left > 1:
        yield f"{name}: {after} the gradient is {number(left)} times as large{of}"
    else:
        yield f"{name}: {after} {number(left)} of the gradient is left{of}"
    for part, spread in _carousels(top):
        yield f"{name}: on the carousel, from {part} to {part} alone, {number(spread['median'][k])} is left {after}"
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
    """The parts of the state that lead straight to themselves, each with its norms; those of a delay line do not."""
    return ((part, spread) for part, spread in layer["carousel"].items() if any(spread["median"][1:]))


def _most_left(layer: Mapping[str, Any], k: int) -> tuple[str, float | None]:
    """How much of the gradient is left at h; where its cell does not go on from h, at that part where most is left."""
    left = {part: spread["median"][k] for part, spread in layer["left"].items()}
    if left["h"] == 0:
        part = max(left, key=lambda name: left[name] or 0)
        return part, left[part]
    return "h", left["h"]


def _all_sentences(models: Sequence[Measured]) -> Iterator[str]:
    """Those of every model, and of which cells the bound says nothing."""
    for model in models:
        yield from sentences(model)
    cells = dict.fromkeys(line(model["cell"]) for model in models if model["layers"][-1]["slope"] is None)
    if cells:
        yield f"the bound (β_W β_h)^k is one of simple recurrent networks, and says nothing of {', '.join(cells)}"


def number(value: float | None) -> str:
    """A norm in short: `0.0312`, `4.1e-07`; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.1e}" if value and not 0.001 <= value < 1000 else f"{value:.3g}"


def _plainly(text: str) -> str:
    """The text, or what comes near it where stdout speaks only ASCII."""
    if can_show(text):
        return text
    for mark, plain in (("∂", "d"), ("‖·‖", "norms"), ("β", "b")):
        text = text.replace(mark, plain)
    return text


def plot(models: Sequence[Measured]) -> str:
    """What is left of the gradient, and what a layer passes on, over k, as SVG; a row of axes for each layer."""
    layers = max(len(model["layers"]) for model in models)

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(layers, 2, sharex=True, squeeze=False)
        for number, (left, right) in enumerate(grid):
            of = f", layer {number + 1}" if layers > 1 else ""
            there = [model["layers"][number] for model in models if number < len(model["layers"])]
            read, carried = (" or ".join(dict.fromkeys(map(part_of, there))) for part_of in (_part_of_loss, _memory))
            left.set_title(f"of the loss: ‖∂L_t/∂s_(t-k)‖ over ‖∂L_t/∂h_t‖, s = {read}{of}")
            right.set_title(f"of the layer alone: ‖∂s_t/∂s_(t-k)‖, s = {carried}{of}")
            for index, model in enumerate(models):
                if number < len(model["layers"]):
                    _draw_layer(left, right, model["layers"][number], index)
            for axes in (left, right):
                _scale(axes, models, number, "left" if axes is left else "own")
        for axes in grid[-1]:
            axes.set_xlabel("k, characters back")
        _legend(grid[0][1], models)

    return svg(draw, 11.5, 0.7 + 4.0 * layers)


def _part_of_loss(layer: Mapping[str, Any]) -> str:
    """The part of the state through which the loss reaches back: h where a layer goes on from h."""
    return _most_left(layer, 1)[0]


def _memory(layer: Mapping[str, Any]) -> str:
    """The part that leads straight to itself, h where none does."""
    return next((part for part, _ in _carousels(layer)), "h")


def _draw_layer(left: "Axes", right: "Axes", layer: Mapping[str, Any], index: int) -> None:
    tone, style = colour(index)
    _draw_spread(left, layer["left"][_part_of_loss(layer)], tone, style)
    memory = _memory(layer)
    _draw_spread(right, layer["own"][memory], tone, style)
    if memory != "h":
        right.plot(*_points(layer["carousel"][memory]["median"]), color=tone, linestyle="--", marker=".", markevery=8)
    if layer["bound"] is not None:
        for axes in (left, right):
            axes.plot(*_points(layer["bound"]), color=tone, linestyle=":", linewidth=1.2)


def _draw_spread(axes: "Axes", spread: Mapping[str, Any], tone: str, style: Any) -> None:
    """The median as a line, and what lies between the quantiles as a band."""
    axes.plot(*_points(spread["median"]), color=tone, linestyle=style)
    known = [k for k, (low, high) in enumerate(zip(spread["low"], spread["high"], strict=True)) if low and high]
    axes.fill_between(
        known, [spread["low"][k] for k in known], [spread["high"][k] for k in known],
        color=tone, alpha=0.13, linewidth=0,
    )  # fmt: skip


def _points(values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """What a logarithmic axis can show."""
    points = [(k, value) for k, value in enumerate(values) if value]
    return [k for k, _ in points], [value for _, value in points]


def _scale(axes: "Axes", models: Sequence[Measured], number: int, kind: str) -> None:
    """Fit the axis to what was measured; a bound may leave the frame."""
    spreads = [
        spread
        for model in models
        if number < len(model["layers"])
        for of in (kind, *(["carousel"] if kind == "own" else []))
        for spread in model["layers"][number][of].values()
    ]
    shown = [value for spread in spreads for values in spread.values() for value in values if value]
    if shown:
        logarithmic(axes, max(min(shown), FAINTEST), max(shown))


def _legend(axes: "Axes", models: Sequence[Measured]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour(index)[0], linestyle=colour(index)[1]) for index in range(len(models))]
    names = [label(model["name"], 40) for model in models]
    layers = [layer for model in models for layer in model["layers"]]
    if any(_memory(layer) != "h" for layer in layers):
        handles.append(Line2D([], [], color=INK, linestyle="--", marker="."))
        names.append("carousel, ∂s/∂s alone")
    if any(layer["bound"] for layer in layers):
        handles.append(Line2D([], [], color=INK, linestyle=":"))
        names.append("bound (β_W β_h)^k")
    axes.figure.legend(handles, names, loc="outside lower center", ncols=4)
