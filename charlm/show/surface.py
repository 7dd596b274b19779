"""The error surface of one unit and the descents on it: facts and a plot."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from charlm.show.plots import COLOURS, INK, svg

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN_COLOUR, CLIPPED_COLOUR = COLOURS[1], "#ffffff"
"""Colours of the two descents."""

CONTOUR_LEVELS = 30


def facts(report: Mapping[str, Any]) -> dict[str, str]:
    """Names and values of the summary, from the keys of `charlm inspect surface --json`."""
    steepest, lowest, options = report["steepest"], report["lowest"], report["options"]
    return {
        "network": f"h_t = w sigmoid(h_(t-1)) + b, {options['length']} steps from h_0 = {options['first']:g}; "
        f"E = (sigmoid(h_{options['length']}) - {options['target']:g})^2",
        "errors": f"{lowest['error']:.3g} at w {lowest['w']:.3f}, b {lowest['b']:.3f}, "
        f"to {report['highest_error']:.3g}",
        "steepest": f"gradient of norm {steepest['norm']:.4g} at w {steepest['w']:.3f}, b {steepest['b']:.3f}",
        "unclipped": _descent(report["plain"], options["rate"]),
        "clipped": _descent(report["clipped"], options["rate"], options["clip_norm"]),
        "threshold": f"{options['clip_norm']:g}, rate {options['rate']:g}",
    }


def report(values: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of `surface.html`."""
    return {"title": "The error surface of one unit", "about": "why gradients are clipped", "facts": facts(values)}


def _descent(path: Mapping[str, Any], rate: float, threshold: float | None = None) -> str:
    norms = path["norm"]
    step = max(range(len(norms)), key=norms.__getitem__)
    move = rate * (norms[step] if threshold is None else min(norms[step], threshold))
    return (
        f"error {path['error'][0]:.4f} to {path['error'][-1]:.4g} in {len(norms) - 1} steps, lowest "
        f"{min(path['error']):.3g}; largest gradient {norms[step]:.4g} at step {step}, a move of {move:.3g}; "
        f"ends at w {path['w'][-1]:.3f}, b {path['b'][-1]:.3f}"
    )


def plot(report: Mapping[str, Any], w: "np.ndarray", b: "np.ndarray", error: "np.ndarray") -> str:
    """Plot the surface in relief, and from above with both descents, as SVG.

    Args:
        report: the keys of `charlm inspect surface --json`.
        w, b: (P,) the values on the axes.
        error: (P, P) element [i, j] is that at b[i] and w[j].
    """

    def draw(figure: "Figure") -> None:
        relief = figure.add_subplot(1, 2, 1, projection="3d")
        _draw_relief(relief, w, b, error)
        above = figure.add_subplot(1, 2, 2)
        _draw_contours(above, report, w, b, error)

    return svg(draw, 12, 5.4)


def _draw_relief(axes: Any, w: "np.ndarray", b: "np.ndarray", error: "np.ndarray") -> None:
    """Draw the error along b as lines, for about 50 values of w.

    A mesh would show the diagonal cliff as teeth."""
    from matplotlib import colormaps

    tones = colormaps["viridis"]
    for column in range(0, len(w), max(1, len(w) // 50)):
        axes.plot(0 * b + w[column], b, error[:, column], color=tones(0.9 * column / len(w)), linewidth=1.0)
    axes.view_init(elev=28, azim=-35)
    axes.set(xlabel="w", ylabel="b")
    axes.set_title("the wall: error over w and b")


def _draw_contours(
    axes: "Axes", report: Mapping[str, Any], w: "np.ndarray", b: "np.ndarray", error: "np.ndarray"
) -> None:
    from matplotlib.lines import Line2D

    contours = axes.contourf(w, b, error, levels=CONTOUR_LEVELS, cmap="viridis")
    contours.set_rasterized(True)
    axes.figure.colorbar(contours, ax=axes, label="error", shrink=0.9)
    for path, tone, size in ((report["plain"], PLAIN_COLOUR, 5.0), (report["clipped"], CLIPPED_COLOUR, 3.0)):
        axes.plot(path["w"], path["b"], color=tone, linewidth=1.1, marker="o", markersize=size, markeredgewidth=0)
    axes.plot(
        report["plain"]["w"][0], report["plain"]["b"][0], marker="*", markersize=14, color=INK, markeredgecolor="white"
    )
    axes.set(xlabel="w", ylabel="b", xlim=(w[0], w[-1]), ylim=(b[0], b[-1]))
    axes.grid(False)
    axes.set_title("gradient descent")
    handles = [
        Line2D([], [], color=PLAIN_COLOUR, marker="o", markersize=5),
        Line2D([], [], color=CLIPPED_COLOUR, marker="o", markersize=3, markeredgecolor=INK, markeredgewidth=0.3),
        Line2D([], [], color=INK, marker="*", markersize=10, linestyle=""),
    ]
    names = [f"as it is, to {_end_point(report['plain'])}", f"clipped, to {_end_point(report['clipped'])}", "start"]
    legend = axes.legend(handles, names, loc="upper right")
    legend.set(frame_on=True)
    legend.get_frame().set(facecolor="#d9d9d9", edgecolor="none", alpha=0.9)


def _end_point(path: Mapping[str, Any]) -> str:
    return f"w {path['w'][-1]:.1f}, b {path['b'][-1]:.1f}"
