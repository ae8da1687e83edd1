"""What a round trip through a format costs, measured: each defect's overlap with what comes back."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from flawsmith.core.defect import Defect
from flawsmith.core.sample import Sample


@dataclass(frozen=True)
class Loss:
    """Truth against what was read back.

    defects:    in the truth
    affected:   came back with an IoU below 1
    gone:       came back with no pixel in common, or not at all
    added:      came back without a counterpart in the truth
    iou_mean:   over all defects, 1.0 where there are none
    iou_min:    the worst, 1.0 where there are none
    unhealthy_as_healthy, healthy_as_unhealthy, relabelled, missing: images
    """

    defects: int = 0
    affected: int = 0
    gone: int = 0
    added: int = 0
    iou_mean: float = 1.0
    iou_min: float = 1.0
    unhealthy_as_healthy: int = 0
    healthy_as_unhealthy: int = 0
    relabelled: int = 0
    missing: int = 0

    @property
    def iou_lost_mean(self) -> float:
        return 1.0 - self.iou_mean

    @property
    def none(self) -> bool:
        return self == Loss(defects=self.defects)


def measure(pairs: Iterable[tuple[Sample, Sample | None]]) -> Loss:
    """Over pairs of (truth, what came back); None: the image did not come back."""
    counts: Counter[str] = Counter()
    overlaps = [np.empty(0)]
    for truth, back in pairs:
        found = back.defects if back else ()
        overlaps.append(matched_iou(truth.defects, found))
        counts["added"] += max(len(found) - int((overlaps[-1] > 0).sum()), 0)
        counts[_image_change(truth, back)] += 1
    counts.pop("", None)
    iou = np.concatenate(overlaps)
    return Loss(
        defects=iou.size,
        affected=int((iou < 1).sum()),
        gone=int((iou == 0).sum()),
        iou_mean=float(iou.mean()) if iou.size else 1.0,
        iou_min=float(iou.min()) if iou.size else 1.0,
        **counts,
    )


def _image_change(truth: Sample, back: Sample | None) -> str:
    """The field of `Loss` that counts what became of the image, "" when nothing did."""
    if back is None:
        return "missing"
    if back.healthy != truth.healthy:
        return "unhealthy_as_healthy" if back.healthy else "healthy_as_unhealthy"
    return "" if back.label == truth.label else "relabelled"


def matched_iou(truth: tuple[Defect, ...], found: tuple[Defect, ...]) -> np.ndarray:
    """IoU of each true defect with its counterpart, 0 without one: the assignment within a kind that keeps most."""
    iou = np.zeros(len(truth))
    for kind, rows in _by_kind(truth).items():
        cols = _by_kind(found).get(kind, [])
        table = np.array([[mask_iou(truth[r], found[c]) for c in cols] for r in rows]).reshape(len(rows), len(cols))
        for r, c in zip(*linear_sum_assignment(table, maximize=True), strict=True):
            iou[rows[r]] = table[r, c]
    return iou


def _by_kind(defects: tuple[Defect, ...]) -> dict[str, list[int]]:
    kinds: dict[str, list[int]] = defaultdict(list)
    for index, defect in enumerate(defects):
        kinds[defect.kind].append(index)
    return kinds


def mask_iou(a: Defect, b: Defect) -> float:
    """Intersection over union of two defects' pixels, where only a box is known of the box's."""
    x0, y0 = max(a.box[0], b.box[0]), max(a.box[1], b.box[1])
    x1, y1 = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    if x0 >= x1 or y0 >= y1:
        return 0.0
    common = int((_window(a, (x0, y0, x1, y1)) & _window(b, (x0, y0, x1, y1))).sum())
    return common / (a.area_px + b.area_px - common)


def _window(defect: Defect, box: tuple[int, int, int, int]) -> np.ndarray:
    x0, y0, x1, y1 = box
    if defect.mask is None:
        return np.ones((y1 - y0, x1 - x0), bool)
    left, top = defect.box[:2]
    return defect.mask[y0 - top : y1 - top, x0 - left : x1 - left]
