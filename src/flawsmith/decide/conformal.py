"""What healthy parts alone can promise: conformal p-values, and thresholds between their scores.

The station imports this module: numpy only.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

_DIGITS = 6
_LEAST = 2e-3  # between the largest score and what is taken for the next


def p_value(score: float, healthy: Sequence[float] | np.ndarray) -> float:
    """How often a healthy part scores so high: (1 + how many of `healthy` are at least `score`) / (n + 1).

    healthy: scores of n healthy parts that the model did not learn from, ascending

    For a healthy part drawn as those were, it is at most a with probability at most a, whatever the model: on average
    over calibrations (Vovk, Gammerman and Shafer 2005; Bates et al. 2023, Annals of Statistics 51(1)). A threshold
    that holds for the calibration at hand, with a stated confidence, is what `calibrate` chooses. The least value that
    n parts can give is 1 / (n + 1).

    >>> p_value(0.9, [0.1, 0.2, 0.3]), p_value(0.2, [0.1, 0.2, 0.3])
    (0.25, 0.75)
    """
    at_least = len(healthy) - int(np.searchsorted(np.asarray(healthy, np.float64), score, side="left"))
    return (1 + at_least) / (len(healthy) + 1)


def levels_between(scores: ArrayLike) -> tuple[float, ...]:
    """Thresholds that differ in how many of `scores`, in [0, 1], reach them: one in each gap, one above the largest.

    As far from both neighbours as can be, so that an engine's rounding turns no verdict; strictly between them in
    float32 too, in which maps are compared. What the number of parts at or above the r-th smallest shows of the rate
    beyond it depends on r and n alone, so looking at the scores to place the thresholds costs nothing (Wilks 1941).
    """
    ordered = np.unique(np.asarray(scores, np.float32)).astype(np.float64)
    if not len(ordered):
        return ()
    gaps = np.diff(ordered)
    beyond = ordered[-1] + max(float(np.median(gaps)) if len(gaps) else 0.0, _LEAST)
    ends = np.append(ordered[1:], min(beyond, 1.0))
    found = []
    for low, high in zip(ordered, ends, strict=True):
        middle = (low + high) / 2
        for level in (round(middle, _DIGITS), middle, high):
            if np.float32(low) < np.float32(level) <= np.float32(high):
                found.append(float(level))
                break
    return tuple(sorted(set(found)))
