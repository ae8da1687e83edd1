"""`flawsmith train orientation`, and what `flawsmith evaluate` does with such a model."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flawsmith.dataset import Dataset
    from flawsmith.evaluate.orientation import Judged, OrientationEvaluation
    from flawsmith.model.orientation import OrientationSettings, Orienter
    from flawsmith.model.train import Progress


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
    from flawsmith.model.orientation import OrientationSettings, Orienter
    from flawsmith.model.orientation_data import named_part, part_of, resting_poses, shown_poses

    if resume and config is None and not overrides and (out / "settings.yaml").exists():
        config = out / "settings.yaml"
    settings = load_settings(OrientationSettings, config, overrides)
    train, val = pipeline.training_data(dataset)
    whole = Dataset.open(dataset)  # a pose that only a test image shows must have its place too
    named = named_part(part, unit) if part else part_of(whole)
    poses = resting_poses(named, shown_poses(whole), settings.bins_per_turn)
    with training_bar() as on_step:
        model = trained(Orienter(settings, poses), train, val, out, resume, overwrite, on_step)
    told = [{"pose": p.number, "symmetry": p.symmetry, "bins": p.bins} for p in model.spec.poses]
    report = {"run": str(out), "images": len(train), "poses": told, "steps": model.state_.step}
    if as_json:
        emit_json(report)
    named = ", ".join(f"{p.number} (symmetry {p.symmetry or 'round'})" for p in model.spec.poses)
    say(f"{out}: {len(train)} images of stable poses {named}; best at step {model.state_.best_step}")
    say(f"next: flawsmith evaluate {out} {dataset}")


def trained(
    model: "Orienter",
    train: "Dataset",
    val: "Dataset | None",
    run: Path,
    resume: bool = False,
    overwrite: bool = False,
    on_step: "Callable[[Progress], None]" = lambda progress: None,
) -> "Orienter":
    """Learn and keep model, checkpoint, settings and a decision in `run`; the data are looked at before it is made."""
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import check_free, staged_folder
    from flawsmith.decide.rules import save_decision
    from flawsmith.model.orientation_data import part_of, resting_poses, shown_poses
    from flawsmith.model.segment import WEIGHTS
    from flawsmith.model.train import CHECKPOINT

    bins = model.settings.bins_per_turn
    model.poses = model.poses or resting_poses(part_of(train), shown_poses(train), bins)
    if run.is_dir() and any(run.iterdir()) and not (resume or overwrite):
        raise ConfigError(f"{run} is not empty: add --resume to go on, --overwrite to start anew, or choose another")
    fresh = not (resume and (run / CHECKPOINT).exists())
    if fresh and resume and (run / WEIGHTS).exists():
        raise ConfigError(f"{run} holds a finished model and no checkpoint to resume; choose another folder")
    if fresh:
        check_free(run, overwrite or resume, "run")
        with staged_folder(run, overwrite or resume, "run") as stage:
            _keep_settings(stage, model.settings)
    model.fit(train, val, run, resume, on_step)
    model.save(run)
    _keep_settings(run, model.settings)
    save_decision(run / "decision.json", unknown_to_a_person())
    return model


def _keep_settings(run: Path, settings: "OrientationSettings") -> None:
    import yaml

    from flawsmith.core.files import write_atomic

    write_atomic(run / "settings.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).encode())


def unknown_to_a_person() -> Any:
    """The decision of a model of orientation: no pose is a fault; what it does not know goes to a person."""
    from flawsmith.core.spec import UNKNOWN
    from flawsmith.decide.rules import Decision, RegionRule

    return Decision(
        kinds={UNKNOWN: RegionRule(threshold=0.5, action="review")},
        default=RegionRule(threshold=1.0, action="ignore"),
        notes="as trained: nothing is calibrated or demonstrated",
    )


def refuse_calibration(model: Any) -> None:
    """Raise `ConfigError` for a model of orientation: no image of a right part is at fault, so nothing can be shown."""
    from flawsmith.core.errors import ConfigError
    from flawsmith.model.orientation import Orienter

    if isinstance(model, Orienter):
        raise ConfigError(
            "a model of orientation has no escapes to calibrate: export with the decision.json of its run folder, "
            "whose one rule sends what is unknown to a person, or edit its threshold"
        )


def evaluated(
    model: "Orienter",
    dataset: "Dataset",
    split: str | None = "test",
    roi: Any = None,
    watch: Callable[[Iterable[Any]], Iterator[Any]] = iter,
) -> "tuple[OrientationEvaluation, list[Judged]]":
    """Figures on one split (None: all images), and every image's own. Raises as `pipeline.unseen`."""
    from flawsmith.core.orientation import Orientation, placed
    from flawsmith.evaluate.evaluation import DatasetFacts
    from flawsmith.evaluate.orientation import Judged, evaluate_orientation
    from flawsmith.model.orientation_data import truths
    from flawsmith.pipeline import unseen

    images = unseen(model, dataset.split(split) if split else dataset)
    poses = model.spec.poses
    truth, judged = truths(images, poses), []
    for row, sample in enumerate(watch(images)):
        pose, camera = poses[truth.pose[row]], truth.cameras[row]
        x, y = truth.centre_px[row]
        angle = float(truth.angle_deg[row]) if pose.symmetry else None
        real = placed(Orientation(pose.number, angle, (float(x), float(y)), 1.0), poses, camera)
        found = placed(next(model.orient([sample.image()], roi)), poses, camera)
        judged.append(Judged(sample.id, real, found, pose.period_deg))
    facts = DatasetFacts(
        name=dataset.info.name,
        content_hash=dataset.info.content_hash,
        split=split or "all",
        model=model.identity(roi),
    )
    return evaluate_orientation(judged, facts), judged


def evaluate_to(
    model: "Orienter", dataset: "Dataset", split: str, out: Path, roi: Any, overwrite: bool, watch: Any
) -> "tuple[Path, OrientationEvaluation]":
    """The report folder's page, and the figures."""
    from flawsmith.evaluate.orientation import badness, write_orientation_report

    told, judged = evaluated(model, dataset, split, roi, watch)
    images = dataset.split(split)
    order = sorted(range(len(judged)), key=lambda row: badness(judged[row]), reverse=True)[:24]
    worst = [(judged[row], images[row].image()) for row in order]
    return write_orientation_report(told, worst, out, overwrite), told
