"""Image level: which parts would escape and which would be rejected for nothing, at every threshold."""

import math
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from flawsmith.evaluate import curves
from flawsmith.evaluate.intervals import Estimate, Figure, Rate, Result, group_weights, worthwhile

SWEEP = tuple(round(0.1 * i, 1) for i in range(1, 10))
FALSE_REJECT_LIMITS = (0.0, 0.01, 0.05)
NO_HEALTHY = "no healthy images"
NO_DEFECTIVE = "no defective images"
_LISTED = 500  # operating points written out; more are thinned, evenly in rank
_SCORE_BINS = 50

OPERATING_POINT = np.dtype(
    [
        ("threshold", np.float64),
        ("correct_passes", np.int64),
        ("escapes", np.int64),
        ("false_rejects", np.int64),
        ("correct_rejects", np.int64),
        ("false_alarm_rate", np.float64),
        ("precision", np.float64),
        ("recall", np.float64),
    ]
)


class SweepRow(Result):
    """What happens when every image with a score of at least `threshold` is rejected."""

    threshold: float
    correct_passes: int
    escapes: int
    false_rejects: int
    correct_rejects: int
    false_alarm_rate: Rate  # false rejects among the healthy
    escape_rate: Rate  # escapes among the defective
    precision: Rate  # defective ones among the rejected
    recall: Rate  # rejected ones among the defective


class RecallAt(Result):
    """The largest recall with false rejects within `limit` of the healthy images, at the highest such threshold."""

    limit: float
    threshold: float | None
    recall: Rate
    false_rejects: Rate


class OperatingPoints(Result):
    """Every distinct score as a threshold, ascending, in columns; the last one rejects nothing."""

    distinct: int
    thinned: bool  # true: only an even choice of the distinct scores is listed
    threshold: tuple[float, ...]
    correct_passes: tuple[int, ...]
    escapes: tuple[int, ...]
    false_rejects: tuple[int, ...]
    correct_rejects: tuple[int, ...]


class ScoreHistogram(Result):
    """How many healthy and defective images score in each of equal steps from 0 to 1."""

    healthy: tuple[int, ...]
    defective: tuple[int, ...]


class ImageFigures(Result):
    auroc: Figure
    average_precision: Figure
    f1_max: Figure
    f1_max_threshold: float | None
    recall_at: tuple[RecallAt, ...]
    sweep: tuple[SweepRow, ...]
    operating_points: OperatingPoints
    histogram: ScoreHistogram


def operating_points(scores: np.ndarray, defective: np.ndarray) -> np.ndarray:
    """What each threshold would do: an array of `OPERATING_POINT` records, thresholds ascending.

    scores:    (N,) raw image scores; an image is rejected when its score is at least the threshold
    defective: (N,) bool

    One record per distinct score and a last one just above the largest, where nothing is rejected. Rates without
    anything to count are NaN.

    >>> operating_points(np.array([0.2, 0.9]), np.array([False, True]))["escapes"].tolist()
    [0, 0, 1]
    """
    scores, defective = np.asarray(scores, float), np.asarray(defective, bool)
    levels, inverse = np.unique(scores, return_inverse=True)
    if not len(levels):
        return np.zeros(0, OPERATING_POINT)
    bad = np.bincount(inverse[defective], minlength=len(levels))
    good = np.bincount(inverse[~defective], minlength=len(levels))
    points = np.zeros(len(levels) + 1, OPERATING_POINT)
    points["threshold"] = np.append(levels, np.nextafter(levels[-1], np.inf))
    points["escapes"] = np.append(0, bad.cumsum())
    points["correct_passes"] = np.append(0, good.cumsum())
    return _complete(points, int(defective.sum()), int((~defective).sum()))


def _complete(points: np.ndarray, defective: int, healthy: int) -> np.ndarray:
    points["correct_rejects"] = defective - points["escapes"]
    points["false_rejects"] = healthy - points["correct_passes"]
    rejected = points["correct_rejects"] + points["false_rejects"]
    with np.errstate(invalid="ignore"):
        points["false_alarm_rate"] = points["false_rejects"] / np.float64(healthy)
        points["recall"] = points["correct_rejects"] / np.float64(defective)
        points["precision"] = points["correct_rejects"] / rejected.astype(float)
    return points


def sweep_row(scores: np.ndarray, defective: np.ndarray, threshold: float) -> SweepRow:
    """The counts at one threshold, by `score >= threshold`."""
    return counts_row(scores >= threshold, defective, threshold)


def counts_row(rejected: np.ndarray, defective: np.ndarray, threshold: float) -> SweepRow:
    """The counts for any choice of rejected images, bool (N,)."""
    caught, alarms = int((rejected & defective).sum()), int((rejected & ~defective).sum())
    bad, good = int(defective.sum()), int((~defective).sum())
    return SweepRow(
        threshold=threshold,
        correct_passes=good - alarms,
        escapes=bad - caught,
        false_rejects=alarms,
        correct_rejects=caught,
        false_alarm_rate=Rate.of(alarms, good, NO_HEALTHY),
        escape_rate=Rate.of(bad - caught, bad, NO_DEFECTIVE),
        precision=Rate.of(caught, caught + alarms, "nothing is rejected"),
        recall=Rate.of(caught, bad, NO_DEFECTIVE),
    )


def image_figures(
    scores: np.ndarray,
    defective: np.ndarray,
    groups: Sequence[str],
    threshold: float,
    resamples: int = 400,
    seed: int = 0,
) -> ImageFigures:
    """All image-level figures of scores (N,), N > 0; `groups` (N,) names what is resampled as one."""
    points = operating_points(scores, defective)
    missing = NO_DEFECTIVE if not defective.any() else NO_HEALTHY if defective.all() else ""
    estimates = area_estimates(scores, defective, *group_weights(groups, worthwhile(resamples, groups), seed))
    return ImageFigures(
        **{name: estimate.figure(missing) for name, estimate in estimates.items()},
        f1_max_threshold=None if missing else _best_threshold(points),
        recall_at=tuple(_recall_at(points, limit) for limit in FALSE_REJECT_LIMITS),
        sweep=tuple(sweep_row(scores, defective, t) for t in sorted({*SWEEP, threshold})),
        operating_points=_listed(points),
        histogram=_histogram(scores, defective),
    )


def _best_threshold(points: np.ndarray) -> float:
    """The highest threshold of the largest F1."""
    wrong = points["escapes"] + points["false_rejects"]
    f1 = 2 * points["correct_rejects"] / np.maximum(2 * points["correct_rejects"] + wrong, 1)
    return float(points["threshold"][np.flatnonzero(f1 == f1.max())[-1]])


def area_estimates(
    scores: np.ndarray, defective: np.ndarray, weights: np.ndarray, members: np.ndarray
) -> dict[str, Estimate]:
    """AUROC, AP and F1-max, resampled by counts per distinct score; undefined unless both kinds of image are there."""
    levels, inverse = np.unique(scores, return_inverse=True)
    areas = {"auroc": curves.auroc, "average_precision": curves.average_precision, "f1_max": curves.f1_max}
    values = dict.fromkeys(areas, math.nan)
    rows = {name: np.full(weights.shape[1], np.nan) for name in areas}
    if defective.any() and not defective.all():
        bad, good = np.bincount(inverse, defective, len(levels)), np.bincount(inverse, ~defective, len(levels))
        values = {
            "auroc": float(roc_auc_score(defective, scores)),
            "average_precision": float(average_precision_score(defective, scores)),
            "f1_max": float(curves.f1_max(bad, good)),
        }
    for i in range(weights.shape[1]):
        drawn = weights[members, i].astype(np.int64)
        bad = np.bincount(inverse, drawn * defective, len(levels))
        good = np.bincount(inverse, drawn * ~defective, len(levels))
        if bad.any() and good.any():
            for name, area in areas.items():
                rows[name][i] = area(bad, good)
    return {name: Estimate(values[name], rows[name]) for name in areas}


def _recall_at(points: np.ndarray, limit: float) -> RecallAt:
    healthy = int(points["false_rejects"][0])
    defective = int(points["correct_rejects"][0])
    if not healthy or not defective:
        missing = NO_DEFECTIVE if not defective else NO_HEALTHY
        nothing = Rate.of(0, 0, missing)
        return RecallAt(limit=limit, threshold=None, recall=nothing, false_rejects=nothing)
    # the small term keeps 0.05 x 20 from becoming 0 healthy images by rounding
    most = points["correct_rejects"][int(np.argmax(points["false_rejects"] <= np.floor(limit * healthy + 1e-9)))]
    point = points[np.flatnonzero(points["correct_rejects"] == most)[-1]]
    return RecallAt(
        limit=limit,
        threshold=float(point["threshold"]),
        recall=Rate.of(int(point["correct_rejects"]), defective),
        false_rejects=Rate.of(int(point["false_rejects"]), healthy),
    )


def _listed(points: np.ndarray) -> OperatingPoints:
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), _LISTED)).round().astype(int))
    columns = {
        name: tuple(points[name][chosen].tolist())
        for name in ("threshold", "correct_passes", "escapes", "false_rejects", "correct_rejects")
    }
    return OperatingPoints(distinct=len(points), thinned=len(chosen) < len(points), **columns)


def _histogram(scores: np.ndarray, defective: np.ndarray) -> ScoreHistogram:
    edges = np.linspace(0, 1, _SCORE_BINS + 1)
    return ScoreHistogram(
        healthy=tuple(np.histogram(scores[~defective], edges)[0].tolist()),
        defective=tuple(np.histogram(scores[defective], edges)[0].tolist()),
    )
