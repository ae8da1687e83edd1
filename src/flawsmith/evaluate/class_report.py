"""`report.html` of a classifier, one page that needs nothing else, and `metrics.json` beside it."""

from pathlib import Path

from flawsmith.core.files import staged_folder, write_atomic, write_json
from flawsmith.evaluate.class_evaluation import ClassEvaluation
from flawsmith.evaluate.evaluation import ORIGIN
from flawsmith.evaluate.report import METRICS, REPORT, filled

_LARGEST = 16  # a matrix with more columns is written small


def write_class_report(evaluation: ClassEvaluation, out_dir: Path, overwrite: bool = False) -> Path:
    """Write the folder `out_dir` of `report.html` and `metrics.json`, whole or not at all; the page's path.

    The same evaluation gives the same bytes. Raises `EnvironmentFault` when the folder cannot be written, `ConfigError`
    when it is in the way (see `staged_folder`).
    """
    with staged_folder(out_dir, overwrite, "report") as stage:
        write_json(stage / METRICS, evaluation.to_json())
        write_atomic(stage / REPORT, render_classes(evaluation).encode("utf-8", "replace"))
    return out_dir / REPORT


def render_classes(evaluation: ClassEvaluation) -> str:
    """The page. Every text of the data set is escaped by the template engine."""
    from flawsmith.evaluate.class_plots import feature_plot, map_legend, reliability  # matplotlib is slow to import

    features = evaluation.feature_map
    return filled(
        "class_report.html.jinja",
        e=evaluation,
        main=evaluation.main,
        origin=ORIGIN,
        shades={p.provenance: shades(p.matrix.counts) for p in evaluation.provenances},
        places={
            p.provenance: {
                (cell.truth, cell.verdict): f"{p.provenance}-cell-{number}" for number, cell in enumerate(p.cells)
            }
            for p in evaluation.provenances
        },
        plots={
            p.provenance: {"reliability": reliability(f"{p.provenance}-reliability", p.calibration)}
            if p.calibration.images
            else {}
            for p in evaluation.provenances
        },
        map_plot={} if features is None else {"map": feature_plot("map", features, evaluation.classes)},
        map_legend=[] if features is None else map_legend(features, evaluation.classes),
        small=len(evaluation.classes) > _LARGEST,
    )


def shades(counts: tuple[tuple[int, ...], ...]) -> list[list[float]]:
    """Each cell's share of its row, 0 to 1; rows without images are all 0."""
    return [[count / max(sum(row), 1) for count in row] for row in counts]
