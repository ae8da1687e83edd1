"""`flawsmith evaluate` and `flawsmith calibrate`."""

from functools import partial
from pathlib import Path
from typing import Any

import typer

from flawsmith.cli import orientation
from flawsmith.cli.wear import evaluate_wear

MODEL = typer.Argument(help="Run folder of flawsmith train.")
DATASET = typer.Argument(help="Data set folder.")
ROI = typer.Option(None, "--roi", help="Mask image: only its bright part is inspected.")
JSON = typer.Option(False, "--json", help="Report as JSON on stdout.")
OVERWRITE = typer.Option(False, "--overwrite", help="Replace what is there.")


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command()(evaluate)
    app.command()(calibrate)


def evaluate(
    model: Path = MODEL,
    dataset: Path = DATASET,
    split: str = typer.Option("test", "--split", help="Which split to score."),
    out: Path | None = typer.Option(None, "--out", help="Report folder [default: MODEL/report-SPLIT]."),
    decision: Path | None = typer.Option(None, "--decision", help="Score the verdicts of this decision.json."),
    together: str | None = typer.Option(
        None, "--together", help="Classifier: judge images that share this as one: part, lot, session or camera."
    ),
    roi: Path | None = ROI,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Figures of a model on one split: report.html and metrics.json."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, track
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import check_free
    from flawsmith.dataset import Dataset
    from flawsmith.decide.rules import load_decision
    from flawsmith.evaluate.class_report import write_class_report
    from flawsmith.evaluate.report import write_report
    from flawsmith.evaluate.rows import class_rows, headline_rows
    from flawsmith.line.recipe import read_roi
    from flawsmith.model.classify import Classifier
    from flawsmith.model.models import load_model
    from flawsmith.model.orientation import Orienter
    from flawsmith.model.wear.mark import holds_wear

    if holds_wear(model):
        refused: dict[str, object] = {"--decision": decision, "--roi": roi, "--together": together}
        evaluate_wear(model, dataset, split, out, refused, overwrite, as_json)
        return
    out = out or model / f"report-{split}"
    check_free(out, overwrite, "report")
    data, region = Dataset.open(dataset), read_roi(roi) if roi else None
    total = len(data.split(split))
    rules = load_decision(decision) if decision else None
    trained = load_model(model)
    if together and not isinstance(trained, Classifier):
        raise ConfigError("--together joins the images of a part for a classifier: leave it out")
    watch: Any = partial(track, what="evaluating", total=total)
    if isinstance(trained, Classifier):
        told = pipeline.evaluate_classifier(trained, data, split, region, watch, together, rules)
        page, headline, rows, figures = write_class_report(told, out, overwrite), told.headline, class_rows(told), told
    elif isinstance(trained, Orienter):
        if rules:
            raise ConfigError("--decision is about regions; a model of orientation has none: leave it out")
        page, figures = orientation.evaluate_to(trained, data, split, out, region, overwrite, watch)
        headline, rows = figures.headline, figures.rows()
    else:
        evaluation = pipeline.evaluate_model(trained, data, split, rules, region, watch)
        page, headline = write_report(evaluation, out, overwrite), evaluation.headline
        rows, figures = headline_rows(evaluation), evaluation
    if as_json:
        emit_json(figures.to_json())
    else:
        emit_table("figures", ("figure", "value", "95 % interval"), rows)
    say(headline)
    say(f"report: {page}")


def calibrate(
    model: Path = MODEL,
    dataset: Path = DATASET,
    out: Path = typer.Option(..., "--out", help="Where decision.json goes."),
    max_escape: float | None = typer.Option(None, "--max-escape", help="Largest tolerable escape rate, e.g. 0.05."),
    max_false_reject: float | None = typer.Option(
        None, "--max-false-reject", help="Largest tolerable false-reject rate."
    ),
    confidence: float = typer.Option(0.95, "--confidence", help="Of the exact bounds."),
    cost: tuple[float, float] | None = typer.Option(None, "--cost", help="Money per ESCAPE and per FALSE REJECT."),
    cost_review: float | None = typer.Option(None, "--cost-review", help="Money per reviewed part."),
    prevalence: float | None = typer.Option(None, "--prevalence", help="Share of defective parts in production."),
    min_area: list[int] = typer.Option([], "--min-area", help="Candidate minimum areas in pixels; repeat to compare."),
    split: str = typer.Option("val", "--split", help="Never the test split."),
    unit: str = typer.Option(
        "part", "--unit", help="What is one independent trial: part, lot, session, camera or image."
    ),
    synthetic: bool = typer.Option(
        False, "--synthetic", help="Calibrate on synthetic images; shows nothing of real parts."
    ),
    roi: Path | None = ROI,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Choose thresholds and minimum area for a stated escape or false-reject rate, or say that it cannot be shown."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, track
    from flawsmith.core.config import validate
    from flawsmith.core.errors import ConfigError
    from flawsmith.dataset import Dataset
    from flawsmith.decide.report import COLUMNS
    from flawsmith.decide.request import CalibrationRequest
    from flawsmith.decide.rules import save_decision
    from flawsmith.line.recipe import read_roi
    from flawsmith.model.models import load_model

    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists: choose another --out or add --overwrite")
    if (cost is None) != (prevalence is None):
        raise ConfigError(
            "--cost and --prevalence go together: how much a mistake costs, how often parts are defective"
        )
    if cost_review is not None and cost is None:
        raise ConfigError("--cost-review needs --cost and --prevalence")
    asked: dict[str, object] = {
        "max_escape": max_escape,
        "max_false_reject": max_false_reject,
        "confidence": confidence,
        "split": split,
        "unit": unit,
        "provenance": "synthetic" if synthetic else "real",
        "min_areas_px": tuple(sorted(set(min_area))) or None,
    }
    if cost:
        asked["costs"] = {
            "escape": cost[0],
            "false_reject": cost[1],
            "review": cost_review,
            "prevalence": prevalence,
        }
    request = validate(CalibrationRequest, asked, "calibrate")
    data = Dataset.open(dataset)
    total = len(data.split(split))
    trained = load_model(model)
    orientation.refuse_calibration(trained)
    report = pipeline.calibrate_model(
        trained,
        data,
        request,
        read_roi(roi) if roi else None,
        lambda pairs: track(pairs, "calibrating", total),
    )
    save_decision(out, report.decision)
    if as_json:
        emit_json(report.to_json())
    else:
        emit_table("decision", COLUMNS, report.rows())
    for note in report.notes:
        say(f"note: {note}")
    say(f"decision: {out}")
