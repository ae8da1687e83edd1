"""Recognition on real photographs: backbone × way to train × images a class, one JSON line for each.

"all" learns from two thirds of the groups (a fifth of them validates) and is judged on the other third, three times
with disjoint thirds; "10" draws ten images a class from all, spread over groups, and is judged on every image of other
groups: 20 draws where the network stays as it is, 3 where it learns. Nothing is chosen on images that are judged.

Groups: exposure runs of magnetic tiles (tiles that look alike joined), photographs of screws, look-alikes elsewhere.
The casting set holds turned copies of its castings that no grouping finds: its figures are too good.

    python benchmarks/recognise/table.py                         # resumable; the quick ways first
    python benchmarks/recognise/table.py --only magnetic-tile --ways full --sides 384
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "render"))
sys.path.insert(0, str(Path(__file__).parents[1]))
from report import RESULTS, data_folder

from quality import fold_of

WAYS = {  # settings, and on which sides and how many a class they are tried
    "frozen, logistic": ["head.strength=0.01"],
    "frozen, SVM": ["head.kind=svm", "head.strength=0.001"],
    "frozen, nearest": ["head.kind=knn"],
    "frozen, MLP": ["head.kind=mlp"],
    "augmented": ["tune.how=augmented", "head.strength=0.01"],
    "last": ["tune.how=last", "tune.blocks=4", "tune.mixup=0.2"],
    "full": ["tune.how=full", "tune.mixup=0.2", "train.steps=300"],
    "scratch": ["backbone.name=small-cnn", "tune.how=scratch", "train.steps=600", "train.learning_rate=2e-3"],
}
LEARNING = ("last", "full", "scratch")
BACKBONES = {"efficientnet-lite0": (224, 384), "efficientnet-lite2": (260, 384), "small-cnn": (96,)}
SHOTS, DRAWS, FEW_DRAWS = 10, 20, 3
FOLDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, default=Path("runs/recognise"), help="imported data sets")
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--ways", nargs="+", default=[w for w in WAYS if w not in LEARNING], choices=list(WAYS))
    parser.add_argument("--backbones", nargs="+", default=["efficientnet-lite0", "efficientnet-lite2"])
    parser.add_argument("--sides", type=int, nargs="+", help="pixels; default: those of each backbone")
    parser.add_argument("--shots", type=int, nargs="+", default=[0, SHOTS], help="images a class; 0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS / "recognise.jsonl")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    lines = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    done = {key(line) for line in lines}
    for job in jobs(args):
        if key(job) not in done:
            line = job | judged(prepared(args, job["data"]), job, args.threads)
            with args.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps({k: v for k, v in line.items() if k not in ("recall", "draws")}), flush=True)


def jobs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for way in args.ways:
        for backbone in ["small-cnn"] if way == "scratch" else args.backbones:
            for side in args.sides or BACKBONES[backbone]:
                for data in args.only:
                    for shots in args.shots:
                        for seed in args.seeds if not shots or way in LEARNING else [0]:
                            job = {"data": data, "backbone": backbone, "side": side, "way": way}
                            yield job | {"shots": shots, "seed": seed}


def key(line: dict[str, Any]) -> tuple:
    return tuple(line[name] for name in ("data", "backbone", "side", "way", "shots", "seed"))


def judged(data: Any, job: dict[str, Any], threads: int | None) -> dict[str, Any]:
    """One fold, or all draws where heads alone are fitted."""
    from flawsmith.core.config import load_settings
    from flawsmith.dataset.mix import Share
    from flawsmith.model.classify import ClassifySettings
    from flawsmith.model.few_shots import few_shots

    options = [f"backbone.name={job['backbone']}", f"backbone.side={job['side']}", f"train.seed={job['seed']}"]
    options += [*WAYS[job["way"]], *([f"train.threads={threads}"] if threads else [])]
    settings = load_settings(ClassifySettings, None, options)
    learns = job["way"] in LEARNING
    if not job["shots"]:
        split = np.array(fold_of(data, job["seed"]))
        train, val, test = (np.flatnonzero(split == name) for name in ("train", "val", "test"))
        return fold(data, train, val, test, settings) if learns else heads(data, np.append(train, val), test, settings)
    if learns:
        rows, rest = draw(data, job["shots"], job["seed"])
        return fold(data, rows, np.array([], int), rest, settings)
    start = time.perf_counter()
    found = few_shots(data, settings, (Share(None, job["shots"]),), DRAWS)
    told = found.as_json()
    return {
        "seconds": round((time.perf_counter() - start) / DRAWS, 2),
        "judged": int(np.mean(found.judged)),
        "balanced": round(float(found.accuracy.mean()), 4),
        "draws": [round(float(a), 4) for a in found.accuracy],
        "recall": {name: each["mean"] for name, each in told["recall"].items()},
    }


def heads(data: Any, train: np.ndarray, test: np.ndarray, settings: Any) -> dict[str, Any]:
    """As `Classifier.fit` does it where the network stays as it is, with the features of all images asked for once."""
    import torch

    from flawsmith.model.classify import Classifier
    from flawsmith.model.features import features_of

    model = Classifier(settings)
    views, net, labels = model.prepare(data)
    rounds = settings.tune.views * (settings.tune.how == "augmented")
    features = features_of(net.backbone, net.features, views, rounds).reshape(1 + rounds, len(labels), -1)
    start = time.perf_counter()
    head = model.fit_head(features[:, train].reshape(-1, features.shape[2]), np.tile(labels[train], 1 + rounds))
    seconds = time.perf_counter() - start
    with torch.inference_mode():
        said = head(torch.from_numpy(features[0, test])).argmax(1).numpy()
    return told(data.take(test), np.array(model.spec.classes), said, labels[test], len(train), seconds)


def draw(data: Any, shots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `shots` images a class, and all rows of other groups."""
    from flawsmith.dataset.grouping import group_rows
    from flawsmith.dataset.mix import Share, drawn

    labels, groups = np.array(data.column("label")), group_rows(data, "auto").numbers
    rows = drawn(data, Share(None, shots), labels, groups, seed, leave=True)
    return rows, np.flatnonzero(~np.isin(groups, groups[rows]))


def fold(data: Any, train: np.ndarray, val: np.ndarray, test: np.ndarray, settings: Any) -> dict[str, Any]:
    """Learn from `train`, stop by `val` where there is one, judge `test`."""
    from flawsmith.model.classify import Classifier

    start = time.perf_counter()
    model = Classifier(settings).fit(data.take(train), data.take(val) if len(val) else None)
    seconds = time.perf_counter() - start
    part, classes = data.take(test), model.spec.classes
    maps = np.stack([p.maps[: len(classes), 0, 0] for p in model.predict(sample.image() for sample in part)])
    truth = np.array([classes.index(label) for label in part.column("label")])
    return told(part, np.array(classes), maps.argmax(1), truth, len(train), seconds)


def told(
    part: Any, classes: np.ndarray, said: np.ndarray, truth: np.ndarray, trained: int, seconds: float
) -> dict[str, Any]:
    """`seconds` of learning: of the head alone where the features were there."""
    recall = {str(classes[k]): float((said[truth == k] == k).mean()) for k in np.unique(truth)}
    found = {
        "seconds": round(seconds, 2),
        "trained": trained,
        "judged": len(truth),
        "right": int((said == truth).sum()),
        "balanced": round(float(np.mean(list(recall.values()))), 4),
        "recall": {name: round(value, 4) for name, value in recall.items()},
    }
    if part.table["camera"].null_count == 0:  # positions of a screw
        places = np.array(part.column("camera"))
        found["places"] = {
            str(p): [int((said == truth)[places == p].sum()), int((places == p).sum())] for p in np.unique(places)
        }
    return found


def prepared(args: argparse.Namespace, name: str) -> Any:
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.duplicates import look_alikes
    from flawsmith.dataset.grouping import group_rows
    from flawsmith.dataset.manifest import DatasetInfo
    from flawsmith.dataset.write import write_dataset

    out = args.work / name
    if not out.exists():
        plain = args.work / f"{name}-ungrouped"
        write_dataset(plain, unique(SETS[name](args.data, args.work)), DatasetInfo(name=name), overwrite=True)
        data = Dataset.open(plain)
        numbers = group_rows(data, "auto", alike=lambda: look_alikes(data)).numbers
        grouped = (replace(s, groups={**s.groups, "part": str(n)}) for s, n in zip(data, numbers, strict=True))
        write_dataset(out, grouped, DatasetInfo(name=name))
    return Dataset.open(out)


def unique(samples: Iterable[Any]) -> Iterator[Any]:
    """Images that were not there before, pixel by pixel."""
    seen: set[bytes] = set()
    for sample in samples:
        image = sample.image()
        content = bytes(str(image.shape), "ascii") + image.tobytes()
        if content not in seen:
            seen.add(content)
            yield replace(sample, pixels=image)


def casting(data: Path, work: Path) -> Iterator[Any]:
    from flawsmith.core.sample import Sample

    for name, label in (("ok_front", "good"), ("def_front", "defect")):
        for path in sorted((data / "casting-impeller-train" / name).glob("*")):
            yield Sample(f"{name}/{path.stem}", path, healthy=label == "good", label=label)


def elpv(data: Path, work: Path, levels: bool = False) -> Iterator[Any]:
    from flawsmith.core.sample import Sample

    folder = data / "elpv"
    for path, probability, _ in csv.reader((folder / "labels.csv").open(), delimiter=" ", skipinitialspace=True):
        p = float(probability)
        label = f"level {round(3 * p)}" if levels else "defective" if p >= 0.5 else "good"
        yield Sample(Path(path).stem, folder / path, healthy=round(3 * p) == 0 if levels else p < 0.5, label=label)


def elpv_levels(data: Path, work: Path) -> Iterator[Any]:
    return elpv(data, work, levels=True)


def magnetic_tile(data: Path, work: Path) -> Iterator[Any]:
    return imported(data / "magnetic-tile", work / "magnetic-tile-imported", "magnetic-tile")


def dagm(data: Path, work: Path) -> Iterator[Any]:
    return imported(data / "dagm2007-class1", work / "dagm-imported", "dagm")


def imported(source: Path, out: Path, kind: str) -> Iterator[Any]:
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.convert import import_dataset

    if not out.exists():
        import_dataset(source, out, kind)
    for sample in Dataset.open(out):
        yield replace(sample, defects=())


def neu(data: Path, work: Path) -> Iterator[Any]:
    """Every labelled box, cut out; boxes of one image are one part."""
    from flawsmith.core.sample import Sample

    for sample in imported_boxes(data / "neu-det", work / "neu-imported"):
        image = sample.image()
        for number, defect in enumerate(sample.defects):
            x0, y0, x1, y1 = defect.box
            if min(x1 - x0, y1 - y0) >= 16:
                crop = np.ascontiguousarray(image[y0:y1, x0:x1])
                name = f"{sample.id}-{number}"
                yield Sample(name, crop, healthy=False, label=defect.kind, groups={"part": sample.id})


def imported_boxes(source: Path, out: Path) -> Any:
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.convert import import_dataset

    if not out.exists():
        import_dataset(source, out, "neu")
    return Dataset.open(out)


SCREW_BOXES = {"1": (5, 69, 261, 326), "2": (305, 69, 561, 326), "3": (5, 429, 261, 686), "4": (325, 429, 581, 686)}


def screws(data: Path, work: Path) -> Iterator[Any]:
    """Four positions of each photograph; a photograph is one part, its position goes by "camera"."""
    from flawsmith.core.image import decode
    from flawsmith.core.sample import Sample

    for path in sorted((data / "screw-presence" / "train_val_set").glob("*.jpg")):
        number, bits = path.stem.split("_")
        image = decode(path)
        for (place, (x0, y0, x1, y1)), bit in zip(SCREW_BOXES.items(), bits, strict=True):
            crop = np.ascontiguousarray(image[y0:y1, x0:x1])
            label = "present" if bit == "1" else "missing"
            groups = {"part": number, "camera": place}
            yield Sample(f"{number}-{place}", crop, healthy=bit == "1", label=label, groups=groups)


SETS = {
    "casting": casting,
    "elpv": elpv,
    "elpv, 4 levels": elpv_levels,
    "magnetic-tile": magnetic_tile,
    "neu crops": neu,
    "screws": screws,
    "dagm": dagm,
}

if __name__ == "__main__":
    main()
