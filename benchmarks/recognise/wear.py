"""Flank wear of photographed inserts: VB from masks, from features, and from segmented regions.

The 26 pictures are four turns of 70 photographs by one microscope (numbers up to 280) and some by another. Pictures
whose numbers, less multiples of 70, lie at most three apart can show one edge: they are one group and never divided
between folds. VB is in pixels, so the second microscope's pictures are measured but not learnt from with the first's.

    python benchmarks/recognise/wear.py --data ../shared/data            # ten minutes on one core
"""

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "render"))
from report import RESULTS, machine

from flawsmith.core.config import load_settings
from flawsmith.core.errors import DataError
from flawsmith.dataset import Dataset
from flawsmith.dataset.convert import import_dataset
from flawsmith.evaluate.intervals import Rate
from flawsmith.evaluate.wear import agreement
from flawsmith.model.segment import Segmenter, SegmentSettings
from flawsmith.model.wear.estimate import WearModel
from flawsmith.model.wear.survey import Survey, read_region, segmented_mask, survey

PACKAGES = ("flawsmith", "numpy", "scikit-learn", "scikit-image", "torch")
TURN, FIRST_MICROSCOPE, NEIGHBOURS, FOLDS = 70, 280, 3, 3
SEGMENTER = ("net.architecture=efficientnet-lite0", "augment.rotate_deg=180", "train.threads=1")


def edges(names: list[str]) -> np.ndarray:
    """A number for each picture; those that can show one edge share it."""
    place = {name: (int(name) > FIRST_MICROSCOPE, (int(name) - 1) % TURN) for name in names}
    numbers, last, group = {}, (False, -99), -1
    for name in sorted(names, key=lambda n: place[n]):
        other = place[name][0] != last[0]
        # which of the second microscope's pictures show one edge is not known: all count as one
        if other or (not place[name][0] and place[name][1] - last[1] > NEIGHBOURS):
            group += 1
        numbers[name], last = group, place[name]
    return np.array([numbers[name] for name in names])


def folds_of(groups: np.ndarray, seed: int) -> np.ndarray:
    """A test fold for each picture: the groups are shuffled by the seed and dealt out."""
    dealt = np.array_split(np.random.default_rng(seed).permutation(np.unique(groups)), FOLDS)
    fold = {group: number for number, some in enumerate(dealt) for group in some.tolist()}
    return np.array([fold[group] for group in groups.tolist()])


def from_masks(found: Survey) -> dict[str, Any]:
    rows = {}
    for name, region in sorted(found.regions.items(), key=lambda pair: int(pair[0])):
        wear = region.measurement
        rows[name] = {
            "vb_mean_px": round(wear.vb_mean_px, 1),
            "vb_max_px": round(wear.vb_max_px, 1),
            "edge_by": wear.edge.how,
            "notes": list(wear.notes),
        }
    return {"measured": len(rows), "of": len(rows) + len(found.left_out), "left_out": found.left_out, "images": rows}


def from_features(found: Survey, groups: np.ndarray, names: list[str], seed: int) -> dict[str, Any]:
    """Each fold is estimated by a model of the others; the level's bound is the median of those learnt from."""
    features = [found.regions[name].features for name in names]
    vb = np.array([found.regions[name].measurement.vb_mean_px for name in names])
    fold = folds_of(groups, seed)
    errors, of_mean, of_median, right, usual = [], [], [], 0, 0
    for held in range(FOLDS):
        learn, judge = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        bound = float(np.median(vb[learn]))
        levels = np.where(vb >= bound, "worn", "not worn")
        settings = WearModel().settings.model_copy(update={"folds": 2})  # its own folds are not used here
        model = WearModel(settings).fit(
            [features[i] for i in learn], vb[learn].tolist(), levels[learn].tolist(), [str(g) for g in groups[learn]]
        )
        said = model.predict([features[i] for i in judge])
        errors += [s.vb - vb[i] for s, i in zip(said, judge, strict=True)]
        of_mean += (vb[learn].mean() - vb[judge]).tolist()
        of_median += (bound - vb[judge]).tolist()
        right += sum(s.level == levels[i] for s, i in zip(said, judge, strict=True))
        names_, counts = np.unique(levels[learn], return_counts=True)
        usual += int((levels[judge] == names_[counts.argmax()]).sum())
    return {
        "seed": seed,
        "images": len(names),
        "groups": len(set(groups.tolist())),
        "mae_px": round(float(np.abs(errors).mean()), 2),
        "mae_of_mean_px": round(float(np.abs(of_mean).mean()), 2),
        "mae_of_median_px": round(float(np.abs(of_median).mean()), 2),
        "levels_right": Rate.of(right, len(names)).model_dump(),
        "levels_right_of_usual": Rate.of(usual, len(names)).model_dump(),
    }


def from_segments(dataset: Dataset, truth: Survey, groups: np.ndarray, seed: int, steps: int) -> dict[str, Any]:
    """One segmenter, learnt on two folds; VB in its regions of the third against VB in the drawn ones.

    The folds are those of seed 0 and seed s holds back fold s, so three seeds test every picture once.
    """
    held = folds_of(groups, 0) == seed % FOLDS
    settings = load_settings(SegmentSettings, None, [*SEGMENTER, f"train.seed={seed}", f"train.steps={steps}"])
    start = time.process_time()
    model = Segmenter(settings).fit(dataset.where(~held))
    seconds = time.process_time() - start
    pairs, left_out, overlap, total = {}, {}, 0, 0
    kind = dataset.classes[0]
    for sample in dataset.where(held):
        image = sample.image()
        mask = segmented_mask(model, image, kind)
        drawn = truth.regions[sample.id].mask
        overlap, total = overlap + 2 * int((mask & drawn).sum()), total + int(mask.sum() + drawn.sum())
        try:
            found = read_region(image, mask, name=sample.id, source="segmenter")
        except DataError as error:
            left_out[sample.id] = str(error)
            continue
        pairs[sample.id] = (found.measurement.vb_mean_px, truth.regions[sample.id].measurement.vb_mean_px)
    differences = np.array([a - b for a, b in pairs.values()])
    return {
        "seed": seed,
        "learnt_from": int((~held).sum()),
        "test_images": int(held.sum()),
        "train_cpu_seconds": round(seconds, 1),
        "dice": round(overlap / total, 3) if total else None,
        "measured": Rate.of(len(pairs), int(held.sum())).model_dump(),
        "left_out": left_out,
        "mae_px": round(float(np.abs(differences).mean()), 2) if pairs else None,
        "segmented_minus_drawn_px": agreement(differences).model_dump(),
        "pairs_px": {name: [round(a, 1), round(b, 1)] for name, (a, b) in pairs.items()},
    }


def pooled(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """All test folds of the segmenters together."""
    pairs = [pair for run in runs for pair in run["pairs_px"].values()]
    return agreement(np.array([a - b for a, b in pairs])).model_dump()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/wear"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200, help="Of each segmenter; 0: none is trained.")
    parser.add_argument("--results", type=Path, default=RESULTS / "recognise_wear.json")
    args = parser.parse_args()
    if not (args.work / "data").exists():
        import_dataset(args.data / "tool-insert-wear", args.work / "data", "masks")
    dataset = Dataset.open(args.work / "data")
    found = survey(dataset, dataset.classes[0])
    measured = dataset.where(np.isin(dataset.column("id"), list(found.regions)))
    names = measured.column("id")
    groups = edges(names)
    first = np.array([int(name) <= FIRST_MICROSCOPE for name in names])
    figures: dict[str, Any] = {"from_masks": from_masks(found), "from_features": [], "from_segments": []}
    for title, chosen in (("first microscope", first), ("both", np.ones_like(first))):
        some = [name for name, own in zip(names, chosen, strict=True) if own]
        for seed in args.seeds:
            line = {"pictures": title, **from_features(found, groups[chosen], some, seed)}
            figures["from_features"].append(line)
            print(json.dumps(line), flush=True)
    for seed in args.seeds if args.steps else ():
        line = from_segments(measured.where(first), found, groups[first], seed, args.steps)
        figures["from_segments"].append(line)
        print(json.dumps(line), flush=True)
    if figures["from_segments"]:
        figures["from_segments_pooled"] = pooled(figures["from_segments"])
    versions = {name: version(name) for name in PACKAGES}
    report = {"benchmark": "recognise/wear", "hardware": machine(), "versions": versions, **figures}
    args.results.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(args.results)


if __name__ == "__main__":
    main()
