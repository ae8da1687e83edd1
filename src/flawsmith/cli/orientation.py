"""`flawsmith train orientation`, and what `flawsmith evaluate` does with such a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flawsmith.dataset import Dataset
    from flawsmith.evaluate.orientation import OrientationEvaluation
    from flawsmith.model.orientation import Orienter


def orientation(
    dataset: Path = typer.Argument(help="Data set of flawsmith generate, with splits (see: flawsmith dataset split)."),
    out: Path = typer.Option(..., "--out", help="Run folder: model, a decision to begin with, settings."),
    config: Path | None = typer.Option(None, "--config", help="YAML settings; see docs/model.md."),
    overrides: list[str] = typer.Option([], "--set", help="Override a setting, e.g. train.steps=400."),
    part: str | None = typer.Option(
        None, "--part", help="CAD file, or a standard part as 'hex-screw M8x25' [default: the one that was rendered]."
    ),
    unit: str | None = typer.Option(None, "--unit", help="Of --part, where its file states none, as STL: mm, inch …"),
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint in --out, with its settings."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out and start anew."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Learn from renders of known pose how a part lies: stable pose, in-plane angle and centre."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.dataset import Dataset
    from flawsmith.model.orientation import OrientationSettings
    from flawsmith.model.orientation_data import named_part

    if resume and config is None and not overrides and (out / "settings.yaml").exists():
        config = out / "settings.yaml"
    settings = load_settings(OrientationSettings, config, overrides)
    named = named_part(part, unit) if part else None
    with training_bar() as on_step:
        model = pipeline.train_orienter(dataset, out, settings, named, resume, overwrite, on_step)
    told = [{"pose": p.number, "symmetry": p.symmetry, "bins": p.bins} for p in model.spec.poses]
    images = len(Dataset.open(dataset).split("train"))
    report = {"run": str(out), "images": images, "poses": told, "steps": model.state_.step}
    if as_json:
        emit_json(report)
    named = ", ".join(f"{p.number} (symmetry {p.symmetry or 'round'})" for p in model.spec.poses)
    say(f"{out}: {images} images of stable poses {named}; best at step {model.state_.best_step}")
    say(f"next: flawsmith evaluate {out} {dataset}")


def refuse_calibration(model: Any) -> None:
    """Raise `ConfigError` for a model of orientation: no image of a right part is at fault, so nothing can be shown."""
    from flawsmith.core.errors import ConfigError
    from flawsmith.model.orientation import Orienter

    if isinstance(model, Orienter):
        raise ConfigError(
            "a model of orientation has no escapes to calibrate: export with the decision.json of its run folder, "
            "whose one rule sends what is unknown to a person, or edit its threshold"
        )


def evaluate_to(
    model: "Orienter", dataset: "Dataset", split: str, out: Path, roi: Any, overwrite: bool, watch: Any
) -> "tuple[Path, OrientationEvaluation]":
    """The report folder's page, and the figures."""
    from flawsmith import pipeline
    from flawsmith.evaluate.orientation import badness, write_orientation_report

    told, judged = pipeline.evaluate_orienter(model, dataset, split, roi, watch)
    images = dataset.split(split)
    order = sorted(range(len(judged)), key=lambda row: badness(judged[row]), reverse=True)[:24]
    worst = [(judged[row], images[row].image()) for row in order]
    return write_orientation_report(told, worst, out, overwrite), told
