"""What a segmenter that saw only renders is worth elsewhere, and what randomisation buys it.

Two training sets of the same size from Mitsuba alone: one of the scene as it is (transfer.yaml: one material, one belt,
fixed lights and camera), one with all of these drawn anew for each image. Test sets change one thing each that neither
has seen: Cycles in place of Mitsuba, HDRI maps of other rooms, a larger bolt; all three at once; and another station,
whose every change is one that randomisation may draw. Cycles shows the same scenes as Mitsuba does in the test set "as
it is". Validation images come from the training scene.

    python benchmarks/render/transfer.py                        # about an hour on two cores; resumes
    python benchmarks/render/transfer.py --only-data --workers 1
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from report import RESULTS, data_folder, save

SCENE = Path(__file__).parent / "transfer.yaml"
TRAIN, VAL, TEST = 120, 30, 40  # images; half are healthy
STEPS = 150
SEEN, UNSEEN = ("lab_1k", "studio_1k", "workshop_1k"), ("lobby_1k", "warehouse_1k")
RANDOMISED = [
    "parts.0.material={choice: [machined steel, zinc-plated steel, brushed steel]}",
    "stage.surface={choice: [woven belt, rubber belt]}",
    "stage.texture_shift_mm={uniform: [0, 150]}",
    "cameras.top.tilt_deg={uniform: [5, 35]}",
    "cameras.top.azimuth_deg={uniform: [0, 360]}",
    "cameras.top.field_mm={uniform: [40, 60]}",
    "cameras.top.exposure.grey_level={uniform: [0.15, 0.3]}",
    "cameras.top.white_balance={uniform: [0.8, 1]}",
    "lights.bar front.tilt_deg={uniform: [35, 60]}",
    "lights.bar front.power_w={log_uniform: [4, 24]}",
    "lights.bar front.kelvin={uniform: [4000, 6500]}",
    "lights.bar back.tilt_deg={uniform: [35, 60]}",
    "lights.bar back.power_w={log_uniform: [4, 24]}",
    "lights.bar back.kelvin={uniform: [4000, 6500]}",
    "environment.irradiance_w_m2={log_uniform: [3, 16]}",
    "environment.yaw_deg={uniform: [0, 360]}",
]
ROOMS = ["environment.irradiance_w_m2=9", "environment.yaw_deg={uniform: [0, 360]}"]
QUICK = ["render.spp=8", "render.keep_flaws=1"]  # Cycles takes five times as long for the same paths
STATION = [  # the same bolts elsewhere: plated, on another belt, seen and lit from another side
    "parts.0.material=zinc-plated steel",
    "stage.surface=rubber belt",
    "cameras.top.tilt_deg=30",
    "cameras.top.azimuth_deg=210",
    "cameras.top.field_mm=45",
    "lights.bar front.power_w=4",
    "lights.bar back.power_w=22",
    "lights.bar back.tilt_deg=58",
]
LARGER = ["parts.0.standard=hex-screw M10x30"]


def sets() -> dict[str, tuple[str, int, int, list[str]]]:
    """Renderer, images, seed and overrides of each data set."""
    rooms = [*ROOMS, maps(UNSEEN)]
    return {
        "train fixed": ("mitsuba", TRAIN, 1, []),
        "train randomised": ("mitsuba", TRAIN, 1, [*RANDOMISED, maps(SEEN)]),
        "val fixed": ("mitsuba", VAL, 2, []),
        "val randomised": ("mitsuba", VAL, 2, [*RANDOMISED, maps(SEEN)]),
        "as it is": ("mitsuba", TEST, 3, []),
        "Cycles": ("cycles", TEST, 3, QUICK),
        "other HDRI": ("mitsuba", TEST, 4, rooms),
        "larger bolt": ("mitsuba", TEST, 5, LARGER),
        "another station": ("mitsuba", TEST, 7, STATION),
        "all three": ("cycles", TEST, 6, [*rooms, *LARGER, *QUICK]),
    }


def maps(names: tuple[str, ...]) -> str:
    return f"environment.files={json.dumps([str(data_folder() / 'hdri' / f'{name}.hdr') for name in names])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"), help="data sets are made and kept here")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only-data", action="store_true", help="render, and train another time")
    args = parser.parse_args()
    data = {name: made(name, args) for name in sets()}
    if args.only_data:
        return
    path = RESULTS / "render_transfer.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for seed in args.seeds:
        for variant in ("fixed", "randomised"):
            if any((row["trained_on"], row["seed"]) == (variant, seed) for row in rows):
                continue
            rows += judged(data, variant, seed)
            save("transfer", {"steps": STEPS, "train": TRAIN, "val": VAL, "test": TEST, "rows": rows, **gains(rows)})


def made(name: str, args: argparse.Namespace) -> Any:
    """The data set, rendered where it is not there yet."""
    from flawsmith.dataset import Dataset
    from flawsmith.synth.generate import Plan, generate

    renderer, count, seed, overrides = sets()[name]
    folder = args.work / name.replace(" ", "-").lower()
    if not (folder / "dataset.json").exists():
        plan = Plan(workers=args.workers)
        report = generate(SCENE, folder, count, seed=seed, renderer=renderer, plan=plan, overrides=overrides)
        print(json.dumps({"set": name, "images": count, "seconds": round(report.seconds, 1)}), flush=True)
    return Dataset.open(folder)


def judged(data: dict[str, Any], variant: str, seed: int) -> list[dict[str, Any]]:
    """One training, and its figures on every test set."""
    from flawsmith import pipeline
    from flawsmith.core.config import load_settings
    from flawsmith.evaluate.evaluation import DatasetFacts, evaluate
    from flawsmith.model.segment import Segmenter, SegmentSettings

    options = ["net.architecture=efficientnet-lite0", f"train.seed={seed}", f"train.steps={STEPS}"]
    model = Segmenter(load_settings(SegmentSettings, None, options))
    model.fit(data[f"train {variant}"], data[f"val {variant}"])
    rows = []
    for name in [n for n in data if not n.startswith(("train", "val"))]:
        facts = DatasetFacts(name=name, content_hash=data[name].content_hash, split="test")
        main = evaluate(pipeline.score(model, data[name]), model.spec.kinds, dataset=facts).main
        row = {"trained_on": variant, "seed": seed, "test": name, "defective": main.defective, "healthy": main.healthy}
        row |= {"image_ap": main.image.average_precision.value, "image_auroc": main.image.auroc.value}
        row |= {"pixel_ap": main.pixels.average_precision.value, "dice": main.pixels.dice.value}
        row["map_any_overlap"] = main.means.boxes.any_overlap.value
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def gains(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, by test set and figure."""
    table: dict[str, Any] = {}
    for name in dict.fromkeys(row["test"] for row in rows):
        for variant in ("fixed", "randomised"):
            mine = [row for row in rows if (row["test"], row["trained_on"]) == (name, variant)]
            for key in ("image_ap", "pixel_ap", "dice", "map_any_overlap") if mine else ():
                values = [row[key] for row in mine]
                told = [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=len(values) > 1)), 4)]
                table.setdefault(name, {}).setdefault(key, {})[variant] = told
    return {"mean_sd": table}


if __name__ == "__main__":
    main()
