"""Images among the healthy ones that are not like the others: an unlabelled defect, another part, a wrong light.

Each image is judged by a detector that learnt from the images of other parts. Images with the very same flaw excuse
each other; a few flaws that differ do not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.anomaly.detector import AnomalyDetector, part_numbers
from flawsmith.model.anomaly.settings import AnomalySettings

FOLDS = 5
LEAST_IMAGES = 10
_FAR = 5.0  # robust standard deviations of the logarithm of the distance
_MAD = 1.4826  # of a normal distribution: its deviation over its median absolute deviation
_LEAST_SPREAD = 0.02  # images that are all alike must not make outliers of the last digit


@dataclass(frozen=True)
class Outlier:
    """deviations: how far its distance lies above the usual one, in robust standard deviations of its logarithm;
    box: half-open xyxy pixels round where it departs most."""

    file_name: str
    deviations: float
    box: tuple[int, int, int, int]


def find_outliers(
    dataset: Dataset, settings: AnomalySettings | None = None, on_image: Callable[[int], None] = lambda count: None
) -> list[Outlier]:
    """Healthy images that depart from the others, the farthest first.

    on_image: told how many of the healthy images are judged

    Raises `DataError` for fewer than `LEAST_IMAGES` healthy images, and as `AnomalyDetector.fit`.
    """
    healthy = dataset.where(np.array(dataset.column("healthy"), bool))
    if len(healthy) < LEAST_IMAGES:
        raise DataError(
            f"{dataset.root} has {len(healthy)} healthy images: outliers show among {LEAST_IMAGES} or more; add some, "
            "or look at them: flawsmith dataset view"
        )
    settings = settings or AnomalySettings()
    folds = part_numbers(healthy) % FOLDS
    distances, boxes, done = np.zeros(len(healthy)), {}, 0
    for fold in np.unique(folds):
        mine = np.flatnonzero(folds == fold)
        model = AnomalyDetector(settings).fit(healthy.take(np.flatnonzero(folds != fold)))
        for row, seen in zip(mine, model.predict(s.image() for s in healthy.take(mine)), strict=True):
            apart = seen.map / (1 - seen.map) * model.unit_
            distances[row], boxes[row] = float(apart.max()), _round(apart)
            done += 1
            on_image(done)
    far, names = deviations(distances), healthy.column("file_name")
    rows = [int(row) for row in np.argsort(-far) if far[row] > _FAR]
    return [Outlier(names[row], float(far[row]), boxes[row]) for row in rows]


def deviations(distances: np.ndarray) -> np.ndarray:
    """(N,) above the median, in robust standard deviations of the logarithm; distances (N,) above 0 or 0."""
    logs = np.log(np.maximum(distances, 1e-12))
    apart = logs - np.median(logs)
    return apart / max(_MAD * float(np.median(np.abs(apart))), _LEAST_SPREAD)


def _round(apart: np.ndarray) -> tuple[int, int, int, int]:
    """Round the pixels whose distance is at least half of the greatest, and join the greatest."""
    _, labels = cv2.connectedComponents((apart >= apart.max() / 2).astype(np.uint8))
    rows, columns = np.nonzero(labels == labels.flat[int(apart.argmax())])
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
