"""The report's plots, as SVG text: no script, no date, no random ids, so the same figures give the same bytes."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator, PercentFormatter

from flawsmith.evaluate.figures import ProvenanceFigures
from flawsmith.evaluate.intervals import clopper_pearson

HEALTHY, DEFECTIVE, CURVE, INK = "#1f77b4", "#c8401e", "#6a51a3", "#26323f"
HALF, THIRD = (5.0, 3.4), (3.5, 3.0)  # inches, for two and for three plots beside each other
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "flawsmith",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#8a949e",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ec",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


class Drawing:
    """One plot in the making; `svg` is set when the block ends."""

    svg: str = ""
    axes: Axes


@contextmanager
def drawing(name: str, x: str, y: str, size: tuple[float, float] = HALF) -> Iterator[Drawing]:
    """A plot of axes named x and y. `name` makes its element ids unique within the page."""
    out = Drawing()
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        out.axes = canvas.add_subplot()
        out.axes.set(xlabel=x, ylabel=y)
        yield out
        sink = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(sink, format="svg", metadata=nothing)
    text = sink.getvalue()
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    # the width of the page decides, not the one in points
    out.svg = re.sub(
        r'<svg height="[^"]*" ', '<svg role="img" ', re.sub(r' width="[\d.]+pt"', "", text, count=1), count=1
    )


def plots(figures: ProvenanceFigures) -> dict[str, str]:
    """Every plot that the figures allow, by name; one that has nothing to show is left out."""
    prefix = figures.provenance
    out = {
        "histogram": score_histogram(f"{prefix}-histogram", figures),
        "sweep": sweep(f"{prefix}-sweep", figures),
    }
    if figures.healthy and figures.defective:
        out["roc"] = roc(f"{prefix}-roc", figures)
    if figures.defective:
        out["precision_recall"] = precision_recall(f"{prefix}-pr", figures)
    if figures.pixels.truth_regions:
        out["pixel_precision_recall"] = pixel_precision_recall(f"{prefix}-pixel-pr", figures)
        out["dice"] = dice(f"{prefix}-dice", figures)
    if figures.pixels.per_region_overlap[0]:
        out["overlap"] = overlap(f"{prefix}-pro", figures)
    return out


def score_histogram(name: str, figures: ProvenanceFigures) -> str:
    """Healthy upwards, defective downwards, so that neither hides the other."""
    histogram = figures.image.histogram
    healthy, defective = np.array(histogram.healthy), np.array(histogram.defective)
    step = 1 / len(healthy)
    left = np.arange(len(healthy)) * step
    with drawing(name, "image score", "images") as plot:
        axes = plot.axes
        axes.bar(left, healthy, step, align="edge", color=HEALTHY, label="healthy")
        axes.bar(left, -defective, step, align="edge", color=DEFECTIVE, label="defective")
        axes.axhline(0, color="#8a949e", linewidth=0.8)
        axes.axvline(figures.operating.threshold, color=INK, linestyle="--", label="threshold")
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0, 1)
        legend_above(axes)
    return plot.svg


def sweep(name: str, figures: ProvenanceFigures) -> str:
    """Escapes and false rejects by threshold, with their exact intervals."""
    points = figures.image.operating_points
    threshold = np.concatenate([[0.0], points.threshold, [1.0]])
    with drawing(name, "threshold on the image score", "share of its kind") as plot:
        axes = plot.axes
        for counts, total, colour, label in (
            (points.escapes, figures.defective, DEFECTIVE, "escapes"),
            (points.false_rejects, figures.healthy, HEALTHY, "false rejects"),
        ):
            if total:
                padded = np.concatenate([counts[:1], counts, counts[-1:]])
                low, high = clopper_pearson(padded, total)
                axes.fill_between(threshold, low, high, step="pre", color=colour, alpha=0.15, linewidth=0)
                axes.step(threshold, padded / total, where="pre", color=colour, label=label)
        axes.axvline(figures.operating.threshold, color=INK, linestyle="--", label="threshold")
        unit_axes(axes, x_percent=False)
        legend_above(axes)
    return plot.svg


def roc(name: str, figures: ProvenanceFigures) -> str:
    points = figures.image.operating_points
    with drawing(name, "false rejects, of the healthy", "caught, of the defective") as plot:
        axes = plot.axes
        axes.plot([0, 1], [0, 1], color="#b4bcc4", linewidth=0.8)
        false_rejects = np.array(points.false_rejects) / figures.healthy
        axes.plot(false_rejects, np.array(points.correct_rejects) / figures.defective, color=CURVE)
        _point(axes, figures.operating.false_alarm_rate.value, figures.operating.recall.value)
        unit_axes(axes)
    return plot.svg


def precision_recall(name: str, figures: ProvenanceFigures) -> str:
    points = figures.image.operating_points
    caught, alarms = np.array(points.correct_rejects[:-1]), np.array(points.false_rejects[:-1])
    with drawing(name, "caught, of the defective (recall)", "defective, of the rejected (precision)") as plot:
        axes = plot.axes
        axes.step(caught / figures.defective, caught / (caught + alarms), where="post", color=CURVE)
        _point(axes, figures.operating.recall.value, figures.operating.precision.value)
        unit_axes(axes)
    return plot.svg


def pixel_precision_recall(name: str, figures: ProvenanceFigures) -> str:
    with drawing(name, "recall", "precision", THIRD) as plot:
        plot.axes.step(*figures.pixels.precision_recall, where="pre", color=CURVE)
        unit_axes(plot.axes)
    return plot.svg


def overlap(name: str, figures: ProvenanceFigures) -> str:
    with drawing(name, "false-alarm pixels", "mean share of a region found", THIRD) as plot:
        axes = plot.axes
        axes.plot(*figures.pixels.per_region_overlap, color=CURVE)
        axes.axvline(0.05, color="#8a949e", linestyle=":")
        unit_axes(axes)
        axes.set_xlim(0, 0.3)
    return plot.svg


def dice(name: str, figures: ProvenanceFigures) -> str:
    pixels = figures.pixels
    with drawing(name, "threshold on the pixel score", "Dice", THIRD) as plot:
        axes = plot.axes
        axes.step(*pixels.dice_by_threshold, where="pre", color=CURVE)
        axes.axvline(figures.operating.threshold, color=INK, linestyle="--", label="threshold")
        _point(axes, pixels.best_dice_threshold, pixels.best_dice.value, CURVE, "best")
        unit_axes(axes, x_percent=False)
        axes.yaxis.set_major_formatter("{x:.1f}")
        legend_above(axes)
    return plot.svg


def _point(axes: Axes, x: float | None, y: float | None, colour: str = INK, label: str = "operating point") -> None:
    if x is not None and y is not None:
        axes.plot([x], [y], "o", color=colour, label=label, clip_on=False, zorder=5)
        legend_above(axes)


def unit_axes(axes: Axes, x_percent: bool = True) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if x_percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def legend_above(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2, columnspacing=1.2)
