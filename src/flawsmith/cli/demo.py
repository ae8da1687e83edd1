"""`flawsmith demo`: the whole path once, on surfaces made here or on a folder of labelled photographs."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flawsmith.dataset import Dataset
    from flawsmith.decide.request import CalibrationRequest

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
    import time

    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.core.files import staged_folder
    from flawsmith.dataset.convert import recognise
    from flawsmith.decide.rules import save_decision
    from flawsmith.evaluate.report import write_report
    from flawsmith.evaluate.rows import headline_rows
    from flawsmith.model.segment import SegmentSettings

    if data is not None:
        recognise(data)  # before an old demo is given up
    with staged_folder(out, overwrite, "demo"):
        pass  # an empty folder of ours: what follows is written into it step by step
    start = time.monotonic()
    dataset = make_dataset(data, out / "dataset", seed)
    say(f"1. data set: {len(dataset)} images, defects: {', '.join(dataset.classes)}")
    settings = load_settings(SegmentSettings, None, [f"train.steps={steps}", f"train.seed={seed}"])
    say(f"2. training, {steps} steps: the long part")
    with training_bar() as on_step:
        model = pipeline.train_segmenter(out / "dataset", out / "run", settings, on_step=on_step)
    report = pipeline.calibrate_model(model, dataset, cost_request(data is None))
    save_decision(out / "decision.json", report.decision)
    say(f"3. decision: a part is bad when {report.min_area_px} px or more score {report.threshold:g} or more")
    evaluation = pipeline.evaluate_model(model, dataset, "test", report.decision)
    page = write_report(evaluation, out / "report")
    say(f"4. {evaluation.headline}")
    done = pipeline.export_recipe(model, dataset, report.decision, out / "recipe")
    say(f"5. recipe: {out / 'recipe'}, every verdict the same in {', '.join(done.engines)}")
    verdicts = inspect_test(dataset, out)
    minutes = (time.monotonic() - start) / 60
    if as_json:
        emit_json({"report": str(page), "verdicts": verdicts, "minutes": minutes, "evaluation": evaluation.to_json()})
    else:
        counted = [(f"verdict {status}", str(count), "") for status, count in verdicts.items()]
        emit_table("test images", ("figure", "value", "95 % interval"), [*headline_rows(evaluation), *counted])
    say(f"done in {minutes:.1f} minutes; open {page} and {out / 'overview.png'}")


def cost_request(synthetic: bool) -> "CalibrationRequest":
    """An escape costs a hundred false rejects, and one part in fifty is bad: a demo has too few parts for a bound."""
    from flawsmith.decide.request import CalibrationRequest, CostMatrix

    costs = CostMatrix(escape=100, false_reject=1, prevalence=0.02)
    return CalibrationRequest(costs=costs, provenance="synthetic" if synthetic else "real")


def inspect_test(dataset: "Dataset", out: Path) -> dict[str, int]:
    """Run the recipe over the test images as the station would; a picture of a few of them. Counts by verdict."""
    from collections import Counter

    from flawsmith.cli.output import track
    from flawsmith.cli.picture import overview
    from flawsmith.core.files import write_atomic
    from flawsmith.core.image import encode_png
    from flawsmith.line.batch import inspect_images, list_images
    from flawsmith.line.inspector import Inspector

    test = dataset.split("test")
    inspector = Inspector(out / "recipe")
    items = list_images([dataset.root / name for name in test.column("file_name")])
    lines = inspect_images(inspector, items, out / "inspected")
    counts = Counter(line["status"] for line in track(lines, "inspecting", len(items)))
    bad = [sample for sample in test if sample.defects]
    good = [sample for sample in test if sample.healthy]
    shown = [*bad[:: max(1, len(bad) // 4)][:4], *good[:1]]
    cases = [(sample, inspector.inspect(sample.image())) for sample in shown]
    write_atomic(out / "overview.png", encode_png(overview(cases, inspector.recipe.info.spec.kinds)))
    return {status: counts[status] for status in ("OK", "NG", "REVIEW")}


def make_dataset(data: Path | None, folder: Path, seed: int) -> "Dataset":
    """Import the photographs, or make the surfaces; check and split."""
    from flawsmith import pipeline
    from flawsmith.cli.output import say, track
    from flawsmith.core.errors import DataError
    from flawsmith.dataset import Dataset, DatasetInfo, write_dataset
    from flawsmith.dataset.check import check_dataset
    from flawsmith.dataset.convert import import_dataset
    from flawsmith.dataset.split import SplitRule
    from flawsmith.synth.surface import surfaces

    if data is None:
        info = DatasetInfo(name="demo surfaces", licence="CC0-1.0", sources=("flawsmith demo",))
        write_dataset(folder, track(surfaces(SURFACES, seed), "making surfaces", SURFACES), info)
    else:
        import_dataset(data, folder)
    if not any(Dataset.open(folder).column("healthy")):
        raise DataError(f"{data} has no healthy images; a demo weighs escapes against false rejects and needs both")
    dataset = pipeline.split_dataset(folder, SplitRule(seed=seed), say)
    findings = check_dataset(dataset)
    for finding in findings.findings:
        if finding.severity == "error":
            say(f"   check: {finding.count} × {finding.meaning}; {finding.remedy}")
    return dataset
