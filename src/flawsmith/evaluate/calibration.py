"""Do probabilities mean what they say? The calibration error, what chance alone would show."""

from typing import Literal

import numpy as np

from flawsmith.evaluate.intervals import LEVEL, Figure, Rate, Result, group_weights, ratio_estimate, worthwhile

BINS = 15
DRAWS = 1000
NO_KNOWN = "no image of a known class"
_SMALLEST = float(np.finfo(np.float32).eps)  # what a float32 softmax rounds to 0 costs a finite loss
_HELD = 4_000_000  # random numbers at a time

Judgement = Literal["within chance", "too sure", "not sure enough", "uneven"]


class ReliabilityBin(Result):
    """Images of similar confidence: what was promised, and what came true."""

    confidence: float
    right: Rate


class CalibrationFigures(Result):
    """Probabilities of the most probable class, over images of known classes.

    ece:         expected calibration error over `BINS` bins of equally many images
    perfect_ece: the mean and 95 % range of the ECE of a model whose probabilities are exactly true, with the same
                 confidences: never 0, and the larger the fewer the images
                 (images count as independent: where groups are alike, chance allows more)
    """

    images: int
    log_loss: Figure
    brier: Figure  # sum over the classes: 0 to 2
    confidence: float | None  # mean
    right: Rate
    ece: Figure
    perfect_ece: Figure
    draws: int
    judgement: Judgement | None  # null without images
    bins: tuple[ReliabilityBin, ...]


def confidence_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each, int (N,) from 0 without gaps: bins hold equally many, as far as equal values stay together."""
    ranked = np.sort(confidence)
    borders = ranked[np.unique(np.arange(1, bins) * len(ranked) // bins)]
    return np.unique(np.searchsorted(np.unique(borders), confidence, side="right"), return_inverse=True)[1]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """ECE: how far confidence and share of right answers lie apart, mean over bins of equally many images.

    confidence: (N,) in [0, 1], N > 0
    right:      (N,) bool

    >>> calibration_error(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, False, False]))
    0.4
    """
    gaps = np.bincount(confidence_bins(confidence, bins), confidence - right)
    return float(np.abs(gaps).sum() / len(confidence))


def perfect_errors(confidence: np.ndarray, seed: int, draws: int = DRAWS, bins: int = BINS) -> np.ndarray:
    """The ECE, float (draws,), of a model that is right exactly as often as it says: answers drawn from `confidence`.

    confidence: (N,) in [0, 1], N > 0; its order does not matter
    """
    ranked = np.sort(confidence).astype(np.float32)
    starts = np.flatnonzero(np.diff(confidence_bins(ranked, bins), prepend=-1))
    rng, at_once = np.random.default_rng(seed), max(_HELD // len(ranked), 1)
    errors = []
    for first in range(0, draws, at_once):
        right = rng.random((min(at_once, draws - first), len(ranked)), np.float32) < ranked
        gaps = np.add.reduceat(right - ranked, starts, axis=1)
        errors.append(np.abs(gaps).sum(axis=1) / len(ranked))
    return np.concatenate(errors).astype(float)


def calibration_figures(
    probabilities: np.ndarray, labels: np.ndarray, groups: list[str], resamples: int, seed: int, draws: int = DRAWS
) -> CalibrationFigures:
    """probabilities (N, K) in rows that add up to 1, labels int (N,), groups (N,) of what is resampled as one."""
    images = len(labels)
    if not images:
        none = Figure(value=None, reason=NO_KNOWN)
        return CalibrationFigures(
            images=0,
            log_loss=none,
            brier=none,
            confidence=None,
            right=Rate.of(0, 0, NO_KNOWN),
            ece=none,
            perfect_ece=none,
            draws=draws,
            judgement=None,
            bins=(),
        )
    table = probabilities.astype(float)
    table /= table.sum(axis=1, keepdims=True)
    confidence, right = table.max(axis=1), table.argmax(axis=1) == labels
    drawn = group_weights(groups, worthwhile(resamples, groups), seed)
    error, perfect = calibration_error(confidence, right), perfect_errors(confidence, seed, draws)
    low, high = (float(v) for v in np.quantile(perfect, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    losses = -np.log(np.clip(table[np.arange(images), labels], _SMALLEST, 1))
    squares = ((table - np.eye(table.shape[1])[labels]) ** 2).sum(axis=1)
    ones = np.ones(images)
    return CalibrationFigures(
        images=images,
        log_loss=ratio_estimate(losses, ones, *drawn).figure("", upper=np.inf),
        brier=ratio_estimate(squares, ones, *drawn).figure("", upper=2),
        confidence=float(confidence.mean()),
        right=Rate.of(int(right.sum()), images),
        ece=Figure(value=error, reason="no interval: judge it by what a perfect model would show"),
        perfect_ece=Figure(value=float(perfect.mean()), low=low, high=high),
        draws=draws,
        judgement=_judgement(error, high, float((confidence - right).mean())),
        bins=_bins(confidence, right),
    )


def _judgement(error: float, high: float, gap: float) -> Judgement:
    """`gap`: mean confidence less share right. Half the error or more to one side is a tendency."""
    if error <= high:
        return "within chance"
    if abs(gap) < error / 2:
        return "uneven"
    return "too sure" if gap > 0 else "not sure enough"


def _bins(confidence: np.ndarray, right: np.ndarray) -> tuple[ReliabilityBin, ...]:
    members = confidence_bins(confidence)
    counts = np.bincount(members)
    means = np.bincount(members, confidence) / counts
    hits = np.bincount(members, right)
    return tuple(
        ReliabilityBin(confidence=float(mean), right=Rate.of(int(hit), int(count)))
        for mean, hit, count in zip(means, hits, counts, strict=True)
    )
