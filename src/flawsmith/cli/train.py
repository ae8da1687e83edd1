"""`flawsmith train …`"""

from pathlib import Path

import typer

from flawsmith.cli import anomaly, distil, orientation, wear

app = typer.Typer(no_args_is_help=True, help="Train a model on a data set.")


@app.callback()
def train() -> None:
    """Train a model on a data set."""


@app.command()
def segment(
    dataset: Path = typer.Argument(help="Data set folder with splits (see: flawsmith dataset split)."),
    out: Path = typer.Option(..., "--out", help="Run folder: model, checkpoint, logs, resolved settings."),
    config: Path | None = typer.Option(None, "--config", help="YAML settings; see docs/model.md."),
    overrides: list[str] = typer.Option([], "--set", help="Override a setting, e.g. train.steps=400."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint in --out, with its settings."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out and start anew."),
    labelled: int | None = typer.Option(None, "--labelled", min=1, help="Use only so many defective images."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print the resolved settings and image counts; train nothing."
    ),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Learn from masks or boxes where flaws are: one score map per kind."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.model.segment import SegmentSettings

    if resume and config is None and not overrides and (out / "settings.yaml").exists():
        config = out / "settings.yaml"
    settings = load_settings(SegmentSettings, config, overrides)
    plan = pipeline.plan_training(dataset, settings, labelled)
    if dry_run:
        emit_json(plan)
        return
    say(f"train on {plan['train']} images ({plan['defective']} with a defect), validate on {plan['val']}")
    with training_bar() as on_step:
        model = pipeline.train_segmenter(dataset, out, settings, resume, overwrite, labelled, on_step)
    state = model.state_
    report = {"run": str(out), "steps": state.step, "best_step": state.best_step, "iou": max(state.best, 0.0), **plan}
    if as_json:
        emit_json(report)
    say(f"{out}: {state.step} steps, validation IoU {report['iou']:.3f} at step {state.best_step}")
    say(f"next: flawsmith evaluate {out} {dataset}")


@app.command()
def classify(
    dataset: Path = typer.Argument(help="Data set folder with splits (see: flawsmith dataset split)."),
    out: Path | None = typer.Option(None, "--out", help="Run folder: model, a decision to begin with, settings."),
    config: Path | None = typer.Option(None, "--config", help="YAML settings; see docs/model.md."),
    overrides: list[str] = typer.Option([], "--set", help="Override a setting, e.g. tune.how=last."),
    backbone: str | None = typer.Option(None, "--backbone", help="Short for --set backbone.name=…"),
    how: str | None = typer.Option(None, "--how", help="frozen, augmented, last, full or scratch: tune.how"),
    shots: int | None = typer.Option(None, "--shots", min=1, help="Try so many images of a class; keeps no model."),
    mix: str | None = typer.Option(
        None,
        "--mix",
        help="Images of each class by provenance, e.g. real:10,render:500; without --out tried as --shots.",
    ),
    repeats: int = typer.Option(20, "--repeats", min=2, help="Draws of --shots or --mix."),
    members: int = typer.Option(1, "--members", min=1, help="Train an ensemble of so many."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint in --out, with its settings."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out and start anew."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Learn from the labels of whole images what they show; a handful of each class will do to begin with."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.core.errors import ConfigError
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.mix import Share, parse_mix
    from flawsmith.model.classify import ClassifySettings
    from flawsmith.model.few_shots import few_shots

    if shots is not None and mix:
        raise ConfigError(f"--shots {shots} and --mix {mix}: choose one; --mix real:{shots} draws as many")
    if out is None and shots is None and not mix:
        raise ConfigError("--out is missing: name the run folder, or try images with --shots or --mix")
    shares = (Share(None, shots),) if shots is not None else parse_mix(mix) if mix else ()
    if resume and out and config is None and not overrides and (out / "settings.yaml").exists():
        config = out / "settings.yaml"
    short = {"backbone.name": backbone, "tune.how": how}
    settings = load_settings(ClassifySettings, config, [*overrides, *(f"{k}={v}" for k, v in short.items() if v)])
    if shots is not None or out is None:
        found = few_shots(Dataset.open(dataset), settings, shares, repeats)
        emit_json(found.as_json()) if as_json else emit_table(*found.table())
        return
    with training_bar() as on_step:
        model = pipeline.train_classifier(dataset, out, settings, resume, overwrite, on_step, shares, members)
    spec = model.spec
    report = {
        "run": str(out),
        "classes": list(spec.classes),
        "healthy": list(spec.healthy),
        "images": len(model.learnt_ids_),
        "temperature": round(model.temperature_, 3),
        "steps": model.state_.step,
    }
    if as_json:
        emit_json(report)
    say(f"{out}: {report['images']} images of {', '.join(spec.classes)}; temperature {report['temperature']}")
    say(f"next: flawsmith evaluate {out} {dataset}")


app.command()(anomaly.anomaly)
app.command()(wear.wear)
app.command()(orientation.orientation)
distil.add_to(app)
