"""`flawsmith demo`: the whole path once, on surfaces made here or on a folder of labelled photographs."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flawsmith.dataset import Dataset
    from flawsmith.model.segment import Segmenter

SURFACES = 160


def add_to(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command()(demo)


def demo(
    out: Path = typer.Option(Path("demo"), "--out", help="Where everything goes."),
    data: Path | None = typer.Option(None, "--data", help="Labelled photographs in any format of dataset import."),
    steps: int = typer.Option(300, "--steps", min=1, help="Training steps."),
    seed: int = typer.Option(0, "--seed", help="Of the surfaces, the split and the training."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """The whole path in a few minutes: data set, model, evaluation, decision, recipe, verdicts."""
    import shutil
    import time

    from flawsmith.cli.output import emit_json, emit_table, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.core.errors import ConfigError
    from flawsmith.evaluate.report import write_report
    from flawsmith.model.segment import SegmentSettings

    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise ConfigError(f"{out} is not empty: choose another --out or add --overwrite")
        shutil.rmtree(out)
    start = time.monotonic()
    dataset = make_dataset(data, out / "dataset", seed)
    say(f"1. data set: {len(dataset)} images, kinds {', '.join(dataset.classes)}")
    settings = load_settings(SegmentSettings, None, [f"train.steps={steps}", f"train.seed={seed}"])
    say(f"2. training {steps} steps (the long part)")
    with training_bar() as on_step:
        from flawsmith import pipeline

        model = pipeline.train_segmenter(out / "dataset", out / "run", settings, on_step=on_step)
    report = choose(model, dataset, out)
    say("3. decision: " + str(out / "decision.json"))
    evaluation = pipeline.evaluate_model(model, dataset, "test", report.decision, name="demo")
    page = write_report(evaluation, out / "report")
    say(f"4. {evaluation.headline}")
    recipe = pipeline.export_recipe(model, dataset, report.decision, out / "recipe")
    say(f"5. recipe: {out / 'recipe'}, engines {', '.join(recipe.engines)}")
    summary = inspect_test(dataset, out)
    minutes = (time.monotonic() - start) / 60
    rows = [*pipeline.headline_rows(evaluation), *((f"verdict {k}", str(v), "") for k, v in summary.items())]
    if as_json:
        emit_json({"report": str(page), "verdicts": summary, "minutes": minutes, "evaluation": evaluation.to_json()})
    else:
        emit_table("demo", ("figure", "value", "95 % interval"), rows)
    say(f"done in {minutes:.1f} minutes; open {page}")


def make_dataset(data: Path | None, folder: Path, seed: int) -> "Dataset":
    """Import the photographs, or make the surfaces; check and split."""
    from flawsmith.cli.output import say, track
    from flawsmith.dataset import DatasetInfo, write_dataset
    from flawsmith.dataset.check import check_dataset
    from flawsmith.dataset.convert import import_dataset
    from flawsmith.dataset.split import split_dataset
    from flawsmith.synth.surface import surfaces

    if data is None:
        info = DatasetInfo(name="demo surfaces", licence="CC0-1.0", sources=("flawsmith demo",))
        write_dataset(folder, track(surfaces(SURFACES, seed), "making surfaces", SURFACES), info)
    else:
        import_dataset(data, folder)
    dataset = split_dataset(folder, seed=seed)
    findings = check_dataset(dataset)
    for finding in findings.findings:
        say(f"   check: {finding}")
    return dataset
