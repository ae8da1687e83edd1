"""Region and box level: predicted regions, how they meet the labelled defects, and average precision by two rules.

Matching is COCO's: within an image, predictions in order of their score each take the free truth that they overlap
most, so a truth counts for one prediction at most and the rest are false alarms. Two rules for "overlap enough" stand
side by side: any intersection at all, and an IoU of .50, .55 … .95. Results equal pycocotools' (tested).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.geometry import mask_box

IOUS = np.linspace(0.5, 0.95, 10)  # as in pycocotools
RULES = np.concatenate([[1e-10], IOUS])  # the first column: any intersection; one pixel of any image is more than this
ANY, IOU50 = 0, 1
RECALLS = np.linspace(0, 1, 101)
MAX_PER_IMAGE = 100  # regions per image and kind that enter average precision, the highest scores first, as in COCO


@dataclass(frozen=True, eq=False)
class Regions:
    """8-connected regions of a thresholded map, highest score first.

    labels: int32 (H, W), i + 1 inside region i, else 0
    boxes:  int64 (D, 4) half-open xyxy
    areas:  int64 (D,) in pixels
    scores: float32 (D,), the largest map value in the region
    """

    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)


def find_regions(score_map: np.ndarray, threshold: float, min_area_px: int = 1) -> Regions:
    """Regions of score_map (H, W) at or above `threshold` with at least `min_area_px` pixels."""
    above = score_map >= threshold
    labels = np.zeros(score_map.shape, np.int32)
    box = mask_box(above)
    if box is None:
        return Regions(labels, np.zeros((0, 4), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    window = slice(box[1], box[3]), slice(box[0], box[2])
    count, raw, stats, _ = cv2.connectedComponentsWithStats(above[window].view(np.uint8), connectivity=8)
    raw = np.asarray(raw, np.int32)
    inside = raw > 0
    scores = np.zeros(count, np.float32)
    np.maximum.at(scores, raw[inside], score_map[window][inside])
    kept = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= min_area_px)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    renumber = np.zeros(count, np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    labels[window] = renumber[raw]
    x, y, width, height, area = stats[kept].astype(np.int64).T
    x, y = x + box[0], y + box[1]
    return Regions(labels, np.stack([x, y, x + width, y + height], axis=1), area, scores[kept])


def mask_overlaps(regions: Regions, defects: tuple[Defect, ...]) -> np.ndarray:
    """Shared pixels, int64 (D, G), of each region with each defect; a box-only defect is its filled box."""
    shared = np.zeros((len(regions), len(defects)), np.int64)
    for column, defect in enumerate(defects):
        x0, y0, x1, y1 = defect.box
        window = regions.labels[y0:y1, x0:x1]
        hit = window if defect.mask is None else window[defect.mask]
        shared[:, column] = np.bincount(hit.ravel(), minlength=len(regions) + 1)[1:]
    return shared


def mask_ious(regions: Regions, defects: tuple[Defect, ...], shared: np.ndarray) -> np.ndarray:
    """IoU (D, G) from the shared pixels of `mask_overlaps`."""
    areas = np.array([d.area_px for d in defects], np.int64)
    return shared / np.maximum(regions.areas[:, None] + areas[None] - shared, 1)


def box_ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (A, B) of two lists of half-open xyxy boxes, (A, 4) and (B, 4)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=-1) for box in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1)


def match(ious: np.ndarray) -> np.ndarray:
    """The truth that each prediction takes, by each of `RULES`: int64 (D, 11), -1 where none.

    ious: (D, G), predictions with the highest score first. Of equal overlaps the last truth is taken, as in COCO.
    """
    taken = np.full((len(ious), len(RULES)), -1, np.int64)
    for column, wanted in enumerate(RULES):
        free = np.ones(ious.shape[1], bool)
        for row in np.flatnonzero((ious >= wanted).any(axis=1)):
            open_ious = np.where(free, ious[row], -1)
            best = len(open_ious) - 1 - int(np.argmax(open_ious[::-1]))
            if open_ious[best] >= wanted:
                taken[row, column] = best
                free[best] = False
    return taken


def average_precisions(found: np.ndarray, weights: np.ndarray, truths: float) -> np.ndarray:
    """COCO's 101-point average precision by each of `RULES`: (11,); NaN without truths.

    found:   bool (D, 11), best prediction first
    weights: (D,), 1 each or how often a resample draws the prediction's image
    truths:  their number, weighted likewise

    Source: Lin et al., ECCV 2014, and `pycocotools.cocoeval`.
    """
    if truths <= 0:
        return np.full(len(RULES), np.nan)
    hits = (found * weights[:, None]).cumsum(axis=0)
    precision = hits / np.maximum(weights.cumsum()[:, None], 1e-12)
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    out = np.zeros(len(RULES))
    for column in range(len(RULES)):
        at = np.searchsorted(hits[:, column] / truths, RECALLS, side="left")
        out[column] = precision[at[at < len(precision)], column].sum() / len(RECALLS)
    return out
