"""`flawsmith train ensemble` and `flawsmith train distil`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flawsmith.model.classify import Classifier

JSON = typer.Option(False, "--json", help="Report as JSON on stdout.")
OVERWRITE = typer.Option(False, "--overwrite", help="Throw away what is in --out and start anew.")


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to `flawsmith train`."""
    app.command()(ensemble)
    app.command()(distil)


def ensemble(
    runs: list[Path] = typer.Argument(help="Run folders of flawsmith train classify, two or more."),
    out: Path = typer.Option(..., "--out", help="Run folder of the ensemble; the members are copied into it."),
    dataset: Path | None = typer.Option(None, "--dataset", help="Its val split gives the ensemble's temperature."),
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Join trained classifiers of the same classes into one: the mean of their probabilities."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, say
    from flawsmith.core.files import check_free, staged_folder
    from flawsmith.decide.classes import first_decision
    from flawsmith.decide.rules import save_decision
    from flawsmith.model.distil import check_classifier
    from flawsmith.model.ensemble import Ensemble, members_of
    from flawsmith.model.models import load_model
    from flawsmith.model.runs import SETTINGS, keep_settings

    check_free(out, overwrite, "run")
    members = [one for run in runs for one in members_of(check_classifier(load_model(run), run))]
    validation = pipeline.training_data(dataset)[1] if dataset else None
    model = Ensemble.of(members, validation)
    with staged_folder(out, overwrite, "run") as stage:
        model.save(stage)
        keep_settings(stage / SETTINGS, model.settings)
        save_decision(stage / "decision.json", first_decision(model.spec))
    if as_json:
        emit_json(_told(out, model) | {"members": len(members)})
    say(f"{out}: {len(members)} members; temperature {model.temperature_:.3f}")
    say(f"next: flawsmith evaluate {out} {dataset or 'DATASET'}")


def distil(
    teacher: Path = typer.Argument(help="Run folder of a classifier or an ensemble."),
    dataset: Path = typer.Argument(help="Data set folder with splits (see: flawsmith dataset split)."),
    out: Path = typer.Option(..., "--out", help="Run folder: model, a decision to begin with, settings."),
    student: str | None = typer.Option(None, "--student", help="Short for --set student.backbone.name=…"),
    itself: bool = typer.Option(False, "--self", help="The student is what its teacher is: self-distillation."),
    config: Path | None = typer.Option(None, "--config", help="YAML settings; see docs/model.md."),
    overrides: list[str] = typer.Option([], "--set", help="Override a setting, e.g. student.train.steps=400."),
    compare: bool = typer.Option(False, "--compare", help="Hold student against teacher on the test split."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint in --out, with its settings."),
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Teach a small classifier what a large one, or an ensemble, says of the same images."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.core.errors import ConfigError
    from flawsmith.deploy.compare import rows
    from flawsmith.model.distil import DISTIL, DistilSettings, check_classifier, own_settings
    from flawsmith.model.models import load_model

    changed = sorted({word.partition("=")[0].split(".")[0] for word in overrides})
    if itself and (student or "student" in changed):
        raise ConfigError("--self takes the teacher's own settings: leave --student and --set student.… out")
    if resume and config is None and not overrides and (out / DISTIL).exists():
        config = out / DISTIL
    short = [f"student.backbone.name={student}"] if student else []
    settings = load_settings(DistilSettings, config, [*overrides, *short])
    if out.resolve() == teacher.resolve():
        raise ConfigError(f"--out {out} is the teacher's own folder: choose another")
    master = check_classifier(load_model(teacher), teacher)
    if itself:
        settings = settings.model_copy(update={"student": own_settings(master)})
    with training_bar() as on_step:
        model = pipeline.distil_classifier(master, dataset, out, settings, resume, overwrite, on_step)
    report = _told(out, model) | {"steps": model.state_.step, "temperature_of_distillation": settings.temperature}
    if compare:
        report["compared"] = _compared(master, model, dataset)
    if as_json:
        emit_json(report)
    elif compare:
        emit_table("test split, ONNX Runtime, one thread, one image at a time", *rows(report["compared"]))
    say(f"{out}: learnt from {teacher} in {model.state_.step} steps")
    say(f"next: flawsmith evaluate {out} {dataset}")


def _compared(master: "Classifier", model: "Classifier", dataset: Path) -> list[dict[str, Any]]:
    from flawsmith import pipeline
    from flawsmith.dataset import Dataset
    from flawsmith.deploy.compare import compare
    from flawsmith.model.ensemble import members_of

    members = members_of(master)
    single = {"first member": members[0]} if len(members) > 1 else {}
    part = Dataset.open(dataset).split("test")
    models = {"teacher": master, **single, "student": model}
    for one in models.values():
        pipeline.unseen(one, part)
    return compare(models, part, "teacher")


def _told(run: Path, model: "Classifier") -> dict[str, Any]:
    return {
        "run": str(run),
        "classes": list(model.spec.classes),
        "healthy": list(model.spec.healthy),
        "images": len(model.learnt_ids_),
        "temperature": round(model.temperature_, 3),
    }
