"""Region and box figures: matches of many images, by the lenient and by COCO's rule, side by side."""

import math
from dataclasses import dataclass, field

import numpy as np

from flawsmith.evaluate.intervals import Estimate, Figure, Rate, Result, group_weights, mean_estimate
from flawsmith.evaluate.regions import ANY, IOU50, MAX_PER_IMAGE, RULES, average_precisions

NO_TRUTH = "no labelled defect of this kind"
NO_MASKS = "part of the truth is boxes only: see the box figures"
AP_RULES = ("any_overlap", "coco_50", "coco_50_95")


@dataclass(frozen=True, eq=False)
class ImageMatches:
    """scores (D,) and found bool (D, 11) of one image's predictions, best first, and its number of truths."""

    image: str
    group: str
    scores: np.ndarray
    found: np.ndarray
    truths: int


@dataclass
class MatchTally:
    """Adds up matches of images; of each image it keeps the scores of at most `MAX_PER_IMAGE` regions."""

    predictions: int = 0
    truths: int = 0
    matched: np.ndarray = field(default_factory=lambda: np.zeros(len(RULES), np.int64))
    images: list[ImageMatches] = field(default_factory=list)

    def add(self, image: str, group: str, scores: np.ndarray, taken: np.ndarray, truths: int) -> None:
        """scores (D,) descending; taken (D, 11) as `match` gives it; the number of truths in the image."""
        self.predictions += len(scores)
        self.truths += truths
        self.matched += (taken >= 0).sum(axis=0)
        if len(scores) or truths:
            kept = slice(MAX_PER_IMAGE)
            self.images.append(ImageMatches(image, group, scores[kept].copy(), taken[kept] >= 0, truths))

    def estimates(self, resamples: int, seed: int) -> dict[str, Estimate]:
        """Average precision by each of `AP_RULES`."""
        found, owner = ranked(self.images)
        truths = np.array([m.truths for m in self.images], np.int64)
        value = average_precisions(found, np.ones(len(found), np.int64), self.truths)
        rows = []
        if self.truths:
            weights, members = group_weights([m.group for m in self.images], resamples, seed)
            for drawn in weights.T:
                per_image = drawn[members].astype(np.int64)
                rows.append(average_precisions(found, per_image[owner], int(per_image @ truths)))
        resampled = np.stack(rows) if rows else np.empty((0, len(RULES)))
        return {
            "any_overlap": Estimate(float(value[ANY]), resampled[:, ANY]),
            "coco_50": Estimate(float(value[IOU50]), resampled[:, IOU50]),
            "coco_50_95": Estimate(float(value[IOU50:].mean()), resampled[:, IOU50:].mean(axis=1)),
        }


def ranked(images: list[ImageMatches]) -> tuple[np.ndarray, np.ndarray]:
    """All predictions, best first, of equal scores by image name: found bool (D, 11) and the index of their image."""
    if not images:
        return np.zeros((0, len(RULES)), bool), np.zeros(0, np.int64)
    scores = np.concatenate([m.scores for m in images])
    owner = np.repeat(np.arange(len(images)), [len(m.scores) for m in images])
    names = np.unique([m.image for m in images], return_inverse=True)[1]
    order = np.lexsort((names[owner], -scores))
    return np.concatenate([m.found for m in images])[order], owner[order]


class RuleFigures(Result):
    """At the operating threshold, by one rule of what is a hit."""

    precision: Rate  # predicted regions that take a truth, of all predicted regions
    recall: Rate  # truths that are taken, of all truths


class DetectionFigures(Result):
    """Predicted regions against labelled defects: as masks, or as their boxes."""

    any_overlap: RuleFigures  # a hit is any intersection
    coco_50: RuleFigures  # a hit is an IoU of at least .50
    ap_any_overlap: Figure
    ap_coco_50: Figure
    ap_coco_50_95: Figure  # mean over IoU .50, .55 … .95


class MeanPrecision(Result):
    """Mean average precision over the kinds that have any truth."""

    any_overlap: Figure
    coco_50: Figure
    coco_50_95: Figure


def detection_figures(tally: MatchTally, estimates: dict[str, Estimate], masks_known: bool = True) -> DetectionFigures:
    """masks_known: False where IoU would compare masks with truth that is only boxes; COCO's figures are then null."""
    coco = [_coco_figure(estimates[rule], masks_known) for rule in ("coco_50", "coco_50_95")]
    return DetectionFigures(
        any_overlap=_rule(tally, ANY),
        coco_50=_rule(tally, IOU50) if masks_known else RuleFigures(precision=_NO_MASKS, recall=_NO_MASKS),
        ap_any_overlap=estimates["any_overlap"].figure(NO_TRUTH),
        ap_coco_50=coco[0],
        ap_coco_50_95=coco[1],
    )


def mean_precision(kinds: list[dict[str, Estimate]], masks_known: bool = True) -> MeanPrecision:
    """From the estimates of each kind."""
    means = {rule: mean_estimate([kind[rule] for kind in kinds]) for rule in AP_RULES}
    return MeanPrecision(
        any_overlap=means["any_overlap"].figure("no labelled defect of any known kind"),
        coco_50=_coco_figure(means["coco_50"], masks_known),
        coco_50_95=_coco_figure(means["coco_50_95"], masks_known),
    )


_NO_MASKS = Rate.of(0, 0, NO_MASKS)


def _rule(tally: MatchTally, column: int) -> RuleFigures:
    return RuleFigures(
        precision=Rate.of(tally.matched[column], tally.predictions, "no region reaches the threshold"),
        recall=Rate.of(tally.matched[column], tally.truths, NO_TRUTH),
    )


def _coco_figure(estimate: Estimate, masks_known: bool) -> Figure:
    return estimate.figure(NO_TRUTH) if masks_known else Estimate(math.nan, np.empty(0)).figure(NO_MASKS)
