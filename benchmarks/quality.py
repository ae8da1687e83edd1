"""Segmentation quality on real photographs: grouped test folds, three seeds, one JSON line per training.

Each seed has its own third of the parts as test images, a fifth of the remaining parts for validation, and learns from
the rest, so the three test folds are disjoint and together hold every image once. Nothing is chosen on a test fold.

    python benchmarks/quality.py --data ../shared/data                 # everything, resumable
    python benchmarks/quality.py --data ../shared/data --only kolektor --architecture unet --seeds 0
    python benchmarks/quality.py --judge val --results tried.jsonl --set net.frozen=0 --set train.crop=256
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "quality.jsonl"
FOLDERS = {
    "kolektor": ("kolektor-sdd", "kolektor"),
    "dagm": ("dagm2007-class1", "dagm"),
    "magnetic-tile": ("magnetic-tile", "magnetic-tile"),
    "tool-wear": ("tool-insert-wear", "masks"),  # numbers 70 apart show one picture turned: see prepare
    "neu": ("neu-det", "neu"),
    "deeppcb": ("deeppcb", "deeppcb"),
}
TURNED = {"tool-wear": "augment.rotate_deg=180"}  # its pictures come turned by 90 degrees
CURVE = ("kolektor", "dagm", "magnetic-tile")
LABELS = (5, 10, 20)
STEPS = {"kolektor": 400, "dagm": 200, "magnetic-tile": 800, "tool-wear": 200, "neu": 400, "deeppcb": 300}
ARCHITECTURES = ("efficientnet-lite0", "unet")


def jobs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All trainings that are asked for, the most telling first; `labelled` 0 is all labels."""
    for network in args.architecture:
        for labelled in args.labelled:
            for seed in args.seeds:
                for data in args.only:
                    # The curve is drawn for one network and three data sets.
                    if not labelled or (network == ARCHITECTURES[0] and data in CURVE):
                        yield {"data": data, "architecture": network, "seed": seed, "labelled": labelled or None}


def fold_of(dataset: Any, seed: int) -> list[str]:
    """Split name of each image: groups are dealt out label by label, so that every fold has its share of each."""
    from flawsmith.dataset.grouping import group_rows

    labels = np.array(dataset.column("label"))
    healthy = np.array(dataset.column("healthy"))
    parts = group_rows(dataset, "auto").numbers
    rarest = sorted(set(labels), key=lambda name: (labels[~healthy] == name).sum() or np.inf)
    split = dict.fromkeys(parts.tolist(), "")
    for label in rarest:
        mine = np.array(sorted({int(p) for p in parts[labels == label] if not split[p]}))
        np.random.default_rng(0).shuffle(mine)
        folds = np.array_split(mine, 3)
        rest = np.concatenate([folds[(seed + 1) % 3], folds[(seed + 2) % 3]]) if len(mine) else mine
        held = max(1, round(len(rest) / 5)) if len(rest) > 2 else 0
        split |= dict.fromkeys(folds[seed % 3].tolist(), "test")
        split |= dict.fromkeys(rest[:held].tolist(), "val")
        split |= dict.fromkeys(rest[held:].tolist(), "train")
    return [split[p] for p in parts.tolist()]


def prepare(data: Path, work: Path, name: str) -> Any:
    """The data set, imported once."""
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.convert import import_dataset

    folder, kind = FOLDERS[name]
    if not (work / name).exists():
        turned = {"number_period": 70, "number_block": 35} if name == "tool-wear" else {}
        import_dataset(data / folder, work / name, kind, **turned)
    return Dataset.open(work / name)


def run(job: dict[str, Any], args: argparse.Namespace) -> dict[str, Any] | None:
    """One training and its figures on the test fold; None where there are fewer labels than asked for."""
    import psutil
    import torch

    from flawsmith import pipeline
    from flawsmith.core.config import load_settings
    from flawsmith.dataset.few import with_labelled
    from flawsmith.evaluate.evaluation import DatasetFacts, evaluate
    from flawsmith.model.segment import Segmenter, SegmentSettings

    dataset = prepare(args.data, args.work, job["data"])
    split = np.array(fold_of(dataset, job["seed"]))
    train, val, test = (dataset.where(split == name) for name in ("train", "val", "test"))
    if job["labelled"]:
        if job["labelled"] > (~np.array(train.column("healthy"))).sum():
            return None
        train = with_labelled(train, job["labelled"], job["seed"])
    steps = 150 if job["labelled"] else STEPS[job["data"]]
    options = [f"net.architecture={job['architecture']}", f"train.seed={job['seed']}", f"train.steps={steps}"]
    options += [*([TURNED[job["data"]]] if job["data"] in TURNED else []), *args.set]
    if args.threads:
        options.append(f"train.threads={args.threads}")
    settings = load_settings(SegmentSettings, None, options)
    start = time.perf_counter()
    if args.judge == "val":  # to choose by: no early stop, and the test fold stays unseen
        test, val = val, None
    model = Segmenter(settings).fit(train, val)
    seconds = time.perf_counter() - start
    timings: list[float] = []
    facts = DatasetFacts(name=job["data"], content_hash=test.content_hash, split=args.judge)
    named = Named()
    found = evaluate(named.watch(timed(pipeline.score(model, test), timings)), model.spec.kinds, dataset=facts)
    return {
        **job,
        "steps": model.state_.step,
        "best_step": model.state_.best_step,
        "downscale": model.settings.net.downscale,
        "train_seconds": round(seconds, 1),
        "ms_per_image": round(1000 * float(np.median(timings)), 1),
        "train_images": len(train),
        "train_defective": int((~np.array(train.column("healthy"))).sum()),
        "parameters": sum(p.numel() for p in model.net_.parameters()),
        "settings": options,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "torch": torch.__version__,
        "dice_by_any_name": named.dice(),
        **figures(found),
    }


class Named:
    """Dice per kind when a defect counts as found whatever the model calls it, over the images that show that kind."""

    def __init__(self) -> None:
        self.counts: dict[str, np.ndarray] = {}

    def watch(self, pairs: Iterator[Any]) -> Iterator[Any]:
        from flawsmith.evaluate.tally import union_mask

        for sample, prediction in pairs:
            said = prediction.maps.max(axis=0) >= 0.5
            truth = union_mask(sample.defects, said.shape)
            for kind in {d.kind for d in sample.defects}:
                add = np.array([(said & truth).sum(), said.sum() + truth.sum()])
                self.counts[kind] = self.counts.get(kind, 0) + add
            yield sample, prediction

    def dice(self) -> dict[str, float]:
        return {kind: float(2 * both / total) for kind, (both, total) in sorted(self.counts.items()) if total}


def timed(pairs: Iterator[Any], timings: list[float]) -> Iterator[Any]:
    while True:
        start = time.perf_counter()
        pair = next(pairs, None)
        if pair is None:
            return
        timings.append(time.perf_counter() - start)
        yield pair


def figures(found: Any) -> dict[str, Any]:
    """What the table shows, out of all that was evaluated."""
    main = found.main
    points = main.image.operating_points
    perfect = [i for i, (e, f) in enumerate(zip(points.escapes, points.false_rejects, strict=True)) if e + f == 0]
    fewest = min((e + f, i) for i, (e, f) in enumerate(zip(points.escapes, points.false_rejects, strict=True)))[1]
    return {
        "defective": main.defective,
        "healthy": main.healthy,
        "image_auroc": main.image.auroc.value,
        "image_ap": main.image.average_precision.value,
        "pixel_ap": main.pixels.average_precision.value,
        "dice": main.pixels.dice.value,
        "iou": main.pixels.iou.value,
        "aupro_30": main.pixels.aupro_30.value,
        "map_any_overlap": main.means.boxes.any_overlap.value,
        "map_coco_50": main.means.boxes.coco_50.value,
        "map_coco": main.means.boxes.coco_50_95.value,
        "escapes_at_half": main.operating.escapes,
        "false_rejects_at_half": main.operating.false_rejects,
        "separable": bool(perfect),
        "fewest_errors": [points.threshold[fewest], points.escapes[fewest], points.false_rejects[fewest]],
        "kinds": {
            k.kind: {"images": k.images, "dice": k.pixels.dice.value, "pixel_ap": k.pixels.average_precision.value}
            for k in main.kinds
        },
    }


def done(path: Path) -> set[str]:
    """Keys of the jobs that have a line."""
    if not path.exists():
        return set()
    return {key_of(json.loads(line)) for line in path.read_text().splitlines()}


def key_of(job: dict[str, Any]) -> str:
    return "/".join(str(job[key]) for key in ("data", "architecture", "seed", "labelled"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=[*FOLDERS], default=[*FOLDERS])
    parser.add_argument("--architecture", nargs="+", choices=ARCHITECTURES, default=[*ARCHITECTURES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--labelled", nargs="+", type=int, default=[0, *LABELS], help="0: all")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--set", action="append", default=[], help="A training setting for every run, e.g. train.steps=400"
    )
    parser.add_argument(
        "--judge", choices=("test", "val"), default="test", help="val: for choosing; name --results too"
    )
    args = parser.parse_args()
    if args.judge == "val" and args.results == RESULTS:
        parser.error("--judge val needs its own --results: what is chosen by is not what is reported")
    args.results.parent.mkdir(parents=True, exist_ok=True)
    for job in jobs(args):
        if key_of(job) in done(args.results):
            continue
        line = run(job, args)
        if line is None:
            print(key_of(job), "left out: the training fold has fewer labelled defects", flush=True)
            continue
        with args.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = {
            k: line[k] for k in ("image_ap", "pixel_ap", "dice", "map_any_overlap", "map_coco_50", "train_seconds")
        }
        print(key_of(job), {k: round(v, 3) for k, v in shown.items() if v is not None}, flush=True)


if __name__ == "__main__":
    main()
