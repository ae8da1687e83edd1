"""An insert's history as SVG: its readings, the line they follow, the limit, and when it is reached."""

import numpy as np

from flawsmith.evaluate.plots import CURVE, DEFECTIVE, HEALTHY, drawing
from flawsmith.model.wear.history import WearForecast, WearHistory


def history_plot(name: str, history: WearHistory, forecast: WearForecast) -> str:
    """VB in mm over passes. `name` makes the ids of its elements unique within the page."""
    passes, vb = history.passes, history.vb_mm
    with drawing(name, "passes", "VB in mm") as plot:
        axes = plot.axes
        last = float(passes[-1])
        right = max(last * 1.15, 1.0)
        if forecast.low is not None and forecast.high is not None:
            # a far upper end would squeeze the readings into the corner
            right = max(right, min(forecast.high * 1.05, 6 * max(last, 1.0)))
            axes.axvspan(
                max(forecast.low, 0), min(forecast.high, right), color=DEFECTIVE, alpha=0.12, linewidth=0,
                label=f"limit reached, {forecast.level:.0%} interval",
            )  # fmt: skip
        if forecast.line is not None and forecast.since_passes is not None:
            ends = np.array([forecast.since_passes, right])
            axes.plot(ends, forecast.line[0] + forecast.line[1] * ends, "--", color=CURVE, label="steady growth")
        axes.axhline(forecast.limit_mm, color=DEFECTIVE, label=f"limit {forecast.limit_mm:g} mm")
        axes.plot(passes, vb, "o", color=HEALTHY, label="measured", zorder=5)
        axes.set(xlim=(0, right), ylim=(0, 1.15 * max(forecast.limit_mm, float(vb.max()))))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, columnspacing=1.2)
    return plot.svg
