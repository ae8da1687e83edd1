"""Small and large defects apart, and healthy images apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.evaluate.intervals import Estimate, Figure, Rate, Result
from flawsmith.evaluate.regions import IOU50, Regions

SIZE_EDGES_PX = (25, 100, 400, 1600, 6400)  # each four times the last: twice the diameter
NO_DEFECT = "no defect of this size"


class SizeFigures(Result):
    """Defects with from_px <= area < to_px. `found` is at the operating threshold, whatever kind was predicted."""

    from_px: int
    to_px: int | None
    from_mm2: float | None  # the same edges, where all images have one pixel size
    to_mm2: float | None
    smallest_mm2: float | None  # the defects that are there, where their pixel size is known
    largest_mm2: float | None
    defects: int
    found: Rate  # touched by a predicted region
    found_iou_50: Rate  # matched with an IoU of at least .50
    coverage: Figure  # mean over the defects of the share of their pixels that is predicted
    escapes: Rate  # images whose largest defect is of this size and that were passed


class HealthyFigures(Result):
    """False alarms on healthy images at the operating threshold."""

    images: int
    with_alarm: Rate
    alarm_px: int
    alarm_px_per_image: Figure
    alarm_px_most: int
    alarm_regions: int
    alarm_regions_per_image: Figure
    alarm_regions_most: int


@dataclass(frozen=True, eq=False)
class DefectOutcomes:
    """What became of one image's defects; arrays (G,), in the sample's order."""

    kinds: tuple[str, ...]
    areas: np.ndarray
    touched: np.ndarray
    iou_50: np.ndarray
    coverage: np.ndarray


def defect_outcomes(
    defects: tuple[Defect, ...], regions: Regions, shared: np.ndarray, taken: np.ndarray
) -> DefectOutcomes:
    """shared (D, G) of `mask_overlaps` and taken (D, 11) of `match`."""
    areas = np.array([d.area_px for d in defects], np.int64)
    return DefectOutcomes(
        kinds=tuple(d.kind for d in defects),
        areas=areas,
        touched=shared.sum(axis=0) > 0,
        iou_50=np.isin(np.arange(len(defects)), taken[:, IOU50]),
        coverage=shared.sum(axis=0) / np.maximum(areas, 1),
    )


class SizeTally:
    """Counts per size bin."""

    def __init__(self, edges_px: Sequence[int], resamples: int) -> None:
        self.edges = tuple(edges_px)
        bins = len(self.edges) + 1
        self.counts = np.zeros((bins, 3), np.int64)  # defects, touched, IoU .50
        self.images = np.zeros((bins, 2), np.int64)  # defective images by largest defect, escapes
        self.coverages: list[list[float]] = [[] for _ in range(bins)]
        self.areas_mm2: list[tuple[float, float]] = [(math.inf, -math.inf)] * bins
        self.pixel_mm: set[float | None] = set()
        self._sums = np.zeros((resamples, bins, 2))

    def add(self, outcomes: DefectOutcomes, rejected: bool, pixel_mm: float | None, weights: np.ndarray) -> None:
        """The defects of one marked image; weights int64 (resamples,)."""
        bins = np.searchsorted(self.edges, outcomes.areas, side="right")
        self.pixel_mm.add(pixel_mm)
        for i, area in enumerate(outcomes.areas.tolist()):
            at = bins[i]
            self.counts[at] += [1, outcomes.touched[i], outcomes.iou_50[i]]
            self.coverages[at].append(float(outcomes.coverage[i]))
            self._sums[:, at] += weights[:, None] * np.array([outcomes.coverage[i], 1.0])
            if pixel_mm:
                low, high = self.areas_mm2[at]
                self.areas_mm2[at] = min(low, area * pixel_mm**2), max(high, area * pixel_mm**2)
        if len(bins):
            self.images[bins.max()] += [1, not rejected]

    def figures(self, intervals: bool) -> tuple[SizeFigures, ...]:
        return tuple(self._bin(i, intervals) for i in range(len(self.counts)))

    def _bin(self, i: int, intervals: bool) -> SizeFigures:
        low, high = (0, *self.edges)[i], (*self.edges, None)[i]
        pixel_mm = next(iter(self.pixel_mm)) if len(self.pixel_mm) == 1 else None
        known = None not in self.pixel_mm and self.counts[i, 0] > 0
        return SizeFigures(
            from_px=low,
            to_px=high,
            from_mm2=low * pixel_mm**2 if pixel_mm else None,
            to_mm2=high * pixel_mm**2 if pixel_mm and high else None,
            smallest_mm2=self.areas_mm2[i][0] if known else None,
            largest_mm2=self.areas_mm2[i][1] if known else None,
            defects=int(self.counts[i, 0]),
            found=Rate.of(self.counts[i, 1], self.counts[i, 0], NO_DEFECT),
            found_iou_50=Rate.of(self.counts[i, 2], self.counts[i, 0], NO_DEFECT),
            coverage=mean_of(self.coverages[i], self._sums[:, i], intervals).figure(NO_DEFECT),
            escapes=Rate.of(self.images[i, 1], self.images[i, 0], "no image whose largest defect has this size"),
        )


class HealthyTally:
    """Counts false alarms image by image."""

    def __init__(self, resamples: int) -> None:
        self.pixels: list[int] = []
        self.regions: list[int] = []
        self._sums = np.zeros((resamples, 2, 2))

    def add(self, pixels: int, regions: int, weights: np.ndarray) -> None:
        """Pixels and regions that a healthy image shows at the threshold."""
        self.pixels.append(pixels)
        self.regions.append(regions)
        self._sums += weights[:, None, None] * np.array([[pixels, 1.0], [regions, 1.0]])

    def figures(self, intervals: bool) -> HealthyFigures:
        missing, none = "no healthy images", math.inf
        return HealthyFigures(
            images=len(self.pixels),
            with_alarm=Rate.of(sum(n > 0 for n in self.regions), len(self.regions), missing),
            alarm_px=sum(self.pixels),
            alarm_px_per_image=mean_of(self.pixels, self._sums[:, 0], intervals).figure(missing, none),
            alarm_px_most=max(self.pixels, default=0),
            alarm_regions=sum(self.regions),
            alarm_regions_per_image=mean_of(self.regions, self._sums[:, 1], intervals).figure(missing, none),
            alarm_regions_most=max(self.regions, default=0),
        )


def mean_of(values: Sequence[float], sums: np.ndarray, intervals: bool) -> Estimate:
    """The mean, and by resample from rows of (weighted sum, weighted count)."""
    mean = math.fsum(values) / len(values) if values else math.nan
    with np.errstate(invalid="ignore"):
        return Estimate(mean, sums[:, 0] / sums[:, 1] if intervals else np.empty(0))
