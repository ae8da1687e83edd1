"""Six classes of fastener, bolt and screw × clean, dirt and defect, from ten photographs a class and from renders.

The "photographs" are Cycles' renders, in rooms that no Mitsuba render has; the renders that join the
training set are Mitsuba's. 46 photographs a class: ten are drawn to learn from, the others are judged, as with the
literature's 218, of which a fine-tuned ViT got 127.

    python benchmarks/recognise/fasteners.py --renders 100       # renders, then judges; resumes
    python benchmarks/recognise/fasteners.py --only-data --workers 1
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "render"))
from report import data_folder, save

SCENE = Path(__file__).parent / "fasteners.yaml"
SHOTS, DRAWS = 10, 20
PHOTOGRAPHS = 46  # of each class
PARTS = {"bolt": "hex-screw M8x25", "screw": "socket-screw M8x25"}
_SEEN = "where: {normal: {frame: stage, max_deg: 60}}"
CONDITIONS = {
    "clean": ["healthy=1"],
    "dirt": [
        "healthy=0",
        f"defects=[{{kind: dirt, {_SEEN}}}, {{kind: stain, probability: 0.7, {_SEEN}}}]",
    ],
    "defect": [
        "healthy=0",
        "defects=[{kind: scratch, probability: 0.5, length_mm: {uniform: [6, 14]}, width_mm: {uniform: [0.5, 1]}, "
        f"depth_mm: {{uniform: [0.1, 0.3]}}, {_SEEN}}}, {{kind: dent, probability: 0.5, {_SEEN}}}, "
        f"{{kind: break, probability: 0.5, {_SEEN}}}, "
        f"{{kind: hole, probability: 0.3, diameter_mm: {{uniform: [1.5, 3]}}, {_SEEN}}}]",
    ],
}
ROOMS = {"cycles": ("lobby_1k", "warehouse_1k"), "mitsuba": ("lab_1k", "studio_1k", "workshop_1k")}
LITERATURE = (127, 218)
TUNED, TUNED_DRAWS = "EfficientNet-Lite0, all of it learns", 2
TUNING = ["backbone.side=192", "tune.how=full", "tune.mixup=0.2", "train.steps=300", "train.threads=1"]
WAYS = {
    "EfficientNet-Lite0, frozen": [],
    "EfficientNet-Lite2, frozen": ["backbone.name=efficientnet-lite2"],
    "EfficientNet-Lite0, frozen + 8 views": ["tune.how=augmented"],
    "EfficientNet-Lite0, SVM": ["head.kind=svm", "head.strength=0.001"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/fasteners"), help="data sets are made and kept here")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--renders", type=int, nargs="+", default=[100], help="Mitsuba's, of each class")
    parser.add_argument("--only-data", action="store_true", help="render, and judge another time")
    args = parser.parse_args()
    most = max(args.renders)
    folders = [made(args, "cycles", name, PHOTOGRAPHS, 1) for name in classes()]
    folders += [made(args, "mitsuba", name, most, 2) for name in classes()]
    if args.only_data:
        return
    data = joined(args.work, folders, most)
    rows = [row for count in (0, *args.renders) for row in (*judged(data, count), tuned(data, count))]
    found = {
        "photographs": PHOTOGRAPHS,
        "shots": SHOTS,
        "draws": DRAWS,
        "literature": {"right": LITERATURE[0], "of": LITERATURE[1]},
    }
    print(save("fasteners", found | {"rows": rows}, "torch", group="recognise"))


def classes() -> list[str]:
    return [f"{part}-{condition}" for part in PARTS for condition in CONDITIONS]


def made(args: argparse.Namespace, renderer: str, name: str, count: int, seed: int) -> Path:
    """Images of one class, rendered where they are not there yet; more of them are rendered beside those there are."""
    from flawsmith.synth.generate import Plan, generate

    folder = args.work / f"{renderer}-{count}" / name
    if (folder / "dataset.json").exists():
        return folder
    part, condition = name.split("-")
    rooms = [str(data_folder() / "hdri" / f"{room}.hdr") for room in ROOMS[renderer]]
    overrides = [f"parts.0.standard={PARTS[part]}", f"environment.files={json.dumps(rooms)}", *CONDITIONS[condition]]
    number = seed + 10 * classes().index(name)  # scenes of two classes differ, or place and light would be told apart
    plan = Plan(workers=args.workers)
    report = generate(SCENE, folder, count, seed=number, renderer=renderer, plan=plan, overrides=overrides)
    print(json.dumps({"set": str(folder.name), "by": renderer, "seconds": round(report.seconds, 1)}), flush=True)
    return folder


def joined(work: Path, folders: list[Path], renders: int) -> Any:
    """All in one data set: Cycles' images are called photographs (provenance "real"), Mitsuba's are renders."""
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.manifest import DatasetInfo
    from flawsmith.dataset.write import write_dataset

    out = work / f"joined-{renders}"
    if not out.exists():
        write_dataset(out, (sample for folder in folders for sample in told(folder)), DatasetInfo(name="fasteners"))
    return Dataset.open(out)


def told(folder: Path) -> Any:
    """Samples of one class; each image is a group of its own: one scene is one image."""
    from dataclasses import replace

    from flawsmith.dataset import Dataset

    photograph = folder.parent.name.startswith("cycles")
    for sample in Dataset.open(folder):
        name = f"{folder.parent.name}/{folder.name}/{sample.id}"
        yield replace(
            sample,
            id=name,
            label=folder.name,
            healthy=folder.name.endswith("clean"),
            groups={"part": name},
            provenance="real" if photograph else "render",
        )


def judged(data: Any, renders: int) -> list[dict[str, Any]]:
    """Every way of learning from ten photographs a class and `renders` renders of each."""
    from flawsmith.core.config import load_settings
    from flawsmith.dataset.mix import Share
    from flawsmith.model.classify import ClassifySettings
    from flawsmith.model.few_shots import few_shots

    mixes = {"photographs": (Share("real", SHOTS),)}
    if renders:
        mixes = {"photographs and renders": (Share("real", SHOTS), Share("render", renders))}
    rows = []
    for way, options in WAYS.items():
        settings = load_settings(ClassifySettings, None, options)
        for source, mix in mixes.items():
            found = few_shots(data, settings, mix, DRAWS)
            told = found.as_json()["balanced_accuracy"]
            right = float(np.mean(found.accuracy)) * found.judged[0]
            rows.append({"way": way, "from": source, "renders": renders, **told, "right": right, "of": found.judged[0]})
            rows[-1]["recall"] = {name: each["mean"] for name, each in found.as_json()["recall"].items()}
            print(json.dumps(rows[-1]), flush=True)
    return rows


def tuned(data: Any, renders: int) -> dict[str, Any]:
    """All of the network learns from the same images."""
    from flawsmith.core.config import load_settings
    from flawsmith.dataset.grouping import group_rows
    from flawsmith.dataset.mix import Share, drawn
    from flawsmith.model.classify import Classifier, ClassifySettings

    labels, groups = np.array(data.column("label")), group_rows(data, "auto").numbers
    mix = [Share("real", SHOTS), *([Share("render", renders)] if renders else [])]
    found, rest = [], np.array([], int)
    for seed in range(TUNED_DRAWS):
        rows = np.concatenate([drawn(data, share, labels, groups, seed, leave=share is mix[0]) for share in mix])
        rest = np.setdiff1d(np.flatnonzero(mix[0].rows(data)), rows)
        model = Classifier(load_settings(ClassifySettings, None, [*TUNING, f"train.seed={seed}"])).fit(data.take(rows))
        maps = np.stack([p.maps[:, 0, 0] for p in model.predict(sample.image() for sample in data.take(rest))])
        said = np.array(model.spec.classes)[maps[:, : len(model.spec.classes)].argmax(1)]
        found.append({name: float((said[labels[rest] == name] == name).mean()) for name in model.spec.classes})
    means = [float(np.mean(list(each.values()))) for each in found]
    row = {"way": TUNED, "from": "photographs and renders" if renders else "photographs", "renders": renders}
    row |= {"mean": round(float(np.mean(means)), 4), "low": round(min(means), 4), "high": round(max(means), 4)}
    row |= {"right": float(np.mean(means)) * len(rest), "of": len(rest), "draws": TUNED_DRAWS}
    row["recall"] = {name: round(float(np.mean([each[name] for each in found])), 4) for name in found[0]}
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
