"""`flawsmith demo`: the whole path once, from CAD or from a folder of labelled photographs."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flawsmith.dataset import Dataset
    from flawsmith.decide.request import CalibrationRequest

IMAGES = 96


def add_to(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command()(demo)


def demo(
    out: Path = typer.Option(Path("demo"), "--out", help="Where everything goes."),
    data: Path | None = typer.Option(None, "--data", help="Labelled photographs in any format of dataset import."),
    scene: Path | None = typer.Option(
        None, "--scene", help="Scene file to render [default: a bolt and a nut on a belt]."
    ),
    renderer: str = typer.Option(
        "mitsuba", "--renderer", help="Of the scene: mitsuba, cycles, or relief for flat sheets."
    ),
    steps: int = typer.Option(150, "--steps", min=1, help="Training steps."),
    seed: int = typer.Option(0, "--seed", help="Of the scenes, the split and the training."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """The whole path in a few minutes: data set, model, evaluation, decision, recipe, verdicts."""
    import time

    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, training_bar
    from flawsmith.core.config import load_settings
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import staged_folder
    from flawsmith.dataset.convert import import_dataset, recognise
    from flawsmith.decide.rules import save_decision
    from flawsmith.evaluate.report import write_report
    from flawsmith.evaluate.rows import headline_rows
    from flawsmith.model.segment import SegmentSettings

    if data is not None and scene is not None:
        raise ConfigError("--data is photographs and --scene is rendered: give one of them")
    if data is not None:
        recognise(data)  # before an old demo is given up
    else:
        scene = scene_file(scene, seed, renderer)
    with staged_folder(out, overwrite, "demo"):
        pass  # an empty folder of ours: what follows is written into it step by step
    start = time.monotonic()
    if data is not None:
        import_dataset(data, out / "dataset")
    elif scene is not None:
        say("1. rendering; standard parts are made once and kept")
        render(scene, out / "dataset", seed, renderer)
    dataset = prepare(out / "dataset", seed)
    say(f"   data set: {len(dataset)} images, defects: {', '.join(dataset.classes)}")
    network = architecture()
    chosen = [f"net.architecture={network}", f"train.steps={steps}", f"train.seed={seed}"]
    settings = load_settings(SegmentSettings, None, chosen)
    say(f"2. training {network}, {steps} steps: the long part")
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


def architecture() -> str:
    """The pretrained network where its package is installed: with so few images it learns far more than the other."""
    from importlib.util import find_spec

    from flawsmith.model.efficientnet import LITES

    return "efficientnet-lite0" if find_spec(LITES[0].package) else "unet"


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


def scene_file(scene: Path | None, seed: int, renderer: str) -> Path:
    """The scene to render: the user's, or the packaged bolt and nut. A mistake in it is found here, before any work."""
    from importlib.resources import files

    from flawsmith.synth.generate import images_of

    path = scene or Path(str(files("flawsmith.synth") / "demo.yaml"))
    images_of(path, seed, renderer)
    return path


def render(scene: Path, folder: Path, seed: int, renderer: str) -> None:
    """As many images as a demo needs, one process to a core. Raises `GateError` when some could not be made."""
    import os

    from flawsmith.cli.generate import rendering_bar
    from flawsmith.core.errors import GateError
    from flawsmith.synth.generate import Plan, generate

    plan = Plan(workers=os.cpu_count() or 1)
    with rendering_bar() as on_progress:
        report = generate(scene, folder, IMAGES, seed=seed, renderer=renderer, plan=plan, on_progress=on_progress)
    if report.quarantined:
        raise GateError(f"{len(report.quarantined)} images could not be made; see {folder / 'quarantine.json'}")


def prepare(folder: Path, seed: int) -> "Dataset":
    """Split the images, and say what is wrong with them."""
    from flawsmith import pipeline
    from flawsmith.cli.output import say
    from flawsmith.core.errors import DataError
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.check import check_dataset
    from flawsmith.dataset.split import SplitRule

    if not any(Dataset.open(folder).column("healthy")):
        raise DataError(f"{folder} has no healthy images; a demo weighs escapes against false rejects and needs both")
    dataset = pipeline.split_dataset(folder, SplitRule(seed=seed), say)
    findings = check_dataset(dataset)
    for finding in findings.findings:
        if finding.severity == "error":
            say(f"   check: {finding.count} × {finding.meaning}; {finding.remedy}")
    return dataset
