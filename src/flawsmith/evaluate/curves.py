"""Areas under curves from counts per score bin. Bins ascend in score along the last axis; one bin's scores are ties."""

import numpy as np

Curve = tuple[tuple[float, ...], tuple[float, ...]]  # x values, y values


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Step-wise average precision, sum of precision times recall gained, as scikit-learn defines it. NaN: no positives.

    positives, negatives: (..., bins) counts or weights
    """
    hits, alarms = _at_least(positives), _at_least(negatives)
    precision = hits / np.maximum(hits + alarms, _TINY)
    return _ratio((precision * positives).sum(axis=-1), positives.sum(axis=-1))


def auroc(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Probability that a positive outscores a negative, ties count half. NaN where either is missing."""
    below = negatives.cumsum(axis=-1) - negatives / 2
    pairs = np.asarray(positives.sum(axis=-1) * 1.0 * negatives.sum(axis=-1))
    return _ratio((positives * below).sum(axis=-1), pairs)


def f1_max(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """The largest F1 (equally, Dice) over all thresholds. NaN where there are no positives."""
    return np.asarray(f1_curve(positives, negatives)).max(axis=-1)


def f1_curve(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """F1 when everything from bin i upwards is called positive, for each i."""
    total = positives.sum(axis=-1, keepdims=True)
    hits, alarms = _at_least(positives), _at_least(negatives)
    return np.where(total > 0, 2 * hits / np.maximum(hits + alarms + total, _TINY), np.nan)


def aupro(overlap: np.ndarray, regions: float, negatives: np.ndarray, limit: float) -> float:
    """Area under the per-region overlap curve up to a false-alarm rate of `limit`, divided by `limit`.

    overlap:   (bins,) sum over truth regions of the fraction of the region's pixels that fall in the bin
    regions:   their number
    negatives: (bins,) pixels outside every truth region

    NaN without regions or without pixels outside them. Source: Bergmann et al., CVPR 2020 and IJCV 2021.
    """
    rate, mean_overlap = pro_curve(overlap, regions, negatives)
    if np.isnan(rate[-1]) or np.isnan(mean_overlap[-1]):
        return float("nan")
    inside = int(np.searchsorted(rate, limit, side="right"))
    x, y = rate[:inside], mean_overlap[:inside]
    if x[-1] < limit:  # the curve ends at rate 1, so there is a next point
        step = (limit - x[-1]) / (rate[inside] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + step * (mean_overlap[inside] - y[-1]))
    return float(np.trapezoid(y, x) / limit)


def pro_curve(overlap: np.ndarray, regions: float, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False-alarm rate and mean per-region overlap as the threshold falls, from (0, 0) to (1, 1)."""
    alarms = np.concatenate([[0.0], negatives[::-1].cumsum()])
    covered = np.concatenate([[0.0], overlap[::-1].cumsum()])
    return _ratio(alarms, np.asarray(alarms[-1])), _ratio(covered, np.asarray(float(regions)))


def pr_curve(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision as the threshold falls, over the bins (bins,) that hold anything."""
    filled = np.flatnonzero(positives + negatives)
    hits, alarms = _at_least(positives)[filled][::-1], _at_least(negatives)[filled][::-1]
    return _ratio(hits, np.asarray(positives.sum())), hits / np.maximum(hits + alarms, _TINY)


def thin(x: np.ndarray, y: np.ndarray, steps: int = 100) -> Curve:
    """The points of a curve in the unit square that a plot of `steps` pixels a side can tell apart, ends included."""
    if not len(x):
        return (), ()
    cells = np.round(np.stack([x, y]) * steps)
    moved = np.flatnonzero((np.diff(cells, axis=1) != 0).any(axis=0))
    keep = np.unique(np.concatenate([[0], moved, moved + 1, [len(x) - 1]]))
    return tuple(float(v) for v in x[keep]), tuple(float(v) for v in y[keep])


_TINY = 1e-12  # below any count or weight


def _at_least(histogram: np.ndarray) -> np.ndarray:
    """How many lie in this bin or above."""
    return np.flip(np.flip(histogram, axis=-1).cumsum(axis=-1), axis=-1)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    bottom = np.asarray(bottom, float)
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan)
