"""Everything that is added up over the images of one provenance."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.geometry import Box, mask_box
from flawsmith.core.prediction import Prediction
from flawsmith.core.sample import Sample
from flawsmith.evaluate.detection import MatchTally
from flawsmith.evaluate.intervals import group_of, resample_weights, worthwhile
from flawsmith.evaluate.pictures import Case, WorstCases, draw_case, escape_badness, false_reject_badness
from flawsmith.evaluate.pixels import PixelCounts, PixelTally, pixel_counts
from flawsmith.evaluate.regions import Regions, box_ious, find_regions, mask_ious, mask_overlaps, match
from flawsmith.evaluate.sizes import DefectOutcomes, HealthyTally, SizeTally, defect_outcomes


@dataclass(frozen=True, eq=False)
class Rules:
    """How images are judged: the same for all of them.

    threshold:   operating threshold of pixels, regions and, unless `rejects` is given, of image scores
    min_area_px: smaller predicted regions are left out
    roi:         bool (H, W); nothing outside it is counted
    rejects:     the decision on an image; None: its score reaches the threshold
    """

    threshold: float
    min_area_px: int
    size_edges_px: tuple[int, ...]
    pictures: int
    resamples: int
    seed: int
    roi: np.ndarray | None = None
    rejects: Callable[[Prediction], bool] | None = None

    def reject(self, prediction: Prediction) -> bool:
        return self.rejects(prediction) if self.rejects else prediction.score >= self.threshold


@dataclass(frozen=True, eq=False)
class Plane:
    """One map of one image against its defects: of one kind, or of any."""

    pixels: PixelCounts
    regions: Regions
    outcomes: DefectOutcomes
    mask_matches: np.ndarray
    box_matches: np.ndarray
    truths: int


def compare(score_map: np.ndarray, defects: tuple[Defect, ...], rules: Rules) -> Plane:
    """score_map float32 (H, W) and the defects to be found in it, both already cut to the region of interest."""
    regions = find_regions(score_map, rules.threshold, rules.min_area_px)
    shared = mask_overlaps(regions, defects)
    taken = match(mask_ious(regions, defects, shared))
    boxes = np.array([d.box for d in defects], np.int64).reshape(-1, 4)
    return Plane(
        pixels=pixel_counts(score_map, union_mask(defects, score_map.shape), rules.threshold, rules.roi),
        regions=regions,
        outcomes=defect_outcomes(defects, regions, shared, taken),
        mask_matches=taken,
        box_matches=match(box_ious(regions.boxes, boxes)),
        truths=len(defects),
    )


def union_mask(defects: tuple[Defect, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Bool (H, W): every defect's pixels; a box-only defect fills its box."""
    mask = np.zeros(shape, bool)
    for defect in defects:
        x0, y0, x1, y1 = defect.box
        mask[y0:y1, x0:x1] |= True if defect.mask is None else defect.mask
    return mask


def inside_roi(defect: Defect, roi: np.ndarray) -> Defect | None:
    """What of a defect lies inside the region of interest, None when nothing does. A box stays a box."""
    x0, y0, x1, y1 = defect.box
    mask = roi[y0:y1, x0:x1] if defect.mask is None else defect.mask & roi[y0:y1, x0:x1]
    box = mask_box(mask)
    if box is None:
        return None
    whole = (x0 + box[0], y0 + box[1], x0 + box[2], y0 + box[3])
    return Defect(defect.kind, whole, None if defect.mask is None else mask[box[1] : box[3], box[0] : box[2]])


class PlaneTally:
    """Adds up one kind's planes, or those of any kind."""

    def __init__(self, rules: Rules) -> None:
        self.pixels = PixelTally(rules.resamples)
        self.masks, self.boxes = MatchTally(), MatchTally()
        self.healthy = HealthyTally(rules.resamples)

    def add(self, sample: Sample, plane: Plane, group: str, weights: np.ndarray) -> None:
        self.pixels.add(plane.pixels, sample.healthy, weights)
        self.masks.add(sample.id, group, plane.regions.scores, plane.mask_matches, plane.truths)
        self.boxes.add(sample.id, group, plane.regions.scores, plane.box_matches, plane.truths)
        if sample.healthy:
            self.healthy.add(int(plane.regions.areas.sum()), len(plane.regions), weights)


@dataclass(frozen=True)
class ImageRecord:
    """What is kept of every image."""

    sample_id: str
    group: str
    score: float
    defective: bool
    rejected: bool
    kinds: frozenset[str]
    part: str | None


class ProvenanceTally:
    """Adds up the images of one provenance; memory grows by a few numbers an image."""

    def __init__(self, kinds: tuple[str, ...], rules: Rules) -> None:
        self.kinds, self.rules = kinds, rules
        self.records: list[ImageRecord] = []
        self.any = PlaneTally(rules)
        self.by_kind = [PlaneTally(rules) for _ in kinds]
        self.sizes = SizeTally(rules.size_edges_px, rules.resamples)
        self.splits: Counter[str] = Counter()
        self.defects: Counter[str] = Counter()
        self.found: Counter[str] = Counter()  # touched by a region of any kind
        self.unmarked = self.boxes_only = self.outside_roi = 0
        self.worst_defective: WorstCases[Case] = WorstCases(rules.pictures)
        self.worst_healthy: WorstCases[Case] = WorstCases(rules.pictures)

    def add(self, sample: Sample, prediction: Prediction) -> None:
        """One image; its maps are not kept."""
        maps, defects, roi = prediction.maps, sample.defects, self.rules.roi
        if roi is not None:
            maps = maps * roi
            defects = tuple(d for d in (inside_roi(d, roi) for d in defects) if d)
        group = group_of(sample.groups, sample.id)
        rejected = bool(self.rules.reject(prediction))
        self._record(sample, prediction, rejected, group)
        strongest = maps.max(axis=0)
        if sample.healthy or sample.defects:
            plane = compare(strongest, defects, self.rules)
            self._add_planes(sample, maps, defects, plane, group, rejected)
            regions = plane.regions
        else:
            self.unmarked += 1
            regions = find_regions(strongest, self.rules.threshold, self.rules.min_area_px)
        self.outside_roi += len(sample.defects) - len(defects)
        self._show(sample, prediction.score, rejected, defects, strongest, regions)

    def resamples(self) -> int:
        """How many resamples there are behind intervals: none where too few groups were seen."""
        return worthwhile(self.rules.resamples, (r.group for r in self.records))

    def _record(self, sample: Sample, prediction: Prediction, rejected: bool, group: str) -> None:
        kinds = frozenset(d.kind for d in sample.defects) or ({sample.label} if not sample.healthy else set())
        part = sample.groups.get("part")
        self.splits[sample.split or "none"] += 1
        self.records.append(
            ImageRecord(sample.id, group, float(prediction.score), not sample.healthy, rejected, frozenset(kinds), part)
        )

    def _add_planes(
        self, sample: Sample, maps: np.ndarray, defects: tuple[Defect, ...], plane: Plane, group: str, rejected: bool
    ) -> None:
        self.boxes_only += sum(d.mask is None for d in defects)
        weights = resample_weights(group, self.rules.resamples, self.rules.seed)
        self.any.add(sample, plane, group, weights)
        for kind, touched in zip(plane.outcomes.kinds, plane.outcomes.touched, strict=True):
            self.defects[kind] += 1
            self.found[kind] += bool(touched)
        if not sample.healthy:
            self.sizes.add(plane.outcomes, rejected, sample.pixel_mm, weights)
        for index, kind in enumerate(self.kinds):
            own = tuple(d for d in defects if d.kind == kind)
            same = len(self.kinds) == 1 and len(own) == len(defects)
            self.by_kind[index].add(sample, plane if same else compare(maps[index], own, self.rules), group, weights)

    def _show(
        self,
        sample: Sample,
        score: float,
        rejected: bool,
        defects: tuple[Defect, ...],
        strongest: np.ndarray,
        regions: Regions,
    ) -> None:
        worst = self.worst_healthy if sample.healthy else self.worst_defective
        badness = (false_reject_badness if sample.healthy else escape_badness)(rejected, float(score), sample.id)
        if not worst.wants(badness):
            return
        image = sample.image()
        if image.shape[:2] != strongest.shape:
            raise DataError(f"{sample.id}: the image is {image.shape[:2]}, its maps {strongest.shape}; make them equal")
        largest = max(defects, key=lambda d: d.area_px, default=None)
        focus = largest.box if largest else _brightest(strongest)
        truth = union_mask(defects, strongest.shape)
        detail, overview = draw_case(image, truth, regions.labels > 0, focus)
        kinds = tuple(sorted({d.kind for d in sample.defects})) or (() if sample.healthy else (sample.label,))
        area = largest.area_px if largest else None
        worst.add(Case(badness, sample.id, float(score), rejected, kinds, area, detail, overview))


def _brightest(score_map: np.ndarray) -> Box:
    y, x = np.unravel_index(int(np.argmax(score_map)), score_map.shape)
    return int(x), int(y), int(x) + 1, int(y) + 1
