"""Pose and in-plane angle of single parts: learnt from Mitsuba's renders, judged on Cycles'.

Each part lies anywhere on the stage of orientation.yaml, in any of its frequent stable poses, turned by any angle;
lamps, material and the camera's small tilt are drawn anew for each image. Training and validation images are Mitsuba's,
test images Cycles', and as many of Mitsuba's to tell how much of the error is the renderer's.

    python benchmarks/recognise/orientation.py                  # about an hour on two cores; resumes
    python benchmarks/recognise/orientation.py --only-data
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "render"))
from report import RESULTS, data_folder, machine, versions

SCENE = Path(__file__).with_suffix(".yaml")
RESULT = RESULTS / "recognise_orientation.json"
TRAIN, VAL, TEST = 250, 40, 60  # images of each part
QUICK = ["render.spp=8"]  # Cycles takes five times as long for the same paths
CAD = data_folder().resolve() / "cad-parts" / "from_repos"


def parts() -> dict[str, list[str]]:
    """Overrides that put each part into the scene, with a stage and a field that it moves about in."""
    bracket = json.dumps(str(CAD / "partcad_example_bracket.step"))
    return {
        "hex screw M8x25": ["parts.0.pose=[0, 1]"],
        "flange nut M8": [
            "parts.0.standard=flange-nut M8",
            "parts.0.pose=[0, 1, 2]",
            "stage.size_mm=[28, 28]",
            "cameras.top.field_mm=36",
        ],
        "bracket": [
            "parts.0.standard=null",
            f"parts.0.file={bracket}",
            "parts.0.pose=[0, 1, 2, 3, 4]",
            "stage.size_mm=[95, 95]",
            "cameras.top.field_mm=120",
        ],
    }


def sets() -> dict[str, tuple[str, int, int, list[str]]]:
    """Renderer, images, seed and further overrides of each data set of a part."""
    return {
        "train": ("mitsuba", TRAIN, 1, []),
        "val": ("mitsuba", VAL, 2, []),
        "Cycles": ("cycles", TEST, 3, QUICK),
        "Mitsuba": ("mitsuba", TEST, 4, []),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/orientation"), help="data sets are made and kept here")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--set", dest="overrides", nargs="*", default=[], help="settings of flawsmith train orientation"
    )
    parser.add_argument("--only-data", action="store_true", help="render, and train another time")
    args = parser.parse_args()
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for part in parts():
        data = {name: made(part, name, args) for name in sets()}
        for seed in () if args.only_data else args.seeds:
            if not any((row["part"], row["seed"]) == (part, seed) for row in rows):
                rows += judged(part, data, seed, args)
                save(rows)


def made(part: str, name: str, args: argparse.Namespace) -> Any:
    """The data set, rendered where it is not there yet."""
    from flawsmith.dataset import Dataset
    from flawsmith.synth.generate import Plan, generate

    renderer, count, seed, overrides = sets()[name]
    folder = args.work / part.replace(" ", "-").lower() / name.lower()
    if not (folder / "dataset.json").exists():
        report = generate(
            SCENE,
            folder,
            count,
            seed=seed,
            renderer=renderer,
            plan=Plan(workers=args.workers),
            overrides=[*parts()[part], *overrides],
            resume=folder.with_name(f".{folder.name}.generating").exists(),
        )
        print(json.dumps({"part": part, "set": name, "images": count, "seconds": round(report.seconds, 1)}), flush=True)
    return Dataset.open(folder)


def judged(part: str, data: dict[str, Any], seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One training, and its figures on both test sets, over all poses and for each."""
    import time

    from flawsmith.core.config import load_settings
    from flawsmith.model.orientation import OrientationSettings, Orienter
    from flawsmith.pipeline import evaluate_orienter as evaluated

    settings = load_settings(OrientationSettings, None, [f"train.seed={seed}", *args.overrides])
    begin = time.process_time()
    model = Orienter(settings).fit(data["train"], data["val"], on_step=told_of)
    cpu_s = round(time.process_time() - begin)
    rows = []
    for name in ("Cycles", "Mitsuba"):
        told, _ = evaluated(model, data[name], split=None)
        for which, figures in {"all": told.all, **told.poses}.items():
            row = {"part": part, "seed": seed, "test": name, "poses": which, "images": figures.images}
            row |= {"steps": model.state_.best_step, "training_cpu_s": cpu_s}
            for key in ("pose", "unknown"):
                row[key] = getattr(figures, key).model_dump(include={"k", "n", "low", "high"})
            for key in ("angle_deg", "centre_px", "centre_mm"):
                row[key] = getattr(figures, key).model_dump()
            symmetry = {f"pose {p.number}": p.symmetry for p in model.spec.poses}
            rows.append(row | {"symmetry": symmetry.get(which, symmetry)})
        print(json.dumps({"part": part, "test": name, "headline": told.headline}), flush=True)
        print(json.dumps(rows[-1 - len(told.poses)]), flush=True)
    return rows


def told_of(progress: Any) -> None:
    """A line for each hundred steps."""
    if progress.step % 100 == 0:
        print(f"step {progress.step}, loss {progress.loss:.3f}, {progress.measure} {progress.score}", flush=True)


def save(rows: list[dict[str, Any]]) -> None:
    """Write the result, with where and with what it was measured."""
    figures = {"train": TRAIN, "val": VAL, "test": TEST, "pixels": 128, "rows": rows}
    report = {"benchmark": "recognise/orientation", "hardware": machine(), "versions": versions("torch"), **figures}
    RESULT.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
