"""Which threshold and minimum area: those that can be shown to meet a target, and the cheapest of these.

Choosing a threshold on the same parts that judge it makes an ordinary interval optimistic. The remedy is fixed-sequence
testing, as in Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, arXiv:2110.01052, Annals of Applied
Statistics 19(2), 2025): the thresholds are walked in an order declared beforehand, from the safest on, each is tested
exactly, and the walk ends at the first that fails. All that were passed are then shown together, with the stated
confidence, so any of them may be chosen by looking at the same parts. Several minimum areas are several walks; they
share the error probability equally (Bonferroni).

Tables are (A, T): minimum areas by thresholds, both ascending.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from flawsmith.decide.bounds import is_shown
from flawsmith.decide.summary import PartAreas

_CHUNK = 2048  # areas at a time: bounds the memory of an exhaustive search


@dataclass(frozen=True)
class Weights:
    """What one part costs that escapes, is falsely rejected, or goes to review though defective or healthy."""

    escape: float
    false_reject: float
    review_defective: float = 0.0
    review_healthy: float = 0.0


@dataclass(frozen=True)
class Choice:
    """Indices into the thresholds, and a minimum area in pixels. `review` <= `reject`; equal when there is no band."""

    reject: int
    review: int
    min_area_px: int
    cost: float


@dataclass(frozen=True)
class Limits:
    """What is shown to meet a target; None where no target was given. Bool (A, T).

    escape:       may serve as review threshold (or as the only one)
    false_reject: may serve as reject threshold
    """

    escape: np.ndarray | None = None
    false_reject: np.ndarray | None = None


def count_at_least(ordered: np.ndarray, min_areas: np.ndarray) -> np.ndarray:
    """How many of n parts reach each minimum area at each threshold: sorted (T, n), (A,) to int64 (A, T)."""
    below = [np.searchsorted(row, np.maximum(min_areas, 1), side="left") for row in ordered]
    return ordered.shape[1] - np.stack(below, axis=1)


def show_escape(found: np.ndarray, n: int, target: float, confidence: float) -> np.ndarray:
    """Bool (A, T): thresholds at which escapes are shown to be at most `target`; walked upwards.

    found: of n defective parts, those not passed, (A, T)
    """
    passed = is_shown(n - found, n, target, (1 - confidence) / len(found))
    return np.logical_and.accumulate(passed, axis=1)


def show_false_reject(rejected: np.ndarray, n: int, target: float, confidence: float) -> np.ndarray:
    """Bool (A, T): thresholds at which false rejects are shown to be at most `target`; walked downwards.

    rejected: of n healthy parts, those rejected, (A, T)
    """
    passed = is_shown(rejected, n, target, (1 - confidence) / len(rejected))
    return np.logical_and.accumulate(passed[:, ::-1], axis=1)[:, ::-1]


def every_area(*parts: PartAreas) -> np.ndarray:
    """All minimum areas that differ in effect, ascending: 1 and one more than each area that occurs."""
    return np.unique(np.concatenate([[0], *(p.review.ravel() for p in parts), *(p.reject.ravel() for p in parts)])) + 1


def choose(
    defective: PartAreas,
    healthy: PartAreas,
    min_areas: np.ndarray,
    weights: Weights,
    limits: Limits,
    band: bool,
    prefer: Literal["middle", "lowest", "highest"] = "middle",
) -> Choice | None:
    """The cheapest rule within the limits, over all pairs (with `band` triples) of candidates; None if there is none.

    Among equals: no band before a band; the area that leaves the most thresholds equal, then the smaller; then the
    `prefer`red of the longest run of equal thresholds.
    """
    lowest, ties = [], []
    for start in range(0, len(min_areas), _CHUNK):
        rows = slice(start, start + _CHUNK)
        alone, best = _costs(defective, healthy, min_areas[rows], weights, _rows(limits, rows), band)[:2]
        costs = np.minimum(alone, best)
        lowest.append(costs.min(axis=1))
        ties.append(np.count_nonzero(_equal(costs, costs.min(axis=1, keepdims=True)), axis=1))
    low, tied = np.concatenate(lowest), np.concatenate(ties)
    if not np.isfinite(low).any():
        return None
    area = int(np.argmax(np.where(_equal(low, low.min()), tied, -1)))
    one = slice(area, area + 1)
    alone, best, review = _costs(defective, healthy, min_areas[one], weights, _rows(limits, one), band)
    reject, at = _place(alone[0], best[0], review[0], prefer)
    return Choice(reject, at, int(min_areas[area]), float(low[area]))


def _costs(
    defective: PartAreas, healthy: PartAreas, min_areas: np.ndarray, weights: Weights, limits: Limits, band: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, T) each: the cost without a band, the least with one, and the part of it that the review threshold decides.

    The cost splits into a term of the review threshold and one of the reject threshold, so that the best of all
    T x T / 2 bands is found by one running minimum.
    """
    found, halted = (count_at_least(parts.review_sorted, min_areas) for parts in (defective, healthy))
    caught, rejected = (count_at_least(parts.reject_sorted, min_areas) for parts in (defective, healthy))
    review = weights.escape * (len(defective) - found) + weights.review_defective * found
    review = review + weights.review_healthy * halted
    reject = (weights.false_reject - weights.review_healthy) * rejected - weights.review_defective * caught
    review = _only(review, limits.escape)
    reject = _only(reject, limits.false_reject)
    alone = review + reject
    return alone, np.minimum.accumulate(review, axis=1) + reject if band else alone, review


def _place(
    alone: np.ndarray, best: np.ndarray, review: np.ndarray, prefer: Literal["middle", "lowest", "highest"]
) -> tuple[int, int]:
    """Reject and review index among the equally cheap ones of one area."""
    lowest = min(alone.min(), best.min())
    if _equal(alone, lowest).any():
        reject = _one_of(_equal(alone, lowest), prefer)
        return reject, reject
    reject = _one_of(_equal(best, lowest), prefer)
    return reject, _one_of(_equal(review[: reject + 1], review[: reject + 1].min()), prefer)


def _one_of(equal: np.ndarray, prefer: Literal["middle", "lowest", "highest"]) -> int:
    indices = np.flatnonzero(equal)
    if prefer != "middle":
        return int(indices[0 if prefer == "lowest" else -1])
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[(len(longest) - 1) // 2])


def _equal(costs: np.ndarray, lowest: np.ndarray | float) -> np.ndarray:
    """Equal but for rounding; infinite costs are equal to nothing."""
    return np.isfinite(costs) & (costs <= lowest + 1e-9 * np.maximum(1.0, np.abs(lowest)))


def _only(costs: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
    return costs.astype(np.float64) if allowed is None else np.where(allowed, costs, np.inf)


def _rows(limits: Limits, rows: slice) -> Limits:
    return Limits(
        None if limits.escape is None else limits.escape[rows],
        None if limits.false_reject is None else limits.false_reject[rows],
    )
