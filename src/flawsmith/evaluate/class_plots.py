"""The plots of a classifier's report, as SVG text in the manner of `plots`."""

import numpy as np

from flawsmith.evaluate.calibration import CalibrationFigures
from flawsmith.evaluate.class_evaluation import FeatureMap
from flawsmith.evaluate.plots import CURVE, HALF, drawing, unit_axes

WIDE = (10.2, 5.4)  # inches, for one plot across the page
# told apart with any colour vision as far as possible (Okabe and Ito), then by lightness
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d1f", "#5b3f8c", "#7a8793", "#b8b800")
FOREIGN_COLOUR = "#1d2733"


def reliability(name: str, figures: CalibrationFigures) -> str:
    """Share of right answers by confidence, with exact intervals; a true promise lies on the diagonal."""
    confidence = np.array([b.confidence for b in figures.bins])
    with drawing(name, "confidence: what was promised", "right answers: what came true", HALF) as plot:
        axes = plot.axes
        axes.plot([0, 1], [0, 1], color="#b4bcc4", linewidth=0.8)
        shares, lows, highs = (
            np.array([getattr(b.right, end) for b in figures.bins], float) for end in ("value", "low", "high")
        )
        bars = np.stack([shares - lows, highs - shares]).clip(0)
        axes.errorbar(confidence, shares, bars, fmt="o", markersize=4, color=CURVE, elinewidth=1, clip_on=False)
        unit_axes(axes)
    return plot.svg


def feature_plot(name: str, features: FeatureMap, classes: tuple[str, ...]) -> str:
    """Images by their first two components: colour by class, dots for real ones and crosses for synthetic ones."""
    labels, real = np.array(features.label), np.array([p == "real" for p in features.provenance])
    x, y = np.array(features.x), np.array(features.y)
    shares = [f"component {i + 1} ({100 * share:.0f} % of the variance)" for i, share in enumerate(features.explained)]
    with drawing(name, shares[0], shares[1], WIDE) as plot:
        axes = plot.axes
        for label, colour, _ in map_legend(features, classes):
            for chosen, marker in ((real, "o"), (~real, "x")):
                own = (labels == label) & chosen
                axes.scatter(x[own], y[own], s=16, color=colour, marker=marker, alpha=0.75, linewidths=1)
        axes.tick_params(labelbottom=False, labelleft=False)  # features have no unit
    return plot.svg


def map_legend(features: FeatureMap, classes: tuple[str, ...]) -> list[tuple[str, str, bool]]:
    """Label, colour and whether the model knows it; the page writes it, in any script, beside the plot."""
    shown = set(features.label)
    known = [(label, COLOURS[i % len(COLOURS)], True) for i, label in enumerate(classes) if label in shown]
    return known + [(label, FOREIGN_COLOUR, False) for label in sorted(shown - set(classes))]
