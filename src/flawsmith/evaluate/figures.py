"""From tallies to figures: what is said of the images of one provenance."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from flawsmith.core.sample import Provenance
from flawsmith.evaluate.detection import (
    DetectionFigures,
    MeanPrecision,
    detection_figures,
    mean_precision,
)
from flawsmith.evaluate.images import ImageFigures, SweepRow, counts_row, image_figures
from flawsmith.evaluate.intervals import Estimate, Figure, Rate, Result, mean_estimate
from flawsmith.evaluate.pictures import Case
from flawsmith.evaluate.pixels import PixelFigures
from flawsmith.evaluate.sizes import HealthyFigures, SizeFigures
from flawsmith.evaluate.tally import PlaneTally, ProvenanceTally

_MEANS = ("average_precision", "dice", "iou", "aupro_30", "aupro_05")


class KindFigures(Result):
    """One defect class, in its own map. `found`: touched by a predicted region, whatever kind that was said to be."""

    kind: str
    images: int  # defective images of this kind, marked or not
    escapes: Rate
    defects: int
    found: Rate
    pixels: PixelFigures
    masks: DetectionFigures
    boxes: DetectionFigures
    healthy: HealthyFigures


class MeanFigures(Result):
    """Means over the kinds that have any truth, all kinds equal."""

    kinds: int
    average_precision: Figure
    dice: Figure
    iou: Figure
    aupro_30: Figure
    aupro_05: Figure
    masks: MeanPrecision
    boxes: MeanPrecision


class UnknownKind(Result):
    """A labelled kind that the model was not trained for: it counts as a defect, and has no map of its own."""

    kind: str
    defects: int
    found: Rate


class PicturedCase(Result):
    """An image of the lists of worst cases; the pictures are in the report only."""

    sample_id: str
    score: float
    rejected: bool
    kinds: tuple[str, ...]
    largest_defect_px: int | None
    detail_png: bytes = Field(b"", exclude=True, repr=False)
    overview_png: bytes = Field(b"", exclude=True, repr=False)


class ProvenanceFigures(Result):
    """All figures of the images of one provenance. Figures without a kind are of any defect, whatever its kind."""

    provenance: Provenance
    images: int
    defective: int
    healthy: int
    unmarked: int  # defective without a marked region: image level only
    defects: int
    boxes_as_truth: int  # of the defects, those known as a box only
    outside_roi: int  # defects that lie outside the region of interest and were left out
    splits: dict[str, int]
    groups: int  # what the intervals resample
    group_unit: str
    parts: int | None  # different part names, where all images have one
    operating: SweepRow
    image: ImageFigures
    pixels: PixelFigures
    masks: DetectionFigures
    boxes: DetectionFigures
    kinds: tuple[KindFigures, ...]
    means: MeanFigures
    sizes: tuple[SizeFigures, ...]
    healthy_images: HealthyFigures
    unknown_kinds: tuple[UnknownKind, ...]
    remarks: tuple[str, ...]
    worst_defective: tuple[PicturedCase, ...]
    worst_healthy: tuple[PicturedCase, ...]


def provenance_figures(provenance: Provenance, tally: ProvenanceTally) -> ProvenanceFigures:
    """`tally` has seen at least one image."""
    records = sorted(tally.records, key=lambda r: r.sample_id)
    defective = np.array([r.defective for r in records])
    rejected = np.array([r.rejected for r in records])
    groups = [r.group for r in records]
    rules, names = tally.rules, set(groups)
    estimates = _Estimates.of(tally.any, tally)
    kinds = [_Estimates.of(plane, tally) for plane in tally.by_kind]
    masks_known = not tally.boxes_only
    return ProvenanceFigures(
        provenance=provenance,
        images=len(records),
        defective=int(defective.sum()),
        healthy=int((~defective).sum()),
        unmarked=tally.unmarked,
        defects=sum(tally.defects.values()),
        boxes_as_truth=tally.boxes_only,
        outside_roi=tally.outside_roi,
        splits=dict(sorted(tally.splits.items())),
        groups=len(names),
        group_unit=group_unit(names),
        parts=_parts(tally),
        operating=counts_row(rejected, defective, rules.threshold),
        image=image_figures(
            np.array([r.score for r in records]), defective, groups, rules.threshold, rules.resamples, rules.seed
        ),
        pixels=tally.any.pixels.figures(estimates.pixels),
        masks=detection_figures(tally.any.masks, estimates.masks, masks_known),
        boxes=detection_figures(tally.any.boxes, estimates.boxes),
        kinds=tuple(
            _kind(kind, plane, estimate, tally)
            for kind, plane, estimate in zip(tally.kinds, tally.by_kind, kinds, strict=True)
        ),
        means=_means(kinds, masks_known),
        sizes=tally.sizes.figures(tally.resamples() > 0),
        healthy_images=tally.any.healthy.figures(tally.resamples() > 0),
        unknown_kinds=tuple(
            UnknownKind(kind=kind, defects=count, found=Rate.of(tally.found[kind], count))
            for kind, count in sorted(tally.defects.items())
            if kind not in tally.kinds
        ),
        remarks=remarks(tally),
        worst_defective=tuple(_pictured(case) for case in tally.worst_defective.cases),
        worst_healthy=tuple(_pictured(case) for case in tally.worst_healthy.cases),
    )


@dataclass(frozen=True)
class _Estimates:
    """One plane's figures before they are written down, so that means over kinds have intervals too."""

    pixels: dict[str, Estimate]
    masks: dict[str, Estimate]
    boxes: dict[str, Estimate]

    @classmethod
    def of(cls, plane: PlaneTally, tally: ProvenanceTally) -> "_Estimates":
        resamples = tally.resamples()
        return cls(
            pixels=plane.pixels.estimates(resamples > 0),
            masks=plane.masks.estimates(resamples, tally.rules.seed),
            boxes=plane.boxes.estimates(resamples, tally.rules.seed),
        )


def _kind(kind: str, plane: PlaneTally, estimates: _Estimates, tally: ProvenanceTally) -> KindFigures:
    members = [r for r in tally.records if r.defective and kind in r.kinds]
    escapes = sum(not r.rejected for r in members)
    return KindFigures(
        kind=kind,
        images=len(members),
        escapes=Rate.of(escapes, len(members), "no image with this kind"),
        defects=tally.defects[kind],
        found=Rate.of(tally.found[kind], tally.defects[kind], "no labelled defect of this kind"),
        pixels=plane.pixels.figures(estimates.pixels),
        masks=detection_figures(plane.masks, estimates.masks, not tally.boxes_only),
        boxes=detection_figures(plane.boxes, estimates.boxes),
        healthy=plane.healthy.figures(tally.resamples() > 0),
    )


def _means(kinds: list[_Estimates], masks_known: bool) -> MeanFigures:
    missing = "no labelled pixel of any known kind"
    return MeanFigures(
        kinds=sum(not np.isnan(kind.pixels["dice"].value) for kind in kinds),
        **{name: mean_estimate([kind.pixels[name] for kind in kinds]).figure(missing) for name in _MEANS},
        masks=mean_precision([kind.masks for kind in kinds], masks_known),
        boxes=mean_precision([kind.boxes for kind in kinds]),
    )


def group_unit(groups: set[str]) -> str:
    """What the groups are, in words: "part", "image or lot" …"""
    return " or ".join(sorted({name.partition(":")[0] for name in groups}))


def _parts(tally: ProvenanceTally) -> int | None:
    names = {r.part for r in tally.records}
    return None if None in names else len(names)


def _pictured(case: Case) -> PicturedCase:
    return PicturedCase(
        sample_id=case.sample_id,
        score=case.score,
        rejected=case.rejected,
        kinds=case.kinds,
        largest_defect_px=case.defect_px,
        detail_png=case.detail_png,
        overview_png=case.overview_png,
    )


def remarks(tally: ProvenanceTally) -> tuple[str, ...]:
    """What a reader must know before believing the figures."""
    images, lines = len(tally.records), []
    if tally.boxes_only:
        total = sum(tally.defects.values())
        lines.append(
            f"Boxes as truth: {tally.boxes_only} of {total} labelled defects are boxes without a mask. Pixel figures "
            "count every pixel of such a box as defect, so they are lower than they would be with masks."
        )
    if tally.unmarked:
        lines.append(
            f"{tally.unmarked} defective images have no marked region. They count at image level only and are left "
            "out of pixel, region and box figures."
        )
    if tally.outside_roi:
        lines.append(f"{tally.outside_roi} labelled defects lie outside the region of interest and are left out.")
    unknown = sorted(set(tally.defects) - set(tally.kinds))
    if unknown:
        lines.append(
            f"The model does not know these labelled kinds: {', '.join(unknown)}. They count as defects, and are left "
            "out of the figures by class."
        )
    return (*lines, *group_remarks(images, len({r.group for r in tally.records}), tally.splits["train"]))


def group_remarks(images: int, groups: int, trained: int) -> tuple[str, ...]:
    """What holds of any evaluation: `groups` that the images come from, `trained` images of the training split."""
    lines = []
    if groups < images:
        lines.append(
            f"The {images} images come from {groups} groups. Images of one group are alike, so exact intervals, which "
            "count every image as independent, are narrower than the truth; resampled intervals draw whole groups."
        )
    if trained:
        lines.append(f"{trained} images are of the training split: the figures flatter the model.")
    return tuple(lines)
