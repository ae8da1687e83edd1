"""Pixel level: histograms of scores inside and outside the truth, in constant memory however many images there are."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from flawsmith.core.geometry import mask_box
from flawsmith.evaluate import curves
from flawsmith.evaluate.bins import BINS, bin_floors, coarse, score_bins
from flawsmith.evaluate.intervals import Estimate, Figure, Result

PRO_LIMITS = (0.30, 0.05)
NO_TRUTH = "no labelled pixel of this kind"


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """One image against one truth mask.

    positives, negatives: int64 (BINS,) pixels inside and outside the truth by score
    overlap:   float64 (BINS,) sum over truth regions of the fraction of the region in each bin
    regions:   8-connected truth regions
    shared, predicted, truth: pixels in both, at or above the threshold, and in the truth
    """

    positives: np.ndarray
    negatives: np.ndarray
    overlap: np.ndarray
    regions: int
    shared: int
    predicted: int
    truth: int

    @property
    def dice(self) -> float:
        return 2 * self.shared / (self.predicted + self.truth)


def pixel_counts(
    score_map: np.ndarray, truth: np.ndarray, threshold: float, roi: np.ndarray | None = None
) -> PixelCounts:
    """score_map float32 (H, W) in [0, 1]; truth and roi bool (H, W); pixels outside the roi are not counted."""
    bins = score_bins(score_map)
    everything = np.bincount((bins if roi is None else bins[roi]).ravel(), minlength=BINS)
    if roi is not None:
        truth = truth & roi
    positives, overlap, regions = _truth_counts(bins, truth)
    predicted = score_map >= threshold
    if roi is not None:
        predicted &= roi
    return PixelCounts(
        positives=positives,
        negatives=everything - positives,
        overlap=overlap,
        regions=regions,
        shared=int(np.count_nonzero(predicted & truth)),
        predicted=int(np.count_nonzero(predicted)),
        truth=int(positives.sum()),
    )


def _truth_counts(bins: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    box = mask_box(truth)
    if box is None:
        return np.zeros(BINS, np.int64), np.zeros(BINS), 0
    window = slice(box[1], box[3]), slice(box[0], box[2])
    count, labels = cv2.connectedComponents(truth[window].astype(np.uint8), connectivity=8)
    labels = np.asarray(labels, np.int32)
    inside = labels > 0
    of, region = bins[window][inside], labels[inside]
    share = 1 / np.bincount(region, minlength=count).clip(1)
    return np.bincount(of, minlength=BINS), np.bincount(of, share[region], BINS), count - 1


class PixelFigures(Result):
    """Pixel figures of one kind, or of any kind. Dice, IoU, precision and recall at the operating threshold.

    Dice, IoU and precision are over the images with a labelled defect; the false alarms of healthy images enter
    `average_precision`, `aupro_*` and `dice_with_healthy` only.
    """

    truth_px: int
    truth_regions: int
    average_precision: Figure
    dice: Figure
    iou: Figure
    precision: Figure
    recall: Figure
    dice_mean_per_image: Figure
    dice_with_healthy: Figure
    aupro_30: Figure
    aupro_05: Figure
    best_dice: Figure  # a diagnostic: its threshold is chosen on the very images it is measured on
    best_dice_threshold: float | None
    precision_recall: curves.Curve  # recall, precision
    per_region_overlap: curves.Curve  # false-alarm rate to 0.30, overlap
    dice_by_threshold: curves.Curve  # threshold, Dice


AREAS = ("average_precision", "aupro_30", "aupro_05")
SUMS = ("dice", "iou", "precision", "recall", "dice_mean_per_image", "dice_with_healthy")


class PixelTally:
    """Adds up `PixelCounts`, once as they are and once per resample on coarser bins."""

    def __init__(self, resamples: int) -> None:
        self.positives = np.zeros(BINS, np.int64)
        self.marked_negatives = np.zeros(BINS, np.int64)
        self.healthy_negatives = np.zeros(BINS, np.int64)
        self.overlap = np.zeros(BINS)
        self.regions = 0
        self.sums = np.zeros(4, np.int64)  # shared, predicted, truth, predicted in healthy images
        self.dices: list[float] = []
        width = len(coarse(self.overlap))
        self._positives = np.zeros((resamples, width), np.int64)
        self._negatives = np.zeros((resamples, width), np.int64)
        self._overlap = np.zeros((resamples, width))
        self._regions = np.zeros(resamples, np.int64)
        self._sums = np.zeros((resamples, 4), np.int64)
        self._dices = np.zeros((resamples, 2))  # sum, count

    def add(self, counts: PixelCounts, healthy: bool, weights: np.ndarray) -> None:
        """weights: int64 (resamples,), how often each resample draws this image."""
        healthy_px = [0, 0, 0, counts.predicted]
        sums = np.array(healthy_px if healthy else [counts.shared, counts.predicted, counts.truth, 0])
        self.sums += sums
        negatives = self.healthy_negatives if healthy else self.marked_negatives
        negatives += counts.negatives
        if counts.truth:
            self.positives += counts.positives
            self.overlap += counts.overlap
            self.regions += counts.regions
            self.dices.append(counts.dice)
        if len(weights):
            self._add_resamples(counts, sums, weights)

    def _add_resamples(self, counts: PixelCounts, sums: np.ndarray, weights: np.ndarray) -> None:
        _add_weighted(self._negatives, coarse(counts.negatives), weights)
        self._sums += weights[:, None] * sums
        if counts.truth:
            _add_weighted(self._positives, coarse(counts.positives), weights)
            _add_weighted(self._overlap, coarse(counts.overlap), weights)
            self._regions += weights * counts.regions
            self._dices += weights[:, None] * np.array([counts.dice, 1.0])

    @property
    def negatives(self) -> np.ndarray:
        return self.marked_negatives + self.healthy_negatives

    def estimates(self, intervals: bool) -> dict[str, Estimate]:
        """Every figure of `AREAS` and `SUMS`; `intervals`: whether there are enough groups to resample."""
        mean = np.array([math.fsum(self.dices) / len(self.dices) if self.dices else math.nan])
        areas = _areas(self.positives, self.negatives, self.overlap, self.regions)
        values = areas | {name: float(v[0]) for name, v in _ratios(self.sums[None], mean).items()}
        resampled = self._resampled(areas) if intervals and self.regions else dict.fromkeys(values, np.empty(0))
        return {name: Estimate(value, resampled[name]) for name, value in values.items()}

    def _resampled(self, areas: dict[str, float]) -> dict[str, np.ndarray]:
        """Areas on coarser bins, moved by what the coarseness does to the value itself."""
        on_coarse = _areas(coarse(self.positives), coarse(self.negatives), coarse(self.overlap), self.regions)
        parts = zip(self._positives, self._negatives, self._overlap, self._regions, strict=True)
        rows = [_areas(pos, neg, pro, int(regions)) for pos, neg, pro, regions in parts]
        shifted = {name: np.array([row[name] for row in rows]) + areas[name] - on_coarse[name] for name in AREAS}
        with np.errstate(invalid="ignore"):
            return shifted | _ratios(self._sums, self._dices[:, 0] / self._dices[:, 1])

    def figures(self, estimates: dict[str, Estimate]) -> PixelFigures:
        """`estimates` as `estimates()` gives them."""
        dice = curves.f1_curve(self.positives, self.marked_negatives)
        best = int(np.argmax(dice)) if self.regions else None
        return PixelFigures(
            truth_px=int(self.sums[2]),
            truth_regions=self.regions,
            **{name: estimate.figure(self._missing(name)) for name, estimate in estimates.items()},
            best_dice=_best(None if best is None else float(dice[best])),
            best_dice_threshold=None if best is None else float(bin_floors()[best]),
            precision_recall=self._precision_recall(),
            per_region_overlap=self._per_region_overlap(),
            dice_by_threshold=curves.thin(bin_floors().astype(float), dice) if self.regions else ((), ()),
        )

    def _missing(self, name: str) -> str:
        if not self.regions:
            return NO_TRUTH
        return "no pixel reaches the threshold" if name == "precision" else "no pixel outside the truth"

    def _precision_recall(self) -> curves.Curve:
        if not self.regions:
            return (), ()
        return curves.thin(*curves.pr_curve(self.positives, self.negatives))

    def _per_region_overlap(self) -> curves.Curve:
        """Up to the larger of `PRO_LIMITS`."""
        if not self.regions or not self.negatives.any():
            return (), ()
        limit = PRO_LIMITS[0]
        rate, overlap = curves.pro_curve(self.overlap, self.regions, self.negatives)
        shown = slice(0, int(np.searchsorted(rate, limit, side="right")) + 1)
        x, y = curves.thin(rate[shown] / limit, overlap[shown])
        return tuple(v * limit for v in x), y


def _best(dice: float | None) -> Figure:
    reason = NO_TRUTH if dice is None else "no interval: its threshold is chosen on these very images"
    return Figure(value=dice, reason=reason)


def _add_weighted(total: np.ndarray, histogram: np.ndarray, weights: np.ndarray) -> None:
    filled = np.flatnonzero(histogram)
    total[:, filled] += weights[:, None] * histogram[filled]


def _areas(positives: np.ndarray, negatives: np.ndarray, overlap: np.ndarray, regions: float) -> dict[str, float]:
    high, low = (curves.aupro(overlap, regions, negatives, limit) for limit in PRO_LIMITS)
    precision = float(curves.average_precision(positives, negatives))
    return {"average_precision": precision, "aupro_30": high, "aupro_05": low}


def _ratios(sums: np.ndarray, mean_dice: np.ndarray) -> dict[str, np.ndarray]:
    """From rows of (shared, predicted, truth, predicted in healthy images); NaN where there is no truth."""
    shared, predicted, truth, alarms = sums.T.astype(float)
    with np.errstate(invalid="ignore"):
        none = np.where(truth > 0, 0.0, np.nan)
        return {
            "dice": none + 2 * shared / (predicted + truth),
            "iou": none + shared / (predicted + truth - shared),
            "precision": none + shared / np.where(predicted > 0, predicted, np.nan),
            "recall": none + shared / truth,
            "dice_mean_per_image": mean_dice,
            "dice_with_healthy": none + 2 * shared / (predicted + alarms + truth),
        }
