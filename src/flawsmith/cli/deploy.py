"""`flawsmith export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flawsmith.deploy.export import Export


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command()(export)


def export(
    model: Path = typer.Argument(help="Run folder of flawsmith train."),
    dataset: Path = typer.Argument(help="Data set folder: held-out images for the gate, training images for int8."),
    decision: Path = typer.Option(..., "--decision", help="decision.json of flawsmith calibrate, or by hand."),
    out: Path = typer.Option(..., "--out", help="Recipe folder."),
    name: str | None = typer.Option(None, "--name", help="Name of the recipe [default: the folder's]."),
    split: str = typer.Option("val", "--split", help="Held-out images of the parity gate; never train."),
    images: int = typer.Option(100, "--images", min=1, help="At most so many held-out images, half of them defective."),
    calibration_images: int = typer.Option(48, "--calibration-images", min=1, help="Training images for int8."),
    engine: list[str] = typer.Option([], "--engine", help="Try only these besides onnxruntime; repeat."),
    metrics: Path | None = typer.Option(None, "--metrics", help="metrics.json of flawsmith evaluate, for the card."),
    limit: list[str] = typer.Option([], "--limit", help="A sentence on its limits, for the card; repeat."),
    roi: Path | None = typer.Option(None, "--roi", help="Mask image: only its bright part is inspected."),
    threads: int | None = typer.Option(None, "--threads", min=1, help="Processors to use [default: all]."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is in --out."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Write a recipe for the line, behind the parity gate: every engine must give the trained model's verdicts."""
    from flawsmith.cli.output import emit_json, say
    from flawsmith.dataset.manifest import Dataset
    from flawsmith.decide.rules import load_decision
    from flawsmith.deploy.request import ExportRequest, export_model
    from flawsmith.line.recipe import read_roi
    from flawsmith.model.models import load_model

    rules = load_decision(decision)
    trained = load_model(model)
    region = read_roi(roi) if roi else None
    headline, figures = _figures(metrics, trained.identity(region)) if metrics else ("", ())
    request = ExportRequest(
        name=name,
        split=split,
        images=images,
        calibration_images=calibration_images,
        engines=tuple(engine) or None,
        roi=region,
        headline=headline,
        figures=figures,
        limits=tuple(limit),
        threads=threads,
        overwrite=overwrite,
    )
    done = export_model(trained, Dataset.open(dataset), rules, out, request, say)
    if as_json:
        emit_json(_report(done, out))
    else:
        _show(done)
    for warning in done.parity.warnings:
        say(f"warning: {warning}")
    for left, reason in done.parity.left_out.items():
        say(f"{left} was left out, {done.engines[0]} is used instead: {reason}")
    say(f"recipe: {out}")


def _figures(metrics: Path, identity: str) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Headline and main figures of an evaluation of this very model. Raises `ConfigError` for another's."""
    from flawsmith.core.config import validate
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import read_json
    from flawsmith.evaluate.evaluation import Evaluation
    from flawsmith.evaluate.rows import headline_rows

    evaluation = validate(Evaluation, read_json(metrics), str(metrics))
    if evaluation.dataset.model != identity:
        raise ConfigError(f"{metrics} is of another model or region of interest: run flawsmith evaluate again")
    return evaluation.headline, tuple((str(a), str(b), str(c)) for a, b, c in headline_rows(evaluation))


def _report(done: "Export", out: Path) -> dict[str, Any]:
    parity = done.parity
    return {
        "recipe": str(out),
        "digest": done.recipe.digest,
        "engine": done.engines[0],
        "engines": {name: entry.model_dump(mode="json") for name, entry in done.recipe.info.engines.items()},
        "left_out": parity.left_out,
        "held_out_images": parity.images,
        "verdicts": parity.verdicts,
        "warnings": list(parity.warnings),
    }


def _show(done: "Export") -> None:
    from flawsmith.cli.output import emit_table

    parity = done.parity
    rows = [
        (
            name,
            engine.precision,
            "passed" if engine.passed else "left out",
            f"{engine.ms:.1f}" if engine.ms else "-",
            f"{engine.score_diff:.1e}",
            f"{engine.map_max:.1e}",
            f"{engine.map_mean:.1e}",
            f"{len(engine.flipped)} of {len(engine.images)}",
        )
        for name, engine in parity.engines.items()
    ]
    columns = ("engine", "precision", "gate", "ms", "score diff", "map max", "map mean", "flipped")
    counts = ", ".join(f"{count} {status}" for status, count in sorted(parity.verdicts.items()))
    emit_table(f"parity on {parity.images} held-out images: {counts}", columns, rows)
