"""How often is "unknown" said: of images of the classes, of other parts, of an empty surface, of a dark frame?

Each data set's three folds, features of frozen EfficientNet-Lite0; "unknown" is what `inspect` sends to a person (0.5
and more). Images of the classes are the fold's own test images, which should not be unknown; the strangers should.

    python benchmarks/recognise/unknown.py --work runs/recognise
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "render"))
sys.path.append(str(Path(__file__).parents[1]))
from report import data_folder, save

from quality import fold_of
from table import SETS, prepared

NAMES = ("casting", "elpv", "magnetic-tile", "neu crops", "screws", "dagm")
STRANGERS, FOLDS, SIDE = 40, 3, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, default=Path("runs/recognise"), help="imported data sets")
    parser.add_argument("--only", nargs="+", default=list(NAMES), choices=list(SETS))
    args = parser.parse_args()
    rows = []
    for name in args.only:
        data = prepared(args, name)
        counts: dict[str, list[int]] = {}
        for found_in_fold in judged(args, data, name):
            for kind, found in found_in_fold.items():
                told = counts.setdefault(kind, [0, 0])
                told[0], told[1] = told[0] + int(found.sum()), told[1] + len(found)
        rows.append({"data": name, "classes": len(set(data.column("label"))), "unknown": counts})
        print(json.dumps(rows[-1]), flush=True)
    print(save("unknown", {"folds": FOLDS, "rows": rows}, "torch", group="recognise"))


def judged(args: argparse.Namespace, data: Any, name: str) -> Iterator[dict[str, np.ndarray]]:
    """Of each fold, by kind of image: which are unknown. As `Classifier.fit` does it, features asked for once."""
    import torch

    from flawsmith.core.config import load_settings
    from flawsmith.core.spec import fitted
    from flawsmith.model.classify import Classifier, ClassifySettings
    from flawsmith.model.features import features_of
    from flawsmith.model.novelty import fit_novelty

    views, net, labels = Classifier(load_settings(ClassifySettings, None, [])).prepare(data)
    features = features_of(net.backbone, net.features, views)

    @torch.inference_mode()
    def described(images: Iterator[np.ndarray]) -> np.ndarray:
        batch = np.stack([fitted(image, views.spec) for image in images]).transpose(0, 3, 1, 2)
        return net.features(torch.from_numpy(np.ascontiguousarray(batch)).float()).numpy()

    rng = np.random.default_rng(5)
    net.eval()
    strangers = {"other parts": others(args, name, rng), "empty surface": empty(rng), "dark frame": dark(rng)}
    strange = {kind: described(images) for kind, images in strangers.items()}
    for fold in range(FOLDS):
        split = np.array(fold_of(data, fold))
        train, val, test = (np.flatnonzero(split == part) for part in ("train", "val", "test"))
        novelty = fit_novelty(features[train], labels[train], features[val])
        told = {"its classes": features[test], **strange}
        yield {kind: (novelty(torch.from_numpy(rows)) >= 0.5).numpy() for kind, rows in told.items()}


def others(args: argparse.Namespace, name: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Of each other data set as many images."""
    for other in NAMES:
        if other != name:
            data = prepared(args, other)
            for row in rng.choice(len(data), STRANGERS // (len(NAMES) - 1), replace=False):
                yield data[int(row)].image()


def empty(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Even surfaces of any brightness with grain and a slope of light."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    for _ in range(STRANGERS):
        slope = rng.normal(0, 40, 2)
        image = rng.uniform(40, 215) + slope[0] * x + slope[1] * y + rng.normal(0, rng.uniform(1, 12), (SIDE, SIDE))
        yield np.clip(image, 0, 255).astype(np.uint8)


def dark(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The lamp is off: read noise."""
    for _ in range(STRANGERS):
        yield np.clip(rng.normal(rng.uniform(0, 6), rng.uniform(0.5, 3), (SIDE, SIDE)), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
