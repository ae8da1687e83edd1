"""`report.html` of a wear run, one page that needs nothing else, and `metrics.json` beside it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flawsmith.core.files import staged_folder, write_atomic, write_json
from flawsmith.evaluate.report import METRICS, REPORT, filled
from flawsmith.evaluate.wear import WearCase, WearEvaluation


def write_wear_page(
    evaluation: WearEvaluation, cases: Sequence[WearCase], out_dir: Path, overwrite: bool = False
) -> Path:
    """Write the folder of `report.html` and `metrics.json`, whole or not at all; the page's path.

    Raises `EnvironmentFault` when the folder cannot be written, `ConfigError` when it is in the way.
    """
    with staged_folder(out_dir, overwrite, "report") as stage:
        write_json(stage / METRICS, evaluation.to_json())
        write_atomic(stage / REPORT, render_wear_page(evaluation, cases).encode("utf-8", "replace"))
    return out_dir / REPORT


def render_wear_page(evaluation: WearEvaluation, cases: Sequence[WearCase]) -> str:
    """The page. Every text of the data set is escaped by the template engine."""
    plots = {"estimated": estimate_plot(evaluation)}
    if evaluation.agreement is not None and evaluation.agreement.low is not None:
        plots["agreement"] = agreement_plot(evaluation)
    worst = sorted(cases, key=lambda case: (-abs(case.estimated - case.vb), case.id))
    return filled("wear_page.html.jinja", e=evaluation, plots=plots, worst=[case for case in worst if case.png])


def estimate_plot(evaluation: WearEvaluation) -> str:
    """Estimated over true VB; what is right lies on the diagonal, what is at the wrong level is red."""
    from flawsmith.evaluate.plots import DEFECTIVE, HEALTHY, drawing  # matplotlib is slow to import

    unit = evaluation.unit
    with drawing("estimated", f"VB, true, in {unit}", f"VB, estimated, in {unit}") as plot:
        axes = plot.axes
        end = 1.08 * max(max(row.vb, row.estimated) for row in evaluation.rows)
        axes.plot([0, end], [0, end], color="#b4bcc4", linewidth=0.8)
        if evaluation.level_at is not None:
            axes.axvline(evaluation.level_at, color="#b4bcc4", linestyle=":", label="worn from here on")
        for right, colour, label in ((True, HEALTHY, "level right"), (False, DEFECTIVE, "level wrong")):
            own = [row for row in evaluation.rows if (row.level == row.estimated_level) == right]
            if own:
                axes.plot([r.vb for r in own], [r.estimated for r in own], "o", color=colour, label=label)
        axes.set(xlim=(0, end), ylim=(0, end))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2, columnspacing=1.2)
    return plot.svg


def agreement_plot(evaluation: WearEvaluation) -> str:
    """Bland and Altman's: the difference over the mean of both, with bias and limits."""
    from flawsmith.evaluate.plots import CURVE, DEFECTIVE, HEALTHY, drawing

    found, unit = evaluation.agreement, evaluation.unit
    assert found is not None
    assert found.bias is not None
    assert found.low is not None
    assert found.high is not None
    pairs = np.array([(row.segmented, row.vb) for row in evaluation.rows if row.segmented is not None])
    with drawing("agreement", f"mean of both, in {unit}", f"segmented − true, in {unit}") as plot:
        axes = plot.axes
        axes.axhline(0, color="#b4bcc4", linewidth=0.8)
        axes.axhline(found.bias, color=CURVE, label="bias")
        axes.axhline(found.low, color=DEFECTIVE, linestyle="--", label="limits of agreement")
        axes.axhline(found.high, color=DEFECTIVE, linestyle="--")
        axes.plot(pairs.mean(axis=1), pairs[:, 0] - pairs[:, 1], "o", color=HEALTHY)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, columnspacing=1.2)
    return plot.svg
